"""The scores that training follows on its validation rows, epoch by epoch.

They stand apart from lib/scores.py so that a new score there retrains nothing.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata


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
    ranks = rankdata(probability[..., 0], axis=-1, nan_policy="propagate")
    positives = label.sum(axis=-1)
    negatives = label.shape[-1] - positives
    return ((ranks * label).sum(axis=-1) - positives * (positives + 1) / 2) / (positives * negatives)


MONITORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"accuracy": accuracy, "auc": auc}
