"""Raw data parsed, validated and encoded: bytes in, typed values out, no paths.

Thoracic Surgery is a table of 470 patients; Fashion-MNIST is 28 x 28 grey images and their labels in IDX files.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors
from sklearn.preprocessing import StandardScaler

from stages.lib.commands import UserError

LABEL = "Risk1Yr"
DIAGNOSES = (1, 2, 3, 4, 5, 6, 8)  # the codes of DGN, nominal
MEASURES = ["id", "PRE4", "PRE5", "AGE"]  # the columns that are not codes
NUM_PATIENTS = 470
NUM_DEATHS = 70
REACH = (
    3.0  # interquartile ranges beyond the quartiles where Tukey's outer fences stand (Exploratory Data Analysis, 1977)
)

IMAGE_SHAPE = (28, 28)
NUM_CLASSES = 10
UNSIGNED_BYTE = 0x08  # IDX code of the element type


class DataError(UserError, ValueError):
    """Raw data are not what the pipeline expects."""


# Thoracic Surgery: read --------------------------------------------------------------------------------------------


def check_values(accepts: Callable[[pd.Series], pd.Series], words: str) -> pa.Check:
    """A check of numbers; text that is none passes, because the conversion to the column's type reports it."""

    def passes(column: pd.Series) -> pd.Series:
        numbers = pd.to_numeric(column, errors="coerce")
        return accepts(numbers) | numbers.isna()

    return pa.Check(passes, error=words)


def code_column(*codes: int) -> pa.Column:
    words = f"one of {', '.join(map(str, codes))}"
    return pa.Column("int64", check_values(lambda numbers: numbers.isin(codes), words), coerce=True)


def measure_column(dtype: str, lowest: float, highest: float, *, unique: bool = False) -> pa.Column:
    check = check_values(lambda numbers: numbers.between(lowest, highest), f"a number from {lowest} to {highest}")
    return pa.Column(dtype, check, coerce=True, unique=unique)


THORACIC_SCHEMA = pa.DataFrameSchema(
    {
        "id": measure_column("int64", 1, NUM_PATIENTS, unique=True),  # row number in UCI's file
        "DGN": code_column(*DIAGNOSES),  # diagnosis group
        "PRE4": measure_column("float64", 1.44, 6.3),  # forced vital capacity, litres
        "PRE5": measure_column(
            "float64", 0.96, 86.3
        ),  # volume exhaled in the first second, litres; see ThoracicEncoder
        "PRE6": code_column(0, 1, 2),  # performance status, Zubrod scale
        "PRE7": code_column(0, 1),  # pain
        "PRE8": code_column(0, 1),  # haemoptysis
        "PRE9": code_column(0, 1),  # dyspnoea
        "PRE10": code_column(0, 1),  # cough
        "PRE11": code_column(0, 1),  # weakness
        "PRE14": code_column(11, 12, 13, 14),  # tumour size, smallest to largest
        "PRE17": code_column(0, 1),  # diabetes
        "PRE19": code_column(0, 1),  # myocardial infarction
        "PRE25": code_column(0, 1),  # peripheral arterial disease
        "PRE30": code_column(0, 1),  # smoking
        "PRE32": code_column(0, 1),  # asthma
        "AGE": measure_column("int64", 21, 87),  # years
        LABEL: code_column(0, 1),  # 1 = died within one year of surgery
    },
    checks=[
        pa.Check(lambda table: len(table) == NUM_PATIENTS, error=f"{NUM_PATIENTS} rows"),
        pa.Check(
            lambda table: LABEL not in table or table[LABEL].astype(str).eq("1").sum() == NUM_DEATHS,
            error=f"{NUM_DEATHS} rows with {LABEL} 1",
        ),
    ],
    strict=True,
    ordered=True,
)

# What pandera's built-in checks expect, in words.
EXPECTED = {
    "coerce_dtype('int64')": "a whole number",
    "coerce_dtype('float64')": "a number",
    "not_nullable": "a number",
    "field_uniqueness": "no value twice",
    "column_in_dataframe": "a column of this name",
    "column_in_schema": "no column of this name",
    "column_ordered": f"the columns in the order {', '.join(THORACIC_SCHEMA.columns)}",
}
NUM_SHOWN = 3  # offending rows shown for each fault


def read_thoracic(text: bytes | str) -> pd.DataFrame:
    """Parse and validate thoracic_surgery.csv, header line included.

    Raises DataError with every departure from THORACIC_SCHEMA: the column, what was expected, what was found where.
    """
    data = text.encode() if isinstance(text, str) else text
    try:  # as text: the schema converts, and so can name the line of a value that is no number
        table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise DataError(f"thoracic_surgery.csv is not a CSV table: {error}") from error
    try:
        return THORACIC_SCHEMA.validate(table, lazy=True)
    except SchemaErrors as errors:
        # A wrong type is left out: the conversion that failed has been reported with its lines.
        faults = [fault for fault in errors.schema_errors if fault.reason_code != SchemaErrorReason.WRONG_DATATYPE]
        lines = [f"thoracic_surgery.csv with its {len(table)} rows is not as expected:", *map(describe_fault, faults)]
        raise DataError("\n  ".join(lines)) from None


