"""Figures before they are judged: what they are, where they come from, and their interval at any confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.judge.comparison import Difference

Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Source:
    """Where a figure comes from; see `record.Figure`."""

    file: str
    study: str = ""
    variant: str = ""
    arm: str = ""


@dataclass(frozen=True)
class Draft:
    """A figure whose interval is still open.

    quantity: the rule that judges it; empty where it only informs.
    interval: (confidence) -> value and interval.
    stands: whether it counts among the other comparisons of its family; one that does not can support nothing.
    """

    label: str
    source: Source
    interval: Callable[[float], Interval]
    quantity: str = ""
    unit: str = ""
    stands: bool = True


def mean(values: ArrayLike, ratio: float) -> Callable[[float], Interval]:
    """Mean over replicates; ratio: of test and training rows where replicates share them, else 0."""
    from stages.lib.judge.designs import resampled_mean  # here, since `plan` reads the claims and needs no SciPy

    estimate = resampled_mean(np.asarray(values), test_train_ratio=ratio)
    return lambda confidence: (estimate.value, *estimate.interval(confidence))


def bounded_mean(values: ArrayLike, ratio: float) -> Callable[[float], Interval]:
    """As `mean`, of values between 0 and 1: so is the interval."""
    unbounded = mean(values, ratio)

    def interval(confidence: float) -> Interval:
        value, low, high = unbounded(confidence)
        return value, max(low, 0.0), min(high, 1.0)

    return interval


def one_more(values: ArrayLike) -> Callable[[float], Interval]:
    """Mean over independent runs, with the interval that holds one more run (Hahn and Meeker 1991, section 4.2)."""
    from scipy import special  # likewise

    array = np.asarray(values, dtype=np.float64)
    centre, spread, number = float(array.mean()), float(array.std(ddof=1)), array.size

    def interval(confidence: float) -> Interval:
        half = -float(special.stdtrit(number - 1, (1 - confidence) / 2)) * spread * np.sqrt(1 + 1 / number)
        return centre, centre - half, centre + half

    return interval


def share(hits: int, cases: int) -> Callable[[float], Interval]:
    """Share of independent cases, with the exact interval (Clopper and Pearson 1934)."""
    return lambda confidence: (hits / cases, *beta_bounds(hits, cases, confidence))


def mean_share(values: ArrayLike, ratio: float) -> Callable[[float], Interval]:
    """Mean of 0 or 1 over replicates. As `share`, of as many independent cases as give the variance of `mean`.

    That is 1 / (1 / replicates + ratio). Unlike the interval of `mean` it has a width where all replicates are alike.
    """
    array = np.asarray(values, dtype=np.float64)
    centre, number = float(array.mean()), 1 / (1 / array.size + ratio)
    return lambda confidence: (centre, *beta_bounds(centre * number, number, confidence))


def clustered_share(shares: ArrayLike, cases: int) -> Callable[[float], Interval]:
    """Share of cases that come in clusters, here all columns of one network; shares: [cluster], each of `cases` cases.

    As `share`, of as many independent cases as give the variance between clusters, p (1 - p) / Var(p), and no more than
    there are; fewer still for the degrees of freedom of that variance (Korn and Graubard 1998).
    """
    from scipy import special

    array = np.asarray(shares, dtype=np.float64)
    centre, total = float(array.mean()), array.size * cases
    variance = array.var(ddof=1) / array.size
    number = min(centre * (1 - centre) / variance, total) if variance > 0 else total

    def interval(confidence: float) -> Interval:
        tail = (1 - confidence) / 2
        fewer = (special.stdtrit(total - 1, tail) / special.stdtrit(array.size - 1, tail)) ** 2
        return centre, *beta_bounds(centre * number * fewer, number * fewer, confidence)

    return interval


def beta_bounds(hits: float, cases: float, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's bounds for the share of hits among cases; neither need be a whole number."""
    from scipy import special

    tail = (1 - confidence) / 2
    low = special.betaincinv(hits, cases - hits + 1, tail) if hits > 0 else 0.0
    high = special.betainccinv(hits + 1, cases - hits, tail) if hits < cases else 1.0
    return float(low), float(high)


def wilson_bounds(hits: int, cases: int, confidence: float) -> tuple[float, float]:
    """Wilson's bounds for the share of hits among cases (1927; Newcombe 1998, method 3)."""
    from scipy import special

    z = special.ndtri((1 + confidence) / 2)
    centre, root = 2 * hits + z**2, z * np.sqrt(z**2 + 4 * hits * (1 - hits / cases))
    return float((centre - root) / (2 * (cases + z**2))), float((centre + root) / (2 * (cases + z**2)))


def share_difference(first: tuple[int, int], second: tuple[int, int]) -> Callable[[float], Interval]:
    """Difference of two independent shares, each (hits, cases): Newcombe 1998, method 10, from Wilson's intervals."""
    shares = [hits / cases for hits, cases in (first, second)]

    def interval(confidence: float) -> Interval:
        bounds = [wilson_bounds(*counts, confidence) for counts in (first, second)]
        value = shares[0] - shares[1]
        below = np.hypot(shares[0] - bounds[0][0], bounds[1][1] - shares[1])
        above = np.hypot(bounds[0][1] - shares[0], shares[1] - bounds[1][0])
        return value, float(value - below), float(value + above)

    return interval


def exact(value: float) -> Callable[[float], Interval]:
    """A number that is known without error."""
    return lambda confidence: (value, value, value)


def fixed(value: float, low: float, high: float) -> Callable[[float], Interval]:
    """A number whose interval another stage has made."""
    return lambda confidence: (value, low, high)


def turn(difference: Difference, *, sign: int) -> Callable[[float], Interval]:
    """A difference that `compare` has judged; with sign -1 it counts the other way round."""
    low, high = sorted((sign * difference.ci_low, sign * difference.ci_high))
    return fixed(sign * difference.value, low, high)
