"""The quantities that decide on claims: each function computes one from the records of a study or of an experiment.

First what they read: the comparison, the measurements of studies, the results of experiments. Then their intervals:
that of a mean over replicates, of a share or of one run more, at the confidence that decides on a claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.claims.measurements import At, Case, Measured
from stages.lib.core.records import read, split_task
from stages.lib.judge.comparison import ArmResult, Comparison, Kind
from stages.lib.judge.designs import resampled_mean
from stages.lib.judge.scores import SCORES


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
    """comparison: by the task. measured: by the task, or by the name of an experiment.

    compared_at: confidence of the comparison's intervals. confidence: of those that decide on a claim.
    A variant stands for its arm at the knobs, or for another kind of arm: `tuned` where it has one, or `to_end`.
    Whatever is not there raises KeyError.
    """

    compared_at: float
    comparison: Comparison
    measured: Mapping[str, Measured]
    confidence: float = 0.95

    def tasks(self, source: str) -> list[str]:
        """The tasks of a study, one for each of its data sets; an experiment by its own name."""
        tasks = [task for task in self.measured if split_task(task)[0] == source]
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

    def cases(self, source: str, name: str, *preferred: At) -> list[Case]:
        """What was measured of a variant of a study, or of a thing of an experiment, at the first of these that it has.

        All that was measured where it has none.
        """
        found = [case for case in self.measured[source].cases if case.name == name]
        if not found:
            raise MissingEvidenceError(name)
        return next(filter(None, ([case for case in found if case.at == at] for at in preferred)), found)

    def values(self, source: str, name: str, quantity: str, kind: Kind = "at_knob") -> np.ndarray:
        """A quantity of a variant of a study, or of a case of an experiment, [replicate].

        Of a study it is a score on held-out rows, or what was measured of networks at their knobs or tuned; they are
        stopped in time where the study does so.
        """
        if quantity in SCORES and source in self.comparison:
            values = np.array(self.arm(source, name, kind).judged[quantity].replicates)
        else:
            preferred: tuple[At, ...] = ("tuned", "knob") if kind == "tuned" else ("knob",)
            values = read(self.cases(source, name, *preferred)[0].values[quantity])
        return expect_finite(values, f"{quantity} of {name}")

    def over_levels(self, source: str, name: str, quantity: str) -> np.ndarray:
        """A quantity of a variant or case at each of its levels, from the least to the greatest, [level, replicate]."""
        cases = sorted(self.cases(source, name, "tried"), key=lambda case: case.level)
        return np.stack([expect_finite(read(case.values[quantity]), f"{quantity} of {name}") for case in cases])

    def mean(self, source: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of a study or an experiment, which share rows in cross-validation."""
        return mean(values, self.measured[source].test_train_ratio, self.confidence)


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


# What the tutorial prints ---------------------------------------------------------------------------------------------


class Printed(NamedTuple):
    """What the tutorial prints of a recipe for images: its number of weights, and its accuracy on the test images."""

    parameters: int
    accuracy: float


PRINTED = {
    "softmax": Printed(7_850, 0.8221),
    "l2_activity_l1": Printed(50_890, 0.8060),
    "l2_activity_l1_max_norm": Printed(50_890, 0.8135),
    "l2_activity_l1_dropout": Printed(50_890, 0.8052),
}
SOFTMAX, DECAY, CONSTRAINT, _ = PRINTED
PATIENTS_ACCURACY = 0.8865  # of the network for patients, on its own training rows, in the last epoch
SQUARED, ABSOLUTE = "mean_squared_error", "mean_absolute_error"


# Quantities of studies and of experiments -----------------------------------------------------------------------------


def mean_of(records: Records, source: str, *, quantity: str, of: str = "") -> Interval:
    """The mean of a quantity of a variant or a case, or of the baseline."""
    return records.mean(source, records.values(source, of or records.baseline(source), quantity))


def taken_off(
    records: Records,
    source: str,
    *,
    quantity: str,
    by: Sequence[str],
    over: str = "",
    kind: Kind = "at_knob",
    relative: bool = False,
) -> Interval:
    """What variants or cases take off a quantity of another one, or of the baseline, their mean.

    relative: as a share of its own.
    """
    plain = records.values(source, over or records.baseline(source), quantity, kind)
    left = np.mean([records.values(source, name, quantity, kind) for name in by], axis=0)
    return records.mean(source, (plain - left) / plain if relative else plain - left)


# Of studies -----------------------------------------------------------------------------------------------------------


def loss_added(records: Records, task: str, *, variants: Sequence[str] = (), kind: Kind = "at_knob") -> Interval:
    """Held-out log loss that variants cost over their baseline, their mean; or the study's baseline over itself."""
    return average([records.loss_added(task, variant, kind) for variant in variants or [records.baseline(task)]])


def loss_saved(records: Records, task: str, *, variants: Sequence[str], kind: Kind) -> Interval:
    """Held-out log loss that variants save over their baseline, their mean."""
    return -loss_added(records, task, variants=variants, kind=kind)


def norm_taken_off(records: Records, task: str, *, variants: Sequence[str]) -> Interval:
    """What variants take off the norm of the baseline's weights after the last epoch, as a share of it; their mean.

    Its own error is not known: the comparison has the mean over replicates alone. So it serves for a mean over tasks.
    """
    names = (records.baseline(task), *variants)
    plain, *left = (records.arm(task, name, "to_end").mechanisms["kernel_norm"] for name in names)
    return exact(1 - float(np.mean(left)) / plain)


