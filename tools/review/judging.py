"""The test of every change, and its verdict.

The changed arms of a study and both of its scores are one family, as in `compare`. The chance of a false finding, 1 -
confidence, is shared equally between the studies with changed arms: adjusted p-values are multiplied by their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from stages.lib.judge.comparison import Verdict
from stages.lib.judge.designs import Estimate
from stages.lib.judge.judge import ComparisonKey
from stages.lib.judge.scores import SCORES
from stages.lib.judge.verdicts import adjust, verdict
from tools.review.pairs import Pair
from tools.review.record import Key, ScoredKey
from tools.review.rows import ByRow


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
    verdict: Verdict
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
    study = next(iter(pairs)).study
    family = {
        compared: by_row.get(compared) or pair.compare_replicates(score)
        for key, pair in pairs.items()
        for score in pair.moved_scores
        for compared in [ComparisonKey(*key[1:], score)]
    }
    seed = next(iter(pairs.values())).head_study.seed
    adjusted = {key: min(1.0, num_studies * p_value) for key, p_value in adjust(family, seed=seed).items()}
    return [
        describe_change(scored, pairs[scored.arm], family[key], adjusted[key], settings=settings)
        for key in family
        for scored in [ScoredKey(study, *key)]
    ]


def describe_change(
    key: ScoredKey, pair: Pair, difference: Estimate, p_adjusted: float, *, settings: StatisticsParams
) -> Change:
    """A difference with its verdict."""
    word = verdict(
        difference,
        p_adjusted,
        margin=settings.equivalence.get(key.score, 0.0),  # no margin, as in results out of date: none is equivalent
        sign=SCORES[key.score].sign,
        alpha=1 - settings.confidence,
    )
    ci_low, ci_high = difference.interval(settings.confidence)
    return Change(
        *key,
        base=fmean(pair.base.judged[key.score].replicates),
        head=fmean(pair.head.judged[key.score].replicates),
        difference=difference.value,
        ci_low=ci_low,
        ci_high=ci_high,
        p_adjusted=p_adjusted,
        verdict=word,
        by_row=difference.by_row,
        paired=pair.is_paired(key.score),
        fixed_test=pair.head_study.protocol.fixed_test,
    )
