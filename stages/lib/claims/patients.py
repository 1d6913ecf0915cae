"""The tutorial's network for patients: its defects repaired one by one, and trained on all patients as it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.lib.claims.evidence import Case, Count, make_case
from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.claims.networks import at_knobs, score, train
from stages.lib.claims.outliers import MOST_LITRES
from stages.lib.data.samples import Development

SCORES = ("log_loss", "auc", "accuracy")


def repair_columns(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """The raw columns as they are, without the id, and with the values of FEV1 in another unit mended."""
    run, cases = at_knobs(plan.run), []
    for name, inputs in (
        ("as_it_is", development.inputs),
        ("without_id", np.delete(development.inputs, development.features.index("id"), axis=1)),
        ("mended", mend(development)),
    ):
        changed = replace(development, inputs=inputs)
        cases.append(make_case(name, score(SCORES, run, train(run, changed), changed)))
    return cases, count_labels(development)


def mend(development: Development) -> np.ndarray:
    """The inputs with what FVC and age predict (least squares on the clean training rows) for FEV1 in another unit."""
    columns = [development.features.index(name) for name in ("PRE4", "AGE", "PRE5")]
    inputs = development.inputs.copy()
    for training, validation in zip(development.training, development.validation, strict=True):
        values = development.inputs[training][:, columns].astype(float)
        clean = values[values[:, 2] <= MOST_LITRES]
        line, *_ = np.linalg.lstsq(np.c_[clean[:, :2], np.ones(len(clean))], clean[:, 2], rcond=None)
        rows = np.concatenate([training, validation])
        wrong = rows[inputs[rows, columns[2]] > MOST_LITRES]
        inputs[wrong, columns[2]] = np.c_[inputs[wrong][:, columns[:2]], np.ones(len(wrong))] @ line
    return inputs


def count_labels(development: Development) -> list[Count]:
    """Label 1 among all patients, and among those with the largest and the smallest tumours (PRE14)."""
    _, first = np.unique(development.identifiers, return_index=True)
    labels, tumour = development.labels[first], development.inputs[first, development.features.index("PRE14")]
    groups = {"": tumour > 0, "_largest": tumour == tumour.max(), "_smallest": tumour == tumour.min()}
    return [Count(f"label_1{name}", int(labels[chosen].sum()), int(chosen.sum())) for name, chosen in groups.items()]


def train_on_all(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """Accuracy on the rows of training, which are all patients, from each start."""
    _, first = np.unique(development.identifiers, return_index=True)
    rows = np.tile(first.astype(np.int32), (len(plan.run.replicates), 1))
    everyone, run = replace(development, training=rows, validation=rows), at_knobs(plan.run)
    return [make_case(run.variant, score(["accuracy"], run, train(run, everyone), everyone))], []
