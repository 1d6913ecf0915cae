"""Thoracic Surgery: 470 patients, 70 of whom died within one year of surgery (class 1)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from stages.lib.data.csv_table import CsvTable, read_csv
from stages.lib.data.dataset import DataError, Dataset, Facts, FetchPlan, FileSource, Pin, Read, Rows
from stages.lib.data.download import download, from_folder
from stages.lib.data.samples import Encoder

if TYPE_CHECKING:
    import pandas as pd


class Interval(NamedTuple):
    """The range of a column of numbers, both ends included."""

    lowest: float
    highest: float


NUM_SURVIVORS, NUM_DEATHS = 400, 70
NUM_PATIENTS = NUM_SURVIVORS + NUM_DEATHS
LABEL = "Risk1Yr"
DIAGNOSES = (1, 2, 3, 4, 5, 6, 8)
COLUMNS: dict[str, tuple[int, ...] | range | Interval] = {  # what each may hold: codes, whole numbers, numbers
    "id": range(1, NUM_PATIENTS + 1),  # row number in UCI's file
    "DGN": DIAGNOSES,  # diagnosis group, nominal
    "PRE4": Interval(1.44, 6.3),  # forced vital capacity, litres
    "PRE5": Interval(0.96, 86.3),  # volume exhaled in the first second, litres; has outliers
    "PRE6": (0, 1, 2),  # performance status, Zubrod scale
    "PRE7": (0, 1),  # pain
    "PRE8": (0, 1),  # haemoptysis
    "PRE9": (0, 1),  # dyspnoea
    "PRE10": (0, 1),  # cough
    "PRE11": (0, 1),  # weakness
    "PRE14": (11, 12, 13, 14),  # tumour size, smallest to largest
    "PRE17": (0, 1),  # diabetes
    "PRE19": (0, 1),  # myocardial infarction
    "PRE25": (0, 1),  # peripheral arterial disease
    "PRE30": (0, 1),  # smoking
    "PRE32": (0, 1),  # asthma
    "AGE": range(21, 88),  # years
    LABEL: (0, 1),  # 1 = died within one year of surgery
}
TUTORIAL_FEATURES = tuple(COLUMNS)[:-1]  # 17: id and codes as numbers
FEATURES = (*(f"DGN_{code}" for code in DIAGNOSES), *TUTORIAL_FEATURES[2:])  # 22: DGN one-hot, then PRE4 to AGE
MEASURES = ("PRE4", "PRE5", "AGE")  # the features that are no codes

FILE = "thoracic_surgery.csv"
PINS = {FILE: Pin(21_354, "fa53af63b75c9738c57400ebb88f5bdeb728dc6f421de856798e1a4cbfd1d096")}
FOLDER = Path("data/source")
TUTORIAL_URL = "https://ds-lecture-data.s3.ap-northeast-2.amazonaws.com/everydeep/ThoraricSurgery.csv"
UCI_URL = "https://archive.ics.uci.edu/static/public/277/thoracic+surgery+data.zip"
LARGEST = 2**20  # bytes of a table as others write it: a hundredth of them would do
HOW_TO_MEND = """\
To mend it, run this again with another --source (committed, tutorial, uci), or restore the committed file:
  git checkout -- data/source/thoracic_surgery.csv"""


class ThoracicSurgery(Dataset):
    """`encoded` drops the id, one-hot encodes the diagnosis, clips and scales; `raw` is the tutorial's way: 17 columns
    as they stand in the file, the id included."""

    kind: Literal["thoracic_surgery"] = "thoracic_surgery"
    encodings: ClassVar[tuple[str, ...]] = ("encoded", "raw")
    fetch_option: ClassVar[str] = "source"
    pinned: ClassVar[Mapping[str, Pin]] = PINS
    how_to_mend: ClassVar[str] = HOW_TO_MEND

    @classmethod
    def sources(cls, plan: FetchPlan, chosen: str | None, scratch: Path) -> list[FileSource]:
        return [SOURCES[chosen or "committed"]()]

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
    """Parse and check thoracic_surgery.csv, header line included.

    Raises DataError with every fault by COLUMNS: the column, what was expected, what was found in which line.
    """
    import pandas as pd  # slow to import

    parsed = read_csv(data, name=FILE)
    if parsed.faults:
        raise DataError(f"{FILE} cannot be used:", *parsed.faults)
    text = pd.DataFrame({name: column.cells for name, column in parsed.columns.items()}, dtype=str)
    table = text.apply(pd.to_numeric, errors="coerce")
    faults = [*find_wrong_columns([*parsed.columns]), *find_wrong_cells(parsed, table), *find_wrong_counts(table)]
    if faults:
        raise DataError(f"{FILE} with its {len(table)} rows is not as expected:", *faults)
    return table


def find_wrong_columns(names: list[str]) -> Iterator[str]:
    known = [name for name in COLUMNS if name in names]
    yield from (f"{name}: expected no column of this name" for name in names if name not in known)
    yield from (f"{name}: expected a column of this name" for name in COLUMNS if name not in known)
    if [name for name in names if name in known] != known:
        yield f"table: expected the columns in the order {', '.join(COLUMNS)}"


def find_wrong_cells(parsed: CsvTable, table: pd.DataFrame) -> Iterator[str]:
    for name in (name for name in COLUMNS if name in table):
        column, numbers = COLUMNS[name], table[name]
        if isinstance(column, Interval):
            words, accepted = f"a number from {column.lowest} to {column.highest}", numbers.between(*column)
        elif isinstance(column, range):
            words, accepted = f"a whole number from {column[0]} to {column[-1]}", numbers.isin(column)
        else:
            words, accepted = f"one of {', '.join(map(str, column))}", numbers.isin(column)
        if name == "id":
            words, accepted = f"{words}, no value twice", accepted & ~numbers.duplicated(keep=False)
        if examples := parsed.columns[name].list_wrong(~accepted):
            yield f"{name}: expected {words}; found {examples}"


def find_wrong_counts(table: pd.DataFrame) -> Iterator[str]:
    if len(table) != NUM_PATIENTS:
        yield f"table: expected {NUM_PATIENTS} rows"
    if LABEL in table and table[LABEL].sum() != NUM_DEATHS:
        yield f"table: expected {NUM_DEATHS} rows with {LABEL} 1"


# Sources -----------------------------------------------------------------------------------------------------------


def from_tutorial(url: str = TUTORIAL_URL) -> FileSource:
    """The tutorial's copy: the table without its header line."""

    def read(name: str, size: int) -> bytes:
        lines = download(url, most=LARGEST).decode().split()
        return format_table([float(value) for value in line.split(",")] for line in lines)

    return FileSource(url, read)


