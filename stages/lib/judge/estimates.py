"""Means with standard errors, from the scores of replicates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # where scipy.stats takes half a second to import

Array = NDArray[np.float64]

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


def check_layout(score: ArrayLike, layout: str) -> Array:
    """The score as float64, or ValueError where it does not have the layout, such as "[seed, row]"."""
    score = np.asarray(score, dtype=np.float64)
    if score.ndim != len(layout.split(",")) or min(score.shape) < 2 or not np.isfinite(score).all():
        raise ValueError(f"score has shape {score.shape}; expected {layout}, finite and two or more along each axis")
    return score


def resampled_mean(score: ArrayLike, *, test_train_ratio: float) -> Estimate:
    """Mean over replicates [replicate], corrected for the training rows that replicates of cross-validation share.

    SE = sd sqrt(1 / (k r) + n_test / n_train), df = k r - 1 (Nadeau and Bengio 2003; Bouckaert and Frank 2004 for k
    folds times r repeats). n_train counts all rows outside the fold, those held back for validation too.
    Ratio 0 is the plain t over independent replicates. The correction assumes that two replicates correlate by
    n_test / (n_test + n_train), and no estimate of that is unbiased (Bengio and Grandvalet 2004). It serves where only
    the replicates' scores are known; where rows are, `CrossValidation` is up to twice as sharp.
    """
    score = check_layout(score, "[replicate]")
    if not 0 <= test_train_ratio < np.inf:
        raise ValueError(
            f"test_train_ratio is {test_train_ratio}; expected test rows / training rows, 0 if test is fixed"
        )
    error = score.std(ddof=1) * np.sqrt(1 / len(score) + test_train_ratio)
    return Estimate(float(score.mean()), ((float(error), len(score) - 1),))


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
