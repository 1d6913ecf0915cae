"""Encoding of a table: numbers standardised, categories one-hot, both fitted on training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TableEncoder:
    """Encoder of rows; everything in it comes from the training rows alone.

    Missing numbers become the median of the training rows (0 where all of these are missing), then each column gets
    mean 0 and standard deviation 1. A column that is constant in the training rows is 0 in every row, and so is a
    category that none of them has: the network has learnt nothing about other values.
    The one-hot columns are those of the whole table, not those of the training rows, because all replicates train in
    one graph and so must have the same number of features.
    """

    scaler: Any  # scikit-learn pipeline of imputer and scaler; None where there is no numeric column
    varies: np.ndarray  # [numeric column] bool
    occurs: np.ndarray  # [category] bool

    @classmethod
    def fit(cls, numbers: np.ndarray, one_hot: np.ndarray) -> TableEncoder:
        """Fit on training rows: numbers [row, column], NaN where missing; one_hot [row, category] bool."""
        from sklearn.impute import SimpleImputer  # slow to import
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        occurs = one_hot.sum(axis=0) > 0
        if not numbers.shape[1]:
            return cls(None, np.zeros(0, bool), occurs)
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        filled = imputer.fit_transform(numbers)
        return cls(make_pipeline(imputer, StandardScaler().fit(filled)), np.ptp(filled, axis=0) > 0, occurs)

    def transform(self, numbers: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
        """Inputs float32 [row, feature]: the numeric columns, then the categories."""
        scaled = self.scaler.transform(numbers) * self.varies if self.scaler else numbers
        return np.concatenate([scaled, one_hot & self.occurs], axis=1).astype(np.float32)
