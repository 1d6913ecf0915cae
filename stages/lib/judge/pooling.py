"""What arms do on average over several data sets, which may be the best there, and one data set beside the others.

The data sets are the sample, each with the same weight. Tests flip signs: if an arm and its baseline are equal, an
effect could as well have the other sign. One sign for all arms of a data set keeps how their effects go together, and
nothing is asked of variances: only independent data sets, and effects symmetric about 0 where there is none (Canay,
Romano and Shaikh 2017). Signs leave each sum of squares as it is, so a sum and its t give the same p, and where data
sets are many the means of effects that are not symmetric are tested, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.judge.comparison import Difference, Verdict
from stages.lib.judge.designs import Array, Estimate
from stages.lib.judge.verdicts import find_interval, verdict

NUM_FLIPS, NUM_SET_FLIPS = 100_000, 20_000  # of means, and for the set; all 2^n where they are no more
CHUNK = 10_000  # flips held at once
LEAST = 1e-6  # the end of an interval that is cut off at 0, which it does not hold
SEED = 1  # of the flips
TOLERANCE = 1e-9  # below which sums that differ by rounding are equal
DISAGREE = 2.0  # standard errors between a data set and the others from which they say nothing about it
NUM_POINTS = 300  # at which the bias of a shrunken estimate may lie
LEAST_SQUARE = 1e-4  # of that bias in standard errors: less makes no difference, and the program ill-conditioned


@dataclass(frozen=True)
class Pooled:
    """The mean effect of an arm, a difference from its baseline.

    low, high: its interval, which holds together with those of all arms that were pooled with it, and agrees with the
        verdict; of an equivalent arm the one that shows it (Hsu, Hwang, Liu and Ruberg 1994).
    new_low, new_high: where the effect on a new data set lies, for this arm alone.
    counts: verdict -> number of data sets.
    p_adjusted: two-sided, over all arms that were pooled.
    median: of the effects. gains: number of data sets with an effect for the better.
    shown_on: at least on so many data sets the effect has the direction of the mean, see `count_shown`.
    per_cent: geometric mean of how the score changes; None where the baseline's is unknown or not above 0.
    """

    value: float
    low: float
    high: float
    new_low: float
    new_high: float
    verdict: Verdict
    counts: dict[Verdict, int]
    p_adjusted: float
    median: float
    gains: int
    shown_on: int
    per_cent: float | None = None


def pool(
    effects: Mapping[str, Sequence[Difference]],
    *,
    sign: int,
    margin: float,
    confidence: float,
    baselines: Sequence[float] = (),
    num_flips: int = NUM_FLIPS,
    seed: int = SEED,
) -> dict[str, Pooled]:
    """Arm -> its differences on the same data sets, at least two, pooled; all arms are one family.

    An arm is better or worse where its step-down adjusted p is at most 1 - confidence. Its interval is the mean plus
    and minus the same number of standard errors for all arms, cut off at 0 where the p shows more than it, stretched to
    0 where nothing is shown; so word and interval agree.

    sign, margin: as for `verdicts.verdict`. baselines: the baseline's score on each data set.
    """
    if not effects:
        return {}
    names, alpha = sorted(effects), 1 - confidence
    values = np.array([[difference.value for difference in effects[arm]] for arm in names]).T
    own_p = np.array([[difference.p_value for difference in effects[arm]] for arm in names]).T
    shown = count_shown(values, own_p, alpha=alpha / 2)  # half, since the direction is that of the mean
    ratios = average_ratios(values, baselines)
    values = values[np.lexsort(values.T)]  # so that the order of data sets does not matter
    p_values, critical = flip_means(values, alpha=alpha, num_flips=num_flips, seed=seed)
    pooled = {}
    for place, arm in enumerate(names):
        own, p_value = values[:, place], float(p_values[place])
        mean, new = estimate_mean(own)
        word = verdict(mean, 0.0 if p_value <= alpha else np.inf, margin=margin, sign=sign, alpha=alpha)
        low, high = find_interval(mean, critical * mean.standard_error, word, alpha=alpha)
        if word not in ("better", "worse"):
            low, high = min(low, 0.0), max(high, 0.0)
        elif mean.value > 0:
            low = max(low, LEAST)
        else:
            high = min(high, -LEAST)
        pooled[arm] = Pooled(
            *(mean.value, low, high, *new.interval(confidence), word),
            dict(sorted(Counter(difference.verdict for difference in effects[arm]).items())),
            *(p_value, float(np.median(own)), int((sign * own > 0).sum())),
            int(shown[place]),
            ratios[place],
        )
    return {arm: pooled[arm] for arm in effects}


def estimate_mean(values: Array) -> tuple[Estimate, Estimate]:
    """The mean of values [data set], and what to expect on a new one (Higgins, Thompson and Spiegelhalter 2009).

    An effect's own error is part of the spread between data sets, so the interval for a new one is rather too wide.
    """
    num, mean = len(values), float(values.mean())
    error = float(np.linalg.norm(centre(values))) / np.sqrt(num * (num - 1))
    return Estimate(mean, ((error, num - 1),)), Estimate(mean, ((error * np.sqrt(num + 1), num - 1),))


def centre(values: Array) -> Array:
    """Deviations from the mean over data sets, the first axis; exactly 0 where all are equal."""
    deviations = values - values.mean(axis=0)
    return np.where(np.ptp(values, axis=0) > TOLERANCE * np.abs(values).max(axis=0), deviations, 0.0)


def flip_means(values: Array, *, alpha: float, num_flips: int = NUM_FLIPS, seed: int = SEED) -> tuple[Array, float]:
    """Step-down adjusted p of each mean, two-sided, and the critical t of intervals that hold together.

    values [data set, arm]. The p of an arm alone is the share of flips with a |sum| as large as its own; adjusted, the
    share of flips in which it or an arm with less evidence has a p as small (min-p: Westfall and Young 1993, step-down;
    Romano and Wolf 2005). With the largest t in the place of the least p, one arm whose effects vary much between data
    sets, all with one sign, would be missed. Intervals: the largest |t| of deviations from the means, over all arms;
    never narrower than the t-interval of one arm, or wider than that by Bonferroni.
    """
    from scipy.special import stdtrit  # here, as in `designs`

    num, num_arms = values.shape
    scaled, centred, pieces, largest = scale(values), scale(centre(values)), [], []
    for signs in draw_signs(num, num_flips, seed=seed):
        pieces.append(np.abs(signs @ scaled))
        largest.append(np.abs(signs @ centred).max(axis=1))
    columns = zip(*[piece.T for piece in pieces], strict=True)
    counts = np.stack([count_exceeding(np.concatenate(column)) for column in columns])  # [arm, flip]
    order = np.argsort(-counts[:, 0], kind="stable")  # the most evidence last
    least = np.minimum.accumulate(counts[order], axis=0)
    p_values = np.empty(num_arms)
    shares = (least <= counts[order, :1]).mean(axis=1)
    p_values[order] = np.maximum.accumulate(shares[::-1])[::-1]
    # |t| rises with |sum| of a column of length 1, as no flip changes a sum of squares.
    ordered = np.sort(np.concatenate(largest))[::-1]
    share = min(float(ordered[int(alpha * len(ordered))] ** 2) / num, 1 - TOLERANCE)
    bounds = -stdtrit(num - 1, alpha / 2), -stdtrit(num - 1, alpha / 2 / num_arms)
    return p_values, float(np.clip(np.sqrt((num - 1) * share / (1 - share)), *bounds))


def count_exceeding(sums: Array) -> NDArray[np.int32]:
    """How many of the sums [flip] are as large as each; those that differ by rounding are equal."""
    order = np.argsort(sums)
    is_first = np.diff(sums[order], prepend=-np.inf) > TOLERANCE
    counts = np.empty(len(sums), dtype=np.int32)
    counts[order] = len(sums) - np.maximum.accumulate(np.where(is_first, np.arange(len(sums)), 0))
    return counts


def scale(values: Array) -> Array:
    """Columns of length 1, or 0."""
    length = np.linalg.norm(values, axis=0)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def draw_signs(num: int, num_flips: int, *, seed: int) -> Iterator[Array]:
    """Signs of data sets in pieces [flip, data set], none flipped first: all 2^num, or so many as num_flips drawn."""
    rng, is_exact = np.random.default_rng(seed), 2**num <= num_flips
    total = 2**num if is_exact else num_flips
    for first in range(0, total, CHUNK):
        numbers = np.arange(first, min(first + CHUNK, total))[:, None]
        if is_exact:
            flips = numbers >> np.arange(num) & 1
        else:
            flips = rng.integers(0, 2, (len(numbers), num), dtype=np.int8) * (numbers > 0)
        yield (1 - 2 * flips).astype(np.float64)


def count_shown(values: Array, p_values: Array, *, alpha: float) -> NDArray[np.integer]:
    """The least number of data sets on which effects have the direction of their mean, for each arm.

    values, p_values: [data set, arm], two-sided. At least u have it where Fisher's combination of all but the u - 1
    least one-sided p-values shows that one has, for this u and each less (partial conjunction: Benjamini and Heller
    2008). Data sets have to be independent.
    """
    from scipy.special import chdtrc

    agrees = np.sign(values) == np.sign(values.mean(axis=0))
    one_sided = np.sort(np.where(agrees, p_values / 2, 1 - p_values / 2), axis=0)
    logs = np.log(np.maximum(one_sided, np.finfo(float).tiny))
    left = np.arange(len(logs), 0, -1)[:, None]  # p-values that are combined, for u = 1, 2, ...
    is_shown = chdtrc(2 * left, -2 * np.cumsum(logs[::-1], axis=0)[::-1]) <= alpha
    return np.logical_and.accumulate(is_shown).sum(axis=0)


def average_ratios(values: Array, baselines: Sequence[float]) -> list[float | None]:
    """Geometric mean over data sets of (baseline + effect) / baseline, as a change in per cent, for each arm."""
    before = np.array(baselines)[:, None] if len(baselines) else np.zeros((len(values), 1))
    if before.min() <= 0:
        return [None] * values.shape[1]
    changes = values / before
    return [float(100 * np.expm1(np.log1p(each).mean())) if each.min() > -1 else None for each in changes.T]


def find_unbeaten(
    values: Mapping[str, ArrayLike], *, sign: int, confidence: float, num_flips: int = NUM_SET_FLIPS, seed: int = SEED
) -> set[str]:
    """The arms that no other is shown to beat on average (Hsu 1984); values: arm -> [data set].

    An arm is beaten where the least of its p-values against each rival, one-sided by flips of their difference, is less
    than chance makes the least of them (min-p: Westfall and Young 1993). The p of an arm that is worse than a rival on
    all n data sets is the least that there is, 2^-n. So it is never in the set if there are data sets enough: rivals /
    2^n is at most 1 - confidence.
    """
    names = sorted(values)
    table = sign * np.array([np.asarray(values[arm], dtype=np.float64) for arm in names])  # [arm, data set]
    table = table[:, np.lexsort(table)]
    sums = np.concatenate([signs @ table.T for signs in draw_signs(table.shape[1], num_flips, seed=seed)]).T.copy()
    return {
        arm
        for place, arm in enumerate(names)
        if not names[1:] or not is_beaten(np.delete(sums, place, axis=0) - sums[place], 1 - confidence)
    }


def is_beaten(leads: Array, alpha: float) -> bool:
    """Whether any rival's lead, [rival, flip] with none flipped first, is beyond chance for all of them."""
    total = leads.shape[1]
    tolerance = TOLERANCE * np.abs(leads).max(axis=1, keepdims=True)
    fewest = int((leads >= leads[:, :1] - tolerance).sum(axis=1).min())
    if fewest > alpha * total:
        return False
    bounds = np.partition(leads, total - 1 - fewest, axis=1)[:, total - 1 - fewest, None]
    return bool((leads > bounds + tolerance).any(axis=0).mean() <= alpha)


