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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import yaml
from pydantic import ValidationError

from stages.lib.core.cli import UserError
from stages.lib.core.files import read_plain
from stages.lib.core.records import split_task
from stages.lib.judge.arms import AT_KNOB, REFERENCE
from stages.lib.judge.comparison import COMPARISON, ArmResult, Comparison, find_comparison, parse_comparison
from stages.lib.judge.plans import BEST_SINGLE
from stages.lib.judge.scores import SCORES
from stages.lib.lock import HASH, LOCK, find_cache, find_nodes, find_object, hash_file, read_listing, read_texts
from stages.lib.settings.mistakes import PARAMS, ParamsError
from stages.lib.settings.yaml_text import TextError, compose, decode, load_document

METRICS = "metrics/metrics.json"
MAX_BYTES = 2**26  # of one file; the largest, of a comparison, has a hundredth of that
MAX_OBJECT = 2**30  # bytes of one output: the largest predictions have a twentieth of that
MAX_VALUES = 2**18  # of dvc.lock, which has a tenth of that with 113 stages
INPUTS = (PARAMS, "dvc.yaml", "stages", "data/source")  # what results depend on
# What holds parts of all arms of a study or project. What an arm uses of it is recorded by itself.
SHARED = re.compile(r"(data/(plan|predictions|reference)|models)(/\w+)?|data/plan/(\w+/)?_(study|statistics)\.json")
ABSENT = "(none)"
Content = TypeVar("Content")


class Key(NamedTuple):
    """Names an arm among those of all studies."""

    study: str  # or a task, one of the data sets of a study
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
        """All tasks, in the order of params.yaml; MissingError where no study was compared."""
        sections = [pick(self.params, section) for section in ("tutorial", "studies")]
        order = [name for section in sections if isinstance(section, dict) for name in section]
        found = [re.fullmatch(r"(\w+)\.json", file) for file in list_files(self.revision, COMPARISON)]
        names = sorted(match[1] for match in found if match)
        if not names:
            expected = "expected the output of a complete run: run make"
            raise MissingError(f"{COMPARISON} of {self.name} has no file, {expected}")
        names.sort(key=lambda name: order.index(name) if name in order else len(order))
        read = [self.read(find_comparison(name).as_posix(), check_comparison) for name in names]
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
        except MissingError:
            return Record(None, {})

    def find_stale(self) -> list[str]:
        """Reasons why the results are not those of a complete run with these parameters; empty if none is recorded.

        A run is incomplete where two stages have recorded different hashes of the same path. Not detected: a run that
        stopped after all trainings of a study and before its evaluation.
        """
        params, writers = self.record
        if params is None:
            return []
        if changed := list(compare_params(params, self.params)):
            return changed
        studies = {split_task(study)[0] for study in self.comparison}
        outputs = {"data/plan", METRICS, *(f"data/held_out/{study}" for study in studies)}
        outputs |= {output for key in self.arms for output in self.list_outputs(key)}
        stages = [writers[output] for output in outputs & writers.keys()]
        files = {file for stage in stages for file in (*stage.deps.items(), *stage.outs.items())}
        if len(dict(files)) < len(files):
            return ["the last run was not completed"]
        written = sorted(find_comparison(study).as_posix() for study in studies)
        others = [path for path in written if (path, self.read(path, hash_text)) not in files]
        return [f"{path} is not what the last run wrote" for path in others[:1]]

    def find_inputs(self, key: Key) -> frozenset[object] | None:
        """All that the predictions and scores of an arm depend on, code included; None if it is not recorded.

        The score that chooses strengths is in params.yaml, and in no plan of a single arm.
        """
        outputs, (params, writers) = self.list_outputs(key), self.record
        if not outputs <= writers.keys():
            return None
        stages, study = [writers[output] for output in outputs], split_task(key.study)[0]
        files = {file for stage in stages for file in stage.deps.items() if not SHARED.fullmatch(file[0])}
        chosen = {str(pick(params, section, study, "select_by")) for section in ("studies", "tutorial")}
        return frozenset({*files, *chosen, *(stage.cmd for stage in stages)})

    def list_outputs(self, key: Key) -> set[str]:
        """The outputs that hold an arm's networks, predictions and scores.

        The best single regulariser is chosen among all variants of its study: those that were compared, since DVC keeps
        the entries of variants that are gone.
        """
        study = split_task(key.study)[0]
        scores = find_comparison(study).as_posix()
        if key.kind == REFERENCE:
            return {scores, f"data/reference/{study}"}
        variants = [key.variant]
        if key.variant.startswith(BEST_SINGLE):
            variants = [arm.variant for arm in self.arms if (arm.study, arm.kind) == (key.study, AT_KNOB)]
        return {scores, f"data/predictions/{study}", *(f"models/{study}/{variant}" for variant in variants)}

    def find_output(self, path: str) -> Path:
        """DVC's copy of a file of an output folder as the last run left it; RowsUnknownError where it has none."""
        outputs = [(output, stage.outs[output]) for output, stage in self.record.writers.items()]
        folder, md5 = next((entry for entry in outputs if path.startswith(f"{entry[0]}/")), ("", ""))
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

    def read_arrays(self, path: str) -> dict[str, np.ndarray]:
        """The members of an .npz. Compressed ones are refused: no array is larger than the file."""
        with np.load(self.find_output(path), allow_pickle=False) as arrays:
            if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                raise ValueError(f"{path} is compressed")
            return dict(arrays)


