"""The quantities that decide on claims: each function computes one from the records of a study or of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.lib.claims.evidence import (
    Interval,
    Kind,
    MissingEvidenceError,
    Records,
    average,
    exact,
    expect_finite,
    half_width,
    one_more,
    share,
    share_difference,
)


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


# Of studies


def loss_saved(records: Records, task: str, *, variants: Sequence[str], kind: Kind = "at_knob") -> Interval:
    """Held-out log loss that variants save over their baseline, their mean."""
    return average([records.gain(task, variant, "log_loss", kind) for variant in variants])


def loss_added(records: Records, task: str, *, variants: Sequence[str]) -> Interval:
    """Held-out log loss that variants cost, their mean."""
    return -loss_saved(records, task, variants=variants)


def loss_saved_by_stopping(records: Records, task: str) -> Interval:
    """Held-out log loss that the baseline, which is stopped in time, saves over the same network at its last epoch."""
    return -records.gain(task, records.baseline(task), "log_loss", "to_end")


def loss_saved_at_end(records: Records, task: str, *, variants: Sequence[str]) -> Interval:
    """Held-out log loss that variants save, their mean, where they and the baseline train to the last epoch."""
    plain = records.scores(task, records.baseline(task), "log_loss", "to_end")
    left = np.mean([records.scores(task, variant, "log_loss", "to_end") for variant in variants], axis=0)
    return records.mean(task, plain - left)


def loss_saved_over(records: Records, task: str, *, by: str, over: str) -> Interval:
    """Held-out log loss that one variant saves over another, both at tuned strengths."""
    better, worse = (records.scores(task, variant, "log_loss", "tuned") for variant in (by, over))
    return records.mean(task, worse - better)


def norm_taken_off(records: Records, task: str, *, variants: Sequence[str]) -> Interval:
    """What variants take off the norm of the baseline's weights after the last epoch, as a share of it; their mean.

    Its own error is not known: the comparison has the mean over replicates alone. So it serves for a mean over tasks.
    """
    plain, *left = (
        records.mechanism(task, variant, "kernel_norm", "to_end") for variant in (records.baseline(task), *variants)
    )
    return exact(1 - float(np.mean(left)) / plain)


def taken_off(
    records: Records, task: str, *, quantity: str, variants: Sequence[str], over: str = "", relative: bool = False
) -> Interval:
    """What variants take off a measured quantity of another one, or of the baseline, their mean.

    relative: as a share of its own.
    """
    plain = records.values(task, over or records.baseline(task), quantity)
    left = np.mean([records.values(task, variant, quantity) for variant in variants], axis=0)
    return records.mean(task, (plain - left) / plain if relative else plain - left)


def pairs_in_order(records: Records, task: str, *, quantity: str, variants: Sequence[str]) -> Interval:
    """Share of pairs of strengths, 0 included, of which the larger has the smaller quantity; mean over variants."""
    plain, shares = records.values(task, records.baseline(task), quantity), []
    for variant in variants:
        points = sorted(records.measured(task, variant).points, key=lambda point: point.strengths[variant])
        where = f"{quantity} along the path of {variant} in the study {task}"
        values = np.stack([plain, *(expect_finite(point.of(quantity), where) for point in points)])
        first, second = np.triu_indices(len(values), 1)
        shares.append((values[second] < values[first]).mean(axis=0))
    value, low, high = records.mean(task, np.mean(shares, axis=0))
    return Interval(value, max(low, 0), min(high, 1))


def units_over_bound(records: Records, task: str) -> Interval:
    """Of the units that the path of max_norm holds at their bound, or that are over it, those over it."""
    points, where = records.measured(task, "max_norm").points, f"norm of the weights of max_norm in the study {task}"
    at, over = (
        sum(expect_finite(point.of(f"num_{name}_bound"), where).sum() for point in points) for name in ("at", "over")
    )
    if not at + over:
        raise MissingEvidenceError(f"a unit that max_norm holds in the study {task}")
    return share(over, at + over, records.confidence)


def units_at_bound(records: Records, study: str) -> Interval:
    """Share of the units that the tutorial bounds, after training."""
    at, bounded = (records.values(study, CONSTRAINT, f"num_{name}").sum() for name in ("at_bound", "bounded"))
    if not bounded:
        raise MissingEvidenceError(f"a unit that {CONSTRAINT} bounds in the study {study}")
    return share(at, bounded, records.confidence)


def measured_mean(records: Records, task: str, *, quantity: str, variant: str = "") -> Interval:
    """The mean of a measured quantity of a variant, or of the baseline."""
    return records.mean(task, records.values(task, variant or records.baseline(task), quantity))


def zeros_by_care(records: Records, task: str) -> Interval:
    """Share of weights that are exactly 0 by a proximal step, less that by the penalty's gradient."""
    careful, plain = (records.values(task, name, "zero_share", "tuned") for name in ("l1_proximal", "l1"))
    return records.mean(task, careful - plain)


