"""The mean of a score, or the difference between two arms, with its standard error: one class per protocol.

Layout  contribution  [replicate, row]: what each held-out row gives to the score of its replicate, which is their mean;
                      see `scores.Score.by_row`. For a difference, subtract the contributions of two arms.

Both designs answer with an `Estimate`, of which intervals are made (its errors) and families are adjusted (what moves
it by row and by seed). Where rows are unknown, `resampled_mean` estimates from the scores of replicates alone.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

ALPHA = 0.05  # chance of a false better or worse somewhere in a family; intervals hold 1 - ALPHA
SMALLEST_P = 1e-100  # p-values below this are reported as 0
MIN_REPEATS = 4  # of cross-validation: fewer cannot tell a row's influence from the noise of one repeat


@dataclass(frozen=True)
class Method:
    """What was chosen by coverage; `frontier` in metrics/calibration.json says what other choices would give.

    degrees_of_freedom: of (1 + b) s in `CrossValidation`: hundreds of rows, but b comes from tens of networks.
    degrees_of_freedom_alone: of one network, or of its difference from a guess without skill.
    null_ratio: b, influence through training / through testing, where nothing can be learned.
    ratio_variance: prior variance about it, of a difference of two networks: the mean square over twins.
    ratio_variance_alone: of one network.
    min_ratio, max_ratio: bounds of b.
    shared_errors: whether the standard errors of comparisons that are judged together err alike, or each by itself.
    """

    degrees_of_freedom: int = 15
    degrees_of_freedom_alone: int = 15
    null_ratio: float = 1.0
    ratio_variance: float = 0.5
    ratio_variance_alone: float = 0.25
    min_ratio: float = -0.5
    max_ratio: float = 2.0
    shared_errors: bool = True


METHOD = Method()


@dataclass(frozen=True)
class Estimate:
    """A value and how far it may be off: independent standard errors, each with its degrees of freedom.

    rows: [row] in the order of the rows' numbers, what each row moves the value by, in its units, sum 0; the root of
        their sum of squares is the standard error of what they explain. Empty where that is unknown.
    seeds: [seed], deviations of the seeds' means from the value; empty where there are no seeds apart from rows.

    The half-width at level 1 - alpha is sqrt(sum_i (t_i se_i)^2), t_i the two-sided alpha quantile of Student's t with
    df_i. With one error this is the t interval; with several it covers at least 1 - alpha of normal errors (Banerjee
    1961; Howe 1974).
    """

    value: float
    errors: tuple[tuple[float, float], ...]  # (standard error, degrees of freedom)
    rows: Array = field(default_factory=lambda: np.zeros(0), compare=False)
    seeds: Array = field(default_factory=lambda: np.zeros(0), compare=False)

    @property
    def by_row(self) -> bool:
        """Whether it is known what each row moves it by."""
        return self.rows.size > 0

    @property
    def standard_error(self) -> float:
        return float(np.hypot.reduce([error for error, _ in self.errors]))

    def half_width(self, alpha: float) -> float:
        from scipy import special  # here, and not scipy.stats, since `plan` imports this module and has to be quick

        return float(np.hypot.reduce([-special.stdtrit(df, alpha / 2) * error for error, df in self.errors]))

    def interval(self, confidence: float = 1 - ALPHA) -> tuple[float, float]:
        """Two-sided interval (low, high)."""
        half_width = self.half_width(1 - confidence)
        return self.value - half_width, self.value + half_width

    @property
    def p_value(self) -> float:
        """Two-sided p against 0: the alpha at which the interval just touches 0; without any error, 0 or 1."""
        from scipy.optimize import brentq  # here, since it takes a sixth of a second to import

        if self.value == 0:
            return 1.0
        if self.half_width(SMALLEST_P) <= abs(self.value):
            return 0.0
        log_p = brentq(lambda x: self.half_width(np.exp(x)) - abs(self.value), np.log(SMALLEST_P), 0, xtol=1e-13)
        return float(np.exp(log_p))


def resampled_mean(score: ArrayLike, *, test_train_ratio: float) -> Estimate:
    """Mean over replicates [replicate], corrected for the training rows that replicates of cross-validation share.

    SE = sd sqrt(1 / (k r) + n_test / n_train), df = k r - 1 (Nadeau and Bengio 2003; Bouckaert and Frank 2004 for k
    folds times r repeats). n_train counts all rows outside the fold, those held back for validation too.
    Ratio 0 is the plain t over independent replicates. The correction assumes that two replicates correlate by
    n_test / (n_test + n_train), and no estimate of that is unbiased (Bengio and Grandvalet 2004). It serves where only
    the replicates' scores are known; where rows are, `CrossValidation` is up to twice as sharp.
    """
    score = np.asarray(score, dtype=np.float64)
    error = score.std(ddof=1) * np.sqrt(1 / len(score) + test_train_ratio)
    return Estimate(float(score.mean()), ((float(error), len(score) - 1),))


def welch(variant: Estimate, baseline: Estimate) -> Estimate:
    """Difference of two independent means, each with one standard error (Welch 1947).

    SE^2 = SE_v^2 + SE_b^2, df = SE^4 / (SE_v^4 / df_v + SE_b^4 / df_b). From `resampled_mean`, each arm brings the
    correction of its own protocol.
    """
    ((error_v, df_v),), ((error_b, df_b),) = variant.errors, baseline.errors
    error = np.hypot(error_v, error_b)
    share = (error_v / error) ** 2 if error > 0 else 0.5
    df = 1 / (share**2 / df_v + (1 - share) ** 2 / df_b)
    return Estimate(variant.value - baseline.value, ((float(error), float(df)),))


@dataclass(frozen=True)
class CrossedEffects:
    """Seeds and test rows crossed, both seen as samples: another seed, and what it draws; other test rows.

    Crossed random effects, score = mean + seed + row + rest, have the variance
        var(seed means) / S                    seeds and rest, df S - 1
        + max(0, MS_row - MS_rest) / (S N)     rows, df N - 1
    with the mean squares of the two-way analysis of variance without replication (Searle, Casella and McCulloch 1992).
    Chosen by simulated coverage with 5 to 20 seeds on 10,000 rows: a percentile bootstrap over both covers too little
    where seeds dominate and too much where the rest does; one df after Satterthwaite is too sure in the tails.

    groups: [row], the group of each row; a group is then what a row is else, with the sum of what its rows do.
    """

    groups: NDArray[np.integer] | None = None

    def estimate(self, contribution: ArrayLike, *, alone: bool = False) -> Estimate:
        """From contributions [seed, row]; one network and a difference of two are treated alike."""
        score = np.asarray(contribution, dtype=np.float64)
        if self.groups is not None:
            score = gather(score, self.groups)
        num_seeds, num_rows = score.shape
        seed_mean, row_mean, mean = score.mean(axis=1), score.mean(axis=0), score.mean()
        rest = score - seed_mean[:, None] - row_mean + mean
        rest_square = (rest**2).sum() / ((num_seeds - 1) * (num_rows - 1))
        row_variance = max(0.0, num_seeds * row_mean.var(ddof=1) - rest_square) / score.size
        seed_error = float(seed_mean.std(ddof=1) / np.sqrt(num_seeds))
        row_error = float(np.sqrt(row_variance))
        errors = (seed_error, num_seeds - 1), (row_error, num_rows - 1)
        return Estimate(float(mean), errors, scale_to(row_mean - mean, row_error), seed_mean - mean)


class CrossValidation:
    """Repeated k-fold cross-validation, each row held out once per repeat: another table of as many rows.

    A row moves the mean in two ways, as a held-out row and as a training row of the networks judged on others. With
    d_i the mean influence of row i held out, averaged over the repeats, and t_i that through training, SE^2 is

        (1 + b)^2 s^2 + e^2

    s^2  sum of d_i^2 / n^2 over pairs of different repeats, so that the noise of splits and starts, independent between
         repeats, is not in it: the square of the row-wise standard error (LeDell, Petersen and van der Laan 2015).
    e^2  that noise: the variance between networks of how well they do on their fold, given its rows, / their number.
         It has r - 1 degrees of freedom, as networks of one repeat share their rows.
    b    the ratio t / d. (1 + b) s is the jackknife's standard error, with t as far as it is parallel to d. Where
         nothing can be learned a score is a degenerate U-statistic sum_ij h(i, j), i tested and j trained on; h is
         symmetric, for what a step along j's gradient does to i's loss it does to j's along i's. So each row counts as
         much in both roles, b = 1, and s alone is too narrow; (1 + b) s is too wide by a factor of at most sqrt(2)
         (Efron and Stein 1981). Where something can be learned d_i is mostly the row's own and b falls towards 0.

    b is estimated: sum d_i t_i / sum d_i^2 is what networks do better on their fold, per unit of influence among their
    training rows (`_covariance`), with three different repeats for the three parts, which makes it unbiased. It is
    noisy, sampling variance v = p / (1 - p) r / (r - 1) e^2 / s^2 with p the share of training rows, so it is shrunk
    to its value without signal, b = 1 + (ratio - 1) / (1 + v / w), and kept within its bounds. The prior variance
    w is smaller for one network alone. In a difference of two networks the influence through training partly cancels,
    so b is often near 0; for one network it is not. And where the risk lies in interactions, t_i can be uncorrelated
    with d_i. The estimate then misses it, so the prior has to count for more.

    Constants were chosen on twins such as `make calibrate` draws, before any verdict on the real table was seen. Two
    came later, by twins alone: the prior of one network, since 0.5 covered too little where the risk lies in
    interactions, and the lower bound for differences, below 0 since the influences often have opposite signs there.

    Where rows belong to groups, a group of rows is what a row is above: d_i is the sum over the rows of group i, and n
    remains the number of rows. Rows of one patient are then as few patients as they are.

    held_out [replicate, row], training [replicate, n]: row numbers; replicate r * folds + k is fold k.
    groups: of the held-out rows, [replicate, row].
    """

    def __init__(
        self, held_out: ArrayLike, training: ArrayLike, repeats: int, groups: NDArray[np.integer] | None = None
    ):
        numbers, place = np.unique(held_out, return_index=True)
        names, unit_of = np.unique(numbers if groups is None else groups.ravel()[place], return_inverse=True)
        known = np.stack([np.isin(numbers, rows) for rows in np.asarray(training)]).astype(np.float64)
        trained = sum_by(known, np.tile(unit_of, (len(known), 1)), len(names)) / np.bincount(unit_of)
        shape = (repeats, -1, len(names))  # [repeat, fold, unit]
        self.repeats, self.groups = repeats, groups
        self.units = unit_of[np.searchsorted(numbers, held_out)]  # [replicate, row], what counts as one: row or group
        self.num_rows = self.units.size / repeats  # that a repeat holds out
        test = np.zeros((len(self.units), len(names)))
        np.put_along_axis(test, self.units, 1 / self.units.shape[1], axis=1)
        self.test = test.reshape(shape)  # weight in a fold's mean of a unit's sum
        self.trained = trained.reshape(shape) - trained.mean()  # the share of a unit trained on, less the mean share
        self.share = float(trained.mean())
        self.odds = float(trained.mean() ** 2 / trained.var())  # p^2 / variance of it: p / (1 - p) of whole units

    def estimate(self, contribution: ArrayLike, *, alone: bool = False) -> Estimate:
        """From contributions [replicate, row], rows as in `held_out`; `alone`: of one network, not a difference."""
        score = np.asarray(contribution, dtype=np.float64)
        mean, num_units = float(score.mean()), self.test.shape[2]
        influence = sum_by(score - mean, self.units, num_units)
        influence = influence.reshape(self.repeats, -1, num_units).sum(axis=1)  # [repeat, unit]
        pairs = (influence.sum(axis=0) ** 2 - (influence**2).sum(axis=0)).sum() / (self.repeats * (self.repeats - 1))
        stable = max(float(pairs), 0.0) / self.num_rows**2
        covariance, noise = self._covariance(influence)
        degrees = METHOD.degrees_of_freedom_alone if alone else METHOD.degrees_of_freedom
        error = (1 + self._ratio(stable, covariance, noise, alone=alone)) * float(np.sqrt(stable))
        errors = (error, min(degrees, num_units - 1)), (float(np.sqrt(noise)), self.repeats - 1)
        total = influence.mean(axis=0)
        return Estimate(mean, errors, scale_to(total - total.mean(), Estimate(mean, errors).standard_error))

    def _covariance(self, influence: Array) -> tuple[float, float]:
        """Estimate sum_i d_i t_i / n^2, and the noise e^2 of splits and starts.

        A network of repeat r does better on its fold than these rows do in another repeat s, by q; its training rows
        have, in a third repeat t, the influence u = sum_j d_tj (m_j - p), m_j = 1 for a training row, p their share.
        With membership drawn at random, mean(q u) = p (1 - p) sum_j d_j g_j, g_j what j in training does to the mean
        of others, and t_j = n p g_j: so sum d t = n mean(q u) / (1 - p). Of a group of which each network trains on a
        part alone, m_j is that part, and its variance stands in the place of p (1 - p).
        """
        repeats = len(influence)
        others = repeats - 1
        fold = self.test @ influence.T  # mean on the fold's rows, in repeat s
        trained = self.trained @ influence.T
        own = np.arange(repeats)
        quality = fold[own, :, own].copy()  # [repeat, fold]
        fold[own, :, own] = trained[own, :, own] = 0
        expected, known = fold.sum(axis=2), trained.sum(axis=2)
        apart = expected * known - (fold * trained).sum(axis=2)  # sums over s != t
        product = quality * known / others - apart / (others * (others - 1))
        covariance = product.mean() * self.odds / self.share / self.num_rows
        noise = ((quality - expected / others) ** 2).mean() * others / repeats / quality.size
        return float(covariance), float(noise)

    def _ratio(self, stable: float, covariance: float, noise: float, *, alone: bool) -> float:
        """b: the ratio of influences, shrunk to its value without signal as far as it is noise."""
        if stable == 0:
            return 0.0
        prior = METHOD.ratio_variance_alone if alone else METHOD.ratio_variance
        sampling = self.odds * self.repeats / (self.repeats - 1) * noise / stable
        shrunk = METHOD.null_ratio + (covariance / stable - METHOD.null_ratio) / (1 + sampling / prior)
        return float(np.clip(shrunk, 0.0 if alone else METHOD.min_ratio, METHOD.max_ratio))


Design = CrossedEffects | CrossValidation


def sum_by(values: Array, unit: NDArray[np.intp], num_units: int) -> Array:
    """Sums of values [replicate, row] over the rows of each unit, [replicate, unit]."""
    sums = np.zeros((len(values), num_units))
    np.add.at(sums, (np.arange(len(values))[:, None], unit), values)
    return sums


def gather(score: Array, groups: NDArray[np.integer]) -> Array:
    """Scores of groups [seed, group] with the mean of those of rows [seed, row]: each weighs as much as its rows."""
    names, place = np.unique(groups, return_inverse=True)
    mean = score.mean()
    deviation = sum_by(score - mean, np.tile(place, (len(score), 1)), len(names))
    return mean + deviation * len(names) / score.shape[1]


def scale_to(values: Array, error: float) -> Array:
    """The values scaled so that the root of their sum of squares is the standard error; zeros where they are zeros."""
    norm = np.sqrt((values**2).sum())
    return values * (error / norm) if norm > 0 else values