# One data set beside the others --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shrunk:
    """An effect on one data set, drawn towards the mean of others; weight: of its own estimate, 0 to 1."""

    value: float
    low: float
    high: float
    weight: float


def shrink(
    own: float, own_error: float, *, others: ArrayLike, other_errors: ArrayLike, confidence: float = 0.95
) -> Shrunk | None:
    """The effect on a data set, if it is like others: effects [data set] and their standard errors, at least three.

    Empirical Bayes: weight between / (between + own_error^2), with `between` the variance of true effects. The interval
    of Armstrong, Kolesar and Plagborg-Moller (2022, section 3) holds on average over data sets, whatever distribution
    true effects have; moments and their lower bounds are those of their section 4.2. On top comes the error of the
    mean, which they have from many more. None where own and mean are more than two standard errors of their
    difference apart.
    """
    from scipy.special import ndtri

    effects, variances = np.asarray(others, dtype=np.float64), np.asarray(other_errors, dtype=np.float64) ** 2
    num, mean = len(effects), float(effects.mean())
    mean_error = float(effects.std(ddof=1)) / np.sqrt(num)
    if abs(own - mean) > DISAGREE * np.hypot(own_error, mean_error):
        return None
    square, fourth = float(effects.var(ddof=1) - variances.mean()), float((variances**2).mean())
    between = max(square, 2 * fourth / (num * float(variances.mean())) if fourth else 0.0)
    if between + own_error == 0:
        return Shrunk(own, own, own, 1.0)
    deviation = (effects - mean) ** 2
    moment = float((deviation**2 - 6 * variances * deviation + 3 * variances**2).mean())
    spread = between**2 + (32 * float((variances**4).mean()) / (num * fourth) if fourth else 0.0)
    kurtosis = max(moment, spread) / between**2
    weight = between / (between + own_error**2)
    critical = find_critical(own_error**2 / between, kurtosis, alpha=1 - confidence)
    half_width = np.hypot(critical * weight * own_error, -ndtri((1 - confidence) / 2) * (1 - weight) * mean_error)
    value = mean + weight * (own - mean)
    return Shrunk(value, float(value - half_width), float(value + half_width), weight)


