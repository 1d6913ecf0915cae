"""A git revision, or the working tree: its parameters, its results, and what DVC recorded of its last run.

A revision may be anybody's. Its files are read from git, up to a limit. Outputs are read from this project's cache, by
hashes of 32 hex digits alone, and each is checked against its hash. DVC's own file system of a revision does not serve
here: it takes the cache that the revision's configuration names, and follows hashes that are paths out of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml.resolver import implicit_resolvers

from stages.lib.core.cli import UserError
from stages.lib.core.files import read_plain
from stages.lib.core.records import split_task
from stages.lib.judge.arms import REFERENCE
from stages.lib.judge.comparison import ArmResult, Comparison, parse_comparison
from stages.lib.judge.plans import BEST_SINGLE
from stages.lib.judge.scores import SCORES
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.yaml_text import TextError, compose, decode, load_document

COMPARISON, PARAMS, LOCK = "metrics/comparison.json", "params.yaml", "dvc.lock"
MAX_BYTES = 2**26  # of one file; the largest, comparison.json, has a hundredth of that
MAX_OBJECT = 2**30  # bytes of one output: the largest predictions have a twentieth of that
MAX_VALUES = 2**21  # of dvc.lock, which has a hundredth of that with 85 stages
INPUTS = (PARAMS, "dvc.yaml", "stages", "data/source")  # what results depend on
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
ABSENT = "(none)"
Content = TypeVar("Content")


class Key(NamedTuple):
    """Names an arm among those of all studies."""

    study: str
    variant: str  # or a reference model
    kind: str


class MissingError(UserError):
    """A snapshot has no such file."""


class RowsUnknownError(Exception):
    """The predictions of single rows cannot be had, or not be used; the message says why."""


@dataclass(frozen=True)
class Snapshot:
    """A git revision, or the working tree if revision is None."""

    revision: str | None

    @property
    def name(self) -> str:
        return self.revision or "the working tree"

    def read(self, path: str, parse: Callable[[str], Content]) -> Content:
        """A file, parsed; MissingError where there is none, UserError where it cannot be used."""
        try:
            content = read_blob(self.revision, path) if self.revision else read_plain(Path(path), most=MAX_BYTES)
            return parse(decode(content, limit=MAX_BYTES))
        except FileNotFoundError:
            raise MissingError(f"{path} is missing, expected the output of a complete run: run make") from None
        except TextError as error:
            raise UserError(f"{path} of {self.name}{',' if error.line else ''} {error}") from None
        except ParamsError as error:
            raise UserError(f"{path} of {self.name} has mistakes, expected none: correct them ({error})") from None

    @cached_property
    def comparison(self) -> Comparison:
        return self.read(COMPARISON, check_comparison)

    @cached_property
    def arms(self) -> dict[Key, ArmResult]:
        """Every arm of every study."""
        return {Key(study, *key): arm for study, result in self.comparison.items() for key, arm in result.list_arms()}

    @cached_property
    def params(self) -> Any:
        """params.yaml, not checked."""
        return self.read(PARAMS, lambda text: load_document(text)[0])

    @cached_property
    def record(self) -> Record | None:
        """The record of the last run; None where there is no dvc.lock."""
        try:
            return self.read(LOCK, read_record)
        except MissingError:
            return None

    def find_stale(self) -> list[str]:
        """Reasons why the results are not those of a complete run with these parameters; empty if none is recorded."""
        if self.record is None:
            return []
        written = self.read(COMPARISON, lambda text: hash_content(text.encode()))
        changed = list(compare_params(self.record.params, self.params))
        return changed or self.record.find_unfinished([*self.arms], comparison=written)

    def read_output(self, path: str) -> bytes:
        """A file of an output folder as the last run left it; RowsUnknownError where it is not to be had."""
        stages = self.record.stages.values() if self.record else ()
        folders = [file for stage in stages for file in stage.outs if path.startswith(f"{file.path}/")]
        listing = json.loads(self.read_object(folders[0].md5 if folders else ""))
        members = {f"{folders[0].path}/{member['relpath']}": member["md5"] for member in listing}
        return self.read_object(members.get(path, ""))

    def read_object(self, md5: str) -> bytes:
        """The content with a hash, from DVC's cache."""
        if not HASH.fullmatch(md5):
            raise RowsUnknownError(f"{LOCK} of {self.name} does not name its predictions")
        path = self.cache / md5[:2] / md5[2:]
        if not path.is_file():
            remedy = "for more power, run `dvc fetch` or `make` there"
            raise RowsUnknownError(f"the predictions of {self.name} are not in DVC's cache; {remedy}")
        content = read_plain(path, most=MAX_OBJECT)
        if hash_content(content) != md5.removesuffix(".dir"):
            raise ValueError(f"{path} is damaged")
        return content

    @cached_property
    def cache(self) -> Path:
        """DVC's cache, as the project at hand is configured, whatever a revision says."""
        from dvc.config import Config  # here, since it is slow to import and not always needed

        return Path(Config(".dvc")["cache"].get("dir") or ".dvc/cache", "files/md5")

    def read_arrays(self, path: str) -> dict[str, np.ndarray]:
        """The members of an .npz. Compressed ones are refused: no array is larger than the file."""
        with np.load(io.BytesIO(self.read_output(path)), allow_pickle=False) as arrays:
            if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                raise ValueError(f"{path} is compressed")
            return dict(arrays)


