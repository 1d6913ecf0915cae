"""Small runs for the tests of lanes: plans, development rows, start weights, and the comparison with the oracle."""

from typing import Any

import numpy as np

from stages.lib.plans import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan
from stages.lib.samples import Development
from tests.lib.lanes.oracle import Weights

NO_CALLBACKS = CallbacksPlan(None, None, None, terminate_on_nan=False)
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}  # of an array's scale
REPLICATES = 4


def make_plan(*regularizers: RegularizerPlan, hidden: tuple[int, ...] = (6,), outputs: int = 1, **changes: Any) -> RunPlan:
    """Fifty-six steps of adam: seven epochs of seven full batches and one of two rows."""
    settings = {
        "network": NetworkPlan(hidden, changes.pop("activation", "tanh"), outputs),
        "callbacks": NO_CALLBACKS,
        "loss": "binary_crossentropy" if outputs == 1 else "categorical_crossentropy",
        "optimizer": OptimizerPlan("adam", 0.01, 0.0),
        "replicates": (2, 0),
        "primary": "auc" if outputs == 1 else "accuracy",
        "batch_size": 5,
        "epochs": 7,
    }
    return RunPlan(study="study", variant="variant", seed=3, regularizers=regularizers, **settings | changes)


def make_development(outputs: int = 1, *, num_features: int = 4, pixels: bool = False) -> Development:
    """Sixty rows; each replicate trains on 37 and validates on 11 of its own choice. One or ten classes."""
    generator = np.random.default_rng(outputs)
    shape = (60, num_features)
    inputs = generator.integers(0, 256, shape, np.uint8) if pixels else generator.normal(size=shape).astype(np.float32)
    labels = np.tile(np.arange(max(outputs, 2), dtype=np.uint8), 60)[:60]
    rows = np.stack([generator.permutation(60) for _ in range(REPLICATES)]).astype(np.int32)
    return Development(
        inputs=inputs,
        labels=labels,
        identifiers=np.arange(60, dtype=np.int32),
        training=rows[:, :37],
        validation=rows[:, 37:48],
        features=tuple(map(str, range(num_features))),
        scale=1 / 255 if pixels else 1,
    )


def make_start(plan: RunPlan, num_features: int = 4) -> Weights:
    """Start weights [replicate, ...], all of them away from 0, where a mistake would not show."""
    generator = np.random.default_rng(1)
    sizes, num_replicates = [num_features, *plan.network.hidden, plan.network.outputs], len(plan.replicates)
    normalized = {layer for entry in plan.regularizers if entry.name == "batch_norm" for layer in entry.layers}
    start = {}
    for layer, (num_inputs, units) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        kernel = generator.normal(size=(num_replicates, num_inputs, units)) / np.sqrt(num_inputs)
        start |= {f"kernel_{layer}": kernel, f"bias_{layer}": generator.normal(size=(num_replicates, 1, units)) / 4}
        if layer in normalized:
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                start[f"{name}_{layer}"] = generator.uniform(0.5, 1.5, (num_replicates, 1, units))
    return {name: value.astype(np.float32) for name, value in start.items()}
