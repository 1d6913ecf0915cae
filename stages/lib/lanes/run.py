"""What `train` leaves of a run and `evaluate` reads: the lanes' weights, how their training went, what it did to them.

Trained blocks of lanes are kept until the run is whole, so that a run which was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stages.lib.core.files import (
    DamagedArtifactError,
    add_prefix,
    pop_prefix,
    read_arrays,
    read_bytes,
    write_arrays,
    write_bytes,
)
from stages.lib.lanes.plan import RunPlan, find_run

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainedRun:
    """All arrays [lane, ...]; `history` has a row for every epoch of every lane that was running.

    weights: name -> float32, as they are handed on.
    stopped: name -> float32, those of the epoch with the least log loss on validation rows; empty where not kept.
    stopped_epoch: that epoch, counted from 1; 0 where not kept.
    replicate: the lane's replicate.
    strengths: regulariser -> its strength.
    epochs_run: epochs trained.
    best_epoch: the epoch, counted from 1, whose weights are handed on.
    stopped_early, diverged: ended by early stopping, or by a loss that was not finite.
    mechanisms: name -> what the regularisers did to the weights; see `measure_mechanisms`.
    """

    weights: Weights
    replicate: np.ndarray
    strengths: dict[str, np.ndarray]
    epochs_run: np.ndarray
    best_epoch: np.ndarray
    stopped_early: np.ndarray
    diverged: np.ndarray
    mechanisms: dict[str, np.ndarray]
    history: pd.DataFrame
    stopped: Weights = field(default_factory=dict)
    stopped_epoch: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


def stop_in_time(plan: RunPlan, run: TrainedRun) -> TrainedRun:
    """The run with the weights of each lane's best epoch in the place of the last one's."""
    mechanisms = measure_mechanisms(plan, run.stopped)
    return replace(run, weights=run.stopped, best_epoch=run.stopped_epoch, mechanisms=mechanisms)


def save_run(run: TrainedRun, model: bytes, task: str, variant: str) -> None:
    """Write the folder of a run; model: a .keras file."""
    folder, fields = find_run(task, variant), dict(vars(run))
    weights, stopped = fields.pop("weights"), fields.pop("stopped")
    mechanisms, history = fields.pop("mechanisms"), fields.pop("history")
    fields |= add_prefix("strength", fields.pop("strengths"))
    fields |= add_prefix("weight", weights) | add_prefix("at_best", stopped) | add_prefix("mechanism", mechanisms)
    write_arrays(folder / "lanes.npz", fields)
    write_bytes(folder / "history.csv", history.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode())
    write_bytes(folder / "model.keras", model)


def load_run(task: str, variant: str) -> TrainedRun:
    folder, stage = find_run(task, variant), "train"
    fields = read_arrays(folder / "lanes.npz", written_by=stage)
    nested: dict[str, Any] = {
        "weights": pop_prefix("weight", fields),
        "stopped": pop_prefix("at_best", fields),
        "mechanisms": pop_prefix("mechanism", fields),
        "strengths": pop_prefix("strength", fields),
    }
    history = pd.read_csv(io.BytesIO(read_bytes(folder / "history.csv", written_by=stage)))
    return TrainedRun(**nested, **fields, history=history)


UNFINISHED = Path(".dvc/tmp/unfinished")
LIBRARY = Path(__file__).parents[1]
CODE = ("core/*.py", "lanes/*.py", "data/samples.py")  # of the library: what a training depends on


class TrainedBlock(NamedTuple):
    """What `TrainedRun` holds, of a block; ends: its epochs_run, best_epoch and so on."""

    weights: Weights
    stopped: Weights
    ends: dict[str, np.ndarray]
    history: pd.DataFrame


class UnfinishedRun:
    """The blocks of one run that have been trained.

    inputs: the files that shape it, code left out.
    """

    def __init__(self, task: str, variant: str, inputs: Iterable[Path]):
        self.of_run, self.inputs = UNFINISHED / task / variant, tuple(inputs)

    @cached_property
    def folder(self) -> Path:
        return self.of_run / digest_inputs(self.inputs)

    def save(self, number: int, block: TrainedBlock) -> None:
        history = {str(name): column.to_numpy() for name, column in block.history.items()}
        arrays = add_prefix("weight", block.weights) | add_prefix("at_best", block.stopped)
        arrays |= add_prefix("end", block.ends) | add_prefix("history", history)
        write_arrays(self.folder / f"{number}.npz", arrays)

    def load(self, number: int) -> TrainedBlock | None:
        """A block by its number in the run; None where it is not kept, or damaged."""
        path = self.folder / f"{number}.npz"
        if not path.is_file():
            return None
        try:
            fields = read_arrays(path, written_by="train")
        except DamagedArtifactError:
            return None
        weights, stopped, ends, history = (
            pop_prefix(prefix, fields) for prefix in ("weight", "at_best", "end", "history")
        )
        return TrainedBlock(weights, stopped, ends, pd.DataFrame(history))

    def forget(self) -> None:
        """Remove the blocks, and those that earlier runs of this name have left."""
        if self.of_run.is_dir() and not self.of_run.is_symlink():
            shutil.rmtree(self.of_run)


def digest_inputs(inputs: Iterable[Path]) -> str:
    """A digest of these files, of the code of a training, and of the versions of all that is installed."""
    code = sorted(path for pattern in CODE for path in LIBRARY.glob(pattern))
    installed = sorted((found.name, found.version) for found in distributions())
    digest = hashlib.sha256(repr(installed).encode())
    for path in (*inputs, *code):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


Array = NDArray[np.float64]

NEAR_ZERO = 1e-3  # a weight below this size counts as nearly zero
BOUND_TOLERANCE = 1e-4  # relative distance from the max-norm bound within which a unit counts as held by it


def measure_mechanisms(plan: RunPlan, weights: Weights) -> dict[str, Array]:
    """Name -> [lane], over all kernels; units at the bound over the layers that max_norm acts on, 0 without it."""
    kernels = [weights[f"kernel_{layer}"] for layer in range(1, len(plan.network.hidden) + 2)]
    at_bound = np.zeros(len(kernels[0]))
    for entry in plan.regularizers:
        if entry.name == "max_norm":
            held = [weights[f"kernel_{layer}"] for layer in entry.layers]
            at_bound = bound_share(*held, bound=plan.lane_strengths(entry))
    return {
        "zero_share": zero_share(*kernels),
        "near_zero_share": near_zero_share(*kernels),
        "kernel_norm": kernel_norm(*kernels),
        "bound_share": at_bound,
    }


def _weights(kernels: tuple[ArrayLike, ...]) -> Array:
    """Return all weights of a lane in one row, [lane, weight]."""
    arrays = [np.asarray(kernel, dtype=np.float64) for kernel in kernels]
    shapes = [array.shape for array in arrays]
    if not arrays or any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"kernels have shapes {shapes}; expected one or more [lane, in, out] with the same lanes")
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def zero_share(*kernels: ArrayLike) -> Array:
    """Share of weights that are exactly 0, [lane]; kernels [lane, in, out], one or more layers."""
    return (_weights(kernels) == 0).mean(axis=1)


def near_zero_share(*kernels: ArrayLike) -> Array:
    """Share of weights with |w| < NEAR_ZERO, exact zeros included, [lane]; kernels as in `zero_share`."""
    return (np.abs(_weights(kernels)) < NEAR_ZERO).mean(axis=1)


def kernel_norm(*kernels: ArrayLike) -> Array:
    """L2 norm sqrt(sum w^2) of all weights of a lane, [lane]; kernels as in `zero_share`."""
    return np.linalg.norm(_weights(kernels), axis=1)


def bound_share(*kernels: ArrayLike, bound: ArrayLike) -> Array:
    """Share of units whose incoming weights have the max-norm bound as their norm, [lane]; bound a number or [lane].

    At the bound means |norm / bound - 1| <= BOUND_TOLERANCE; an infinite bound holds nobody.
    """
    num_lanes, bounds = len(_weights(kernels)), np.asarray(bound, dtype=np.float64)
    if bounds.shape not in ((), (num_lanes,)) or not (bounds > 0).all():
        raise ValueError(f"bound is {bounds}; expected one norm, or one a lane ({num_lanes}), positive or infinite")
    norms = np.concatenate([np.linalg.norm(np.asarray(kernel, dtype=np.float64), axis=1) for kernel in kernels], axis=1)
    return (np.abs(norms / bounds.reshape(-1, 1) - 1) <= BOUND_TOLERANCE).mean(axis=1)
