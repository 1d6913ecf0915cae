"""Say what a change does to the held-out scores, and which of it is more than noise.

Reads metrics/comparison.json and params.yaml as they stand in a git revision (the base) and in the working tree or
another revision (the head), pairs the replicates of every arm that both have, and prints Markdown. Needs no data.

Of a study with one fixed test set an interval stands for other seeds on the same test rows, not for other rows.

exit status:
  0    nothing is worse; that results are out of date is told, not judged
  1    an arm is worse than at the base
  2    the command line, or one of the two sides, needs mending
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib import statistics
from stages.lib.commands import UserError
from stages.lib.params import ParamsError, StatisticsParams, parse_params
from stages.lib.scores import BINARY, MULTICLASS
from stages.lib.wording import ARMS

COMPARISON, PARAMS, LOCK = "metrics/comparison.json", "params.yaml", "dvc.lock"
ENTRY_OF_PLAN = re.compile(r"^  plan:\n(?:    .*\n)+", re.MULTILINE)  # of dvc.lock, which takes a second to parse whole
SHOWN = 3  # parameters that the first line names
CONCLUSIONS = {  # the first verdict that is there concludes the review
    "worse": "**Worse**: {worse} of {changed} changed arms lost more than noise explains.",
    "better": "**Better**: {better} of {changed} changed arms gained more than noise explains, and none lost.",
    "undecided": "**Undecided**: {undecided} of {changed} changed arms moved by no more than noise explains.",
    "equivalent": "**Equivalent**: none of {changed} changed arms moved by as much as matters.",
}


@dataclass(frozen=True)
class Arm:
    """What comparison.json says of an arm, as far as a review needs it.

    protocol: in words, the seed included; arms of one protocol were judged on the same rows.
    test_train_ratio: held-out rows / development rows of a fold; 0 where the test rows are fixed.
    """

    metric: Literal["auc", "accuracy"]
    protocol: str
    test_train_ratio: Annotated[FiniteFloat, Field(ge=0)]
    replicates: Annotated[list[FiniteFloat], Field(min_length=2)]


Key = tuple[str, str, str]  # study, variant, kind of arm
Comparison = TypeAdapter(dict[str, dict[str, dict[Literal["at_knob", "tuned", "reference"], Arm]]])


@dataclass(frozen=True)
class Change:
    """One arm at the base and at the head; difference and interval are head - base."""

    study: str
    variant: str
    arm: str
    metric: str
    base: float
    head: float
    difference: float
    ci_low: float
    ci_high: float
    p_adjusted: float
    verdict: str
    paired: bool
    fixed_test: bool


@dataclass(frozen=True)
class Review:
    changes: list[Change]
    added: list[str]
    removed: list[str]
    params: list[str]
    incomparable: list[str]  # arms whose primary score is another one now
    stale: list[str]  # parameters that have changed since the head's results were made

    @property
    def conclusion(self) -> str:
        if self.stale:
            more = f"; {len(self.stale) - SHOWN} more" if len(self.stale) > SHOWN else ""
            changed = "; ".join(self.stale[:SHOWN]) + more
            return f"**Out of date**: the results are not of these parameters ({changed}): run make."
        verdicts = [change.verdict for change in self.changes]
        counts = {verdict: verdicts.count(verdict) for verdict in CONCLUSIONS} | {"changed": len(verdicts)}
        for verdict, text in CONCLUSIONS.items():
            if verdict in verdicts:
                return text.format(**counts)
        return "No arm that both sides have has changed its held-out scores."

    @property
    def is_empty(self) -> bool:
        return not any(vars(self).values())


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
        for study, variants in Comparison.validate_json(text).items()
        for variant, arms in variants.items()
        for kind, arm in arms.items()
    }


def parse_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def review(
    before: Mapping[Key, Arm],
    after: Mapping[Key, Arm],
    *,
    settings: StatisticsParams,
    params: Sequence[str] = (),
    stale: Sequence[str] = (),
) -> Review:
    """Compare the arms of two sides; Holm's family is what changed."""
    shared = [key for key in after if key in before and after[key].replicates != before[key].replicates]
    comparable = [key for key in shared if after[key].metric == before[key].metric]
    return Review(
        changes=judge_changes({key: (before[key], after[key]) for key in comparable}, settings=settings),
        added=[name_arm(key) for key in after if key not in before],
        removed=[name_arm(key) for key in before if key not in after],
        params=list(params),
        incomparable=[name_arm(key) for key in shared if key not in comparable],
        stale=list(stale),
    )