def pairs_in_order(records: Records, task: str, *, quantity: str, variants: Sequence[str]) -> Interval:
    """Share of pairs of strengths, 0 included, of which the larger has the smaller quantity; mean over variants."""
    plain, shares = records.values(task, records.baseline(task), quantity), []
    for variant in variants:
        values = np.stack([plain, *records.over_levels(task, variant, quantity)])
        first, second = np.triu_indices(len(values), 1)
        shares.append((values[second] < values[first]).mean(axis=0))
    value, low, high = records.mean(task, np.mean(shares, axis=0))
    return Interval(value, max(low, 0), min(high, 1))


def units_over_bound(records: Records, task: str) -> Interval:
    """Of the units that the path of max_norm holds at their bound, or that are over it, those over it."""
    at, over = (records.over_levels(task, "max_norm", f"num_{name}_bound").sum() for name in ("at", "over"))
    if not at + over:
        raise MissingEvidenceError("a unit that max_norm holds")
    return share(over, at + over, records.confidence)


def units_at_bound(records: Records, study: str) -> Interval:
    """Share of the units that the tutorial bounds, after training."""
    at, bounded = (records.values(study, CONSTRAINT, f"num_{name}").sum() for name in ("at_bound", "bounded"))
    return share(at, bounded, records.confidence)


def accuracy_flattered(records: Records, task: str) -> Interval:
    """Accuracy of the baseline on training rows less that on held-out rows."""
    name = records.baseline(task)
    training, held_out = (records.values(task, name, f"{rows}_accuracy") for rows in ("training", "held_out"))
    return records.mean(task, training - held_out)


def accuracy_over_majority(records: Records, study: str) -> Interval:
    """Held-out accuracy of the baseline less that of the majority answer."""
    accuracy = records.values(study, records.baseline(study), "held_out_accuracy")
    return records.mean(study, accuracy - records.comparison[study].no_skill["accuracy"])


def runs_of_other_ranking(records: Records, study: str) -> Interval:
    """Share of runs that rank the four recipes by accuracy otherwise than the tutorial does."""
    ours = np.argsort([-records.values(study, name, "accuracy") for name in PRINTED], axis=0, kind="stable")
    printed = np.argsort([-recipe.accuracy for recipe in PRINTED.values()], kind="stable")
    other = (ours != printed[:, None]).any(axis=0)
    return share(other.sum(), other.size, records.confidence)


def half_width_of_a_run(records: Records, study: str) -> Interval:
    """Half-width of the 95 % interval that one run has for what the constraint adds to the accuracy of decay.

    By the spread of this difference between runs, which share their test images: those are not in it.
    """
    constraint, decay = (records.values(study, name, "accuracy") for name in (CONSTRAINT, DECAY))
    return half_width(constraint - decay, records.confidence, at=0.95)


def weights_apart(records: Records, study: str) -> Interval:
    """The largest difference from a printed number of weights."""
    numbers = {name: records.values(study, name, "num_weights")[0] for name in PRINTED}
    return exact(float(max(abs(numbers[name] - PRINTED[name].parameters) for name in PRINTED)))


def accuracy_apart(records: Records, study: str) -> Interval:
    """The largest difference from a printed accuracy in one run of the four recipes."""
    apart = [np.abs(records.values(study, name, "accuracy") - PRINTED[name].accuracy) for name in PRINTED]
    return one_more(np.max(apart, axis=0), records.confidence)


# Of experiments -------------------------------------------------------------------------------------------------------


def error_added(records: Records, experiment: str) -> Interval:
    """Error on clean rows that outliers add, by squared less by absolute loss; mean over the shares of outliers."""
    errors = (records.over_levels(experiment, loss, "clean_error") for loss in (SQUARED, ABSOLUTE))
    squared, absolute = (error[1:] - error[0] for error in errors)  # the least level is 0
    return records.mean(experiment, (squared - absolute).mean(axis=0))


def error_saved(records: Records, experiment: str, *, by: str, over: str, quantity: str) -> Interval:
    """Error that one loss saves over another; mean over the shares of outliers."""
    worse, better = (records.over_levels(experiment, loss, quantity) for loss in (over, by))
    return records.mean(experiment, (worse - better)[1:].mean(axis=0))


def columns_selected(records: Records, experiment: str, *, variant: str) -> Interval:
    """Share of useless columns with no weight but 0, less the same of real ones; mean over strengths, less L2's."""
    chosen, plain = (
        records.over_levels(experiment, name, "useless_columns_zero").mean(axis=0)
        - records.over_levels(experiment, name, "real_columns_zero").mean(axis=0)
        for name in (variant, "l2")
    )
    return records.mean(experiment, chosen - plain)


def risk_difference(records: Records, experiment: str) -> Interval:
    """Share of label 1 among the patients with the largest tumours less that among those with the smallest."""
    largest, smallest = (records.values(experiment, f"{size}_tumours", "label") for size in ("largest", "smallest"))
    return share_difference(largest, smallest, records.confidence)


def accuracy_of_a_run_apart(records: Records, experiment: str) -> Interval:
    """Accuracy of one run of the network for patients on its own training rows, all patients, less the printed one."""
    return one_more(records.values(experiment, "all_patients", "accuracy") - PATIENTS_ACCURACY, records.confidence)
