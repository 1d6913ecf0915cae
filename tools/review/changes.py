"""What changed between two sides of a review, and which changes are more than noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stages.lib.settings.params import StatisticsParams

from stages.lib.judge.comparison import ArmResult
from stages.lib.judge.plans import StatisticsPlan
from tools.review.judging import Change, judge
from tools.review.pairs import Pair, pair_arms
from tools.review.record import Key, ScoredKey
from tools.review.rows import Basis, ByRow, RowsUnknownError, compare_rows
from tools.review.sides import Side, compare_params

ORDER = ("worse", "better", "undecided", "equivalent")  # the first that occurs is the verdict of an arm, or of all arms


@dataclass(frozen=True)
class NewScore:
    """A score of an arm that the base lacks, and its difference from the arm's baseline; a baseline has none."""

    value: float
    difference: float | None
    verdict: str


@dataclass(frozen=True)
class NewArm:
    """An arm that the base lacks. scores: name -> how it does by it."""

    study: str
    variant: str
    kind: str
    baseline: str
    scores: dict[str, NewScore]


@dataclass(frozen=True)
class Review:
    """What differs between two sides.

    changes: scores that differ, of arms of which an input changed, or may have changed.
    recomputed: scores that differ, of arms of which no input that DVC tracks changed.
    machines: the architecture on which the base, and the head, were summarized; empty where that is not recorded.
    basis: study -> on what its differences are judged.
    touched: whether an input of any arm changed, be its scores different or not.
    verdicts: arms whose verdict against their own baseline changed: at the base, at the head.
    incomparable: scores by which one side alone judges an arm.
    stale, base_stale: reasons why the results of the head, of the base, are out of date.
    """

    changes: list[Change]
    recomputed: list[Change]
    machines: tuple[str, str]
    basis: dict[str, Basis]
    touched: bool
    verdicts: dict[ScoredKey, tuple[str, str]]
    added: list[NewArm]
    removed: list[Key]
    incomparable: list[ScoredKey]
    params: list[str]
    stale: list[str]
    base_stale: list[str]
    confidence: float

    @property
    def judged(self) -> list[Change]:
        """What a reviewer has to look at: changed arms, and recomputed arms that moved by more than noise."""
        notable = {change.arm for change in self.recomputed if change.verdict in ("worse", "better")}
        return self.changes + [change for change in self.recomputed if change.arm in notable]

    @property
    def arms(self) -> dict[Key, str]:
        """The verdict of each judged arm: worse if it is worse by one score, better if by one and worse by none."""
        verdicts: dict[Key, list[str]] = {}
        for change in self.judged:
            verdicts.setdefault(change.arm, []).append(change.verdict)
        return {key: min(found, key=ORDER.index) for key, found in verdicts.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of arms."""
        verdicts = list(self.arms.values())
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
    """Compare the arms of two sides. Changed arms and recomputed arms are judged apart."""
    pairs, params, settings = pair_arms(base, head), compare_params(base.params, head.params), head.settings
    touched = {key for key in pairs if is_touched(key, base, head)}
    moved = {key: pair for key, pair in pairs.items() if pair.moved_scores}
    by_row, basis = compare_studies(moved, base=base, head=head, settings=settings)
    return Review(
        changes=judge({key: pair for key, pair in moved.items() if key in touched}, by_row, settings=settings),
        recomputed=judge({key: pair for key, pair in moved.items() if key not in touched}, by_row, settings=settings),
        machines=(base.machine, head.machine),
        basis=basis,
        touched=bool(touched),
        verdicts=find_verdicts(pairs),
        added=[describe_new(key, arm) for key, arm in head.arms.items() if key not in pairs],
        removed=[key for key in base.arms if key not in pairs],
        incomparable=[ScoredKey(*key, score) for key, pair in pairs.items() for score in pair.other_scores],
        params=params,
        stale=head.find_stale(),
        base_stale=base.find_stale(),
        confidence=settings.confidence,
    )


def is_touched(key: Key, base: Side, head: Side) -> bool:
    """Whether an input of the arm changed, as far as dvc.lock records it; true if it does not."""
    before, after = base.find_inputs(key), head.find_inputs(key)
    return before is None or before != after


def compare_studies(
    moved: Mapping[Key, Pair], *, base: Side, head: Side, settings: StatisticsParams
) -> tuple[dict[str, ByRow], dict[str, Basis]]:
    """The comparisons by row of each study where they can be had, and the basis of every study."""
    plan = StatisticsPlan(settings.confidence, dict(settings.equivalence))
    by_row: dict[str, ByRow] = {}
    basis: dict[str, Basis] = {}
    for study in dict.fromkeys(key.study for key in moved):
        members = {key: pair for key, pair in moved.items() if key.study == study}
        try:
            by_row[study] = compare_rows(members, base=base, head=head, settings=plan)
            basis[study] = Basis(by_row=True)
        except RowsUnknownError as error:
            basis[study] = error.basis
    return by_row, basis


def find_verdicts(pairs: Mapping[Key, Pair]) -> dict[ScoredKey, tuple[str, str]]:
    """The verdicts within a study that changed."""
    return {
        ScoredKey(*key, score): found
        for key, pair in pairs.items()
        for score in pair.shared_scores
        if len(set(found := pair.find_verdicts(score))) > 1
    }


def describe_new(key: Key, arm: ArmResult) -> NewArm:
    scores = {
        score: NewScore(judged.value, judged.difference.value if judged.difference else None, judged.verdict)
        for score, judged in arm.judged.items()
    }
    return NewArm(*key, baseline=arm.baseline, scores=scores)
