"""A git revision, or the working tree: its parameters, its results, and what DVC recorded of its last run.

A revision may be anybody's. Its files are read from git, up to a limit. Outputs are read from this project's cache, by
hashes of 32 hex digits alone, and each is checked against its hash. DVC's own file system of a revision does not serve
here: it takes the cache that the revision's configuration names, and follows hashes that are paths out of it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import numpy as np
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from pydantic import ValidationError

from stages.lib.core.cli import UserError
from stages.lib.core.files import read_plain
from stages.lib.core.records import split_task
from stages.lib.data.protocols import FixedTest
from stages.lib.judge.arms import REFERENCE
from stages.lib.judge.comparison import (
    COMPARISON,
    ArmResult,
    Comparison,
    Difference,
    Judgement,
    find_comparison,
    parse_comparison,
)
from stages.lib.judge.plans import BEST_SINGLE, StatisticsPlan
from stages.lib.lock import HASH, LOCK, find_cache, find_object, hash_file, read_listing
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.schema import read_statistics
from stages.lib.settings.yaml_text import TextError, compose, decode, load_document
from stages.report import pool_arms

PLANS, METRICS = "data/plan", "metrics/metrics.json"  # what the first stage writes, and the last one
MAX_BYTES = 2**26  # of one file; the largest, of a comparison, has a hundredth of that
MAX_OBJECT = 2**30  # bytes of one output: the largest predictions have a twentieth of that
# What holds parts of all arms of a study or project. What an arm uses of it is recorded by itself.
SHARED = re.compile(r"(data/(plan|predictions|reference)|models)(/\w+)?|data/plan/(\w+/)?_(study|statistics)\.json")
ABSENT = "(none)"
Content = TypeVar("Content")


class Key(NamedTuple):
    """Names an arm among those of all studies."""

    study: str  # or a task, one of the data sets of a study
    variant: str  # or a reference model
    kind: str


class StageRecord(NamedTuple):
    """One stage as it was last run: its command, and path -> hash of what it read and wrote."""

    cmd: str
    deps: dict[str, str]
    outs: dict[str, str]


class Record(NamedTuple):
    """What dvc.lock records of the last run.

    params: the content of params.yaml when `plan` last ran.
    writers: output -> the stage that wrote it. DVC keeps the entries of stages that are gone, in front of new ones.
    """

    params: Any
    writers: dict[str, StageRecord]


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
        """A file, parsed; FileNotFoundError where there is none, UserError where it cannot be used."""
        try:
            if self.revision:
                content = ask_git(self.revision, path, "cat-file", "blob")
            else:
                content = read_plain(Path(path), most=MAX_BYTES)
            return parse(decode(content, limit=MAX_BYTES))
        except TextError as error:
            raise UserError(f"{path} of {self.name}{',' if error.line else ''} {error}") from None

    @cached_property
    def comparison(self) -> Comparison:
        """All tasks; UserError where no study was compared."""
        if self.revision:
            listed = ask_git(self.revision, COMPARISON.as_posix(), "ls-tree", "--name-only", "--full-tree")
            files = listed.decode(errors="replace").splitlines()
        else:
            files = [path.name for path in COMPARISON.glob("*")]
        names = sorted(name for name in files if re.fullmatch(r"\w+\.json", name))
        if not names:
            raise UserError(f"{COMPARISON} of {self.name} has no file, expected the output of a complete run: run make")
        read = [self.read(f"{COMPARISON}/{name}", check_comparison) for name in names]
        if any(len(comparison) > 1 for comparison in read):
            settings = self.read(PARAMS, read_statistics)
            read = [join_tasks(comparison, settings) if len(comparison) > 1 else comparison for comparison in read]
        return {task: result for comparison in read for task, result in comparison.items()}

    @cached_property
    def arms(self) -> dict[Key, ArmResult]:
        """Every arm of every study."""
        return {Key(study, *key): arm for study, result in self.comparison.items() for key, arm in result.list_arms()}

    @cached_property
    def params(self) -> Any:
        """params.yaml, not checked."""
        return self.read(PARAMS, lambda text: load_document(text)[0])

    @cached_property
    def record(self) -> Record:
        """The record of the last run; empty where there is no dvc.lock."""
        try:
            return self.read(LOCK.name, read_record)
        except FileNotFoundError:
            return Record(None, {})

    def find_stale(self) -> list[str]:
        """Reasons why the results are not those of a complete run with these parameters; empty if none is recorded.

        A run is incomplete where a stage behind the results has read what its writer has since written anew. Not
        detected: a run that stopped after all trainings of a study and before its evaluation.
        """
        params, writers = self.record
        if not writers:
            return []
        if changed := list(compare_params(params, self.params)):
            return changed
        written = {output: stage.outs[output] for output, stage in writers.items()}
        results = sorted({find_comparison(split_task(task)[0]).as_posix() for task in self.comparison})
        folders = [f"data/{made}/{Path(path).stem}" for path in results for made in ("predictions", "reference")]
        behind = [writers[output] for output in (METRICS, *results, *folders) if output in writers]
        if any(written.get(path, md5) != md5 for stage in behind for path, md5 in stage.deps.items()):
            return ["the last run was not completed"]
        others = [path for path in results if self.read(path, hash_text) != written.get(path)]
        return [f"{path} is not what the last run wrote" for path in others[:1]]

    def find_inputs(self, key: Key) -> frozenset[object]:
        """All that the predictions and scores of an arm depend on, code included; empty if it is not recorded.

        The best single regulariser is chosen among all networks of its study. The score that chooses strengths is in
        params.yaml, and in no plan of a single arm.
        """
        study = split_task(key.study)[0]
        network = "*" if key.variant.startswith(BEST_SINGLE) else key.variant
        made = [f"data/predictions/{study}", f"models/{study}/{network}"]
        outputs = [find_comparison(study).as_posix(), *([f"data/reference/{study}"] if key.kind == REFERENCE else made)]
        params, writers = self.record
        stages = [stage for path, stage in writers.items() if any(fnmatchcase(path, output) for output in outputs)]
        files = [file for stage in stages for file in stage.deps.items() if not SHARED.fullmatch(file[0])]
        chooses = [f"{section}.{study}.select_by" for section in ("studies", "tutorial")]
        chosen = [str(leaf) for leaf in list_leaves(params) if leaf[0] in chooses]
        return frozenset([*files, *chosen, *(stage.cmd for stage in stages)]) if stages else frozenset()

    def find_output(self, path: str) -> Path:
        """DVC's copy of a file of an output folder as the last run left it; RowsUnknownError where it has none."""
        folders = [(output, stage) for output, stage in self.record.writers.items() if path.startswith(f"{output}/")]
        folder, md5 = next(((output, stage.outs[output]) for output, stage in folders), ("", ""))
        listing = read_listing(self.find_copy(md5)) or {}
        return self.find_copy(listing.get(path.removeprefix(f"{folder}/"), ""))

    def find_copy(self, md5: str) -> Path:
        """DVC's copy of the content with a hash; ValueError where it is too large, or not what its hash says."""
        if not HASH.fullmatch(md5):
            raise RowsUnknownError(f"{LOCK} of {self.name} does not name its predictions")
        path = find_object(self.cache, md5)
        if not path.is_file():
            told = f"the predictions of {self.name} are not in DVC's cache"
            raise RowsUnknownError(f"{told}; for more power, run `dvc fetch` or `make` there")
        if path.stat().st_size > MAX_OBJECT or hash_file(path) != md5.removesuffix(".dir"):
            raise ValueError(f"{path} is damaged")
        return path

    @cached_property
    def cache(self) -> Path:
        """That of the project at hand, whatever a revision's configuration says."""
        return find_cache()

    def read_arrays(self, path: Path) -> dict[str, np.ndarray]:
        """The members of an .npz. Compressed ones are refused: no array is larger than the file."""
        with np.load(self.find_output(path.as_posix()), allow_pickle=False) as arrays:
            if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                raise ValueError(f"{path} is compressed")
            return dict(arrays)


