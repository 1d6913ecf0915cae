"""Trained blocks of a run, kept until the run is whole, so that a run which was stopped goes on from there.

They lie in DVC's scratch folder under the digest of all that shapes them: plan, rows, code and libraries. A run with
another digest never sees them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.lib.core.files import DamagedArtifactError, add_prefix, pop_prefix, read_arrays, write_arrays
from stages.lib.lanes.trained import Weights

FOLDER = Path(".dvc/tmp/unfinished")
LIBRARY = Path(__file__).parents[1]
PACKAGES = ("core", "lanes")  # of the library: what a training depends on


class TrainedBlock(NamedTuple):
    """What `TrainedRun` holds, of a block; ends: its epochs_run, best_epoch, stopped_early and diverged."""

    weights: Weights
    ends: dict[str, np.ndarray]
    history: pd.DataFrame


class UnfinishedRun:
    """The blocks of one run that have been trained.

    inputs: the files that shape it, code left out.
    """

    def __init__(self, study: str, variant: str, inputs: Iterable[Path]):
        self.of_run, self.inputs = FOLDER / study / variant, tuple(inputs)

    @cached_property
    def folder(self) -> Path:
        return self.of_run / digest_inputs(self.inputs)

    def save(self, number: int, block: TrainedBlock) -> None:
        history = {str(name): column.to_numpy() for name, column in block.history.items()}
        arrays = add_prefix("weight", block.weights) | add_prefix("end", block.ends) | add_prefix("history", history)
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
        weights, ends, history = (pop_prefix(prefix, fields) for prefix in ("weight", "end", "history"))
        return TrainedBlock(weights, ends, pd.DataFrame(history))

    def forget(self) -> None:
        """Remove the blocks, and those that earlier runs of this name have left."""
        if self.of_run.is_dir() and not self.of_run.is_symlink():
            shutil.rmtree(self.of_run)


def digest_inputs(inputs: Iterable[Path]) -> str:
    """A digest of these files, of the code of a training, and of the versions of all that is installed."""
    code = sorted(path for package in PACKAGES for path in (LIBRARY / package).glob("*.py"))
    installed = sorted((found.name, found.version) for found in distributions())
    digest = hashlib.sha256(repr(installed).encode())
    for path in (*inputs, *code):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
