"""Which differences between a variant and its baseline are real, and which are too small to matter.

A family of arms goes through three calls: `compare` each with the baseline, `adjust` the p-values, read each `verdict`.

Layout  score  [replicate], one value a replicate; or [seed, row], contributions whose mean is the score (see
               `scores.Score.by_row`), where every seed is scored on the same test rows
Units   those of the score; an interval and a p-value that belong together never contradict each other

Nothing here is random. The bootstrap over seeds and test rows was measured and left out: see `crossed_mean`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

Array = NDArray[np.float64]
Verdict = Literal["better", "worse", "equivalent", "undecided"]

ALPHA = 0.05  # chance of a false better or worse somewhere in a family; intervals hold 1 - ALPHA
SMALLEST_P = 1e-100  # p-values below this are reported as 0


@dataclass(frozen=True)
class Estimate:
    """A value and how far it may be off: independent standard errors, each with its degrees of freedom.

    The half-width at level 1 - alpha is sqrt(sum_i (t_i se_i)^2), t_i the two-sided alpha quantile of Student's t with
    df_i. With one error this is the t interval; with several it covers at least 1 - alpha of normal errors (Banerjee
    1961; Howe 1974).
    """

    value: float
    errors: tuple[tuple[float, float], ...]  # (standard error, degrees of freedom)

    @property
    def standard_error(self) -> float:
        return float(np.hypot.reduce([error for error, _ in self.errors]))

    def half_width(self, alpha: float) -> float:
        return float(np.hypot.reduce([stats.t.isf(alpha / 2, df) * error for error, df in self.errors]))

    def interval(self, confidence: float = 1 - ALPHA) -> tuple[float, float]:
        """Two-sided interval (low, high)."""
        half_width = self.half_width(1 - confidence)
        return self.value - half_width, self.value + half_width

    @property
    def p_value(self) -> float:
        """Two-sided p against 0: the alpha at which the interval just touches 0; without any error, 0 or 1."""
        if self.value == 0:
            return 1.0
        if self.half_width(SMALLEST_P) <= abs(self.value):
            return 0.0
        log_p = brentq(lambda x: self.half_width(np.exp(x)) - abs(self.value), np.log(SMALLEST_P), 0, xtol=1e-13)
        return float(np.exp(log_p))


@dataclass(frozen=True)
class Comparison:
    """A variant against its baseline; difference = value - baseline, whichever direction is better."""

    value: float
    baseline: float
    difference: float
    ci_low: float  # interval at 1 - alpha, for better and worse
    ci_high: float
    equivalence_low: float  # interval at 1 - 2 alpha, for equivalent (two one-sided tests)
    equivalence_high: float
    p_value: float  # two-sided, before `adjust`


def _check(score: ArrayLike, layout: str) -> Array:
    score = np.asarray(score, dtype=np.float64)
    if score.ndim != len(layout.split(",")) or min(score.shape) < 2 or not np.isfinite(score).all():
        raise ValueError(f"score has shape {score.shape}; expected {layout}, finite and two or more along each axis")
    return score


def resampled_mean(score: ArrayLike, *, test_train_ratio: float) -> Estimate:
    """Mean over replicates [replicate], corrected for the training rows that replicates of cross-validation share.

    SE = sd sqrt(1 / (k r) + n_test / n_train), df = k r - 1 (Nadeau and Bengio 2003; Bouckaert and Frank 2004 for k
    folds times r repeats). n_train counts all rows outside the fold, those held back for validation too.
    Ratio 0 is the plain t over independent replicates. The correction assumes that two replicates correlate by
    n_test / (n_test + n_train). No estimate of that is unbiased (Bengio and Grandvalet 2004); in simulations it served
    for variants of one model on the same features, and was too small for models that share no feature at all.
    """
    score = _check(score, "[replicate]")
    if not 0 <= test_train_ratio < np.inf:
        raise ValueError(
            f"test_train_ratio is {test_train_ratio}; expected test rows / training rows, 0 if test is fixed"
        )
    error = score.std(ddof=1) * np.sqrt(1 / len(score) + test_train_ratio)
    return Estimate(float(score.mean()), ((float(error), len(score) - 1),))


def crossed_mean(score: ArrayLike) -> Estimate:
    """Mean over seeds and test rows [seed, row], both seen as samples: another seed, other rows; same training rows.

    Crossed random effects, score = mean + seed + row + rest, have the variance
        var(seed means) / S                    seeds and rest, df S - 1
        + max(0, MS_row - MS_rest) / (S N)     rows, df N - 1
    with the mean squares of the two-way analysis of variance without replication (Searle, Casella and McCulloch 1992).
    Chosen by simulated coverage with 5 and 10 seeds on 10,000 rows: a percentile bootstrap over both covers too little
    where seeds dominate and too much where the rest does; one df after Satterthwaite is too sure in the tails that
    `adjust` reads. Keeping the two errors apart, as `Estimate` does, held the level throughout.
    """
    score = _check(score, "[seed, row]")
    num_seeds, num_rows = score.shape
    seed_mean, row_mean, mean = score.mean(axis=1), score.mean(axis=0), score.mean()
    rest = score - seed_mean[:, None] - row_mean + mean
    rest_square = (rest**2).sum() / ((num_seeds - 1) * (num_rows - 1))
    row_variance = max(0.0, num_seeds * row_mean.var(ddof=1) - rest_square) / score.size
    seed_error = seed_mean.std(ddof=1) / np.sqrt(num_seeds)
    return Estimate(float(mean), ((float(seed_error), num_seeds - 1), (float(np.sqrt(row_variance)), num_rows - 1)))


def estimate_mean(score: ArrayLike, *, test_train_ratio: float) -> Estimate:
    """Mean of replicate scores: `resampled_mean` for [replicate], `crossed_mean` for [seed, row]."""
    if np.ndim(score) == 1:
        return resampled_mean(score, test_train_ratio=test_train_ratio)
    if test_train_ratio != 0:
        raise ValueError(
            "[seed, row] scores share one fixed test set: expected test_train_ratio=0; average the rows first"
        )
    return crossed_mean(score)


def welch(variant: Estimate, baseline: Estimate) -> Estimate:
    """Difference of two independent means, each with one standard error (Welch 1947).

    SE^2 = SE_v^2 + SE_b^2, df = SE^4 / (SE_v^4 / df_v + SE_b^4 / df_b). From `resampled_mean`, each arm brings the
    correction of its own protocol.
    """
    if len(variant.errors) != 1 or len(baseline.errors) != 1:
        raise ValueError("welch takes means with one standard error each; expected both from resampled_mean")
    (error_v, df_v), (error_b, df_b) = *variant.errors, *baseline.errors
    error = np.hypot(error_v, error_b)
    share = (error_v / error) ** 2 if error > 0 else 0.5
    df = 1 / (share**2 / df_v + (1 - share) ** 2 / df_b)
    return Estimate(variant.value - baseline.value, ((float(error), float(df)),))


def _comparison(value: float, baseline: float, *, difference: Estimate, alpha: float) -> Comparison:
    inner = difference.interval(1 - 2 * alpha)
    return Comparison(value, baseline, difference.value, *difference.interval(1 - alpha), *inner, difference.p_value)


def compare(variant: ArrayLike, baseline: ArrayLike, *, test_train_ratio: float, alpha: float = ALPHA) -> Comparison:
    """Compare two arms paired by replicate, both [replicate] or both [seed, row].

    Cross-validation: [replicate] with test_train_ratio = test rows / training rows, the corrected resampled t.
    Fixed test set: [seed, row] with ratio 0, crossed seeds and rows. A score that is no mean over rows comes as
    [seed] with ratio 0, the t over seeds: its interval is for these very test rows.
    """
    variant, baseline = np.asarray(variant, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if variant.shape != baseline.shape:
        raise ValueError(
            f"variant {variant.shape} and baseline {baseline.shape} are not paired; expected the same replicates in "
            "the same order, or use compare_unpaired"
        )
    difference = estimate_mean(variant - baseline, test_train_ratio=test_train_ratio)
    return _comparison(float(variant.mean()), float(baseline.mean()), difference=difference, alpha=alpha)


def compare_unpaired(variant: Estimate, baseline: Estimate, *, alpha: float = ALPHA) -> Comparison:
    """Compare two arms whose protocols differ, so that nothing pairs them: Welch's t on `resampled_mean` of each."""
    return _comparison(variant.value, baseline.value, difference=welch(variant, baseline), alpha=alpha)


