"""The quantities that decide on claims: each function computes one from the records of a study or of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.lib.claims.evidence import MissingEvidenceError, Records, expect_finite
from stages.lib.claims.intervals import (
    Interval,
    average,
    between,
    clustered_share,
    exact,
    mean_share,
    one_more,
    opposite,
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
RUN_ROWS = 10_000  # test images that each of these accuracies is of
PATIENTS_ACCURACY = 0.8865  # of the network for patients, on its own training rows, in the last epoch
SQUARED, ABSOLUTE = "mean_squared_error", "mean_absolute_error"


# Of studies


def loss_saved(records: Records, study: str, *, variants: Sequence[str], tuned: bool = False) -> Interval:
    """Held-out log loss that variants save over their baseline, their mean."""
    return average([records.gain(study, variant, "log_loss", tuned=tuned) for variant in variants])


def loss_added(records: Records, study: str, *, variants: Sequence[str]) -> Interval:
    """Held-out log loss that variants cost, their mean."""
    return opposite(loss_saved(records, study, variants=variants))


def taken_off(
    records: Records, study: str, *, quantity: str, variants: Sequence[str], tuned: bool = False, relative: bool = False
) -> Interval:
    """What variants take off a measured quantity of the baseline, their mean; relative: as a share of its own."""
    plain = records.values(study, records.baseline(study), quantity)
    left = np.mean([records.values(study, variant, quantity, tuned=tuned) for variant in variants], axis=0)
    return records.mean(study, (plain - left) / plain if relative else plain - left)


def share_worse_at_the_end(records: Records, study: str) -> Interval:
    """Of networks that early stopping stops, those that do worse on held-out rows where training goes on."""
    end, stop = (records.scores(study, name, "log_loss") for name in (records.baseline(study), "early_stopping"))
    stopped = records.values(study, "early_stopping", "stopped_early") > 0
    if not stopped.any():
        raise MissingEvidenceError(f"a network that early stopping stops in the study {study}")
    return mean_share((end > stop)[stopped], records.ratio(study))


def pairs_in_order(records: Records, study: str, *, quantity: str, variants: Sequence[str]) -> Interval:
    """Share of pairs of strengths, 0 included, of which the larger has the smaller quantity; mean over variants."""
    plain, shares = records.values(study, records.baseline(study), quantity), []
    for variant in variants:
        points = sorted(records.measured(study, variant).points, key=lambda point: point.strengths[variant])
        where = f"{quantity} along the path of {variant} in the study {study}"
        values = np.stack([plain, *(expect_finite(point.of(quantity), where) for point in points)])
        first, second = np.triu_indices(len(values), 1)
        shares.append((values[second] < values[first]).mean(axis=0))
    return between(records.mean(study, np.mean(shares, axis=0)), 0, 1)


def units_over_bound(records: Records, study: str) -> Interval:
    """Share of all units of a study that max_norm bounds, at every point of every variant."""
    over = total = 0.0
    for variant, measured in records.measurements.get(study, {}).items():
        for point in measured.points:
            if "num_bounded" in point.values:
                over += expect_finite(point.of("num_over_bound"), f"norm of the weights of {variant} in {study}").sum()
                total += point.of("num_bounded").sum()
    if not total:
        raise MissingEvidenceError(f"a variant with max_norm in the study {study}")
    return share(over, total)


def units_at_bound(records: Records, study: str) -> Interval:
    """Share of the units that the tutorial bounds, after training."""
    return share(*(records.values(study, CONSTRAINT, f"num_{name}").sum() for name in ("at_bound", "bounded")))


def measured_mean(records: Records, study: str, *, variant: str, quantity: str) -> Interval:
    return records.mean(study, records.values(study, variant, quantity))


def accuracy_of_constraint(records: Records, study: str) -> Interval:
    """What the tutorial's constraint adds to its decay, on held-out images."""
    constraint, decay = (records.scores(study, name, "accuracy") for name in (CONSTRAINT, DECAY))
    return records.mean(study, constraint - decay)


def zeros_by_care(records: Records, study: str) -> Interval:
    """Share of weights that are exactly 0 by a proximal step, less that by the penalty's gradient."""
    careful, plain = (records.values(study, name, "zero_share", tuned=True) for name in ("l1_proximal", "l1"))
    return records.mean(study, careful - plain)


def accuracy_flattered(records: Records, study: str) -> Interval:
    """Accuracy of the baseline on training rows less that on held-out rows."""
    name = records.baseline(study)
    training, held_out = (records.values(study, name, f"{rows}_accuracy") for rows in ("training", "held_out"))
    return records.mean(study, training - held_out)


