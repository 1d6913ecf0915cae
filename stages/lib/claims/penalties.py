"""L1 and L2: columns of pure noise, L2 against decoupled weight decay, one epoch against many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.lib.claims.evidence import Case, Count, make_case
from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.claims.networks import at_knobs, generator_of, score, train
from stages.lib.data.samples import Development
from stages.lib.lanes.plan import OptimizerPlan, RegularizerPlan
from stages.lib.lanes.run import NEAR_ZERO, Weights


def add_noise_columns(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """Which columns get first-layer weights of 0, at the strength that validation rows choose; levels: one number of
    columns of standard normal noise, which stand last."""
    number, cases = int(plan.levels[0]), []
    noise = generator_of(plan).standard_normal((len(development.inputs), number), np.float32)
    noisy = replace(
        development,
        inputs=np.concatenate([development.inputs, noise], axis=1),
        features=(*development.features, *(f"noise_{place}" for place in range(number))),
    )
    is_noise = np.arange(noisy.inputs.shape[1]) >= development.inputs.shape[1]
    for name, run in plan.runs.items():
        trained = train(run, noisy)
        losses = score(["log_loss"], run, trained, noisy)["log_loss"]
        lanes = run.grid.lanes_at(run.grid.by_point(losses).argmin(axis=0))
        size = np.abs(trained.weights["kernel_1"][lanes]).max(axis=2)  # [replicate, column]
        exact, near = (count_columns(found, is_noise) for found in (size == 0, size < NEAR_ZERO))
        more = {"strength": trained.strengths[name][lanes], "num_noise_columns": np.full(len(lanes), number)}
        cases.append(make_case(name, exact | {f"near_{key}": values for key, values in near.items()} | more))
    return cases, []


def count_columns(found: np.ndarray, is_noise: np.ndarray) -> dict[str, np.ndarray]:
    """How well [replicate, column] finds the columns of noise; precision is 0 where nothing is found."""
    number = found.sum(axis=1)
    recall, real = found[:, is_noise].mean(axis=1), found[:, ~is_noise].mean(axis=1)
    precision = found[:, is_noise].sum(axis=1) / np.maximum(number, 1)
    return {"noise_columns_zero": recall, "real_columns_zero": real, "precision": precision, "recall": recall}


def compare_decays(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """L2 of lambda, whose gradient is 2 lambda w, against decoupled decay of 2 lambda, in double precision.

    levels: one learning rate of plain gradient descent; Adam takes that of the run.
    """
    (strength,) = {entry.strengths[0] for entry in plan.run.regularizers}
    layers, cases = plan.run.regularizers[0].layers, []
    for optimizer in (OptimizerPlan("sgd", plan.levels[0], 0.0), replace(plan.run.optimizer, name="adam")):
        weights, losses = [], []
        for name, size in (("l2", strength), ("weight_decay", 2 * strength)):
            entry = RegularizerPlan(name, (size,), layers)
            run = replace(plan.run, optimizer=optimizer, regularizers=(entry,))
            trained = train(run, development, dtype="float64")
            weights.append(flatten(trained.weights))
            losses.append(score(["log_loss"], run, trained, development)["log_loss"])
        distance = np.linalg.norm(weights[0] - weights[1], axis=1) / np.linalg.norm(weights[0], axis=1)
        cases.append(make_case(optimizer.name, {"distance": distance, "saved": losses[0] - losses[1]}))
    return cases, []


def flatten(weights: Weights) -> np.ndarray:
    """All weights of each lane in a row, [lane, weight]."""
    return np.concatenate([values.reshape(len(values), -1) for values in weights.values()], axis=1)


def vary_epochs(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """Gap and loss of each variant after few and after many epochs; levels: these numbers."""
    cases = []
    for name, run in plan.runs.items():
        for epochs in plan.levels:
            shorter = replace(at_knobs(run), epochs=int(epochs))
            trained = train(shorter, development)
            losses = [
                score(["log_loss"], shorter, trained, development, part=part)["log_loss"]
                for part in ("training", "validation")
            ]
            cases.append(make_case(name, {"gap": losses[1] - losses[0], "log_loss": losses[1]}, level=epochs))
    return cases, []