def from_uci(url: str = UCI_URL) -> FileSource:
    """The original, an ARFF file in a zip archive. It has no id; the patient's id is the number of the row."""
    return FileSource(url, lambda name, size: format_table(parse_arff(download(url, most=LARGEST))))


SOURCES: dict[str, Callable[[], FileSource]] = {
    "committed": lambda: from_folder(FOLDER),
    "tutorial": from_tutorial,
    "uci": from_uci,
}


def parse_arff(data: bytes) -> Iterable[list[float]]:
    """Yield the rows, codes as numbers: DGN3 -> 3, PRZ1 -> 1, OC12 -> 12, T -> 1, F -> 0."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (member,) = (name for name in archive.namelist() if name.lower().endswith(".arff"))
        with archive.open(member) as file:
            text = file.read(LARGEST + 1).decode(errors="replace")
    if len(text) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} characters when decompressed, expected fewer")
    names = re.findall(r"(?mi)^\s*@attribute\s+(\w+)", text)
    if names != list(COLUMNS)[1:]:
        raise ValueError(f"columns {', '.join(names)}, expected {', '.join(COLUMNS)}, but for the first")
    for number, line in enumerate(re.split(r"(?mi)^\s*@data", text)[1].split(), start=1):
        codes = ({"T": "1", "F": "0"}.get(code, code) for code in line.split(","))
        yield [number, *(float(re.sub(r"^\D+", "", code)) for code in codes)]


def format_table(rows: Iterable[Sequence[float]]) -> bytes:
    """The table as CSV in one fixed form: header line, sorted by DGN and id, shortest numbers."""
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    lines = [",".join(COLUMNS), *(",".join(f"{value:g}" for value in row) for row in ordered)]
    return "\n".join([*lines, ""]).encode()
