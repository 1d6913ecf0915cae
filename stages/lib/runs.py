"""What `train` leaves of a run and `evaluate` reads: the lanes' weights and how they came about."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainedRun:
    """All arrays [lane, ...]; `history` has a row per epoch and running lane.

    weights: name -> float32, as they are handed on.
    replicate: the lane's replicate.
    strength: of the regulariser that has a path, else of the first one; 0 without any.
    epochs_run: epochs trained.
    best_epoch: the epoch, counted from 1, whose weights are handed on.
    stopped_early, diverged: ended by early stopping, or by a loss that was not finite.
    mechanisms: name -> what the regularisers did to the weights; see lib/mechanisms.py.
    """

    weights: Weights
    replicate: np.ndarray
    strength: np.ndarray
    epochs_run: np.ndarray
    best_epoch: np.ndarray
    stopped_early: np.ndarray
    diverged: np.ndarray
    mechanisms: dict[str, np.ndarray]
    history: pd.DataFrame