def mcnemar(variant_hit: ArrayLike, baseline_hit: ArrayLike) -> float:
    """Exact two-sided p that two networks are right equally often on the same rows, hits [row] true or false.

    Of b + c rows that just one of them gets right, b ~ Binomial(b + c, 1/2) (McNemar 1947). Speaks of these two
    networks, not of their recipes: another seed is another network.
    """
    variant_hit, baseline_hit = np.asarray(variant_hit, dtype=bool), np.asarray(baseline_hit, dtype=bool)
    if variant_hit.ndim != 1 or variant_hit.shape != baseline_hit.shape:
        raise ValueError(f"hits have shapes {variant_hit.shape}, {baseline_hit.shape}; expected the same rows, [row]")
    num_variant, num_baseline = int((variant_hit & ~baseline_hit).sum()), int((baseline_hit & ~variant_hit).sum())
    if num_variant + num_baseline == 0:
        return 1.0
    return float(stats.binomtest(num_variant, num_variant + num_baseline).pvalue)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family so that a false better or worse anywhere in it has at most the chance alpha.

    Step-down: sorted, p_(i) becomes max_{j <= i} min(1, (m - j + 1) p_(j)); order as given (Holm 1979). Valid however
    the tests depend on each other, as they do through their common baseline.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values are {p.tolist()}; expected a list of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1, p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted.tolist()


def verdict(
    comparison: Comparison, p_adjusted: float, *, margin: float, greater_is_better: bool, alpha: float = ALPHA
) -> Verdict:
    """Put a comparison in one word; margin is the greatest difference that does not matter, in units of the score.

    1. equivalent  the interval at 1 - 2 alpha lies inside (-margin, margin): two one-sided tests (Schuirmann 1987).
    2. better, worse  otherwise, p_adjusted < alpha, by the sign of the difference.
    3. undecided  otherwise.
    Equivalent comes first: a difference that is surely real but surely smaller than matters should move nobody, and
    its p-value stands beside it. Each false equivalent (true difference at least margin) has at most the chance alpha;
    it is not part of the family that `adjust` guards. alpha as given to `compare`.
    """
    if not margin >= 0 or not 0 <= p_adjusted <= 1:
        raise ValueError(f"margin is {margin}, p_adjusted {p_adjusted}; expected margin >= 0 and p_adjusted in [0, 1]")
    if -margin < comparison.equivalence_low and comparison.equivalence_high < margin:
        return "equivalent"
    if p_adjusted < alpha:
        return "better" if (comparison.difference > 0) == greater_is_better else "worse"
    return "undecided"
