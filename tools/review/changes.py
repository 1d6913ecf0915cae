"""What changed between two sides of a review, which of it is more than noise, and how that is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.lib import statistics
from stages.lib.params import StatisticsParams
from stages.lib.scores import BINARY, MULTICLASS
from stages.lib.wording import ARMS
from tools.review.sides import Arm, Key

SHOWN = 3  # parameters that the first line names
CONCLUSIONS = {  # the first verdict that is there concludes the review
    "worse": "**Worse**: {worse} of {changed} changed arms lost more than noise explains.",
    "better": "**Better**: {better} of {changed} changed arms gained more than noise explains, no loss is shown.",
    "undecided": "**Undecided**: of {changed} changed arms none is shown to have gained or lost.",
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
        added=[describe_new(key, after[key]) for key in after if key not in before],
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


def describe_new(key: Key, arm: Arm) -> str:
    """A new arm has nothing at the base to be compared with: what its own study says of it."""
    score = f"{name_arm(key)}: {arm.metric} {sum(arm.replicates) / len(arm.replicates):.4f}"
    if arm.difference is None:
        return score
    return f"{score}, {arm.difference:+.4f} from the baseline of its study: {arm.verdict}"


def name_arm(key: Key) -> str:
    study, variant, kind = key
    return f"{study} {variant} {ARMS[kind]}"


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
            "An interval is its arm's own; adjusted p and verdict take all changed arms together (Holm).",
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
