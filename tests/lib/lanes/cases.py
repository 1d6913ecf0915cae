"""Small runs for the tests of lanes, and the comparison of a lane with the oracle."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.data.samples import Development
from stages.lib.lanes.plan import (
    CallbacksPlan,
    CheckpointSettings,
    EarlyStoppingSettings,
    NetworkPlan,
    OptimizerPlan,
    PlateauSettings,
    RegularizerPlan,
    RunPlan,
)
from stages.lib.lanes.run import TrainedRun
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.oracle import Fitted, Weights, fit_stock, strength_at

CALLBACKS = CallbacksPlan(
    EarlyStoppingSettings(monitor="val_loss", min_delta=0.0, start_from_epoch=1, restore_best=True),
    CheckpointSettings(monitor="val_loss", save_best_only=True),
    PlateauSettings(monitor="loss", factor=0.5, patience=0, min_delta=0.1, cooldown=1, min_lr=0.0),
    terminate_on_nan=True,
)
OPTIMIZERS = {
    "sgd": OptimizerPlan("sgd", 0.05, 0.0),
    "sgd_momentum": OptimizerPlan("sgd", 0.02, 0.9),
    "rmsprop": OptimizerPlan("rmsprop", 0.005, 0.0),
    "rmsprop_momentum": OptimizerPlan("rmsprop", 0.002, 0.8),
    "adam": OptimizerPlan("adam", 0.01, 0.0),
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}  # of the largest weight of a layer
NUM_FEATURES, NUM_ROWS, NUM_TRAINING, NUM_VALIDATION = 4, 80, 58, 11


def make_plan(
    *regularizers: RegularizerPlan, hidden: tuple[int, ...] = (6,), outputs: int = 1, **changes: Any
) -> RunPlan:
    """Sixty steps: four epochs of fourteen batches of four rows and one of two."""
    settings = {
        "network": NetworkPlan(hidden, changes.pop("activation", "tanh"), outputs),
        "callbacks": CallbacksPlan(),
        "loss": "binary_crossentropy" if outputs == 1 else "categorical_crossentropy",
        "optimizer": OPTIMIZERS["adam"],
        "replicates": (2, 0),
        "batch_size": 4,
        "epochs": 4,
    }
    return RunPlan(task="study", variant="variant", seed=3, regularizers=regularizers, **settings | changes)


def make_development(
    outputs: int = 1, *, num_replicates: int = 4, pixels: bool = False, own_rows: bool = False
) -> Development:
    """Eighty rows of two or ten classes; every replicate trains and validates on rows of its own choice.

    Args:
        own_rows: each replicate has a copy of the rows for itself.
    """
    generator = np.random.default_rng(outputs)
    inputs = generator.normal(size=(NUM_ROWS, NUM_FEATURES)).astype(np.float32)
    if pixels:
        inputs = generator.integers(0, 256, (NUM_ROWS, 784), np.uint8)
    rows = np.stack([generator.permutation(NUM_ROWS) for _ in range(num_replicates)]).astype(np.int32)
    copies = num_replicates if own_rows else 1
    rows += NUM_ROWS * np.arange(num_replicates, dtype=np.int32)[:, None] * own_rows
    identifiers = np.tile(np.arange(NUM_ROWS, dtype=np.int32), copies)
    return Development(
        inputs=np.tile(inputs, (copies, 1)),
        labels=(identifiers % max(outputs, 2)).astype(np.uint8),
        identifiers=identifiers,
        training=rows[:, :NUM_TRAINING],
        validation=rows[:, NUM_TRAINING : NUM_TRAINING + NUM_VALIDATION],
        features=tuple(map(str, range(inputs.shape[1]))),
        scale=1 / 255 if pixels else 1,
        image=(28, 28) if pixels else (),
    )


def make_start(plan: RunPlan, num_features: int = NUM_FEATURES) -> Weights:
    """Start weights [start, ...], all of them away from 0, where a mistake would not show."""
    generator, start = np.random.default_rng(1), {}
    normalized = {layer for entry in plan.regularizers if entry.name == "batch_norm" for layer in entry.layers}
    sizes, num_starts = [num_features, *plan.network.hidden, plan.network.outputs], plan.grid.num_starts
    for layer, (num_inputs, units) in enumerate(pairwise(sizes), start=1):
        kernels = generator.normal(size=(num_starts, num_inputs, units)) / np.sqrt(num_inputs)
        start |= {f"kernel_{layer}": kernels, f"bias_{layer}": generator.normal(size=(num_starts, 1, units)) / 4}
        if layer in normalized:
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                start[f"{name}_{layer}"] = generator.uniform(0.5, 1.5, (num_starts, 1, units))
    return {name: values.astype(np.float32) for name, values in start.items()}


def compare_with_stock(
    plan: RunPlan, *, lane: int, dtype: str, development: Development | None = None, tolerance: float | None = None
) -> tuple[TrainedRun, Fitted]:
    """Train a plan in lanes, and one of its lanes with stock Keras: weights and losses must agree."""
    development, tolerance = development or make_development(plan.network.outputs), tolerance or TOLERANCE[dtype]
    start = make_start(plan, development.inputs.shape[1])
    run = train_lanes(plan, development, start=start, dtype=dtype)
    rest, replicate = divmod(lane, len(plan.replicates))  # written a second time: see Grid
    point, member = divmod(rest, plan.members)
    assert (run.replicate[lane], run.member[lane]) == (plan.replicates[replicate], member)
    for entry in plan.regularizers:
        assert run.strengths[entry.name][lane] == strength_at(entry, point)
    stock = fit_stock(plan, development, start, replicate=replicate, member=member, point=point, dtype=dtype)
    check_weights({name: values[lane] for name, values in run.weights.items()}, stock.weights, tolerance)
    if plan.stopped:
        check_weights({name: values[lane] for name, values in run.stopped.items()}, stock.stopped, tolerance)
        assert run.stopped_epoch[lane] == 1 + int(np.argmin(stock.history["val_log_loss"]))
    history = run.history[run.history["lane"] == lane]
    for name in set(stock.history) & set(history.columns):
        np.testing.assert_allclose(history[name], stock.history[name], rtol=tolerance, err_msg=name)
    return run, stock


def check_weights(found: Weights, expected: Weights, tolerance: float) -> None:
    """Every weight is as expected, up to `tolerance` of the largest of its kind or of its layer's kernel."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        kernel = expected[f"kernel_{name.rpartition('_')[2]}"]
        scale = max(np.abs(values).max(), np.abs(kernel).max())
        error = np.abs(found[name].reshape(values.shape) - values).max()
        assert error <= tolerance * scale, f"{name} is off by {error:.1e}, its scale is {scale:.1e}"


def check_near(found: Weights, expected: Weights) -> None:
    """Up to the rounding of float32."""
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, rtol=1e-6, err_msg=name)


def check_same(run: TrainedRun, other: TrainedRun) -> None:
    """To the byte."""
    for name, found in vars(run).items():
        assert to_bytes(found) == to_bytes(getattr(other, name)), name


def to_bytes(value: object) -> object:
    """Of an array, of each in a dictionary, or of a table, in which NaN equals NaN."""
    if isinstance(value, dict):
        return {name: to_bytes(entry) for name, entry in value.items()}
    return value.to_csv() if isinstance(value, pd.DataFrame) else value.tobytes()
