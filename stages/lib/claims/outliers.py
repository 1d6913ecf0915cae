"""Squared and absolute loss with outliers: FEV1 from FVC and age, and images with flipped labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stages.lib.claims.evidence import Case, Count, make_case
from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.claims.networks import generator_of, score, train
from stages.lib.data.samples import Development

LOSSES = ("mean_squared_error", "mean_absolute_error")
MOST_LITRES = 10.0  # nobody exhales as much in one second: a larger PRE5 is in another unit
STEPS, LEARNING_RATE = 1500, 0.2  # of full-batch Adam, whose rate falls to 0 along a cosine


def regress(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """A linear network of FVC and age for FEV1; levels: shares of outliers among training rows.

    An outlier is a clean row whose FEV1 is replaced by one of the file's values in another unit. Validation rows are
    clean; for the error on all rows as many outliers are put among them. The last case of each loss is fitted to the
    file as it is. The losses are the lanes' own functions, which take real targets as they are; their trainer takes
    classes, so these few parameters are fitted here.
    """
    generator, columns = generator_of(plan), [development.features.index(name) for name in ("PRE4", "AGE", "PRE5")]
    values = development.inputs[:, columns].astype(float)
    wrong = values[values[:, 2] > MOST_LITRES, 2]
    fits, judged = [], []
    for training, validation in zip(development.training, development.validation, strict=True):
        clean = [values[rows][values[rows, 2] <= MOST_LITRES] for rows in (training, validation)]
        parts = [[spoil(rows, share, wrong, generator) for rows in clean] for share in plan.levels]
        fits.append([known for known, _ in parts] + [values[training]])
        judged.append([clean[1], *(unknown for _, unknown in parts)])
    size = min(len(rows) for replicate in fits for rows in replicate)
    table = np.array([[rows[:size] for rows in replicate] for replicate in fits])  # [replicate, level, row, column]
    cases = []
    for loss in LOSSES:
        lines = fit_lines(loss, table.reshape(-1, size, 3)).reshape(*table.shape[:2], 3)
        for number, share in enumerate(plan.levels):
            found = {
                "clean_error": root_errors(lines[:, number], [rows[0] for rows in judged]),
                "all_error": root_errors(lines[:, number], [rows[number + 1] for rows in judged]),
            }
            cases.append(make_case(loss, found, level=share))
        found = {"clean_error": root_errors(lines[:, -1], [rows[0] for rows in judged])}
        cases.append(make_case(f"{loss}_as_in_the_file", found))
    return cases, []


def spoil(rows: np.ndarray, share: float, wrong: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Replace the target, the last column, in a share of the rows."""
    rows, chosen = rows.copy(), generator.permutation(len(rows))[: round(share * len(rows))]
    rows[chosen, -1] = generator.choice(wrong, len(chosen))
    return rows


def fit_lines(loss: str, tables: np.ndarray) -> np.ndarray:
    """Slopes and intercept [table, 3] that minimise a loss of the lanes on tables [table, row, column], target last."""
    from stages.lib.lanes.losses import LOSSES as FUNCTIONS
    from stages.lib.lanes.runtime import keras, tf

    centre, spread = tables[:, :, :2].mean(axis=1, keepdims=True), tables[:, :, :2].std(axis=1, keepdims=True)
    inputs = tf.constant((tables[:, :, :2] - centre) / spread)
    targets = tf.constant(tables[:, :, 2:])
    kernel = tf.Variable(tf.zeros((len(tables), 2, 1), tf.float64))
    bias = tf.Variable(tf.zeros((len(tables), 1, 1), tf.float64))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS))
    optimizer.build([kernel, bias])

    @tf.function(autograph=False)
    def step() -> None:
        with tf.GradientTape() as tape:
            output = inputs @ kernel + bias
            losses = FUNCTIONS[loss].function(targets, output, output)
        optimizer.apply(tape.gradient(losses, [kernel, bias]), [kernel, bias])

    for _ in range(STEPS):
        step()
    slopes = kernel.numpy()[:, :, 0] / spread[:, 0]
    intercept = bias.numpy()[:, 0] - (slopes * centre[:, 0]).sum(axis=1, keepdims=True)
    return np.concatenate([slopes, intercept], axis=1)


def root_errors(lines: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """Root mean squared error of each line [replicate, 3] on its rows [row, column], in the unit of the last column."""
    errors = [rows[:, :2] @ line[:2] + line[2] - rows[:, 2] for line, rows in zip(lines, tables, strict=True)]
    return np.array([np.sqrt(np.mean(error**2)) for error in errors])


def flip_labels(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """Train by several losses with a share of the training labels wrong; levels: that share. Validation is clean."""
    generator, num_replicates = generator_of(plan), len(plan.run.replicates)
    spoiled, repeated = [], len(plan.levels)
    for share in plan.levels:
        labels = development.labels.copy()
        rows = np.unique(development.training)
        chosen = rows[generator.random(len(rows)) < share]
        others = generator.integers(1, plan.run.network.outputs, len(chosen))
        labels[chosen] = (labels[chosen] + others) % plan.run.network.outputs
        spoiled.append(labels)
    copies = len(development.labels) * np.arange(repeated)[:, None, None]
    together = replace(
        development,
        inputs=np.tile(development.inputs, (repeated, 1)),
        labels=np.concatenate(spoiled),
        training=(development.training + copies).reshape(-1, development.training.shape[1]).astype(np.int32),
        validation=np.tile(development.validation, (repeated, 1)),
    )
    clean = replace(development, validation=together.validation)
    cases = []
    for loss in (*LOSSES, "categorical_crossentropy"):
        run = replace(plan.run, loss=loss, replicates=tuple(range(repeated * num_replicates)))
        found = score(["accuracy", "log_loss"], run, train(run, together), clean)
        for number, share in enumerate(plan.levels):
            part = slice(number * num_replicates, (number + 1) * num_replicates)
            cases.append(make_case(loss, {name: values[part] for name, values in found.items()}, level=share))
    return cases, []
