"""All that claims are judged by: the comparison, the measurements of studies, the results of experiments; intervals.

An interval is that of a mean over replicates, of a share or of one run more, at the confidence that decides on a claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.claims.measurements import ExperimentResult, Measured
from stages.lib.core.records import read, split_task
from stages.lib.judge.comparison import ArmResult, Comparison, Judgement, StudyResult
from stages.lib.judge.designs import resampled_mean
from stages.lib.judge.scores import SCORES

Kind = Literal["at_knob", "tuned", "to_end"]
Found = TypeVar("Found")


class MissingEvidenceError(Exception):
    """What a claim is judged by is missing: it is not in params.yaml, or a network has diverged; says what."""


def find(mapping: Mapping[str, Found], name: str, what: str) -> Found:
    """What has a name; MissingEvidenceError where nothing has."""
    if name not in mapping:
        raise MissingEvidenceError(what)
    return mapping[name]


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
    """

    compared_at: float
    comparison: Comparison
    measurements: Mapping[str, Mapping[str, Measured]]
    experiments: Mapping[str, ExperimentResult]
    confidence: float = 0.95

    def tasks(self, source: str) -> list[str]:
        """The tasks of a study, one for each of its data sets; an experiment, or what is missing, by its own name."""
        return [task for task in self.comparison if split_task(task)[0] == source] or [source]

    def study(self, task: str) -> StudyResult:
        return find(self.comparison, task, f"the study {task}")

    def baseline(self, task: str) -> str:
        return self.study(task).baseline

    def arm(self, task: str, variant: str, kind: Kind) -> ArmResult:
        kinds = self.study(task).arms.get(variant, {})
        arm = kinds.get(kind) or (kinds.get("at_knob") if kind == "tuned" else None)
        if arm is None:
            raise MissingEvidenceError(f"{variant} {kind} in the study {task}")
        return arm

    def judged(self, task: str, variant: str, score: str, kind: Kind = "at_knob") -> Judgement:
        return find(self.arm(task, variant, kind).judged, score, f"{score} of {variant} in the study {task}")

    def scores(self, task: str, variant: str, score: str, kind: Kind = "at_knob") -> np.ndarray:
        """A score on held-out rows, [replicate]."""
        return np.array(self.judged(task, variant, score, kind).replicates)

    def mechanism(self, task: str, variant: str, name: str, kind: Kind) -> float:
        """What a regulariser did to the weights, mean over replicates."""
        return find(self.arm(task, variant, kind).mechanisms, name, f"{name} of {variant} in the study {task}")

    def gain(self, task: str, variant: str, score: str, kind: Kind = "at_knob") -> Interval:
        """What a variant gains over its baseline by a score on held-out rows, as `compare` has judged it."""
        difference = self.judged(task, variant, score, kind).difference
        if difference is None or not difference.own_low <= difference.value <= difference.own_high:
            raise MissingEvidenceError(f"a difference of {variant} by {score} within its interval in the study {task}")
        known = Interval(difference.value, difference.own_low, difference.own_high)
        interval = widen(known, at=self.compared_at, confidence=self.confidence)
        return interval if SCORES[score].greater_is_better else -interval

    def measured(self, task: str, variant: str) -> Measured:
        missing = f"{variant} in the study {task}"
        return find(find(self.measurements, task, missing), variant, missing)

    def values(self, task: str, variant: str, quantity: str, kind: Kind = "at_knob") -> np.ndarray:
        """A measured quantity of a variant, [replicate]; of networks that are stopped in time where the study does."""
        measured, where = self.measured(task, variant), f"{quantity} of {variant} in the study {task}"
        find(measured.points[0].values, quantity, where)
        return expect_finite(measured.at_tuned(quantity) if kind == "tuned" else measured.at_knob(quantity), where)

    def mean(self, task: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of a study, which share rows in cross-validation."""
        return mean(values, self.study(task).protocol.test_train_ratio, self.confidence)

    def experiment(self, name: str) -> ExperimentResult:
        return find(self.experiments, name, f"the experiment {name}")

    def case(self, experiment: str, name: str, quantity: str, level: float = 0.0) -> np.ndarray:
        """What an experiment has measured, [replicate]."""
        where = f"{quantity} of {name} at {level:g} in the experiment {experiment}"
        for case in self.experiment(experiment).cases:
            if (case.name, case.level) == (name, level) and quantity in case.values:
                return expect_finite(read(case.values[quantity]), where)
        raise MissingEvidenceError(where)

    def mean_in(self, experiment: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of an experiment."""
        return mean(values, self.experiment(experiment).test_train_ratio, self.confidence)


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
    from scipy import special

    centre, number = float(values.mean()), values.size
    half = (
        -float(special.stdtrit(number - 1, (1 - confidence) / 2)) * float(values.std(ddof=1)) * np.sqrt(1 + 1 / number)
    )
    return Interval(centre, centre - half, centre + half)


def half_width(values: np.ndarray, confidence: float, *, at: float) -> Interval:
    """Half-width of the interval at a confidence that one run has, known from the spread of several runs.

    Its own interval is that of a standard deviation of normal values, by chi squared.
    """
    from scipy import special

    df, half, tail = values.size - 1, float(values.std(ddof=1) * special.ndtri((1 + at) / 2)), (1 - confidence) / 2
    low, high = (half * np.sqrt(df / special.chdtri(df, probability)) for probability in (tail, 1 - tail))
    return Interval(half, float(low), float(high))


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