def find_critical(square: float, kurtosis: float = np.inf, *, alpha: float = 0.05) -> float:
    """The half-width, in standard errors, of an interval that misses with the chance alpha though its centre is biased.

    square: mean square of the bias in standard errors. kurtosis: its fourth moment is at most kurtosis * square^2. The
    worst distribution of the bias misses most, which is a linear program over the points where it may lie (Armstrong,
    Kolesar and Plagborg-Moller 2022, equation 5).
    """
    from scipy.optimize import brentq, linprog
    from scipy.special import ndtr, ndtri

    alone, square = float(-ndtri(alpha / 2)), max(square, LEAST_SQUARE)

    def exceed(critical: float) -> float:
        bias = np.append(np.linspace(0, critical + 8, NUM_POINTS), np.sqrt(square))
        misses, scaled = ndtr(-critical - bias) + ndtr(bias - critical), bias**2 / square
        limit = {"A_ub": scaled[None] ** 2, "b_ub": [kurtosis]} if np.isfinite(kurtosis) else {}
        found = linprog(-misses, A_eq=np.stack([np.ones_like(bias), scaled]), b_eq=[1, 1], **limit)
        return float(-found.fun) - alpha

    return float(brentq(exceed, alone, alone + np.sqrt(square / alpha), xtol=1e-6))  # Chebyshev's inequality