def check_comparison(text: str) -> Comparison:
    """Parse comparison.json; TextError where it has another layout, or scores that cannot be."""
    try:
        comparison = parse_comparison(text)
        fault = next(find_faults(comparison), "")
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    if fault:
        raise TextError(
            f"cannot be used ({fault[:300]}), expected what compare writes now: run make, or name another revision"
        )
    return comparison


def find_faults(comparison: Comparison) -> Iterator[str]:
    """Scores that are not known, that an arm is not judged by, or that have values which cannot be."""
    for study, result in comparison.items():
        for question, score in result.scores.items():
            if score not in SCORES:
                yield f"{study}.scores.{question}: Input should be one of {', '.join(SCORES)}"
                return
            least, most = SCORES[score].least, SCORES[score].most
            for (variant, kind), arm in result.list_arms():
                judged = arm.judged.get(score)
                if not judged or not all(least <= value <= most for value in (judged.value, *judged.replicates)):
                    yield f"{study}.arms.{variant}.{kind}.judged.{score}: Input should be from {least:g} to {most:g}"


def run_git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError("git is missing, expected it on the PATH: install the package git") from None
    if b"not a git repository" in done.stderr:
        raise UserError(f"{Path.cwd()} is not in a git repository, expected a clone of the project: change to one")
    return done


