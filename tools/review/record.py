"""What dvc.lock records of a run: the inputs of each arm, and whether the run was complete."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from pydantic import TypeAdapter
from ruamel.yaml.resolver import implicit_resolvers

from stages.lib.judge.arms import REFERENCE
from stages.lib.judge.plans import BEST_SINGLE
from stages.lib.settings.yaml_text import compose

MAX_VALUES = 2**21  # of dvc.lock, which has a hundredth of that with 85 stages
COMPARISON, PARAMS = "metrics/comparison.json", "params.yaml"
VERSIONS = "data/plan/_versions/"
GATHERED = ("data/plan", "data/predictions", "data/reference", "models")  # folders that hold parts of many arms


class Key(NamedTuple):
    """Names an arm among those of all studies."""

    study: str
    variant: str  # or a reference model
    kind: str


class ScoredKey(NamedTuple):
    """Names an arm by one of its scores."""

    study: str
    variant: str
    kind: str
    score: str

    @property
    def arm(self) -> Key:
        return Key(self.study, self.variant, self.kind)


SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C where PyYAML was built with it


class LockLoader(SafeLoader):
    """PyYAML's loader with the scalars of YAML 1.2, which DVC writes: `1e-05` is a number and `on` is text."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  # an attribute of PyYAML's, filled below


for versions, tag, pattern, first_letters in implicit_resolvers:
    if (1, 2) in versions:
        LockLoader.add_implicit_resolver(tag, pattern, first_letters)


@dataclass(frozen=True)
class TrackedFile:
    """A file or folder, and the hash of its content."""

    path: str
    md5: str = ""


@dataclass(frozen=True)
class StageRecord:
    """One stage as it was last run."""

    cmd: str | tuple[str, ...]
    deps: frozenset[TrackedFile] = frozenset()
    outs: frozenset[TrackedFile] = frozenset()
    params: dict[str, Any] | None = None

    @property
    def files(self) -> frozenset[TrackedFile]:
        return self.deps | self.outs


@dataclass(frozen=True)
class Record:
    """The stages of a run by name. params: the content of params.yaml when `plan` last ran."""

    stages: dict[str, StageRecord]

    @property
    def params(self) -> Any:
        return (self.stages["plan"].params or {}).get(PARAMS)

    def find_inputs(self, key: Key) -> frozenset[object] | None:
        """All that the predictions and scores of an arm depend on, code included; None if it is not recorded.

        Folders that hold parts of other arms as well are left out; what the arm uses of them is recorded by itself.
        """
        names = {"compare", f"reference@{key.study}"}
        if key.kind != REFERENCE:
            names = {"compare", f"evaluate@{key.study}", *self.find_runs(key)}
        if not names <= self.stages.keys():
            return None
        files = {file for name in names for file in self.stages[name].deps if is_own(file.path, key.study)}
        commands = {(name, self.stages[name].cmd) for name in names}
        return frozenset({*files, *commands, ("select_by", self.find_select_by(key.study))})

    def find_runs(self, key: Key) -> set[str]:
        """The train stages of an arm of networks; the best single regulariser is chosen among all of its study.

        Not among those of variants that are gone, of which DVC keeps the entries.
        """
        prefix = f"train_{key.study}@"
        if not key.variant.startswith(BEST_SINGLE):
            return {f"{prefix}{key.variant}"}
        variants = pick(pick(pick(self.params, "studies"), key.study), "variants")
        names = variants if isinstance(variants, dict) else ()
        return {f"{prefix}{variant}" for variant in names} & self.stages.keys()

    def find_select_by(self, study: str) -> str:
        """The score that chooses strengths; no file of the study alone holds it."""
        settings = pick(pick(self.params, "studies"), study)
        return str(pick(settings, "select_by") or pick(pick(settings, "scores"), "discrimination"))

    def find_hash(self, path: str) -> str:
        """The hash of the output of a stage; empty where none is recorded."""
        return next((file.md5 for stage in self.stages.values() for file in stage.outs if file.path == path), "")

    def find_unfinished(self, keys: Iterable[Key], *, comparison: str) -> list[str]:
        """Reasons why these arms are not the results of one complete run; empty where none is found.

        comparison: the text of comparison.json. A run is incomplete where two stages have recorded different hashes of
        the same path. Not detected: a run that stopped after all trainings of a study and before its evaluation.
        """
        names = {"plan", "compare"}
        for study, variant, kind in keys:
            runs = {f"reference@{study}"} if kind == REFERENCE else self.find_runs(Key(study, variant, kind))
            names |= {f"preprocess@{study}", f"evaluate@{study}", *runs}
        files = {file for name in names & self.stages.keys() for file in self.stages[name].files}
        if len({file.path for file in files}) < len(files):
            return ["the last run was not completed"]
        outs = self.stages["compare"].outs if "compare" in self.stages else ()
        written = next((file.md5 for file in outs if file.path == COMPARISON), "")
        if written and written != hashlib.md5(comparison.encode(), usedforsecurity=False).hexdigest():
            return [f"{COMPARISON} is not what the last run wrote"]
        return []


LAYOUT = TypeAdapter(Record)


def pick(mapping: Any, key: str) -> Any:
    """The value of a key; None where there is none, or no mapping."""
    return mapping.get(key) if isinstance(mapping, dict) else None


def is_own(path: str, study: str) -> bool:
    """Whether a file shapes the results of one study; of the gathered folders, only files below the study's own.

    The versions of the libraries shape those of all.
    """
    if path.startswith(VERSIONS):
        return True
    folders = [folder for folder in GATHERED if path == folder or path.startswith(f"{folder}/")]
    return all(path.startswith(f"{folder}/{study}/") for folder in folders)


def read_record(text: str) -> Record | None:
    """Parse dvc.lock; None where it has another layout than DVC's, or does not hold what `plan` records.

    Raises TextError where it is no YAML, such as one with a conflict that is not resolved.
    """
    compose(text, most=MAX_VALUES)
    try:
        record = LAYOUT.validate_python(yaml.load(text, LockLoader))
    except (yaml.YAMLError, ValueError):
        return None
    return record if "plan" in record.stages and isinstance(record.params, dict) else None
