"""What `train` leaves of a run and `evaluate` reads: the lanes' weights, and how their training went.

Trained blocks of lanes are kept until the run is whole, so that a run which was stopped goes on from there.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pandas as pd

from stages.lib.core.files import (
    DamagedArtifactError,
    MissingArtifactError,
    add_prefix,
    pop_prefix,
    read_arrays,
    read_bytes,
    write_arrays,
    write_bytes,
)
from stages.lib.lanes.plan import find_run

Arrays = dict[str, np.ndarray]
Weights = Arrays  # name of a weight -> [lane or start, ...]


@dataclass(frozen=True)
class TrainedRun:
    """All arrays [lane, ...]; `history` has a row for every epoch of every lane that was running.

    weights: name -> float32, as they are handed on.
    stopped: name -> float32, those of the epoch with the least log loss on validation rows; empty where not kept.
    stopped_epoch: that epoch, counted from 1; 0 where not kept.
    replicate, member: the lane's; members are counted from 0.
    strengths: regulariser -> its strength.
    epochs_run: epochs trained.
    best_epoch: the epoch, counted from 1, whose weights are handed on.
    stopped_early, diverged: ended by early stopping, or by a loss that was not finite.
    """

    weights: Weights
    replicate: np.ndarray
    strengths: dict[str, np.ndarray]
    epochs_run: np.ndarray
    best_epoch: np.ndarray
    stopped_early: np.ndarray
    diverged: np.ndarray
    history: pd.DataFrame
    stopped: Weights = field(default_factory=dict)
    stopped_epoch: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    member: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


# Fields that hold arrays by name -> how these begin in the file.
NESTED = {"strengths": "strength", "weights": "weight", "stopped": "at_best"}


def stop_in_time(run: TrainedRun) -> TrainedRun:
    """The run with the weights of each lane's best epoch in the place of the last one's."""
    return replace(run, weights=run.stopped, best_epoch=run.stopped_epoch)


def save_run(run: TrainedRun, model: bytes, task: str, variant: str) -> None:
    """Write the folder of a run; model: a .keras file."""
    folder, fields = find_run(task, variant), dict(vars(run))
    history = fields.pop("history").to_csv(index=False, float_format="%.7g", lineterminator="\n")
    for name, prefix in NESTED.items():
        fields |= add_prefix(prefix, fields.pop(name))
    write_arrays(folder / "lanes.npz", fields)
    write_bytes(folder / "history.csv", history.encode())
    write_bytes(folder / "model.keras", model)


def load_run(task: str, variant: str) -> TrainedRun:
    folder, stage = find_run(task, variant), "train"
    fields = read_arrays(folder / "lanes.npz", written_by=stage)
    fields |= {name: pop_prefix(prefix, fields) for name, prefix in NESTED.items()}
    history = pd.read_csv(io.BytesIO(read_bytes(folder / "history.csv", written_by=stage)))
    return TrainedRun(**fields, history=history)


UNFINISHED = Path(".dvc/tmp/unfinished")
LIBRARY = Path(__file__).parents[1]
CODE = ("core/*.py", "lanes/*.py", "data/samples.py")  # of the library: what a training depends on


class UnfinishedRun:
    """The blocks of one run that have been trained.

    inputs: the files that shape it, code left out.
    """

    def __init__(self, task: str, variant: str, inputs: Iterable[Path]):
        self.of_run, self.inputs = UNFINISHED / task / variant, tuple(inputs)

    @cached_property
    def folder(self) -> Path:
        """Named by a digest of the inputs, of the code of a training, and of the versions of all that is installed."""
        code = sorted(path for pattern in CODE for path in LIBRARY.glob(pattern))
        installed = sorted((found.name, found.version) for found in distributions())
        digest = hashlib.sha256(repr(installed).encode())
        for path in (*self.inputs, *code):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return self.of_run / digest.hexdigest()[:16]

    def recall(self, train: Callable[[int], Arrays], number: int) -> Arrays:
        """A block by its number in the run; it is trained and kept where it is missing or damaged."""
        path = self.folder / f"{number}.npz"
        with suppress(MissingArtifactError, DamagedArtifactError):
            return read_arrays(path, written_by="train")
        block = train(number)
        write_arrays(path, block)
        return block

    def forget(self) -> None:
        """Remove the blocks, and those that earlier runs of this name have left."""
        if self.of_run.is_dir() and not self.of_run.is_symlink():
            shutil.rmtree(self.of_run)