def read_blob(revision: str, path: str) -> bytes:
    """A file of a revision; paths are those of the present folder."""
    name = f"{revision}:./{path}"
    size = run_git("cat-file", "-s", "--end-of-options", name)
    if size.returncode:
        reason = " ".join(size.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        remedy = "expected a revision that has it: name another"
        raise MissingError(f"{path} of {revision} cannot be read ({reason}), {remedy}")
    if int(size.stdout) > MAX_BYTES:
        raise TextError(f"has {int(size.stdout):,} bytes, expected at most {MAX_BYTES:,}")
    return run_git("cat-file", "blob", "--end-of-options", name).stdout


def find_fork(base: Snapshot, head: Snapshot) -> str:
    """The commit at which the head branched off; empty unless the base has since changed what results depend on."""
    merge_base = run_git("merge-base", "--end-of-options", str(base.revision), head.revision or "HEAD")
    fork = merge_base.stdout.decode().strip()
    unchanged = "diff", "--quiet", "--no-ext-diff", "--end-of-options", fork, str(base.revision), "--", *INPUTS
    return fork[:10] if fork and run_git(*unchanged).returncode else ""


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


@dataclass(frozen=True)
class Record:
    """What dvc.lock records: the stages of a run by name."""

    stages: dict[str, StageRecord]

    @property
    def params(self) -> Any:
        """The content of params.yaml when `plan` last ran."""
        return (self.stages["plan"].params or {}).get(PARAMS)

    @cached_property
    def by_command(self) -> dict[str, str]:
        """`train thoracic l2` -> the name of the stage that runs it."""
        commands = {name: str(stage.cmd).removeprefix("python -m stages.") for name, stage in self.stages.items()}
        return {command: name for name, command in commands.items()}

    def find_inputs(self, key: Key) -> frozenset[object] | None:
        """All that the predictions and scores of an arm depend on, code included; None if it is not recorded.

        Folders that hold parts of other arms as well are left out. What an arm uses of them is recorded by itself, but
        for the score that chooses strengths.
        """
        runs = self.find_runs(key)
        if not {"compare", *runs} <= self.stages.keys():
            return None
        stages = [self.stages[name] for name in ("compare", *runs)]
        files = {file for stage in stages for file in stage.deps if not SHARED.match(file.path)}
        select_by = pick(self.find_study(key), "select_by") or pick(
            pick(self.find_study(key), "scores"), "discrimination"
        )
        return frozenset({*files, *(stage.cmd for stage in stages), ("select_by", str(select_by))})

    def find_study(self, key: Key) -> Any:
        """What params.yaml said of the study of an arm."""
        study = split_task(key.study)[0]
        return pick(pick(self.params, "studies"), study) or pick(pick(self.params, "tutorial"), study)

    def find_runs(self, key: Key) -> set[str]:
        """The stages that make an arm's predictions; the best single regulariser is chosen among all of its study.

        Not among those of variants that are gone, of which DVC keeps the entries.
        """
        study, variants = split_task(key.study)[0], [key.variant]
        if key.kind == REFERENCE:
            return {self.by_command.get(f"reference {study}", "")}
        if key.variant.startswith(BEST_SINGLE):
            sections = [pick(self.params, name) or {} for name in ("variants", "own_variants")]
            variants = [name for section in sections for name in section if f"train {study} {name}" in self.by_command]
        commands = [f"evaluate {study}", *(f"train {study} {variant}" for variant in variants)]
        return {self.by_command.get(command, "") for command in commands}

    def find_unfinished(self, keys: list[Key], *, comparison: str) -> list[str]:
        """Reasons why these arms are not the results of one complete run; empty where none is found.

        comparison: the hash of comparison.json. A run is incomplete where two stages have recorded different hashes of
        the same path. Not detected: a run that stopped after all trainings of a study and before its evaluation.
        """
        names = {"plan", "compare", *(run for key in keys for run in self.find_runs(key))}
        studies = {split_task(key.study)[0] for key in keys}
        names |= {
            self.by_command.get(f"{verb} {study}", "") for study in studies for verb in ("preprocess", "evaluate")
        }
        stages = [self.stages[name] for name in names & self.stages.keys()]
        files = {file for stage in stages for file in stage.deps | stage.outs}
        if len({file.path for file in files}) < len(files):
            return ["the last run was not completed"]
        written = {file.md5 for file in files if file.path == COMPARISON}
        return [f"{COMPARISON} is not what the last run wrote"] if written - {comparison} else []


RECORD = TypeAdapter(Record)
SHARED = re.compile(r"(data/(plan|predictions|reference)|models)(/\w+)?$")  # folders that hold parts of other arms
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C where PyYAML was built with it


class LockLoader(SafeLoader):
    """PyYAML's loader with the scalars of YAML 1.2, which DVC writes: `1e-05` is a number and `on` is text."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  # an attribute of PyYAML's, filled below


for versions, tag, pattern, first_letters in implicit_resolvers:
    if (1, 2) in versions:
        LockLoader.add_implicit_resolver(tag, pattern, first_letters)


def read_record(text: str) -> Record:
    """Parse dvc.lock; TextError where it is no YAML, or does not hold what a run of this project records."""
    compose(text, most=MAX_VALUES)
    try:
        record = RECORD.validate_python(yaml.load(text, LockLoader))
        if isinstance(record.params, dict):
            return record
    except (yaml.YAMLError, ValueError, LookupError):
        pass
    raise TextError("does not hold what a run records, expected what DVC writes: run make, or name another revision")


def hash_content(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def pick(mapping: Any, key: str) -> Any:
    """The value of a key; None where there is none, or no mapping."""
    return mapping.get(key) if isinstance(mapping, dict) else None


def compare_params(base: Any, head: Any, path: str = "") -> Iterator[str]:
    """`key: before -> after` for every value that differs; null counts as an empty mapping, as in params.yaml."""
    before, after = ({} if value is None else value for value in (base, head))
    inner = [{} if value is ABSENT else value for value in (before, after)]
    if any(inner) and all(isinstance(value, dict) for value in inner):
        for key in inner[0] | inner[1]:
            where = f"{path}.{key}" if path else str(key)
            yield from compare_params(inner[0].get(key, ABSENT), inner[1].get(key, ABSENT), where)
    elif before != after:
        yield f"{path or PARAMS}: {before} -> {after}"
