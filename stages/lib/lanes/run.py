"""What `train` leaves of a run and `evaluate` reads: the lanes' weights, and how their training went.

Trained blocks of lanes are kept until the run is whole, so that a run which was stopped goes on from there.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
from stages.lib.lanes.kept import digest
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


PARTS = "", "knob_"  # how files of a run begin: of the points that are tried, or of all; of a knob beside them


def save_part(run: TrainedRun, folder: Path, part: str) -> None:
    """Write what was trained of a part of a run."""
    fields = dict(vars(run))
    history = fields.pop("history").to_csv(index=False, float_format="%.7g", lineterminator="\n")
    for name, prefix in NESTED.items():
        fields |= add_prefix(prefix, fields.pop(name))
    write_arrays(folder / f"{part}lanes.npz", fields)
    write_bytes(folder / f"{part}history.csv", history.encode())


def load_part(folder: Path, part: str) -> TrainedRun:
    fields = read_arrays(folder / f"{part}lanes.npz", written_by="train")
    fields |= {name: pop_prefix(prefix, fields) for name, prefix in NESTED.items()}
    history = pd.read_csv(io.BytesIO(read_bytes(folder / f"{part}history.csv", written_by="train")))
    return TrainedRun(**fields, history=history)


def load_run(task: str, variant: str) -> TrainedRun:
    """All lanes of a run."""
    folder = find_run(task, variant)
    first, *others = [load_part(folder, part) for part in PARTS if not part or (folder / f"{part}lanes.npz").exists()]
    return join_parts(first, *others) if others else first


def join_parts(first: TrainedRun, second: TrainedRun) -> TrainedRun:
    """The lanes of one part behind those of another."""
    joined: dict[str, Any] = {
        name: {key: np.concatenate([value[key], getattr(second, name)[key]]) for key in value}
        if isinstance(value, dict)
        else np.concatenate([value, getattr(second, name)])
        for name, value in vars(first).items()
        if name != "history"
    }
    later = second.history.assign(lane=second.history["lane"] + len(first.replicate))
    return TrainedRun(**joined, history=pd.concat([first.history, later], ignore_index=True))


UNFINISHED = Path(".dvc/tmp/unfinished")


class UnfinishedRun:
    """The blocks that have been trained of a part of a run; inputs: what shapes it, as for `kept.recall`."""

    def __init__(self, name: str, inputs: Sequence[str | Path]):
        self.of_run, self.inputs = UNFINISHED / name, inputs

    @cached_property
    def folder(self) -> Path:
        return self.of_run / digest(self.inputs)

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
