"""What the models of a study answer, row by row: kept so that a new score or test needs no training."""

from dataclasses import dataclass

import numpy as np

NUM_TRAINING_ROWS = 2000  # the first of each replicate's, enough to see the gap to held-out rows


@dataclass(frozen=True)
class Labels:
    """Class numbers [replicate, row] of the rows that the predictions of a study are about."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """One variant. Probabilities are [lane, row, output] float32, rows as in `Labels`; other arrays [lane].

    A lane whose weights are not finite answers with the shares of the classes among its training rows.
    """

    replicate: np.ndarray
    strength: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    epochs_run: np.ndarray
    best_epoch: np.ndarray
    stopped_early: np.ndarray
    diverged: np.ndarray
    zero_share: np.ndarray
    near_zero_share: np.ndarray
    kernel_norm: np.ndarray
    bound_share: np.ndarray


@dataclass(frozen=True)
class ReferencePredictions:
    """One model of lib/references.py. Probabilities are [replicate, row, output] float32, rows as in `Labels`.

    strength: [replicate], the one with the best validation score; 0 where the model has none.
    validation_score: [replicate], that score.
    """

    strength: np.ndarray
    validation_score: np.ndarray
    training: np.ndarray
    test: np.ndarray
