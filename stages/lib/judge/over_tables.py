"""What an arm does over several data sets: its mean effect, and what to expect on a new one.

The data sets are the sample, each with the same weight. So the interval of the mean is that of Hartung and Knapp (2001)
with equal weights, and the interval for a new data set is that of Higgins, Thompson and Spiegelhalter (2009). An
effect's own error is part of the spread between data sets, so the interval for a new one is rather too wide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from stages.lib.judge.comparison import Difference, Verdict


@dataclass(frozen=True)
class Pooled:
    """The mean effect of an arm, a difference from its baseline.

    low, high: its interval, which holds together with those of the arms that were pooled with it (Bonferroni); of an
        equivalent arm the one that shows it (Hsu, Hwang, Liu and Ruberg 1994).
    new_low, new_high: where the effect on a new data set lies, for this arm alone.
    counts: verdict -> number of data sets.
    """

    value: float
    low: float
    high: float
    new_low: float
    new_high: float
    verdict: Verdict
    counts: dict[str, int]


def pool(
    effects: Mapping[str, Sequence[Difference]], *, sign: int, margin: float, confidence: float, share: float = 1.0
) -> dict[str, Pooled]:
    """Arm -> its differences on the same data sets, at least two, pooled.

    sign, margin: as for `verdicts.verdict`. share: of 1 - confidence, what these arms may spend.
    """
    alpha = share * (1 - confidence) / max(1, len(effects))
    return {
        arm: pool_one(differences, sign=sign, margin=margin, alpha=alpha, own_alpha=1 - confidence)
        for arm, differences in effects.items()
    }


def find_best(values: Mapping[str, np.ndarray], *, sign: int, confidence: float) -> set[str]:
    """The arms that no other is shown to beat on average (Hsu 1984, by Bonferroni); values: arm -> [data set]."""
    alpha = (1 - confidence) / max(1, len(values) - 1)

    def beats(other: np.ndarray, arm: np.ndarray) -> bool:
        gained = sign * (other - arm)
        error = gained.std(ddof=1) / np.sqrt(len(gained))
        return bool(gained.mean() > stats.t.ppf(1 - alpha, len(gained) - 1) * error)

    return {arm for arm, own in values.items() if not any(beats(other, own) for other in values.values())}


def pool_one(differences: Sequence[Difference], *, sign: int, margin: float, alpha: float, own_alpha: float) -> Pooled:
    """alpha: of the mean's interval. own_alpha: of the prediction, and of each one-sided test for equivalence."""
    values = np.array([difference.value for difference in differences])
    number, mean, spread = len(values), values.mean(), values.std(ddof=1)
    error, new_error = spread / np.sqrt(number), spread * np.sqrt(1 + 1 / number)

    def interval(risk: float, standard_error: float) -> tuple[float, float]:
        half = stats.t.ppf(1 - risk / 2, number - 1) * standard_error
        return float(mean - half), float(mean + half)

    low, high = interval(alpha, error)
    inner_low, inner_high = interval(2 * own_alpha, error)
    word: Verdict = "undecided"
    if error > 0 and -margin < inner_low and inner_high < margin:
        word, low, high = "equivalent", min(inner_low, 0.0), max(inner_high, 0.0)
    elif low > 0 or high < 0:
        word = "better" if sign * mean > 0 else "worse"
    counts = Counter(difference.verdict for difference in differences)
    return Pooled(float(mean), low, high, *interval(own_alpha, new_error), word, dict(sorted(counts.items())))
