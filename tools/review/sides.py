"""One side of a review: parameters and arms as a git revision or the working tree has them."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.commands import UserError
from stages.lib.params import ParamsError, StatisticsParams, parse_params

COMPARISON, PARAMS, LOCK = "metrics/comparison.json", "params.yaml", "dvc.lock"
ENTRY_OF_PLAN = re.compile(r"^  plan:\n(?:    .*\n)+", re.MULTILINE)  # of dvc.lock, which takes a second to parse whole


@dataclass(frozen=True)
class Arm:
    """What comparison.json says of an arm, as far as a review needs it.

    protocol: in words, the seed included; arms of one protocol were judged on the same rows.
    test_train_ratio: held-out rows / development rows of a fold; 0 where the test rows are fixed.
    verdict, difference: within the study; the baseline has no difference.
    """

    metric: Literal["auc", "accuracy"]
    protocol: str
    test_train_ratio: Annotated[FiniteFloat, Field(ge=0)]
    replicates: Annotated[list[FiniteFloat], Field(min_length=2)]
    verdict: str
    difference: FiniteFloat | None = None


Key = tuple[str, str, str]  # study, variant, kind of arm
LAYOUT = TypeAdapter(dict[str, dict[str, dict[Literal["at_knob", "tuned", "reference"], Arm]]])


@dataclass(frozen=True)
class Side:
    """One side of a review, as a git revision or (None) the working tree has it."""

    revision: str | None

    @property
    def name(self) -> str:
        return self.revision or "the working tree"

    def read(self, path: str) -> str:
        if self.revision is None:
            try:
                return Path(path).read_text(encoding="utf-8")
            except FileNotFoundError:
                raise UserError(f"{path} is missing, expected the output of a whole run: run make") from None
        shown = subprocess.run(["git", "show", f"{self.revision}:./{path}"], capture_output=True, encoding="utf-8")
        if shown.returncode:
            reason = shown.stderr.strip().removeprefix("fatal: ")
            raise UserError(
                f"{path} of {self.name} cannot be read ({reason}), expected a revision with it: name another"
            )
        return shown.stdout

    def load_arms(self) -> dict[Key, Arm]:
        try:
            return parse_comparison(self.read(COMPARISON))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise UserError(
                f"{COMPARISON} of {self.name} cannot be used ({where}: {first['msg']}), expected what compare writes "
                "now: name another revision, or run make"
            ) from None

    def load_params(self) -> Any:
        try:
            return parse_yaml(self.read(PARAMS))
        except YAMLError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{PARAMS} of {self.name} is not YAML ({reason}), expected YAML: mend it") from None

    def load_settings(self) -> StatisticsParams:
        try:
            return parse_params(self.read(PARAMS)).statistics
        except ParamsError as error:
            raise UserError(f"{PARAMS} of {self.name} has mistakes, expected none: mend them\n{error}") from None

    def find_stale(self) -> list[str]:
        """The parameters that differ from those of the last run, which DVC keeps in dvc.lock."""
        try:
            entry = ENTRY_OF_PLAN.search(self.read(LOCK))
        except UserError:
            return []
        last = parse_yaml(entry[0])["plan"].get("params", {}).get(PARAMS) if entry else None
        return [] if last is None else compare_params(last, self.load_params())


def parse_comparison(text: str) -> dict[Key, Arm]:
    """The arms of a comparison.json; ValidationError where they are not as a review needs them."""
    return {
        (study, variant, kind): arm
        for study, variants in LAYOUT.validate_json(text).items()
        for variant, arms in variants.items()
        for kind, arm in arms.items()
    }


def parse_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings: dotted key, value."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def compare_params(base: Any, head: Any) -> list[str]:
    """`key: before -> after` for every value that differs; what one side lacks is (none)."""
    before, after = dict(flatten(base)), dict(flatten(head))
    keys = dict.fromkeys([*before, *after])
    return [
        f"{key}: {before.get(key, '(none)')} -> {after.get(key, '(none)')}"
        for key in keys
        if before.get(key, "(none)") != after.get(key, "(none)")
    ]