def judge_changes(sides: Mapping[Key, tuple[Arm, Arm]], *, settings: StatisticsParams) -> list[Change]:
    alpha = 1 - settings.confidence
    found = {key: compare_sides(before, after, alpha=alpha) for key, (before, after) in sides.items()}
    adjusted = statistics.adjust([comparison.p_value for comparison in found.values()])
    changes = []
    for (key, comparison), p_adjusted in zip(found.items(), adjusted, strict=True):
        before, after = sides[key]
        verdict = statistics.verdict(
            comparison,
            p_adjusted,
            margin=getattr(settings.equivalence, after.metric),
            greater_is_better=(BINARY | MULTICLASS)[after.metric].greater_is_better,
            alpha=alpha,
        )
        values = comparison.baseline, comparison.value, comparison.difference, comparison.ci_low, comparison.ci_high
        facts = are_paired(before, after), after.test_train_ratio == 0
        changes.append(Change(*key, after.metric, *values, p_adjusted, verdict, *facts))
    return changes


def are_paired(before: Arm, after: Arm) -> bool:
    return before.protocol == after.protocol and len(before.replicates) == len(after.replicates)


def compare_sides(before: Arm, after: Arm, *, alpha: float) -> statistics.Comparison:
    """Paired by replicate where both were judged on the same rows from the same seed, else two independent means."""
    if are_paired(before, after):
        ratio = after.test_train_ratio
        return statistics.compare(after.replicates, before.replicates, test_train_ratio=ratio, alpha=alpha)
    head, base = (
        statistics.resampled_mean(arm.replicates, test_train_ratio=arm.test_train_ratio) for arm in (after, before)
    )
    return statistics.compare_unpaired(head, base, alpha=alpha)


def name_arm(key: Key) -> str:
    study, variant, kind = key
    return f"{study} {variant} {ARMS[kind]}"


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


def render(found: Review, *, base: str) -> str:
    """The review as Markdown; one line where nothing changed."""
    if found.is_empty:
        return f"Nothing has changed since {base}: neither a parameter nor a held-out score."
    lines = [found.conclusion, ""]
    if found.changes:
        lines += [
            f"| study | variant | arm | score | at {base} | now | difference | interval | adjusted p | verdict |",
            "|---|---|---|---|--:|--:|--:|:-:|--:|---|",
            *map(render_change, found.changes),
            "",
        ]
    if not all(change.paired for change in found.changes):
        lines += ["\\* Protocol or seed differ, so replicates are compared unpaired.", ""]
    if any(change.fixed_test for change in found.changes):
        lines += ["† One fixed test set: the interval is for other seeds, on the same test rows.", ""]
    parts = {
        "Changed parameters": found.params,
        "New arms": found.added,
        "Removed arms": found.removed,
        "Not comparable, as the primary score is another one": found.incomparable,
    }
    for title, entries in parts.items():
        if entries:
            lines += [f"{title}:", "", *(f"- {entry}" for entry in entries), ""]
    return "\n".join(lines).rstrip()


def render_change(change: Change) -> str:
    interval = f"{change.ci_low:+.4f} to {change.ci_high:+.4f}"
    interval += (" †" if change.fixed_test else "") + ("" if change.paired else " \\*")
    cells = (
        change.study, change.variant, ARMS[change.arm], change.metric, f"{change.base:.4f}", f"{change.head:.4f}",
        f"{change.difference:+.4f}", interval, f"{change.p_adjusted:.4f}", change.verdict,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def parse_arguments() -> argparse.Namespace:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tools.review",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", nargs="?", default="main", help="a git revision (default: %(default)s)")
    parser.add_argument("--head", help="another git revision (default: the working tree)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of Markdown")
    return parser.parse_args()


def compare_revisions(base: Side, head: Side) -> Review:
    before, after = base.load_arms(), head.load_arms()
    params = compare_params(base.load_params(), head.load_params())
    return review(before, after, settings=head.load_settings(), params=params, stale=head.find_stale())


def main() -> int:
    options = parse_arguments()
    try:
        found = compare_revisions(Side(options.base), Side(options.head))
    except (UserError, UnicodeDecodeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        print(to_json(found) if options.json else render(found, base=options.base), flush=True)
    except BrokenPipeError:  # whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(any(change.verdict == "worse" for change in found.changes))


def to_json(found: Review) -> str:
    return json.dumps({"conclusion": found.conclusion} | asdict(found), indent=2)


if __name__ == "__main__":
    sys.exit(main())
