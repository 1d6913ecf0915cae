"""Twins through the project's own splits, lanes and choice of strengths.

Several tables train in one graph: replicate r of table t is replicate t * num_replicates + r of a pool with the rows of
all tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.data.samples import Development
from stages.lib.judge import scores
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.lanes.training import train_lanes
from tools.calibrate.judging import Predicted
from tools.calibrate.twins import NUM_BLOCKS, Twin, mask_block

PROTOCOL = RepeatedStratifiedKFold(folds=5, repeats=10, validation=0.2)  # of the study thoracic
OTHER_SEEDS = 1_000_003  # added to the seed of the baseline's equal
BASELINE = "unregularized"
PATH = (0.01, 0.001, 0.003, 0.03, 0.1)  # of l2; the first is the knob
KNOBS = {"dropout": 0.5, "batch_norm": 0.99}
HIDDEN = (30, 30)


@dataclass(frozen=True)
class Batch:
    """The rows of several tables; the replicates of all tables are one axis.

    held_out: [position, feature]; test: [replicate, row], positions in it.
    test_numbers, training_numbers: [replicate, row], row numbers in the replicate's table.
    """

    twins: Sequence[Twin]
    development: Development
    held_out: np.ndarray
    test: np.ndarray
    test_numbers: np.ndarray
    training_numbers: np.ndarray


def prepare(twins: Sequence[Twin], seeds: Sequence[int]) -> Batch:
    """Split each table, and encode it once per replicate, as the stage `preprocess` does."""
    inputs, labels, held_out, parts = [], [], [], []
    for twin, seed in zip(twins, seeds, strict=True):
        split = PROTOCOL.split(twin.label, num_own_test=0, seed=seed)
        for training, validation, test in zip(*split, strict=True):
            encoded, seen = twin.encode(training), np.concatenate([training, validation])
            inputs.append(encoded[seen])
            labels.append(twin.label[seen])
            held_out.append(encoded[test])
        parts.append(split)
    training, validation, test = (np.concatenate(column) for column in zip(*parts, strict=True))
    positions = np.arange(sum(map(len, inputs)), dtype=np.int32).reshape(len(inputs), -1)
    development = Development(
        inputs=np.concatenate(inputs),
        labels=np.concatenate(labels),
        identifiers=np.concatenate([training, validation], axis=1).ravel(),
        training=positions[:, : training.shape[1]],
        validation=positions[:, training.shape[1] :],
        features=tuple(f"feature_{number}" for number in range(inputs[0].shape[1])),
        scale=1.0,
    )
    places = np.arange(test.size, dtype=np.int32).reshape(test.shape)
    return Batch(twins, development, np.concatenate(held_out), places, test, training)


def make_plan(regularizer: str | None, strengths: tuple[float, ...], *, seed: int, num_replicates: int) -> RunPlan:
    """The study `thoracic` of params.yaml with one regulariser."""
    entries: tuple[RegularizerPlan, ...] = ()
    if regularizer:
        layers = range(1, len(HIDDEN) + 1 + (CATALOGUE[regularizer].acts_on == "kernels"))
        entries = (RegularizerPlan(regularizer, strengths, tuple(layers)),)
    return RunPlan(
        study="twin",
        variant=regularizer or BASELINE,
        seed=seed,
        replicates=tuple(range(num_replicates)),
        network=NetworkPlan(HIDDEN, "relu", 1),
        regularizers=entries,
        callbacks=CallbacksPlan(None, None, None, terminate_on_nan=True),
        loss="binary_crossentropy",
        optimizer=OptimizerPlan("adam", 0.001, 0.0),
        batch_size=30,
        epochs=100,
    )


def train(plan: RunPlan, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Probability of class 1 on validation and held-out rows, each [point, replicate, row]."""
    development = batch.development
    trained = train_lanes(plan, development)
    predicted = []
    for inputs, rows in ((development.inputs, development.validation), (batch.held_out, batch.test)):
        found = predict_lanes(plan, trained.weights, inputs=inputs, rows=rows, scale=1.0)[..., 0]
        predicted.append(plan.grid.by_point(found))
    return predicted[0], predicted[1]


def choose(batch: Batch, validation: np.ndarray) -> np.ndarray:
    """Number of the point [replicate] with the smallest validation log loss, the first of equals."""
    label = batch.development.labels[batch.development.validation]
    return np.stack([scores.log_loss(label, predicted) for predicted in validation]).argmin(axis=0)


def train_regularizers(batch: Batch, seed: int) -> list[Predicted]:
    """The baseline, its equal with other seeds, l2 at each strength and tuned, and two knobs."""
    num_replicates = len(batch.test)

    def fit(name: str | None, *strengths: float, seed: int = seed) -> tuple[np.ndarray, np.ndarray]:
        return train(make_plan(name, strengths or (0.0,), seed=seed, num_replicates=num_replicates), batch)

    validation, held_out = fit("l2", *PATH)
    arms = {"l2_knob": held_out[0]}
    arms["l2_tuned"] = np.take_along_axis(held_out, choose(batch, validation)[None, :, None], axis=0)[0]
    arms["other_seeds"] = fit(None, seed=seed + OTHER_SEEDS)[1][0]
    arms |= {f"{name}_knob": fit(name, strength)[1][0] for name, strength in KNOBS.items()}
    return collect(batch, {BASELINE: fit(None)[1][0]} | arms, dict.fromkeys(arms, BASELINE))


def train_exchangeable(batch: Batch, seed: int) -> list[Predicted]:
    """Networks that each do without one block of features, unregularised and with l2: all of a kind are equal."""
    arms, baselines = {}, {}
    for name, regularizer, strengths in (("plain", None, (0.0,)), ("l2", "l2", (0.03,))):
        plan = make_plan(regularizer, strengths, seed=seed, num_replicates=len(batch.test))
        for block in range(NUM_BLOCKS):
            mask = mask_block(block)
            masked = replace(batch.development, inputs=batch.development.inputs * mask)
            part = replace(batch, development=masked, held_out=batch.held_out * mask)
            arms[f"{name}_{block}"] = train(plan, part)[1][0]
            if block:
                baselines[f"{name}_{block}"] = f"{name}_0"
    return collect(batch, arms, baselines)


def collect(batch: Batch, arms: dict[str, np.ndarray], baselines: dict[str, str]) -> list[Predicted]:
    """The predictions for each table; arms are [replicate, row] of all tables."""
    size = PROTOCOL.num_replicates
    tables = [slice(first, first + size) for first in range(0, len(batch.test), size)]
    return [
        Predicted(
            label=twin.label,
            test_numbers=batch.test_numbers[table],
            training_numbers=batch.training_numbers[table],
            arms={name: predicted[table] for name, predicted in arms.items()},
            baselines=baselines,
        )
        for twin, table in zip(batch.twins, tables, strict=True)
    ]
