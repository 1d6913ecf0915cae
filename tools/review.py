"""Say what a change does to the held-out scores, and which of it is more than noise.

Reads metrics/comparison.json and params.yaml as they stand in a git revision (the base) and in the working tree or
another revision (the head), pairs the replicates of every arm that both have, and prints Markdown. Needs no data.

Of a study with one fixed test set an interval stands for other seeds on the same test rows, not for other rows.

exit status:
  0    nothing is worse
  1    an arm is worse than at the base
  2    the command line, or one of the two sides, needs mending
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib import statistics
from stages.lib.commands import UserError
from stages.lib.params import StatisticsParams, parse_params
from stages.lib.scores import BINARY, MULTICLASS

Json = dict[str, Any]
Arm = tuple[str, str, str]  # study, variant, kind of arm

COMPARISON, PARAMS, LOCK = "metrics/comparison.json", "params.yaml", "dvc.lock"
ENTRY_OF_PLAN = re.compile(r"^  plan:\n(?:    .*\n)+", re.MULTILINE)  # of dvc.lock, which takes a second to parse whole
KINDS = {"at_knob": "at the knob", "tuned": "tuned", "reference": "scikit-learn"}
CONCLUSIONS = {  # the first verdict that is there concludes the review
    "worse": "**Worse**: {worse} of {changed} changed arms lost more than noise explains.",
    "better": "**Better**: {better} of {changed} changed arms gained more than noise explains, and none lost.",
    "undecided": "**Undecided**: {undecided} of {changed} changed arms moved by no more than noise explains.",
    "equivalent": "**Equivalent**: none of {changed} changed arms moved by as much as matters.",
}


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
            return f"**Out of date**: the results are not of these parameters ({'; '.join(self.stale)}): run make."
        verdicts = [change.verdict for change in self.changes]
        counts = {verdict: verdicts.count(verdict) for verdict in CONCLUSIONS} | {"changed": len(verdicts)}
        for verdict, text in CONCLUSIONS.items():
            if verdict in verdicts:
                return text.format(**counts)
        return "No arm that both sides have has changed its held-out scores."

    @property
    def is_empty(self) -> bool:
        return not any(vars(self).values())


def read_side(revision: str | None, path: str) -> str:
    """A file's text in a git revision, or in the working tree where it is None."""
    if revision is None:
        try:
            return Path(path).read_text()
        except FileNotFoundError:
            raise UserError(f"{path} is missing, expected the output of a whole run: run make") from None
    shown = subprocess.run(["git", "show", f"{revision}:{path}"], capture_output=True, text=True)
    if shown.returncode:
        reason = shown.stderr.strip().removeprefix("fatal: ")
        raise UserError(
            f"{path} of {revision} cannot be read ({reason}), expected a revision that holds it: name another"
        )
    return shown.stdout


def read_lock(revision: str | None) -> str:
    """Empty where there is none: the review then cannot tell of which parameters the results are."""
    try:
        return read_side(revision, LOCK)
    except UserError:
        return ""


def list_arms(comparison: Json) -> dict[Arm, Json]:
    return {
        (study, variant, kind): arm
        for study, variants in comparison.items()
        for variant, arms in variants.items()
        for kind, arm in arms.items()
    }


def review(
    base: Json, head: Json, *, settings: StatisticsParams, params: Sequence[str] = (), stale: Sequence[str] = ()
) -> Review:
    """Compare two contents of comparison.json; Holm's family is what changed."""
    before, after = list_arms(base), list_arms(head)
    shared = [arm for arm in after if arm in before and after[arm]["replicates"] != before[arm]["replicates"]]
    comparable = [arm for arm in shared if after[arm]["metric"] == before[arm]["metric"]]
    return Review(
        changes=judge_changes(before, after, comparable, settings=settings),
        added=[name_arm(arm) for arm in after if arm not in before],
        removed=[name_arm(arm) for arm in before if arm not in after],
        params=list(params),
        incomparable=[name_arm(arm) for arm in shared if arm not in comparable],
        stale=list(stale),
    )


def judge_changes(
    before: dict[Arm, Json], after: dict[Arm, Json], arms: list[Arm], *, settings: StatisticsParams
) -> list[Change]:
    alpha = 1 - settings.confidence
    paired = {arm: before[arm]["protocol"] == after[arm]["protocol"] for arm in arms}
    found = {arm: compare_sides(before[arm], after[arm], paired=paired[arm], alpha=alpha) for arm in arms}
    adjusted = statistics.adjust([comparison.p_value for comparison in found.values()])
    changes = []
    for (arm, comparison), p_adjusted in zip(found.items(), adjusted, strict=True):
        metric = after[arm]["metric"]
        verdict = statistics.verdict(
            comparison,
            p_adjusted,
            margin=getattr(settings.equivalence, metric),
            greater_is_better=(BINARY | MULTICLASS)[metric].greater_is_better,
            alpha=alpha,
        )
        values = comparison.baseline, comparison.value, comparison.difference, comparison.ci_low, comparison.ci_high
        fixed_test = after[arm]["test_train_ratio"] == 0
        changes.append(Change(*arm, metric, *values, p_adjusted, verdict, paired[arm], fixed_test))
    return changes


def compare_sides(before: Json, after: Json, *, paired: bool, alpha: float) -> statistics.Comparison:
    """Paired by replicate where both were judged on the same rows from the same seed, else two independent means."""
    sides = [(side["replicates"], side["test_train_ratio"]) for side in (after, before)]
    if paired:
        return statistics.compare(sides[0][0], sides[1][0], test_train_ratio=sides[0][1], alpha=alpha)
    head, base = (statistics.resampled_mean(scores, test_train_ratio=ratio) for scores, ratio in sides)
    return statistics.compare_unpaired(head, base, alpha=alpha)


def name_arm(arm: Arm) -> str:
    study, variant, kind = arm
    return f"{study} {variant} {KINDS[kind]}"


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
        if before.get(key) != after.get(key)
    ]


def find_stale(lock: str, params: Any) -> list[str]:
    """The parameters that differ from those of the last run, which DVC keeps in dvc.lock."""
    entry = ENTRY_OF_PLAN.search(lock)
    return compare_params(parse_yaml(entry[0])["plan"]["params"][PARAMS], params) if entry else []


def parse_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


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
        change.study, change.variant, KINDS[change.arm], change.metric, f"{change.base:.4f}", f"{change.head:.4f}",
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


def main() -> int:
    options = parse_arguments()
    try:
        base, head = (json.loads(read_side(side, COMPARISON)) for side in (options.base, options.head))
        texts = [read_side(side, PARAMS) for side in (options.base, options.head)]
        settings = parse_params(texts[1]).statistics
        params = [parse_yaml(text) for text in texts]
        stale = find_stale(read_lock(options.head), params[1])
    except (UserError, YAMLError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = review(base, head, settings=settings, params=compare_params(*params), stale=stale)
    if options.json:
        print(json.dumps(asdict(found) | {"conclusion": found.conclusion}, indent=2))
    else:
        print(render(found, base=options.base))
    return int(any(change.verdict == "worse" for change in found.changes))


if __name__ == "__main__":
    sys.exit(main())
