"""All that claims are judged by: the comparison, the measurements of studies, the results of experiments; intervals.

An interval is that of a mean over replicates, of a share or of one run more, at the confidence that decides on a claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.claims.measurements import ExperimentResult, Measured
from stages.lib.core.records import read, split_task
from stages.lib.judge.comparison import ArmResult, Comparison
from stages.lib.judge.designs import resampled_mean
from stages.lib.judge.scores import SCORES

Kind = Literal["at_knob", "tuned", "to_end"]


class MissingEvidenceError(KeyError):
    """What a claim is judged by is missing: it is not in params.yaml, or a network has diverged; says what."""


class Interval(NamedTuple):
    value: float
    low: float
    high: float

    def __neg__(self) -> Interval:
        return Interval(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Records:
    """comparison, measurements: by the task. experiments: by their names.

    compared_at: confidence of the comparison's intervals. confidence: of those that decide on a claim.
    A variant stands for its arm at the knobs, or for another kind of arm: `tuned` where it has one, or `to_end`.
    Whatever is not there raises KeyError.
    """

    compared_at: float
    comparison: Comparison
    measurements: Mapping[str, Mapping[str, Measured]]
    experiments: Mapping[str, ExperimentResult]
    confidence: float = 0.95

    def tasks(self, source: str) -> list[str]:
        """The tasks of a study, one for each of its data sets; an experiment by its own name."""
        tasks = [source] if source in self.experiments else []
        tasks = tasks or [task for task in self.comparison if split_task(task)[0] == source]
        if not tasks:
            raise MissingEvidenceError(source)
        return tasks

    def baseline(self, task: str) -> str:
        return self.comparison[task].baseline

    def arm(self, task: str, variant: str, kind: Kind) -> ArmResult:
        kinds = self.comparison[task].arms[variant]
        return kinds["at_knob" if kind == "tuned" and kind not in kinds else kind]

    def loss_added(self, task: str, variant: str, kind: Kind) -> Interval:
        """Held-out log loss that a variant costs over its baseline, as `compare` has judged it."""
        difference = self.arm(task, variant, kind).judged["log_loss"].difference
        if difference is None:
            raise MissingEvidenceError(f"a baseline of {variant}")
        known = Interval(difference.value, difference.own_low, difference.own_high)
        return widen(known, at=self.compared_at, confidence=self.confidence)

    def values(self, source: str, name: str, quantity: str, kind: Kind = "at_knob", level: float = 0.0) -> np.ndarray:
        """A quantity of a variant of a study, or of a case of an experiment at one of its levels, [replicate].

        Of a study it is a score on held-out rows, or what was measured of networks at their knobs or tuned; they are
        stopped in time where the study does so.
        """
        if source in self.experiments:
            cases = {f"{case.name} at {case.level:g}": case.values for case in self.experiments[source].cases}
            values = read(cases[f"{name} at {level:g}"][quantity])
        elif quantity in SCORES:
            values = np.array(self.arm(source, name, kind).judged[quantity].replicates)
        else:
            measured = self.measurements[source][name]
            values = measured.at_tuned(quantity) if kind == "tuned" else measured.at_knob(quantity)
        return expect_finite(values, f"{quantity} of {name}")

    def over_levels(self, experiment: str, name: str, quantity: str) -> np.ndarray:
        """A quantity of a case at each of its levels but 0, [level, replicate]."""
        levels = [case.level for case in self.experiments[experiment].cases if case.name == name and case.level]
        if not levels:
            raise MissingEvidenceError(name)
        return np.stack([self.values(experiment, name, quantity, level=level) for level in levels])

    def mean(self, source: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of a study or an experiment, which share rows in cross-validation."""
        experiment = self.experiments.get(source)
        ratio = experiment.test_train_ratio if experiment else self.comparison[source].protocol.test_train_ratio
        return mean(values, ratio, self.confidence)


def expect_finite(values: np.ndarray, what: str) -> np.ndarray:
    """What was measured, [replicate]; MissingEvidenceError where a network had diverged."""
    if not np.isfinite(values).all():
        raise MissingEvidenceError(f"a finite {what} for every network")
    return values


# Intervals. SciPy is imported where it is used, since `plan` imports this module and has to be quick -----------------


def mean(values: ArrayLike, ratio: float, confidence: float) -> Interval:
    """Mean over replicates; ratio: of test and training rows where replicates share them, else 0."""
    estimate = resampled_mean(values, test_train_ratio=ratio)
    return Interval(estimate.value, *estimate.interval(confidence))


def exact(value: float) -> Interval:
    """A number that is known without error."""
    return Interval(value, value, value)


def average(intervals: Sequence[Interval]) -> Interval:
    """The mean of several values. Its bounds are the means of theirs: wide enough however they depend on each other."""
    return Interval(*np.mean(intervals, axis=0).tolist())


def widen(interval: Interval, *, at: float, confidence: float) -> Interval:
    """An interval known at one confidence, at another: its half-widths follow the normal distribution."""
    from scipy import special

    factor = float(special.ndtri((1 + confidence) / 2) / special.ndtri((1 + at) / 2))
    value, low, high = interval
    return Interval(value, value - (value - low) * factor, value + (high - value) * factor)


def one_more(values: np.ndarray, confidence: float) -> Interval:
    """Mean over independent runs, with the interval that holds one more run (Hahn and Meeker 1991, section 4.2)."""
    from scipy import stats

    centre, spread = float(values.mean()), float(values.std(ddof=1)) * np.sqrt(1 + 1 / values.size)
    half = float(stats.t.isf((1 - confidence) / 2, values.size - 1)) * spread
    return Interval(centre, centre - half, centre + half)


def half_width(values: np.ndarray, confidence: float, *, at: float) -> Interval:
    """Half-width of the interval at a confidence that one run has, known from the spread of several runs.

    Its own interval is that of a standard deviation of normal values, by chi squared.
    """
    from scipy import stats

    df, half = values.size - 1, float(values.std(ddof=1) * stats.norm.ppf((1 + at) / 2))
    least, most = stats.chi2.interval(confidence, df)
    return Interval(half, half * float(np.sqrt(df / most)), half * float(np.sqrt(df / least)))


def share(hits: float, cases: float, confidence: float, method: Literal["exact", "wilson"] = "exact") -> Interval:
    """Share of independent cases, with the exact interval (Clopper and Pearson 1934) or that of Wilson 1927."""
    from scipy.stats import binomtest

    bounds = binomtest(round(hits), round(cases)).proportion_ci(confidence, method)
    return Interval(hits / cases, float(bounds.low), float(bounds.high))


def share_difference(first: np.ndarray, second: np.ndarray, confidence: float) -> Interval:
    """Difference of two independent shares, each of cases that are 0 or 1: Newcombe 1998, method 10."""
    one, other = (share(cases.sum(), len(cases), confidence, "wilson") for cases in (first, second))
    value = one.value - other.value
    below = np.hypot(one.value - one.low, other.high - other.value)
    above = np.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, float(value - below), float(value + above))
