"""One side of a review: parameters, results and the record of the last run, of a git revision or the working tree."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from stages.lib.settings.params import StatisticsParams, parse_params, parse_yaml

from stages.lib.core.cli import UserError
from stages.lib.core.files import read_plain
from stages.lib.judge.comparison import ArmResult, Comparison, StudyResult, parse_comparison
from stages.lib.judge.scores import SCORES
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.yaml_text import TextError, decode
from tools.review.escaping import escape
from tools.review.outputs import Outputs
from tools.review.record import COMPARISON, PARAMS, Key, Record, pick, read_record

LOCK = "dvc.lock"
FACTS = "metrics/series/{study}/facts.json"
MAX_BYTES = 2**26  # of one file; the largest, comparison.json, has a hundredth of that
INPUTS = (PARAMS, "dvc.yaml", "stages", "data/source")  # what results depend on
ABSENT = "(none)"


@dataclass(frozen=True)
class Side:
    """A git revision, or the working tree if revision is None."""

    revision: str | None

    @property
    def name(self) -> str:
        return self.revision or "the working tree"

    def read(self, path: str) -> str:
        """A file as text; MissingError where the side has none, UserError where it is too long or no text."""
        try:
            return decode(self.read_bytes(path), limit=MAX_BYTES)
        except TextError as error:
            raise self.refuse_file(path, error) from None

    def read_bytes(self, path: str) -> bytes:
        if self.revision is None:
            try:
                return read_plain(Path(path), most=MAX_BYTES)
            except FileNotFoundError:
                raise MissingError(f"{path} is missing, expected the output of a complete run: run make") from None
        name = f"{self.revision}:./{path}"
        size = run_git("cat-file", "-s", "--end-of-options", name)
        if size.returncode:
            reason = " ".join(size.stderr.split()).removeprefix("fatal: ")
            raise MissingError(
                f"{path} of {self.name} cannot be read ({reason}), expected a revision that has it: name another"
            )
        if int(size.stdout) > MAX_BYTES:
            raise self.refuse_file(path, TextError(f"has {int(size.stdout):,} bytes, expected at most {MAX_BYTES:,}"))
        return run_git("cat-file", "blob", "--end-of-options", name).stdout

    def refuse_file(self, path: str, error: TextError) -> UserError:
        return UserError(f"{path} of {self.name}{',' if error.line else ''} {error}")

    @cached_property
    def comparison(self) -> Comparison:
        try:
            comparison = parse_comparison(self.read(COMPARISON))
        except ValidationError as error:
            first = error.errors()[0]
            raise self.refuse(".".join(map(str, first["loc"])) or "the file", first["msg"]) from None
        for study, result in comparison.items():
            self.check_scores(study, result)
        return comparison

    def check_scores(self, study: str, result: StudyResult) -> None:
        """Every score of the study is known, and every arm is judged by it."""
        for question, score in result.scores.items():
            if score not in SCORES:
                raise self.refuse(f"{study}.scores.{question}", f"Input should be one of {', '.join(SCORES)}")
            for key, arm in result.list_arms():
                where = f"{study}.arms.{key.variant}.{key.kind}.judged"
                if score not in arm.judged:
                    raise self.refuse(where, f"Input should hold {score}")
                judged, least, most = arm.judged[score], SCORES[score].least, SCORES[score].most
                if not all(least <= value <= most for value in (judged.value, *judged.replicates)):
                    raise self.refuse(f"{where}.{score}", f"Input should be from {least:g} to {most:g}")

    def refuse(self, where: str, reason: str) -> UserError:
        remedy = "name another revision" if self.revision else "run make"
        where, reason = escape(where), escape(reason)
        return UserError(
            f"{COMPARISON} of {self.name} cannot be used ({where}: {reason}), expected what compare writes now: "
            f"{remedy}"
        )

    @cached_property
    def arms(self) -> dict[Key, ArmResult]:
        """Every arm of every study."""
        return {Key(study, *key): arm for study, result in self.comparison.items() for key, arm in result.list_arms()}

    @cached_property
    def params(self) -> Any:
        """params.yaml as nested mappings, not checked."""
        try:
            found = parse_yaml(self.read(PARAMS))
        except TextError as error:
            raise self.refuse_file(PARAMS, error) from None
        if not isinstance(found, dict):
            raise self.refuse_file(PARAMS, TextError("is no mapping, expected params.yaml's keys: correct it", 1))
        return found

    @property
    def settings(self) -> StatisticsParams:
        try:
            return parse_params(self.read(PARAMS)).statistics
        except ParamsError as error:
            mistakes = str(error).splitlines()
            more = f" and {len(mistakes) - 1:,} more" if len(mistakes) > 1 else ""
            raise UserError(
                f"{PARAMS} of {self.name} has mistakes, expected none: correct them ({mistakes[0]}{more})"
            ) from None

    @cached_property
    def record(self) -> Record | None:
        """The record of the last run; None where dvc.lock is missing, or does not hold what `plan` records."""
        try:
            return read_record(self.read(LOCK))
        except MissingError:
            return None
        except TextError as error:
            raise self.refuse_file(LOCK, error) from None

    @property
    def has_lock(self) -> bool:
        """Whether there is a dvc.lock."""
        try:
            return bool(self.read_bytes(LOCK))
        except MissingError:
            return False

    @cached_property
    def machine(self) -> str:
        """The architecture on which the results were summarized; empty where that is not recorded."""
        try:
            found = json.loads(self.read(FACTS.format(study=next(iter(self.comparison), ""))))
        except (UserError, ValueError, RecursionError):
            return ""
        return str(pick(found, "machine") or "")

    @cached_property
    def outputs(self) -> Outputs:
        """The outputs of the last run, as far as they are still to be had."""
        return Outputs(self.record, in_workspace=self.revision is None)

    def find_inputs(self, key: Key) -> object:
        """All that an arm's scores depend on, to be compared with the other side's; None if it is not recorded."""
        return self.record and self.record.find_inputs(key)

    def find_stale(self) -> list[str]:
        """Reasons why the results are not those of a complete run with these parameters; empty if none is recorded."""
        if self.record is None:
            return [f"{LOCK} does not hold what a run records"] if self.has_lock else []
        changed = compare_params(self.record.params, self.params)
        return changed or self.record.find_unfinished(self.arms, comparison=self.read(COMPARISON))


class MissingError(UserError):
    """A side has no such file."""


class Done(NamedTuple):
    """How a git command ended."""

    returncode: int
    stdout: bytes
    stderr: str


def run_git(*arguments: str) -> Done:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise UserError("git is missing, expected it on the PATH: install the package git") from None
    said = done.stderr.decode(errors="replace")
    if "not a git repository" in said:
        raise UserError(f"{Path.cwd()} is not in a git repository, expected a clone of the project: change to one")
    return Done(done.returncode, done.stdout, said)


def find_fork(base: Side, head: Side) -> str:
    """The commit at which the head branched off; empty unless the base has since changed what results depend on."""
    found = run_git("merge-base", "--end-of-options", str(base.revision), head.revision or "HEAD")
    fork = found.stdout.decode().strip()
    unchanged = "diff", "--quiet", "--no-ext-diff", "--end-of-options", fork, str(base.revision), "--", *INPUTS
    if not fork or run_git(*unchanged).returncode == 0:
        return ""
    return fork[:10]


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings: dotted key, value. null counts as an empty mapping, as in params.yaml."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, {} if value is None else value


def compare_params(base: Any, head: Any) -> list[str]:
    """`key: before -> after` for every value that differs; (none) stands for a value that one side lacks."""
    before, after = dict(flatten(base)), dict(flatten(head))
    for leaves, others in ((before, after), (after, before)):
        above = {key[: dot.start()] for key in others for dot in re.finditer(r"\.", key)}
        for key in [key for key, value in leaves.items() if value == {} and key in above]:
            del leaves[key]  # a variant without settings that was given some has not been removed
    return [
        f"{key}: {before.get(key, ABSENT)} -> {after.get(key, ABSENT)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    ]
