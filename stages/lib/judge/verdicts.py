"""A comparison of two arms put in one word, and what a study is able to see."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.judge.designs import Design, Evidence
from stages.lib.judge.estimates import ALPHA, Estimate, resampled_mean, welch

Verdict = Literal["better", "worse", "equivalent", "undecided"]

POWER = 0.8  # chance with which a difference that a study can see would be found


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
    p_value: float  # two-sided, before the family is adjusted


def compare(
    variant: ArrayLike, baseline: ArrayLike, design: Design, *, alone: bool = False, alpha: float = ALPHA
) -> tuple[Comparison, Evidence]:
    """Compare two arms by their contributions [replicate, row], paired by replicate and row.

    Args:
        alone: one of them is a guess, the same for all rows of a replicate, so that only one network varies.
    """
    variant, baseline = np.asarray(variant, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if variant.shape != baseline.shape:
        raise ValueError(
            f"variant {variant.shape} and baseline {baseline.shape} are not paired; expected the same replicates and "
            "rows in the same order, or use compare_unpaired"
        )
    evidence = design.evidence(variant - baseline, alone=alone)
    value, reference = float(variant.mean()), float(baseline.mean())
    return describe(value, reference, difference=evidence.estimate, alpha=alpha), evidence


def compare_replicates(
    variant: ArrayLike, baseline: ArrayLike, *, test_train_ratio: float, alpha: float = ALPHA
) -> Comparison:
    """Compare two arms by their scores [replicate] alone: `resampled_mean` of the paired differences."""
    variant, baseline = np.asarray(variant, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if variant.shape != baseline.shape:
        raise ValueError(
            f"variant {variant.shape} and baseline {baseline.shape} are not paired; expected the same replicates in "
            "the same order, or use compare_unpaired"
        )
    difference = resampled_mean(variant - baseline, test_train_ratio=test_train_ratio)
    return describe(float(variant.mean()), float(baseline.mean()), difference=difference, alpha=alpha)


def compare_unpaired(variant: Estimate, baseline: Estimate, *, alpha: float = ALPHA) -> Comparison:
    """Compare two arms whose protocols differ, so that nothing pairs them: Welch's t on `resampled_mean` of each."""
    return describe(variant.value, baseline.value, difference=welch(variant, baseline), alpha=alpha)


def describe(value: float, baseline: float, *, difference: Estimate, alpha: float) -> Comparison:
    inner = difference.interval(1 - 2 * alpha)
    return Comparison(value, baseline, difference.value, *difference.interval(1 - alpha), *inner, difference.p_value)


def verdict(
    comparison: Comparison, p_adjusted: float, *, margin: float, greater_is_better: bool, alpha: float = ALPHA
) -> Verdict:
    """Put a comparison in one word; margin is the greatest difference that does not matter, in units of the score.

    1. equivalent  the interval at 1 - 2 alpha lies inside (-margin, margin): two one-sided tests (Schuirmann 1987).
    2. better, worse  otherwise, p_adjusted < alpha, by the sign of the difference.
    3. undecided  otherwise.
    Equivalent comes first: a difference that is surely real but surely smaller than matters should move nobody, and
    its p-value stands beside it. Each false equivalent (true difference at least margin) has at most the chance alpha;
    it is not part of the family that is adjusted. alpha as given to `compare`.
    """
    if not margin >= 0 or not 0 <= p_adjusted <= 1:
        raise ValueError(f"margin is {margin}, p_adjusted {p_adjusted}; expected margin >= 0 and p_adjusted in [0, 1]")
    if -margin < comparison.equivalence_low and comparison.equivalence_high < margin:
        return "equivalent"
    if p_adjusted < alpha:
        return "better" if (comparison.difference > 0) == greater_is_better else "worse"
    return "undecided"


def detectable_difference(estimate: Estimate, critical: float, *, power: float = POWER) -> float:
    """The smallest true difference that would be called better or worse with the given chance.

    critical * SE, with critical from `critical_value` what it has to be to stand alone in its family, and on top the
    one-sided reach of the estimate at that chance.
    """
    return critical * estimate.standard_error + estimate.half_width(2 * (1 - power))


def smallest_margin(estimate: Estimate, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest margin within which two arms that are equal would be called equivalent with the given chance.

    Half-width at 1 - 2 alpha plus that at `power`: both ends of the interval have to be inside.
    """
    return estimate.half_width(2 * alpha) + estimate.half_width(1 - power)
