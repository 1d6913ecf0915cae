"""What changed between two sides of a review, and which changes are more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stages.lib import statistics
from stages.lib.comparison import ArmResult
from stages.lib.scores import SCORES
from stages.lib.settings.params import StatisticsParams
from tools.review.pairs import Pair, pair_arms
from tools.review.record import Key
from tools.review.sides import Side, compare_params

ORDER = ("worse", "better", "undecided", "equivalent")  # the first of these that occurs is the verdict of the review


@dataclass(frozen=True)
class Change:
    """The primary score of an arm at the base and at the head; difference and interval are head - base."""

    study: str
    variant: str
    kind: str
    primary: str
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
    """An arm that the base lacks, and its difference from the baseline of its study; a baseline has none."""

    study: str
    variant: str
    kind: str
    primary: str
    value: float
    difference: float | None
    verdict: str


@dataclass(frozen=True)
class Review:
    """What differs between two sides.

    changes: arms with different scores of which an input changed, or may have changed.
    recomputed: arms with different scores of which no input that DVC tracks changed.
    touched: whether an input of any arm changed, be its scores different or not.
    verdicts: arms whose verdict within their own study changed: at the base, at the head.
    incomparable: arms whose study has a different primary score.
    stale, base_stale: reasons why the results of the head, of the base, are out of date.
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
        """What a reviewer has to look at: changed arms, and recomputed arms that moved by more than noise."""
        return self.changes + [change for change in self.recomputed if change.verdict in ("worse", "better")]

    @property
    def counts(self) -> dict[str, int]:
        verdicts = [change.verdict for change in self.judged]
        return {verdict: verdicts.count(verdict) for verdict in ORDER if verdict in verdicts}

    @property
    def verdict(self) -> str:
        """worse, better, undecided or equivalent; without a judged arm not_comparable or unchanged."""
        return next(iter(self.counts), "not_comparable" if self.incomparable else "unchanged")

    @property
    def is_empty(self) -> bool:
        """Whether nothing that affects a result changed, though results may have been recomputed."""
        reported = self.judged, self.added, self.removed, self.incomparable, self.params, self.stale, self.base_stale
        return not any(reported) and not (self.touched if self.recomputed else self.verdicts)


def review(base: Side, head: Side) -> Review:
    """Compare the arms of two sides. Changed arms are one family of tests, recomputed arms another."""
    pairs, params, settings = pair_arms(base, head), compare_params(base.params, head.params), head.settings
    touched = {key for key in pairs if is_touched(key, base, head)}
    moved = {key: pair for key, pair in pairs.items() if pair.has_moved and pair.has_same_primary}
    return Review(
        changes=judge({key: pair for key, pair in moved.items() if key in touched}, settings=settings),
        recomputed=judge({key: pair for key, pair in moved.items() if key not in touched}, settings=settings),
        touched=bool(touched),
        verdicts={key: pair.verdicts for key, pair in pairs.items() if len(set(pair.verdicts)) > 1},
        added=[describe_new(key, arm, head) for key, arm in head.arms.items() if key not in pairs],
        removed=[key for key in base.arms if key not in pairs],
        incomparable=[key for key, pair in pairs.items() if not pair.has_same_primary],
        params=params,
        stale=head.find_stale(),
        base_stale=base.find_stale(),
        confidence=settings.confidence,
    )


def is_touched(key: Key, base: Side, head: Side) -> bool:
    """Whether an input of the arm changed, as far as dvc.lock records it; true if it does not."""
    before, after = base.find_inputs(key), head.find_inputs(key)
    return before is None or before != after


def judge(pairs: Mapping[Key, Pair], *, settings: StatisticsParams) -> list[Change]:
    """Test the difference of every pair; p-values are adjusted over all of them."""
    alpha = 1 - settings.confidence
    found = {key: pair.compare(alpha=alpha) for key, pair in pairs.items()}
    adjusted = statistics.adjust([comparison.p_value for comparison in found.values()])
    return [
        describe_change(key, pairs[key], comparison, p_adjusted, settings=settings)
        for (key, comparison), p_adjusted in zip(found.items(), adjusted, strict=True)
    ]


def describe_change(
    key: Key, pair: Pair, comparison: statistics.Comparison, p_adjusted: float, *, settings: StatisticsParams
) -> Change:
    """A difference with its verdict."""
    primary = pair.head_study.primary
    verdict = statistics.verdict(
        comparison,
        p_adjusted,
        margin=settings.equivalence.get(primary, 0.0),  # no margin, as in results out of date: none is equivalent
        greater_is_better=SCORES[primary].greater_is_better,
        alpha=1 - settings.confidence,
    )
    return Change(
        *key,
        primary=primary,
        base=comparison.baseline,
        head=comparison.value,
        difference=comparison.difference,
        ci_low=comparison.ci_low,
        ci_high=comparison.ci_high,
        p_adjusted=p_adjusted,
        verdict=verdict,
        paired=pair.is_paired,
        fixed_test=pair.head_study.protocol.fixed_test,
    )


def describe_new(key: Key, arm: ArmResult, head: Side) -> NewArm:
    return NewArm(
        *key,
        primary=head.comparison[key.study].primary,
        value=arm.value,
        difference=arm.difference.value if arm.difference else None,
        verdict=arm.verdict,
    )
