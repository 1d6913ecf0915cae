"""How an arm's predictions of held-out rows look: ROC, precision-recall, reliability, confusion.

Probabilities are [replicate, row, output], labels [replicate, row]; one output is the probability of class 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

GRID = np.linspace(0, 1, 26)
NUM_BINS = 10


def summarize_curves(labels: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """ROC and precision-recall curves of a two-class arm, averaged over replicates at equal x (vertically)."""
    roc, recall = [], []
    for label, score in zip(labels, probability[..., 0], strict=True):
        false, true, _ = roc_curve(label, score)
        roc.append(np.interp(GRID, false, true))
        precision, found, _ = precision_recall_curve(label, score)
        recall.append(precision[::-1][np.searchsorted(found[::-1], GRID)])  # at the first threshold that finds so many
    return pd.concat(
        [
            pd.DataFrame({"curve": name, "x": GRID, "y": np.mean(curves, axis=0)})
            for name, curves in (("roc", roc), ("precision_recall", recall))
        ],
        ignore_index=True,
    )


def spread_classes(probability: np.ndarray) -> np.ndarray:
    """[..., class]: two columns for one output."""
    return np.concatenate([1 - probability, probability], axis=-1) if probability.shape[-1] == 1 else probability


def summarize_reliability(labels: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Predicted probability and observed share in NUM_BINS bins of as many rows, all replicates together.

    Of two classes that is the probability of class 1, of more that of the predicted class.
    """
    if probability.shape[-1] == 1:
        predicted, happened = probability[..., 0].ravel(), labels.ravel() == 1
    else:
        predicted, happened = probability.max(axis=-1).ravel(), (probability.argmax(axis=-1) == labels).ravel()
    order = np.argsort(predicted, kind="stable")
    bins = [part for part in np.array_split(order, NUM_BINS) if len(part)]
    return pd.DataFrame(
        {
            "predicted": [predicted[part].mean(dtype=float) for part in bins],
            "observed": [happened[part].mean() for part in bins],
            "rows": [len(part) for part in bins],
        }
    )


def summarize_confusion(labels: np.ndarray, probability: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Share of the rows of each actual class that is predicted as each class, all replicates together."""
    decided = probability.argmax(axis=-1) if probability.shape[-1] > 1 else (probability[..., 0] > 0.5).astype(int)
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (labels.ravel(), decided.ravel()), 1)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    actual, predicted = np.meshgrid(names, names, indexing="ij")
    return pd.DataFrame({"actual": actual.ravel(), "predicted": predicted.ravel(), "share": shares.ravel()})