def accuracy_over_majority(records: Records, study: str) -> Interval:
    """Held-out accuracy of the baseline less that of the majority answer."""
    accuracy = records.values(study, records.baseline(study), "held_out_accuracy")
    return records.mean(study, accuracy - records.study(study).no_skill["accuracy"])


def runs_of_other_ranking(records: Records, study: str) -> Interval:
    """Share of runs that rank the four recipes by accuracy otherwise than the tutorial does."""
    ours = np.argsort([-records.scores(study, name, "accuracy") for name in PRINTED], axis=0, kind="stable")
    printed = np.argsort([-recipe.accuracy for recipe in PRINTED.values()], kind="stable")
    return mean_share((ours != printed[:, None]).any(axis=0), 0)


def sampling_error_of_a_run(records: Records, study: str) -> Interval:
    """Half-width of the 95 % interval of a printed accuracy, which is of one run."""
    _, low, high = share(round(PRINTED[CONSTRAINT].accuracy * RUN_ROWS), RUN_ROWS)(0.95)
    return exact((high - low) / 2)


def weights_apart(records: Records, study: str) -> Interval:
    """The largest difference from a printed number of weights."""
    return exact(max(abs(records.measured(study, name).num_weights - PRINTED[name].parameters) for name in PRINTED))


def accuracy_apart(records: Records, study: str) -> Interval:
    """The largest difference from a printed accuracy in one run of the four recipes."""
    apart = [np.abs(records.scores(study, name, "accuracy") - PRINTED[name].accuracy) for name in PRINTED]
    return one_more(np.max(apart, axis=0))


# Of experiments


def case_mean(records: Records, experiment: str, *, case: str, quantity: str) -> Interval:
    return records.mean_in(experiment, records.case(experiment, case, quantity))


def loss_difference(records: Records, experiment: str, *, case: str, less: str, level: float = 0.0) -> Interval:
    """Log loss of one case, at its level, less that of another, on the same rows."""
    losses = records.case(experiment, case, "log_loss", level)
    return records.mean_in(experiment, losses - records.case(experiment, less, "log_loss"))


def error_added(records: Records, experiment: str) -> Interval:
    """Error on clean rows that outliers add, by squared less by absolute loss; mean over the shares of outliers."""

    def more(level: float) -> np.ndarray:
        squared, absolute = (records.case(experiment, loss, "clean_error", level) for loss in (SQUARED, ABSOLUTE))
        return squared - absolute

    added = [more(level) - more(0.0) for level in list_levels(records, experiment)]
    return records.mean_in(experiment, np.mean(added, axis=0))


def error_saved(records: Records, experiment: str, *, by: str, over: str, quantity: str) -> Interval:
    """Error that one loss saves over another; mean over the shares of outliers."""
    saved = [
        records.case(experiment, over, quantity, level) - records.case(experiment, by, quantity, level)
        for level in list_levels(records, experiment)
    ]
    return records.mean_in(experiment, np.mean(saved, axis=0))


def list_levels(records: Records, experiment: str) -> list[float]:
    """The levels of an experiment, without 0."""
    return sorted({case.level for case in records.experiment(experiment).cases} - {0.0})


def noise_selected(records: Records, experiment: str, *, variants: Sequence[str]) -> Interval:
    """Share of columns of noise with no weight but 0, less the same of real columns; mean over variants."""
    noise, real = (
        np.mean([records.case(experiment, name, f"{columns}_columns_zero") for name in variants], axis=0)
        for columns in ("noise", "real")
    )
    return records.mean_in(experiment, noise - real)


def noise_found(records: Records, experiment: str, *, variant: str) -> Interval:
    """Share of columns of noise with no weight but 0. Each network has its own, so networks are clusters of columns."""
    number = int(records.case(experiment, variant, "num_noise_columns")[0])
    return clustered_share(records.case(experiment, variant, "noise_columns_zero"), number)


def risk_difference(records: Records, experiment: str) -> Interval:
    """Share of label 1 among the patients with the largest tumours less that among those with the smallest."""
    largest, smallest = (records.case(experiment, f"{size}_tumours", "label") for size in ("largest", "smallest"))
    return share_difference(largest, smallest)


def accuracy_of_a_run_apart(records: Records, experiment: str) -> Interval:
    """Accuracy of one run of the network for patients on its own training rows, all patients, less the printed one."""
    return one_more(records.case(experiment, "all_patients", "accuracy") - PATIENTS_ACCURACY)
