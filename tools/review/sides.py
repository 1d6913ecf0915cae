"""One side of a review: parameters, arms and what was run, as a git revision or the working tree has them."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from ruamel.yaml.error import YAMLError

from stages.lib.commands import UserError
from stages.lib.mistakes import ParamsError
from stages.lib.params import StatisticsParams, parse_params, parse_yaml
from tools.review.record import Key, Record, read_record

COMPARISON, PARAMS, LOCK = "metrics/comparison.json", "params.yaml", "dvc.lock"
SHAPING = (PARAMS, "dvc.yaml", "stages", "data/source")  # what results depend on
NOTHING = "(none)"


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
        shown = run_git("show", f"{self.revision}:./{path}")
        if shown.returncode:
            reason = shown.stderr.strip().removeprefix("fatal: ")
            raise UserError(
                f"{path} of {self.name} cannot be read ({reason}), expected a revision with it: name another"
            )
        return shown.stdout

    @cached_property
    def arms(self) -> dict[Key, Arm]:
        try:
            return parse_comparison(self.read(COMPARISON))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            remedy = "name another revision" if self.revision else "run make"
            raise UserError(
                f"{COMPARISON} of {self.name} cannot be used ({where}: {first['msg']}), expected what compare writes "
                f"now: {remedy}"
            ) from None

    @cached_property
    def params(self) -> Any:
        try:
            return parse_yaml(self.read(PARAMS))
        except YAMLError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{PARAMS} of {self.name} is not YAML ({reason}), expected YAML: mend it") from None

    @property
    def settings(self) -> StatisticsParams:
        try:
            return parse_params(self.read(PARAMS)).statistics
        except ParamsError as error:
            raise UserError(f"{PARAMS} of {self.name} has mistakes, expected none: mend them\n{error}") from None

    @cached_property
    def record(self) -> Record | None:
        """None where nothing tells what was run."""
        try:
            return read_record(self.read(LOCK))
        except UserError:
            return None

    def find_inputs(self, key: Key) -> object:
        """What an arm's answers depend on, to be compared with another side's; None where nothing tells."""
        if not self.record or not (hashes := self.record.find_inputs(key)):
            return None
        return hashes, find_settings(self.record.params, study=key[0])

    def find_stale(self) -> list[str]:
        """Why the results are not those of a whole run with these parameters; empty if they are, or nothing tells."""
        if self.record is None:
            return []
        changed = compare_params(self.record.params, self.params)
        return changed or self.record.find_unfinished(self.arms, comparison=self.read(COMPARISON))


def find_settings(params: Any, *, study: str) -> dict[str, Any]:
    """What shapes the scores of a study's arms and stands in no file that they have to themselves."""
    settings = params.get("studies", {}).get(study, {})
    return {name: settings.get(name) for name in ("primary", "select_by")}


def run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        raise UserError("git is missing, expected it on the PATH: install the package git") from None
    if "not a git repository" in done.stderr:
        raise UserError(f"{Path.cwd()} is not in a git repository, expected a clone of the project: change to one")
    return done


def find_fork(base: Side, head: Side) -> str:
    """The commit at which the head left the base; empty unless what shapes results has changed at the base since."""
    fork = run_git("merge-base", str(base.revision), head.revision or "HEAD").stdout.strip()
    if not fork or run_git("diff", "--quiet", fork, str(base.revision), "--", *SHAPING).returncode == 0:
        return ""
    return fork[:10]


def parse_comparison(text: str) -> dict[Key, Arm]:
    """The arms of a comparison.json; ValidationError where they are not as a review needs them."""
    return {
        (study, variant, kind): arm
        for study, variants in LAYOUT.validate_json(text).items()
        for variant, arms in variants.items()
        for kind, arm in arms.items()
    }


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings: dotted key, value; nothing means the empty mapping, as in the schema."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, {} if value is None else value


def compare_params(base: Any, head: Any) -> list[str]:
    """`key: before -> after` for every value that differs; what one side lacks is (none)."""
    before, after = dict(flatten(base)), dict(flatten(head))
    for leaves, others in ((before, after), (after, before)):
        for key in [key for key, value in leaves.items() if value == {}]:
            if any(other.startswith(f"{key}.") for other in others):
                del leaves[key]  # a variant without settings that has got some has not gone
    return [
        f"{key}: {before.get(key, NOTHING)} -> {after.get(key, NOTHING)}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, NOTHING) != after.get(key, NOTHING)
    ]
