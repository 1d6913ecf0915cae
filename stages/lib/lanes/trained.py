"""What `train` leaves of a run and `evaluate` reads: the lanes' weights, and how their training went."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.core.files import add_prefix, pop_prefix, read_arrays, read_bytes, write_arrays, write_bytes

FOLDER = Path("models")

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainedRun:
    """All arrays [lane, ...]; `history` has a row for every epoch of every lane that was running.

    weights: name -> float32, as they are handed on.
    replicate: the lane's replicate.
    strengths: regulariser -> its strength.
    epochs_run: epochs trained.
    best_epoch: the epoch, counted from 1, whose weights are handed on.
    stopped_early, diverged: ended by early stopping, or by a loss that was not finite.
    mechanisms: name -> what the regularisers did to the weights; see lanes/mechanisms.py.
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


def save_run(run: TrainedRun, model: bytes, study: str, variant: str) -> None:
    """Write the folder of a run; model: a .keras file."""
    folder, fields = FOLDER / study / variant, dict(vars(run))
    weights, mechanisms, history = fields.pop("weights"), fields.pop("mechanisms"), fields.pop("history")
    fields |= add_prefix("strength", fields.pop("strengths"))
    write_arrays(folder / "lanes.npz", fields | add_prefix("weight", weights) | add_prefix("mechanism", mechanisms))
    write_bytes(folder / "history.csv", history.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode())
    write_bytes(folder / "model.keras", model)


def load_run(study: str, variant: str) -> TrainedRun:
    folder, stage = FOLDER / study / variant, f"train_{study}@{variant}"
    fields = read_arrays(folder / "lanes.npz", written_by=stage)
    nested: dict[str, Any] = {
        "weights": pop_prefix("weight", fields),
        "mechanisms": pop_prefix("mechanism", fields),
        "strengths": pop_prefix("strength", fields),
    }
    history = pd.read_csv(io.BytesIO(read_bytes(folder / "history.csv", written_by=stage)))
    return TrainedRun(**nested, **fields, history=history)
