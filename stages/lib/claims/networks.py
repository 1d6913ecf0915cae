"""What experiments do with networks: train them on development rows, score them on validation rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.data.samples import Development
from stages.lib.judge.scores import measure
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.run import TrainedRun, Weights

NUM_JUDGED = 2000  # rows: the sampling error of an accuracy of .8 is then below a hundredth


def take_rows(development: Development, plan: ExperimentPlan) -> Development:
    """The rows of the experiment's replicates: training rows as many as it asks for, and rows to be judged on.

    These are the validation rows. Where replicates share a pool of rows, others that a replicate is not trained on are
    added to them, NUM_JUDGED in all.
    """
    replicates = list(plan.run.replicates)
    validation, training = development.validation[replicates], development.training[replicates]
    pool = np.arange(len(development.labels), dtype=np.int32)
    if len(np.unique(development.identifiers)) == len(pool) and validation.shape[1] < NUM_JUDGED:
        generator, more = generator_of(plan), []
        for known in zip(training, validation, strict=True):
            unseen = np.setdiff1d(pool, np.concatenate(known))
            more.append(generator.permutation(unseen)[: NUM_JUDGED - validation.shape[1]])
        size = min(map(len, more))
        validation = np.concatenate([validation, np.stack([rows[:size] for rows in more])], axis=1)
    return replace(development, training=training[:, : plan.rows], validation=validation)


def at_knobs(run: RunPlan, *, without: Sequence[str] = ()) -> RunPlan:
    """The run at its knobs alone, and without some regularisers."""
    kept = [entry for entry in run.regularizers if entry.name not in without]
    return replace(run, regularizers=tuple(replace(entry, strengths=entry.strengths[:1]) for entry in kept))


def train(run: RunPlan, development: Development, dtype: str = "float32") -> TrainedRun:
    from stages.lib.lanes.training import train_lanes  # here, since `plan` reads the table and trains nothing

    return train_lanes(run, development, dtype=dtype)


def predict(run: RunPlan, weights: Weights, development: Development, rows: np.ndarray) -> np.ndarray:
    """Probabilities [lane, row, output] of rows [replicate, row]."""
    from stages.lib.lanes.graph import predict_lanes

    return predict_lanes(run, weights, inputs=development.inputs, rows=rows, scale=development.scale)


def score(
    names: Sequence[str], run: RunPlan, trained: TrainedRun, development: Development, *, part: str = "validation"
) -> dict[str, np.ndarray]:
    """Scores [lane] on a part of each replicate's development rows."""
    rows = getattr(development, part)
    probability = predict(run, trained.weights, development, rows)
    labels = run.grid.over_points(development.labels[rows])
    return {name: measure(name, labels, probability) for name in names}


def repeat_replicates(run: RunPlan, development: Development, times: int) -> tuple[RunPlan, Development]:
    """Each replicate so many times, from another start in another order: copy m of r is number m * replicates + r."""
    number = len(run.replicates) * times
    training, validation = (np.tile(rows, (times, 1)) for rows in (development.training, development.validation))
    repeated = replace(development, training=training, validation=validation)
    return replace(run, replicates=tuple(range(number))), repeated


def generator_of(plan: ExperimentPlan) -> np.random.Generator:
    return np.random.default_rng([plan.run.seed, zlib.crc32(plan.name.encode())])