def accuracy_flattered(records: Records, task: str) -> Interval:
    """Accuracy of the baseline on training rows less that on held-out rows."""
    name = records.baseline(task)
    training, held_out = (records.values(task, name, f"{rows}_accuracy") for rows in ("training", "held_out"))
    return records.mean(task, training - held_out)


def accuracy_over_majority(records: Records, study: str) -> Interval:
    """Held-out accuracy of the baseline less that of the majority answer."""
    accuracy = records.values(study, records.baseline(study), "held_out_accuracy")
    return records.mean(study, accuracy - records.study(study).no_skill["accuracy"])


def runs_of_other_ranking(records: Records, study: str) -> Interval:
    """Share of runs that rank the four recipes by accuracy otherwise than the tutorial does."""
    ours = np.argsort([-records.scores(study, name, "accuracy") for name in PRINTED], axis=0, kind="stable")
    printed = np.argsort([-recipe.accuracy for recipe in PRINTED.values()], kind="stable")
    other = (ours != printed[:, None]).any(axis=0)
    return share(other.sum(), other.size, records.confidence)


def half_width_of_a_run(records: Records, study: str) -> Interval:
    """Half-width of the 95 % interval that one run has for what the constraint adds to the accuracy of decay.

    By the spread of this difference between runs, which share their test images: those are not in it.
    """
    constraint, decay = (records.scores(study, name, "accuracy") for name in (CONSTRAINT, DECAY))
    return half_width(constraint - decay, records.confidence, at=0.95)


def weights_apart(records: Records, study: str) -> Interval:
    """The largest difference from a printed number of weights."""
    return exact(max(abs(records.measured(study, name).num_weights - PRINTED[name].parameters) for name in PRINTED))


def accuracy_apart(records: Records, study: str) -> Interval:
    """The largest difference from a printed accuracy in one run of the four recipes."""
    apart = [np.abs(records.scores(study, name, "accuracy") - PRINTED[name].accuracy) for name in PRINTED]
    return one_more(np.max(apart, axis=0), records.confidence)


# Of experiments


def case_mean(records: Records, experiment: str, *, case: str, quantity: str) -> Interval:
    return records.mean_in(experiment, records.case(experiment, case, quantity))


def loss_difference(records: Records, experiment: str, *, case: str, less: str) -> Interval:
    """Log loss of one case less that of another, on the same rows."""
    losses, other = (records.case(experiment, name, "log_loss") for name in (case, less))
    return records.mean_in(experiment, losses - other)


def error_added(records: Records, experiment: str) -> Interval:
    """Error on clean rows that outliers add, by squared less by absolute loss; mean over the shares of outliers."""
    clean, *spoiled = list_apart(records, experiment, by=ABSOLUTE, over=SQUARED, quantity="clean_error")
    return records.mean_in(experiment, np.mean([more - clean for more in spoiled], axis=0))


def error_saved(records: Records, experiment: str, *, by: str, over: str, quantity: str) -> Interval:
    """Error that one loss saves over another; mean over the shares of outliers."""
    _, *saved = list_apart(records, experiment, by=by, over=over, quantity=quantity)
    return records.mean_in(experiment, np.mean(saved, axis=0))


def list_apart(records: Records, experiment: str, *, by: str, over: str, quantity: str) -> list[np.ndarray]:
    """A quantity of one loss less that of another at each level of an experiment, 0 first, each [replicate]."""
    levels = [0.0, *sorted({case.level for case in records.experiment(experiment).cases} - {0.0})]
    return [
        records.case(experiment, over, quantity, level) - records.case(experiment, by, quantity, level)
        for level in levels
    ]


def columns_selected(records: Records, experiment: str, *, variant: str) -> Interval:
    """Share of useless columns with no weight but 0, less the same of real ones; mean over strengths, less L2's."""

    def select(name: str) -> np.ndarray:
        """[replicate]"""
        strengths = [case.level for case in records.experiment(experiment).cases if case.name == name]
        useless, real = (
            [records.case(experiment, name, f"{columns}_columns_zero", strength) for strength in strengths]
            for columns in ("useless", "real")
        )
        if not strengths:
            raise MissingEvidenceError(f"{name} in the experiment {experiment}")
        return np.mean(useless, axis=0) - np.mean(real, axis=0)

    return records.mean_in(experiment, select(variant) - select("l2"))


def risk_difference(records: Records, experiment: str) -> Interval:
    """Share of label 1 among the patients with the largest tumours less that among those with the smallest."""
    largest, smallest = (records.case(experiment, f"{size}_tumours", "label") for size in ("largest", "smallest"))
    return share_difference(largest, smallest, records.confidence)


def accuracy_of_a_run_apart(records: Records, experiment: str) -> Interval:
    """Accuracy of one run of the network for patients on its own training rows, all patients, less the printed one."""
    return one_more(records.case(experiment, "all_patients", "accuracy") - PATIENTS_ACCURACY, records.confidence)
