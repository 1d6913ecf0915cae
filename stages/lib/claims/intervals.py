"""Intervals at any confidence: of means over replicates, of shares, of one run more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.judge.designs import resampled_mean

Interval = Callable[[float], tuple[float, float, float]]  # (confidence) -> value, low, high


def mean(values: ArrayLike, ratio: float) -> Interval:
    """Mean over replicates; ratio: of test and training rows where replicates share them, else 0."""

    estimate = resampled_mean(np.asarray(values), test_train_ratio=ratio)
    return lambda confidence: (estimate.value, *estimate.interval(confidence))


def average(intervals: Sequence[Interval]) -> Interval:
    """The mean of several values. Its bounds are the means of theirs: wide enough however they depend on each other."""

    def interval(confidence: float) -> tuple[float, float, float]:
        value, low, high = np.mean([of_part(confidence) for of_part in intervals], axis=0).tolist()
        return value, low, high

    return interval


def across(intervals: Sequence[Interval]) -> Interval:
    """The mean of the values of tasks that are a sample of many, with Student's interval of the spread between them.

    So it holds the mean of all tasks of the kind, and no task's own interval is needed: the spread has its error in it.
    """
    return mean([of_task(0.95)[0] for of_task in intervals], 0)


def opposite(interval: Interval) -> Interval:
    """Of minus the value."""

    def turned(confidence: float) -> tuple[float, float, float]:
        value, low, high = interval(confidence)
        return -value, -high, -low

    return turned


def between(interval: Interval, least: float, greatest: float) -> Interval:
    """The same value, whose interval ends where the values that it can have do."""

    def narrowed(confidence: float) -> tuple[float, float, float]:
        value, low, high = interval(confidence)
        return value, max(low, least), min(high, greatest)

    return narrowed


def one_more(values: ArrayLike) -> Interval:
    """Mean over independent runs, with the interval that holds one more run (Hahn and Meeker 1991, section 4.2)."""
    from scipy import special  # here, since `plan` imports this module

    array = np.asarray(values, dtype=np.float64)
    centre, spread, number = float(array.mean()), float(array.std(ddof=1)), array.size

    def interval(confidence: float) -> tuple[float, float, float]:
        half = -float(special.stdtrit(number - 1, (1 - confidence) / 2)) * spread * np.sqrt(1 + 1 / number)
        return centre, centre - half, centre + half

    return interval


def half_width(values: ArrayLike, at: float) -> Interval:
    """Half-width of the interval at a confidence that one run has, known from the spread of several runs.

    Its own interval is that of a standard deviation of normal values, by chi squared.
    """
    from scipy import special

    array = np.asarray(values, dtype=np.float64)
    df, half = array.size - 1, float(array.std(ddof=1) * special.ndtri((1 + at) / 2))

    def interval(confidence: float) -> tuple[float, float, float]:
        tail = (1 - confidence) / 2
        low, high = (half * np.sqrt(df / special.chdtri(df, probability)) for probability in (tail, 1 - tail))
        return half, float(low), float(high)

    return interval


def share(hits: float, cases: float) -> Interval:
    """Share of independent cases, with the exact interval (Clopper and Pearson 1934); neither need be whole numbers."""

    def interval(confidence: float) -> tuple[float, float, float]:
        from scipy import special

        tail = (1 - confidence) / 2
        low = special.betaincinv(hits, cases - hits + 1, tail) if hits > 0 else 0.0
        high = special.betainccinv(hits + 1, cases - hits, tail) if hits < cases else 1.0
        return hits / cases, float(low), float(high)

    return interval


def share_difference(first: np.ndarray, second: np.ndarray) -> Interval:
    """Difference of two independent shares, each of cases that are 0 or 1: Newcombe 1998, method 10."""

    def interval(confidence: float) -> tuple[float, float, float]:
        from scipy.stats import binomtest

        shares = [float(np.mean(cases)) for cases in (first, second)]
        bounds = [
            binomtest(round(cases.sum()), len(cases)).proportion_ci(confidence, method="wilson")
            for cases in (first, second)
        ]
        below = np.hypot(shares[0] - bounds[0].low, bounds[1].high - shares[1])
        above = np.hypot(bounds[0].high - shares[0], shares[1] - bounds[1].low)
        value = shares[0] - shares[1]
        return value, float(value - below), float(value + above)

    return interval


def exact(value: float) -> Interval:
    """A number that is known without error."""
    return lambda confidence: (value, value, value)


def known(value: float, low: float, high: float, at: float) -> Interval:
    """A number whose interval is known at one confidence; at another its half-widths follow the normal distribution."""

    def interval(confidence: float) -> tuple[float, float, float]:
        from scipy import special

        factor = float(special.ndtri((1 + confidence) / 2) / special.ndtri((1 + at) / 2))
        return value, value - (value - low) * factor, value + (high - value) * factor

    return interval
