"""Thoracic Surgery: 470 patients, 70 of whom died within one year of surgery (class 1)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from stages.lib.data.dataset import Dataset, Facts, FetchPlan, FileSource, Pin, Read, Rows
from stages.lib.data.download import from_folder
from stages.lib.data.samples import Encoder

if TYPE_CHECKING:
    import pandas as pd

NUM_SURVIVORS, NUM_DEATHS = 400, 70
NUM_PATIENTS = NUM_SURVIVORS + NUM_DEATHS
LABEL = "Risk1Yr"
DIAGNOSES = (1, 2, 3, 4, 5, 6, 8)
TUTORIAL_FEATURES = (  # 17: id and codes as numbers; data/source/README.md says what each means
    *("id", "DGN", "PRE4", "PRE5", "PRE6", "PRE7", "PRE8", "PRE9", "PRE10", "PRE11", "PRE14"),
    *("PRE17", "PRE19", "PRE25", "PRE30", "PRE32", "AGE"),
)
FEATURES = (*(f"DGN_{code}" for code in DIAGNOSES), *TUTORIAL_FEATURES[2:])  # 22: DGN one-hot, then PRE4 to AGE
MEASURES = ("PRE4", "PRE5", "AGE")  # the features that are no codes

FILE = "thoracic_surgery.csv"
PINS = {FILE: Pin(21_354, "fa53af63b75c9738c57400ebb88f5bdeb728dc6f421de856798e1a4cbfd1d096")}
FOLDER = Path("data/source")
HOW_TO_MEND = """\
To mend it, restore the committed file and run this again:
  git checkout -- data/source/thoracic_surgery.csv"""


class ThoracicSurgery(Dataset):
    """`encoded` drops the id, one-hot encodes the diagnosis, clips and scales; `raw` is the tutorial's way: 17 columns
    as they stand in the file, the id included."""

    kind: Literal["thoracic_surgery"] = "thoracic_surgery"
    encodings: ClassVar[tuple[str, ...]] = ("encoded", "raw")
    pinned: ClassVar[Mapping[str, Pin]] = PINS
    how_to_mend: ClassVar[str] = HOW_TO_MEND

    @classmethod
    def sources(cls, plan: FetchPlan, scratch: Path) -> list[FileSource]:
        return [from_folder(FOLDER)]

    def facts(self, read: Read) -> Facts:
        names = ("lived", "died within a year")
        return Facts((NUM_SURVIVORS, NUM_DEATHS), title="Thoracic Surgery", unit="patients", class_names=names)

    def load(self, load_raw: Read, encoding: str) -> Rows:
        table = read_thoracic(load_raw(FILE))
        labels = table[LABEL].to_numpy(np.uint8)
        if encoding == "raw":
            columns = table[list(TUTORIAL_FEATURES)].to_numpy(float)
            return Rows(labels, columns, TUTORIAL_FEATURES, fit=lambda training: Encoder())
        return Rows(labels, expand_columns(table), FEATURES, fit_thoracic_encoder)


# Encoding ----------------------------------------------------------------------------------------------------------

FENCE = 3.0  # interquartile ranges from a quartile to Tukey's outer fence (Exploratory Data Analysis, 1977)


def expand_columns(table: pd.DataFrame) -> np.ndarray:
    """Columns float64 [row, feature] of FEATURES, DGN one-hot: all of its columns are 0 for an unknown code.

    The one-hot columns are those of the schema, not those of the training rows, because all replicates train in one
    graph and so must have the same number of features.
    """
    one_hot = {f"DGN_{code}": table["DGN"].eq(code) for code in DIAGNOSES}
    return table.assign(**one_hot)[list(FEATURES)].to_numpy(float)


def fit_thoracic_encoder(training: np.ndarray) -> Encoder:
    """Limits and scales of the columns of training rows: each feature is clipped, then standardised.

    Measures are clipped at Tukey's outer fences, which lie 3 interquartile ranges outside the quartiles: 14 values of
    PRE5 are in another unit (52 to 86, all others 1 to 9 litres), and the fences hold while such rows are fewer than a
    quarter. The same rule applies to PRE4 and AGE, where it clips hardly any value. Codes are clipped to the range of
    the training rows: a diagnosis or a flag that no training row has is zero in every row, since the network has learnt
    nothing about it.
    """
    from sklearn.preprocessing import StandardScaler  # slow to import

    is_measure = np.isin(FEATURES, MEASURES)
    first, third = np.quantile(training, [0.25, 0.75], axis=0)
    low = np.where(is_measure, first - FENCE * (third - first), training.min(axis=0))
    high = np.where(is_measure, third + FENCE * (third - first), training.max(axis=0))
    scaler = StandardScaler().fit(training.clip(low, high))
    return Encoder(low, high, scaler.mean_, scaler.scale_)


# Reading -----------------------------------------------------------------------------------------------------------


def read_thoracic(data: bytes) -> pd.DataFrame:
    """thoracic_surgery.csv, header line included. Nothing is checked: its content is pinned."""
    import pandas as pd  # slow to import

    return pd.read_csv(io.BytesIO(data))
