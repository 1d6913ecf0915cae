"""The record that `summarize` leaves for the figures: long tables, pictures, and facts of each study.

Tables are CSV files that `dvc plots` and spreadsheets can read. A study has the folder metrics/series/<study>.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from stages.lib.core.files import read_bytes, write_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd  # else where it is used, since `make` reads no table here and pandas is slow to import

FOLDER = Path("metrics/series")

# Name of a table -> its columns. An arm is `at_knob`, `tuned` or `reference`.
TABLES: dict[str, tuple[str, ...]] = {
    "forest": ("study", "score", "variant", "arm", "baseline", "difference", "low", "high", "verdict"),
    "learning": ("study", "variant", "part", "epoch", "mean", "low", "high"),
    "curves": ("study", "variant", "arm", "curve", "x", "y"),
    "reliability": ("study", "variant", "arm", "predicted", "observed", "rows"),
    "confusion": ("study", "variant", "arm", "actual", "predicted", "share"),
    "weights": ("study", "variant", "weight", "share"),
    "inputs": ("study", "variant", "input", "mean_size", "zero_share"),
}

Tables = dict[str, "pd.DataFrame"]


@dataclass(frozen=True)
class Picture:
    """Grey images side by side, as the base64 of a PNG. label: what they show, for those who cannot see it."""

    study: str
    variant: str
    shows: str  # first_layer, input_size or mistake
    label: str
    width: int
    height: int
    png: str


@dataclass(frozen=True)
class RecipeFacts:
    """Network and training of one variant, with every default filled in."""

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    activation: str
    loss: str
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    regularizers: dict[str, tuple[float, ...]]
    num_weights: int


@dataclass(frozen=True)
class StudyFacts:
    """What a study is about. rows: training, validation and held_out, of one replicate; held_out_rows: of all."""

    title: str
    unit: str
    class_names: tuple[str, ...]
    rows: dict[str, int]
    held_out_rows: int
    recipes: dict[str, RecipeFacts]

    def describe(self, fixed_test: bool) -> str:
        """`470 patients`: all rows where each is held out once, else the training rows of one network."""
        number = self.rows["training"] if fixed_test else self.held_out_rows
        return f"{number:,} {self.unit}"


@dataclass(frozen=True)
class Facts:
    """versions: library -> version with which the series were made. machine: the architecture on which they were.

    confidence, equivalence: as in params.yaml.
    """

    confidence: float
    equivalence: dict[str, float]
    versions: dict[str, str]
    machine: str
    studies: dict[str, StudyFacts]


@dataclass(frozen=True)
class Series:
    tables: Tables
    pictures: list[Picture]
    facts: Facts


def save_series(study: str, series: Series) -> None:
    """Write the folder of a study."""
    folder = FOLDER / study
    for name, columns in TABLES.items():
        text = series.tables[name][list(columns)].to_csv(index=False, float_format="%.5g", lineterminator="\n")
        write_bytes(folder / f"{name}.csv", text.encode())
    write_json(folder / "pictures.json", [asdict(picture) for picture in series.pictures])
    write_json(folder / "facts.json", TypeAdapter(Facts).dump_python(series.facts, mode="json"))


def load_series(study: str) -> Series:
    """The inverse of `save_series`. Names are text, also where a class or a feature is called 1 or nan."""
    stage, folder = f"summarize@{study}", FOLDER / study
    pictures = json.loads(read_bytes(folder / "pictures.json", written_by=stage))
    return Series(
        tables={name: parse_table(name, read_bytes(folder / f"{name}.csv", written_by=stage)) for name in TABLES},
        pictures=[Picture(**entry) for entry in pictures],
        facts=load_facts(study),
    )


def load_facts(study: str) -> Facts:
    return TypeAdapter(Facts).validate_json(read_bytes(FOLDER / study / "facts.json", written_by=f"summarize@{study}"))


def parse_table(name: str, content: bytes) -> pd.DataFrame:
    import pandas as pd

    text = dict.fromkeys(("study", "variant", "input", "actual"), str)
    if name == "confusion":
        text["predicted"] = str
    return pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False)


def load_all(studies: Iterable[str]) -> Series:
    """The series of several studies as one."""
    import pandas as pd

    found = [load_series(study) for study in studies]
    facts = [series.facts for series in found]
    return Series(
        tables={name: pd.concat([series.tables[name] for series in found], ignore_index=True) for name in TABLES},
        pictures=[picture for series in found for picture in series.pictures],
        facts=replace(facts[0], studies={name: entry for one in facts for name, entry in one.studies.items()}),
    )
