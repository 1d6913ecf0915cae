"""Measure what the trained networks of a variant show apart from its scores: gaps, zeros, losses, units at a bound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.lib.claims.measurements import Measured, Point, to_values
from stages.lib.judge.arms import Arm, arm_at, choose_points
from stages.lib.judge.predictions import Labels, Predictions
from stages.lib.judge.scores import measure
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import RegularizerPlan, RunPlan
from stages.lib.lanes.run import BOUND_TOLERANCE, TrainedRun


def measure_variant(
    run: RunPlan, trained: TrainedRun, predicted: Predictions, labels: Labels, select_by: str
) -> Measured:
    """All quantities at every point of the run's strengths; select_by: the score that chooses the tuned point.

    Of the weights that are handed in; the loss of training alone is that of all epochs.
    """
    losses = trained.history.groupby("lane")["loss"].mean().to_numpy()
    of_lanes = {"zero_share": predicted.mechanisms["zero_share"], "learning_loss": losses}
    of_lanes |= measure_bounds(run, trained)
    points = []
    for point in range(predicted.grid.num_points):
        lanes = predicted.grid.lanes_at(point)
        arrays = measure_fit(labels, arm_at(predicted, point)) | {
            name: array[lanes] for name, array in of_lanes.items()
        }
        strengths = {name: float(values[lanes[0]]) for name, values in predicted.strengths.items()}
        points.append(Point(strengths, to_values(arrays)))
    tuned = choose_points(predicted, labels, select_by=select_by)
    return Measured(points, tuned.tolist(), sum(weight[0].size for weight in trained.weights.values()))


def measure_fit(labels: Labels, arm: Arm) -> dict[str, np.ndarray]:
    """Accuracy on training and on held-out rows, and how much higher the log loss is on the latter, [replicate]."""
    parts = {"training": (labels.training, arm.training), "held_out": (labels.test, arm.test)}
    losses = {name: measure("log_loss", *part) for name, part in parts.items()}
    accuracies = {f"{name}_accuracy": measure("accuracy", *part) for name, part in parts.items()}
    return accuracies | {"gap": losses["held_out"] - losses["training"]}


def measure_bounds(run: RunPlan, trained: TrainedRun) -> dict[str, np.ndarray]:
    """Of units that max_norm bounds [lane]: their number, how many are at it and over it, and their largest norm at
    the start."""
    for entry in run.regularizers:
        if entry.name == "max_norm":
            norms = unit_norms(trained.weights, entry)
            ratio = np.where(np.isfinite(norms).all(axis=1, keepdims=True), norms, np.nan)
            ratio = ratio / run.lane_strengths(entry)[:, None] - 1
            size, replicates = trained.weights["kernel_1"].shape[1], list(run.replicates)
            start = draw_weights(run.network, size, seed=run.seed, replicates=replicates, normalized=[])
            return {
                "num_bounded": np.full(len(norms), norms.shape[1]),
                "num_at_bound": count_units(np.abs(ratio) <= BOUND_TOLERANCE, ratio),
                "num_over_bound": count_units(ratio > BOUND_TOLERANCE, ratio),
                "start_norm": run.grid.over_points(unit_norms(start, entry).max(axis=1)),
            }
    return {}


def unit_norms(weights: Mapping[str, np.ndarray], entry: RegularizerPlan) -> np.ndarray:
    """L2 norms of the weights into each unit of the layers that a regulariser acts on, [lane, unit]."""
    kernels = [weights[f"kernel_{layer}"].astype(float) for layer in entry.layers]
    return np.concatenate([np.linalg.norm(kernel, axis=1) for kernel in kernels], axis=1)


def count_units(chosen: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """How many units of a lane, [lane]; NaN where its weights are not finite."""
    return np.where(np.isnan(ratio).any(axis=1), np.nan, chosen.sum(axis=1))
