"""Encoding of Thoracic Surgery: one-hot diagnosis, robust clipping, standardisation, all fitted on training rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from stages.lib.data.thoracic_table import DIAGNOSES, LABEL, THORACIC_SCHEMA

MEASURES = ["id", "PRE4", "PRE5", "AGE"]  # the columns that are not codes
# Interquartile ranges between the quartiles and Tukey's outer fences (Exploratory Data Analysis, 1977).
REACH = 3.0

TUTORIAL_FEATURES = tuple(name for name in THORACIC_SCHEMA.columns if name != LABEL)  # 17: id and codes as numbers
FEATURES = (*(f"DGN_{code}" for code in DIAGNOSES), *TUTORIAL_FEATURES[2:])  # 22: DGN one-hot, then PRE4 to AGE


@dataclass(frozen=True)
class ThoracicEncoder:
    """Encoder of patients; its limits and scales come from the training rows alone.

    Each feature is clipped, then standardised (a constant one is only centred). Measures are clipped at Tukey's outer
    fences, which lie 3 interquartile ranges outside the quartiles: 14 values of PRE5 are in another unit (52 to 86,
    all others 1 to 9 litres), and the fences hold while such rows are fewer than a quarter. The same rule applies to
    PRE4 and AGE, where it clips hardly any value. Codes are clipped to the range of the training rows: a diagnosis or
    a flag that no training row has is zero in every row, since the network has learnt nothing about it.
    The one-hot columns are those of the schema, not those of the training rows, because all replicates train in one
    graph and so must have the same number of features.

    names: of the features, in order.
    limits: lowest and highest value to keep, each [feature]; None where nothing is clipped.
    """

    names: tuple[str, ...]
    limits: tuple[pd.Series, pd.Series] | tuple[None, None]
    scaler: StandardScaler

    @classmethod
    def fit(cls, training_rows: pd.DataFrame, *, raw: bool = False) -> Self:
        """Fit on training rows. `raw`: the tutorial's 17 columns as they stand in the file."""
        names = TUTORIAL_FEATURES if raw else FEATURES
        features = expand_diagnosis(training_rows)[list(names)]
        limits = (None, None) if raw else find_limits(features)
        scaler = StandardScaler(with_mean=not raw, with_std=not raw)
        return cls(names, limits, scaler.fit(features.clip(*limits, axis=1)))

    def transform(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Inputs float32 [row, feature]."""
        features = expand_diagnosis(table)[list(self.names)].clip(*self.limits, axis=1)
        return self.scaler.transform(features).astype(np.float32, order="C")


def find_limits(features: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Lowest and highest value to keep, each [feature]: Tukey's outer fences for a measure, the range for a code."""
    is_measure = features.columns.isin(MEASURES)
    low, high = features.quantile(0.25), features.quantile(0.75)
    reach = REACH * (high - low)
    return features.min().mask(is_measure, low - reach), features.max().mask(is_measure, high + reach)


def expand_diagnosis(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns DGN_1 ... DGN_8, the one-hot encoding of DGN; all are zero for an unknown code."""
    return table.assign(**{f"DGN_{code}": table["DGN"].eq(code).astype(float) for code in DIAGNOSES})
