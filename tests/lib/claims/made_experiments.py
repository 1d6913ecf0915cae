"""Development rows and a run made by hand: two clouds of points, one for each class."""

import numpy as np

from stages.lib.claims.experiment_kinds import ExperimentPlan
from stages.lib.data.samples import Development
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan

REPLICATES, TRAINING, VALIDATION, FEATURES = 3, 40, 21, 4


def make_development(*, pooled: bool = False) -> Development:
    """pooled: replicates share their rows, and some rows belong to no replicate."""
    generator = np.random.Generator(np.random.PCG64(0))
    size = TRAINING + VALIDATION
    number = 200 if pooled else REPLICATES * size
    labels = (np.arange(number) % 2).astype(np.uint8)
    rows = np.arange(number, dtype=np.int32)
    parts = [generator.permutation(rows)[:size] for _ in range(REPLICATES)] if pooled else rows.reshape(REPLICATES, -1)
    parts = np.stack(list(parts)).astype(np.int32)
    return Development(
        inputs=(generator.normal(0, 1, (number, FEATURES)) + labels[:, None]).astype(np.float32),
        labels=labels,
        identifiers=rows if pooled else np.tile(np.arange(size, dtype=np.int32), REPLICATES),
        training=parts[:, :TRAINING],
        validation=parts[:, TRAINING:],
        features=tuple(f"feature_{number}" for number in range(FEATURES)),
        scale=1.0,
    )


def make_run(*regularizers: RegularizerPlan, hidden: tuple[int, ...] = (6, 5), epochs: int = 3) -> RunPlan:
    return RunPlan(
        task="made",
        variant="made",
        seed=3,
        replicates=tuple(range(REPLICATES)),
        network=NetworkPlan(hidden, "relu", 1),
        regularizers=regularizers,
        callbacks=CallbacksPlan(None, None, None, terminate_on_nan=True),
        loss="binary_crossentropy",
        optimizer=OptimizerPlan("adam", 0.01, 0.0),
        batch_size=10,
        epochs=epochs,
    )


def make_plan(kind: str, *runs: RunPlan, levels: tuple[float, ...] = ()) -> ExperimentPlan:
    return ExperimentPlan(
        name=kind,
        kind=kind,
        study="made",
        runs={run.variant: run for run in runs},
        rows=None,
        levels=levels,
        shared_rows=False,
    )
