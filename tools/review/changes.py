"""What changed between two sides of a review, and which of it is more than noise."""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.lib import statistics
from stages.lib.params import StatisticsParams
from stages.lib.scores import BINARY, MULTICLASS
from tools.review.record import Key
from tools.review.sides import Arm, Side, compare_params

ORDER = ("worse", "better", "undecided", "equivalent")  # the first verdict that is there is that of the review


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
class NewArm:
    """An arm that the base lacks, and what its own study says of it; the baseline has no difference."""

    study: str
    variant: str
    arm: str
    metric: str
    value: float
    difference: float | None
    verdict: str


@dataclass(frozen=True)
class Review:
    """What differs between two sides, and why a side's results may not be those of its parameters.

    recomputed: arms with other scores though nothing changed that DVC tracks of them
    touched: whether anything changed that DVC tracks of some arm, be its scores the same or not
    verdicts: arms whose verdict within their own study is another one, with that of the base and of the head
    incomparable: arms whose primary score is another one
    stale, base_stale: why the results of the head, of the base, are out of date
    """

    changes: list[Change]
    recomputed: list[Change]
    touched: bool
    verdicts: dict[Key, tuple[str, str]]
    added: list[NewArm]
    removed: list[Key]
    incomparable: list[Key]
    params: list[str]
    stale: list[str]
    base_stale: list[str]
    confidence: float

    @property
    def judged(self) -> list[Change]:
        """What a reviewer has to look at: the changed arms, and those recomputed ones that moved by more than noise."""
        return self.changes + [change for change in self.recomputed if change.verdict in ("worse", "better")]

    @property
    def counts(self) -> dict[str, int]:
        verdicts = [change.verdict for change in self.judged]
        return {verdict: verdicts.count(verdict) for verdict in ORDER if verdict in verdicts}

    @property
    def verdict(self) -> str:
        """worse, better, undecided or equivalent; without a changed arm not_comparable or unchanged."""
        return next(iter(self.counts), "not_comparable" if self.incomparable else "unchanged")

    @property
    def is_of_nothing(self) -> bool:
        """Nothing that shapes a result has changed, though results may have been computed anew."""
        told = self.judged, self.added, self.removed, self.incomparable, self.params, self.stale, self.base_stale
        return not any(told) and not (self.touched if self.recomputed else self.verdicts)


def review(base: Side, head: Side) -> Review:
    """Compare the arms of two sides. Holm's families are what changed and, apart from it, what was only recomputed."""
    before, after, params = base.arms, head.arms, compare_params(base.params, head.params)
    settings = head.settings
    shared = [key for key in after if key in before]
    moved = [key for key in shared if after[key].replicates != before[key].replicates]
    comparable = [key for key in moved if after[key].metric == before[key].metric]
    touched = {key for key in shared if is_touched(key, base, head)}
    changes, recomputed = (
        judge({key: (before[key], after[key]) for key in comparable if (key in touched) == wanted}, settings=settings)
        for wanted in (True, False)
    )
    return Review(
        changes=changes,
        recomputed=recomputed,
        touched=bool(touched),
        verdicts={
            key: (before[key].verdict, after[key].verdict)
            for key in shared
            if before[key].verdict != after[key].verdict
        },
        added=[describe_new(key, after[key]) for key in after if key not in before],
        removed=[key for key in before if key not in after],
        incomparable=[key for key in shared if after[key].metric != before[key].metric],
        params=params,
        stale=head.find_stale(),
        base_stale=base.find_stale(),
        confidence=settings.confidence,
    )


def is_touched(key: Key, base: Side, head: Side) -> bool:
    """Whether anything that the arm's answers depend on differs, as far as dvc.lock tells; yes if it does not tell."""
    before, after = base.find_inputs(key), head.find_inputs(key)
    return before is None or before != after


def judge(sides: Mapping[Key, tuple[Arm, Arm]], *, settings: StatisticsParams) -> list[Change]:
    """Compare the two arms of each key, all keys as one family of Holm's."""
    alpha = 1 - settings.confidence
    found = {key: compare_arms(before, after, alpha=alpha) for key, (before, after) in sides.items()}
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
        changes.append(
            Change(
                *key,
                metric=after.metric,
                base=comparison.baseline,
                head=comparison.value,
                difference=comparison.difference,
                ci_low=comparison.ci_low,
                ci_high=comparison.ci_high,
                p_adjusted=p_adjusted,
                verdict=verdict,
                paired=are_paired(before, after),
                fixed_test=after.test_train_ratio == 0,
            )
        )
    return changes


def are_paired(before: Arm, after: Arm) -> bool:
    return before.protocol == after.protocol and len(before.replicates) == len(after.replicates)


def compare_arms(before: Arm, after: Arm, *, alpha: float) -> statistics.Comparison:
    """Paired by replicate where both were judged on the same rows from the same seed, else two independent means."""
    if are_paired(before, after):
        ratio = after.test_train_ratio
        return statistics.compare(after.replicates, before.replicates, test_train_ratio=ratio, alpha=alpha)
    head, base = (
        statistics.resampled_mean(arm.replicates, test_train_ratio=arm.test_train_ratio) for arm in (after, before)
    )
    return statistics.compare_unpaired(head, base, alpha=alpha)


def describe_new(key: Key, arm: Arm) -> NewArm:
    value = sum(arm.replicates) / len(arm.replicates)
    return NewArm(*key, metric=arm.metric, value=value, difference=arm.difference, verdict=arm.verdict)
