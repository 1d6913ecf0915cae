"""The scores that training follows on its validation rows, epoch by epoch: AUC for one output, accuracy for several.

They stand apart from lib/scores.py so that a new score there retrains nothing.
"""

from collections.abc import Callable

import numpy as np


def accuracy(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Share of rows [replicate] whose likeliest class is their label; one output is cut at 0.5.

    Args:
        label: [replicate, row] class numbers.
        probability: [replicate, row, output].
    """
    predicted = probability[..., 0] > 0.5 if probability.shape[-1] == 1 else probability.argmax(axis=-1)
    return (predicted == label).mean(axis=-1)


def auc(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Area under the ROC curve [replicate] by mid-ranks, U / (positives * negatives) (Mann and Whitney 1947).

    Args:
        label: [replicate, row], 0 or 1.
        probability: [replicate, row, 1]; a row that holds NaN gives NaN.
    """
    values = probability[..., 0]
    positives = label.sum(axis=-1, dtype=float)
    negatives = label.shape[-1] - positives
    # Among equals first the negatives' ranks are the lower ones, then the positives': the mean is that of mid-ranks.
    # SciPy has them at the price of half a second for its import, in every train process.
    rank_sum = (sum_ranks(label, values, label) + sum_ranks(label, values, 1 - label)) / 2
    found = (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
    return np.where(np.isnan(values).any(axis=-1), np.nan, found)


def sum_ranks(label: np.ndarray, values: np.ndarray, tie_break: np.ndarray) -> np.ndarray:
    """Sum of the positives' ranks among the values; of equal values the one with the smaller tie_break comes first."""
    order = np.lexsort((tie_break, values), axis=-1)
    return (np.take_along_axis(label, order, axis=-1) * np.arange(1, label.shape[-1] + 1)).sum(axis=-1)


MONITORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"accuracy": accuracy, "auc": auc}


def choose_monitor(outputs: int) -> str:
    """The score that a network with so many outputs is followed by."""
    return "auc" if outputs == 1 else "accuracy"