def hash_text(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def check_comparison(text: str) -> Comparison:
    """Parse a comparison; TextError where it has another layout, or scores that are unknown or cannot be."""
    try:
        comparison = parse_comparison(text)
        fault = next(find_impossible(comparison), "")
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    if fault:
        expected = "expected what compare writes now: run make, or name another revision"
        raise TextError(f"cannot be used ({fault[:300]}), {expected}")
    return comparison


def find_impossible(comparison: Comparison) -> Iterator[str]:
    for study, result in comparison.items():
        for (variant, kind), arm in result.list_arms():
            for score, value in ((score, value) for score, each in arm.judged.items() for value in each.replicates):
                if score not in SCORES or not SCORES[score].least <= value <= SCORES[score].most:
                    yield f"{study}.arms.{variant}.{kind}.judged.{score} is {value:g}"


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
    size = int(ask_git(revision, path, "cat-file", "-s"))
    if size > MAX_BYTES:
        raise TextError(f"has {size:,} bytes, expected at most {MAX_BYTES:,}")
    return ask_git(revision, path, "cat-file", "blob")


def list_files(revision: str | None, folder: Path) -> list[str]:
    """The names of what a folder of a revision, or of the working tree, holds."""
    if revision is None:
        return [path.name for path in folder.glob("*")]
    listed = ask_git(revision, folder.as_posix(), "ls-tree", "-z", "--name-only", "--full-tree")
    return listed.decode(errors="replace").split("\0")


def ask_git(revision: str, path: str, *command: str) -> bytes:
    """What git says of a file or folder of a revision; MissingError where it has none."""
    done = run_git(*command, "--end-of-options", f"{revision}:./{path}")
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        remedy = "expected a revision that has it: name another"
        raise MissingError(f"{path} of {revision} cannot be read ({reason}), {remedy}")
    return done.stdout


def find_fork(base: Snapshot, head: Snapshot) -> str:
    """The commit at which the head branched off; empty unless the base has since changed what results depend on."""
    merge_base = run_git("merge-base", "--end-of-options", str(base.revision), head.revision or "HEAD")
    fork = merge_base.stdout.decode().strip()
    unchanged = "diff", "--quiet", "--no-ext-diff", "--end-of-options", fork, str(base.revision), "--", *INPUTS
    return fork[:10] if fork and run_git(*unchanged).returncode else ""


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


def read_record(text: str) -> Record:
    """Parse dvc.lock; TextError where it is no YAML, or does not hold what a run of this project records."""
    root = compose(text, most=MAX_VALUES)
    try:
        (plan,) = find_nodes(root, "stages", "plan", "params", PARAMS)
        params = load_document(yaml.serialize(plan))[0]  # as params.yaml itself is read: 1e-05 is a number, `on` text
        stages = [read_stage(node) for node in find_nodes(root, "stages", None)]
    except (ValueError, LookupError):
        params = None
    if not isinstance(params, dict):
        expected = "expected what DVC writes: run make, or name another revision"
        raise TextError(f"does not hold what a run records, {expected}")
    return Record(params, {output: stage for stage in stages for output in stage.outs})


def read_stage(node: yaml.Node) -> StageRecord:
    """LookupError where it reads or writes what has no path."""
    deps, outs = ([read_texts(entry) for entry in find_nodes(node, role, None)] for role in ("deps", "outs"))
    files = ({entry["path"]: entry.get("md5", "") for entry in entries} for entries in (deps, outs))
    return StageRecord(read_texts(node).get("cmd", ""), *files)


def pick(mapping: Any, *keys: str) -> Any:
    """The value at a path of keys; None where there is none, or no mapping."""
    for key in keys:
        mapping = mapping.get(key) if isinstance(mapping, dict) else None
    return mapping


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
