"""Thoracic Surgery: 470 patients, 70 of whom died within one year of surgery (class 1)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from stages.lib.data.dataset import Dataset, Encode, Read, Rows
from stages.lib.data.facts import Facts

NUM_SURVIVORS, NUM_DEATHS = 400, 70  # thoracic_table checks them
CLASS_NAMES = ("lived", "died within a year")


class ThoracicSurgery(Dataset):
    """`encoded` drops the id, one-hot encodes the diagnosis, clips and scales; `raw` is the tutorial's way: 17 columns
    as they stand in the file, the id included."""

    kind: Literal["thoracic_surgery"] = "thoracic_surgery"
    encodings: ClassVar[tuple[str, ...]] = ("encoded", "raw")

    @property
    def raw_files(self) -> tuple[str, ...]:
        return ("thoracic_surgery.csv",)

    def facts(self, read: Read) -> Facts:
        counts = (NUM_SURVIVORS, NUM_DEATHS)
        return Facts(counts, title="Thoracic Surgery", unit="patients", class_names=CLASS_NAMES)

    def load(self, load_raw: Read, encoding: str) -> Rows:
        from stages.lib.data import thoracic_encoder, thoracic_table  # pandas and pandera are slow to import

        table, raw = thoracic_table.read_thoracic(load_raw(*self.raw_files)), encoding == "raw"

        def fit(training: np.ndarray) -> Encode:
            encoder = thoracic_encoder.ThoracicEncoder.fit(table.iloc[training], raw=raw)
            return lambda rows: encoder.transform(table.iloc[rows])

        return Rows(
            labels=table[thoracic_table.LABEL].to_numpy(np.uint8),
            features=thoracic_encoder.TUTORIAL_FEATURES if raw else thoracic_encoder.FEATURES,
            fit=fit,
        )
