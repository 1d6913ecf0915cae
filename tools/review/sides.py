"""One side of a review: parameters, results and the record of the last run, of a git revision or the working tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.lib.base.commands import UserError
from stages.lib.comparison import ArmResult, Comparison, StudyResult, parse_comparison
from stages.lib.scores import SCORES
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.params import StatisticsParams, parse_params, parse_yaml
from stages.lib.settings.yaml_text import TextError
from tools.review.outputs import Outputs
from tools.review.record import COMPARISON, PARAMS, Key, Record, read_record

LOCK = "dvc.lock"
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
        if self.revision is None:
            try:
                return Path(path).read_text(encoding="utf-8")
            except FileNotFoundError:
                raise UserError(f"{path} is missing, expected the output of a complete run: run make") from None
        shown = run_git("show", f"{self.revision}:./{path}")
        if shown.returncode:
            reason = shown.stderr.strip().removeprefix("fatal: ")
            raise UserError(
                f"{path} of {self.name} cannot be read ({reason}), expected a revision that has it: name another"
            )
        return shown.stdout

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
                if score not in arm.judged:
                    raise self.refuse(f"{study}.arms.{key.variant}.{key.kind}.judged", f"Input should hold {score}")

    def refuse(self, where: str, reason: str) -> UserError:
        remedy = "name another revision" if self.revision else "run make"
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
            return parse_yaml(self.read(PARAMS))
        except TextError as error:
            raise UserError(f"{PARAMS} of {self.name}, {error}") from None

    @property
    def settings(self) -> StatisticsParams:
        try:
            return parse_params(self.read(PARAMS)).statistics
        except ParamsError as error:
            raise UserError(f"{PARAMS} of {self.name} has mistakes, expected none: correct them\n{error}") from None

    @cached_property
    def record(self) -> Record | None:
        """The record of the last run; None where dvc.lock is missing or unreadable."""
        try:
            return read_record(self.read(LOCK))
        except UserError:
            return None

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
            return []
        changed = compare_params(self.record.params, self.params)
        return changed or self.record.find_unfinished(self.arms, comparison=self.read(COMPARISON))


def run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        raise UserError("git is missing, expected it on the PATH: install the package git") from None
    if "not a git repository" in done.stderr:
        raise UserError(f"{Path.cwd()} is not in a git repository, expected a clone of the project: change to one")
    return done


def find_fork(base: Side, head: Side) -> str:
    """The commit at which the head branched off; empty unless the base has since changed what results depend on."""
    fork = run_git("merge-base", str(base.revision), head.revision or "HEAD").stdout.strip()
    if not fork or run_git("diff", "--quiet", fork, str(base.revision), "--", *INPUTS).returncode == 0:
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
        for key in [key for key, value in leaves.items() if value == {}]:
            if any(other.startswith(f"{key}.") for other in others):
                del leaves[key]  # a variant without settings that was given some has not been removed
    return [
        f"{key}: {before.get(key, ABSENT)} -> {after.get(key, ABSENT)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    ]
