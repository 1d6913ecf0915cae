"""The file thoracic_surgery.csv: its schema, and the faults that reading it may find."""

from collections.abc import Callable

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors

from stages.lib.data.csv_table import read_csv
from stages.lib.data.dataset import DataError, list_examples
from stages.lib.data.thoracic_surgery import NUM_DEATHS, NUM_SURVIVORS

FILE = "thoracic_surgery.csv"
LABEL = "Risk1Yr"
DIAGNOSES = (1, 2, 3, 4, 5, 6, 8)  # the codes of DGN, nominal
NUM_PATIENTS = NUM_SURVIVORS + NUM_DEATHS


def check_values(accepts: Callable[[pd.Series], pd.Series], words: str) -> pa.Check:
    """A check of numbers. Text that is no number passes, because the conversion of the column reports it."""

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
        "PRE5": measure_column("float64", 0.96, 86.3),  # volume exhaled in the first second, litres; has outliers
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

# What the built-in checks of pandera expect, in words.
EXPECTED = {
    "coerce_dtype('int64')": "a whole number",
    "coerce_dtype('float64')": "a number",
    "not_nullable": "a number",
    "field_uniqueness": "no value twice",
    "column_in_dataframe": "a column of this name",
    "column_in_schema": "no column of this name",
    "column_ordered": f"the columns in the order {', '.join(THORACIC_SCHEMA.columns)}",
}


def read_thoracic(text: bytes | str) -> pd.DataFrame:
    """Parse and check thoracic_surgery.csv, header line included.

    Raises DataError with every fault by THORACIC_SCHEMA: the column, what was expected, what was found in which line.
    """
    data = text.encode() if isinstance(text, str) else text
    parsed = read_csv(data, name=FILE)
    if parsed.faults:
        raise DataError("\n  ".join([f"{FILE} cannot be used:", *parsed.faults]))
    # As text, since the schema converts the columns and names the line of a value that is no number.
    table = pd.DataFrame(parsed.columns, dtype=str)
    try:
        return THORACIC_SCHEMA.validate(table, lazy=True)
    except SchemaErrors as errors:
        # The failed conversion of a column is reported with its lines, so its wrong type is not reported again.
        faults = [fault for fault in errors.schema_errors if fault.reason_code != SchemaErrorReason.WRONG_DATATYPE]
        lines = [f"{FILE} with its {len(table)} rows is not as expected:", *map(describe_fault, faults)]
        raise DataError("\n  ".join(lines)) from None


def describe_fault(fault: SchemaError) -> str:
    """One line: the column, what was expected, and the first faulty values with their lines in the file."""
    expected = EXPECTED.get(str(fault.check)) or fault.check.error
    cases = fault.failure_cases
    if not isinstance(cases, pd.DataFrame):  # the name of a column, or only that the table fails the check
        return f"{cases if isinstance(cases, str) else 'table'}: expected {expected}"
    rows = zip(cases["failure_case"], cases["index"], strict=True)
    examples = [f"{value!r} in line {row + 2}" for value, row in rows]
    return f"{fault.schema.name}: expected {expected}; found {list_examples(examples)}"