def join_tasks(comparison: Comparison, settings: StatisticsPlan) -> Comparison:
    """Several data sets of a study as one, of which each is a replicate: a review judges the means over them."""
    first, *_ = results = list(comparison.values())
    every, study = [dict(result.list_arms()) for result in results], split_task(next(iter(comparison)))[0]
    keys = [key for key in every[0] if all(key in one for one in every)]
    named = {name: one for name, one in first.scores.items() if all(one in each.scores.values() for each in results)}
    arms: dict[str, dict[Any, ArmResult]] = {}
    common = [{key: one[key] for key in keys} for one in every]
    pooled = {score: pool_arms(common, score, settings) for score in named.values()}
    for key in keys:
        judged = dict[str, Judgement]()
        for score in named.values():
            values, found = [one[key].judged[score].value for one in every], pooled[score].get(key)
            difference = Difference(found.value, found.low, found.high, verdict=found.verdict) if found else None
            judged[score] = Judgement(fmean(values), values, difference)
        arms.setdefault(key.variant, {})[key.kind] = replace(every[0][key], judged=judged)
    protocol = FixedTest(kind="fixed_test", seeds=len(results), validation=0.5)
    joined = replace(first, dataset="", protocol=protocol, scores=named, arms=arms)
    return {study: replace(joined, searches={}, may_be_best={}, checks=[])}


