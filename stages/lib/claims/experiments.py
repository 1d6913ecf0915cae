"""Experiments of the audit: their plans, and what they do with networks: train, predict, score on unseen rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.claims.measurements import EXPERIMENT_PLANS
from stages.lib.core.records import load_plan
from stages.lib.data.samples import Development
from stages.lib.judge.scores import measure
from stages.lib.lanes.plan import RunPlan

if TYPE_CHECKING:  # `plan` imports this module and has to be quick, which pandas is not
    from stages.lib.lanes.run import TrainedRun, Weights

NUM_JUDGED = 2000  # rows: the sampling error of an accuracy of .8 is then below a hundredth


@dataclass(frozen=True)
class ExperimentPlan:
    """One experiment.

    kind: its function in experiment_kinds.py, which says what levels are.
    runs: variant of the study -> its run, with the replicates and epochs of the experiment.
    rows: training rows of each replicate; None for all.
    shared_rows: whether replicates share rows that they are judged on with one another's training rows.
    """

    name: str
    kind: str
    study: str
    runs: dict[str, RunPlan]
    rows: int | None
    levels: tuple[float, ...]
    shared_rows: bool

    @property
    def run(self) -> RunPlan:
        """The first."""
        return next(iter(self.runs.values()))


def load_experiment_plan(name: str) -> ExperimentPlan:
    return load_plan(ExperimentPlan, f"{EXPERIMENT_PLANS}/{name}")


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


def keep_knobs(run: RunPlan, *, without: Sequence[str] = ()) -> RunPlan:
    """The run at its knobs alone, and without some regularisers."""
    kept = [entry for entry in run.regularizers if entry.name not in without]
    return replace(run, regularizers=tuple(replace(entry, strengths=entry.strengths[:1]) for entry in kept))


def train_run(run: RunPlan, development: Development, dtype: str = "float32") -> TrainedRun:
    """Train on the replicates' training rows; with the weights of the best epoch where the run keeps those."""
    from stages.lib.lanes.run import stop_in_time
    from stages.lib.lanes.training import train_lanes  # here: `plan` reads the table of kinds, and trains nothing

    trained = train_lanes(run, development, dtype=dtype)
    return stop_in_time(run, trained) if run.stopped else trained


def predict_run(run: RunPlan, weights: Weights, development: Development, rows: np.ndarray) -> np.ndarray:
    """Probabilities [lane, row, output] of rows [replicate, row]."""
    from stages.lib.lanes.graph import predict_lanes

    return predict_lanes(run, weights, inputs=development.inputs, rows=rows, scale=development.scale)


def score_run(name: str, run: RunPlan, trained: TrainedRun, development: Development) -> np.ndarray:
    """A score [lane] on the validation rows of each replicate."""
    rows = development.validation
    probability = predict_run(run, trained.weights, development, rows)
    return measure(name, run.grid.over_points(development.labels[rows]), probability)


def generator_of(plan: ExperimentPlan) -> np.random.Generator:
    return np.random.default_rng([plan.run.seed, zlib.crc32(plan.name.encode())])
