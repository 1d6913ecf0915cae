"""The test of every change, and its verdict.

The changed arms of a study and both of its scores are one family, as in `compare`. The chance of a false finding, 1 -
confidence, is shared equally between the studies with changed arms: adjusted p-values are multiplied by their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stages.lib.settings.params import StatisticsParams

from stages.lib.judge import statistics
from stages.lib.judge.judge import Compared
from stages.lib.judge.scores import SCORES
from stages.lib.judge.study_verdicts import adjust_family
from tools.review.pairs import Pair
from tools.review.record import Key, ScoredKey
from tools.review.rows import ByRow, FamilyKey


@dataclass(frozen=True)
class Change:
    """One score of an arm at the base and at the head; difference and interval are head - base.

    by_row: whether it was judged on the rows of both sides, else on their replicates.
    paired: whether replicate i of both sides has the same rows.
    """

    study: str
    variant: str
    kind: str
    score: str
    base: float
    head: float
    difference: float
    ci_low: float
    ci_high: float
    p_adjusted: float
    verdict: statistics.Verdict
    by_row: bool
    paired: bool
    fixed_test: bool

    @property
    def arm(self) -> Key:
        return Key(self.study, self.variant, self.kind)


def judge(pairs: Mapping[Key, Pair], by_row: Mapping[str, ByRow], *, settings: StatisticsParams) -> list[Change]:
    """Test every score that moved; by_row: study -> its comparisons by row, where there are any."""
    studies: dict[str, dict[Key, Pair]] = {}
    for key, pair in pairs.items():
        studies.setdefault(key.study, {})[key] = pair
    return [
        change
        for study, members in studies.items()
        for change in judge_study(members, by_row.get(study, {}), num_studies=len(studies), settings=settings)
    ]


def judge_study(
    pairs: Mapping[Key, Pair], by_row: ByRow, *, num_studies: int, settings: StatisticsParams
) -> list[Change]:
    """The changes of one study."""
    study, alpha = next(iter(pairs)).study, 1 - settings.confidence
    found: dict[FamilyKey, Compared] = {
        (*key[1:], score): by_row.get((*key[1:], score)) or (pair.compare_replicates(score, alpha=alpha), None)
        for key, pair in pairs.items()
        for score in pair.moved_scores
    }
    seed = next(iter(pairs.values())).head_study.seed
    adjusted = {key: min(1.0, num_studies * p_value) for key, p_value in adjust_family(found, seed=seed).items()}
    return [
        describe_change(scored, pairs[scored.arm], found[key], adjusted[key], settings=settings)
        for key in found
        for scored in [ScoredKey(study, *key)]
    ]


def describe_change(
    key: ScoredKey, pair: Pair, compared: Compared, p_adjusted: float, *, settings: StatisticsParams
) -> Change:
    """A difference with its verdict."""
    comparison, evidence = compared
    verdict = statistics.verdict(
        comparison,
        p_adjusted,
        margin=settings.equivalence.get(key.score, 0.0),  # no margin, as in results out of date: none is equivalent
        greater_is_better=SCORES[key.score].greater_is_better,
        alpha=1 - settings.confidence,
    )
    return Change(
        *key,
        base=comparison.baseline,
        head=comparison.value,
        difference=comparison.difference,
        ci_low=comparison.ci_low,
        ci_high=comparison.ci_high,
        p_adjusted=p_adjusted,
        verdict=verdict,
        by_row=evidence is not None,
        paired=pair.is_paired(key.score),
        fixed_test=pair.head_study.protocol.fixed_test,
    )