def hash_text(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def check_comparison(text: str) -> Comparison:
    """Parse a comparison; TextError where it has another layout, or scores that are unknown or cannot be."""
    try:
        return parse_comparison(text)
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    expected = "expected what compare writes now: run make, or name another revision"
    raise TextError(f"cannot be used ({fault[:300]}), {expected}")


def read_record(text: str) -> Record:
    """Parse dvc.lock; TextError where it is no YAML, or does not hold what a run of this project records."""
    compose(text)  # which refuses what the parser of DVC would choke on
    try:
        stages = parse_yaml(text, LOCK.name)["stages"]
        records = [
            StageRecord(str(stage["cmd"]), *(list_hashes(stage.get(role, [])) for role in ("deps", "outs")))
            for stage in stages.values()
        ]
        params = stages["plan"]["params"][PARAMS]
    except (YAMLFileCorruptedError, ValueError, LookupError, TypeError, AttributeError):
        expected = "expected what DVC writes: run make, or name another revision"
        raise TextError(f"does not hold what a run records, {expected}") from None
    return Record(params, {output: stage for stage in records for output in stage.outs})


def list_hashes(entries: list[Any]) -> dict[str, str]:
    return {str(entry["path"]): str(entry.get("md5", "")) for entry in entries}


def run_git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], capture_output=True, stdin=subprocess.DEVNULL)


def ask_git(revision: str, path: str, *command: str) -> bytes:
    """What git says of a file or folder of a revision, by its path in the present folder, or FileNotFoundError."""
    done = run_git(*command, "--end-of-options", f"{revision}:./{path}")
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        remedy = "expected a revision that has it: name another"
        raise FileNotFoundError(f"{path} of {revision} cannot be read ({reason}), {remedy}")
    return done.stdout


def find_base() -> str:
    """main, or the commit at which HEAD has left it: what main has gained since would appear as undone."""
    if run_git("merge-base", "--is-ancestor", "main", "HEAD").returncode == 0:
        return "main"
    return run_git("merge-base", "main", "HEAD").stdout.decode().strip()[:10] or "main"


def list_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their paths; null counts as an empty mapping, as in params.yaml."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from list_leaves(inner, f"{path}.{key}" if path else str(key))
    elif path or value:
        yield path or PARAMS, {} if value is None else value


def compare_params(base: Any, head: Any) -> Iterator[str]:
    """`key: before -> after` for every value that differs."""
    before, after = dict(list_leaves(base)), dict(list_leaves(head))
    for path in before | after:
        was, now = before.get(path, ABSENT), after.get(path, ABSENT)
        if was != now:
            yield f"{path}: {was} -> {now}"