def describe_fault(fault: SchemaError) -> str:
    """One line: column, what was expected, and the first offending rows by their line in the file."""
    expected = EXPECTED.get(str(fault.check)) or fault.check.error
    cases = fault.failure_cases
    if not isinstance(cases, pd.DataFrame):  # the name of a column, or no more than a refusal of the table
        return f"{cases if isinstance(cases, str) else 'table'}: expected {expected}"
    rows = zip(cases["failure_case"], cases["index"], strict=True)
    shown = [f"{value!r} in line {row + 2}" for value, row in islice(rows, NUM_SHOWN)]
    more = [f"{len(cases) - NUM_SHOWN} more"] if len(cases) > NUM_SHOWN else []
    return f"{fault.schema.name}: expected {expected}; found {', '.join(shown + more)}"


# Thoracic Surgery: encode ------------------------------------------------------------------------------------------

TUTORIAL_FEATURES = tuple(name for name in THORACIC_SCHEMA.columns if name != LABEL)  # 17: id and codes as numbers
FEATURES = (*(f"DGN_{code}" for code in DIAGNOSES), *TUTORIAL_FEATURES[2:])  # 22: DGN one-hot, then PRE4 to AGE


@dataclass(frozen=True)
class ThoracicEncoder:
    """Patients as network inputs; limits and scales come from the training rows alone.

    Each feature is clipped, then standardised (a constant one is only centred). Measures are clipped at Tukey's outer
    fences, quartile -+ 3 interquartile ranges: 14 values of PRE5 are in another unit (52 to 86 beside 1 to 5 litres),
    and the fences hold while such rows are fewer than a quarter. PRE4 and AGE follow the same rule, which hardly ever
    touches them. Codes are clipped to the range of the training rows: a diagnosis or a flag that none of them has
    stays at zero in every row, since the network learnt nothing about it.
    The one-hot columns are the schema's, not the training rows': all replicates, which train in one graph, must have
    the same number of features.
    """

    names: tuple[str, ...]  # of the features, in order
    limits: (
        tuple[pd.Series, pd.Series] | tuple[None, None]
    )  # lowest and highest value, each [feature]; None: not clipped
    scaler: StandardScaler

    @classmethod
    def fit(cls, training_rows: pd.DataFrame, *, raw: bool = False) -> Self:
        """Fit on training rows. `raw` is the tutorial's way: 17 columns, as they are."""
        names = TUTORIAL_FEATURES if raw else FEATURES
        features = expand_diagnosis(training_rows)[list(names)]
        limits = (None, None) if raw else find_limits(features)
        scaler = StandardScaler(with_mean=not raw, with_std=not raw)
        return cls(names, limits, scaler.fit(features.clip(*limits, axis=1)))

    def transform(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Return x float32 [row, feature]."""
        features = expand_diagnosis(table)[list(self.names)].clip(*self.limits, axis=1)
        return self.scaler.transform(features).astype(np.float32, order="C")


def find_limits(features: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Lowest and highest value to keep, each [feature]: Tukey's outer fences of a measure, the range of a code."""
    is_measure = features.columns.isin(MEASURES)
    low, high = features.quantile(0.25), features.quantile(0.75)
    reach = REACH * (high - low)
    return features.min().mask(is_measure, low - reach), features.max().mask(is_measure, high + reach)


def expand_diagnosis(table: pd.DataFrame) -> pd.DataFrame:
    """The table with DGN one-hot beside it: DGN_1 ... DGN_8, all zero for a code that is not among them."""
    return table.assign(**{f"DGN_{code}": table["DGN"].eq(code).astype(float) for code in DIAGNOSES})


# Fashion-MNIST -----------------------------------------------------------------------------------------------------


def parse_idx(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Parse an IDX file: 00 00, element type, number of dimensions, each size as big-endian uint32, then the elements.

    Returns a read-only view of the data. Raises DataError when the file is of another kind, cut short or too long.
    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{name}: starts with '{data[:4].hex(' ')}', an IDX file with '00 00' and two codes")
    element_type, num_dimensions = data[2:4]
    if element_type != UNSIGNED_BYTE:
        raise DataError(f"{name}: element type 0x{element_type:02x}, expected 0x{UNSIGNED_BYTE:02x} (unsigned byte)")
    start = 4 + 4 * num_dimensions
    if len(data) < start:
        raise DataError(f"{name}: {len(data)} bytes, too short for the sizes of {num_dimensions} dimensions")
    shape = np.frombuffer(data, ">u4", num_dimensions, offset=4).tolist()
    if len(data) - start != math.prod(shape):
        raise DataError(f"{name}: {len(data) - start} elements, expected {math.prod(shape)} for the shape {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_fashion(images: bytes, labels: bytes, num_rows: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Parse and validate two IDX files: x uint8 [row, 784], grey levels 0..255, and y uint8 [row], classes 0..9."""
    x, y = parse_idx(images, name="images"), parse_idx(labels, name="labels")
    for name, found, expected in (("images", x.shape, (num_rows, *IMAGE_SHAPE)), ("labels", y.shape, (num_rows,))):
        if found != expected:
            raise DataError(f"{name}: shape {found}, expected {expected}")
    if (wrong := np.flatnonzero(y >= NUM_CLASSES)).size:
        raise DataError(f"labels: {y[wrong[0]]} in row {wrong[0]}, expected 0 to {NUM_CLASSES - 1}")
    return x.reshape(num_rows, -1), y
