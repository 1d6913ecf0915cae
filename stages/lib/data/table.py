"""A table of the user's own: any CSV file with a class to predict."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stages.lib.core.fields import Text, Unrepeated, shorten
from stages.lib.data.columns import Column, read_categories, read_numbers, read_target
from stages.lib.data.csv_table import CsvTable, read_csv
from stages.lib.data.dataset import DataError, Dataset, Encode, Read, Rows
from stages.lib.data.facts import Facts
from stages.lib.data.table_encoder import TableEncoder

FOLDER = "data/source"
RAW_NAME = "table.csv"
NUM_NAMES = 10  # columns named in a message


def check_file(path: str) -> str:
    """Refuse a file outside the folder that git tracks, which a colleague's clone would not have."""
    parts = PurePosixPath(path).parts
    if "\\" in path or "\0" in path or ".." in parts or parts[:-1][:2] != tuple(FOLDER.split("/")):
        raise ValueError(f"is {shorten(path)}, expected a file in {FOLDER}, such as {FOLDER}/mine.csv: copy it there")
    return path


def to_text(value: Any) -> Any:
    """`positive: 1` means the class written 1 in the file."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Parsed(NamedTuple):
    """A checked table.

    labels: [row] uint8. numbers: [row, numeric column] float64, NaN where missing.
    one_hot: [row, category] bool, the columns of all categorical columns. names: numeric columns, then categories.
    """

    labels: np.ndarray
    numbers: np.ndarray
    one_hot: np.ndarray
    names: tuple[str, ...]


class Table(Dataset):
    """A CSV file in data/source with a target of two classes or more.

    positive: for two classes, the one whose probability is predicted; the second one if it is not given.
    drop: columns that are not used. categorical: columns that are one-hot encoded; all others hold numbers.
    missing: `refuse`, or `impute`: the training rows' median for numbers, a category of its own for categories.
    """

    kind: Literal["table"] = "table"
    file: Annotated[Text, AfterValidator(check_file)]
    target: Text
    positive: Annotated[Text | None, BeforeValidator(to_text)] = None
    drop: Unrepeated[Text] = Field(default_factory=list)
    categorical: Unrepeated[Text] = Field(default_factory=list)
    missing: Literal["refuse", "impute"] = "refuse"

    @model_validator(mode="after")
    def check_roles(self) -> Table:
        mistakes = []
        for name in dict.fromkeys([self.target, *self.drop, *self.categorical]):
            roles = " and ".join(role for role, names in self.roles.items() if name in names)
            if " and " in roles:
                mistakes.append(f"column '{name}' is named under {roles}, expected one of them: remove the others")
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self

    @property
    def roles(self) -> dict[str, list[str]]:
        """The columns that are named, by the key that names them."""
        return {"target": [self.target], "drop": self.drop, "categorical": self.categorical}

    @property
    def raw_files(self) -> tuple[str, ...]:
        return (RAW_NAME,)

    @property
    def source_files(self) -> dict[str, str]:
        return {RAW_NAME: self.file}

    def facts(self, read: Read) -> Facts:
        try:
            data = read(self.file)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DataError(
                f"{self.file} cannot be read ({reason}), expected a CSV file: copy your table there"
            ) from None
        parsed = parse_table(self, data)
        return Facts(
            tuple(np.bincount(parsed.labels).tolist()),
            title=PurePosixPath(self.file).stem.replace("_", " "),
            num_columns=len(parsed.names),
        )

    def load(self, load_raw: Read, encoding: str) -> Rows:
        parsed = parse_table(self, load_raw(RAW_NAME))

        def fit(training: np.ndarray) -> Encode:
            encoder = TableEncoder.fit(parsed.numbers[training], parsed.one_hot[training])
            return lambda rows: encoder.transform(parsed.numbers[rows], parsed.one_hot[rows])

        return Rows(labels=parsed.labels, features=parsed.names, fit=fit)


def parse_table(declaration: Table, data: bytes) -> Parsed:
    """Read, check and convert the file; DataError lists every fault, one a line."""
    table = read_csv(data, name=declaration.file)
    impute, faults = declaration.missing == "impute", [*table.faults, *find_absent_columns(declaration, table)]
    labels = np.zeros(len(table.lines), np.uint8)
    numeric: dict[str, np.ndarray] = {}
    categories: dict[tuple[str, str], np.ndarray] = {}
    for name, cells in table.columns.items():
        column, found = Column(name, cells, table.lines), list[str]()
        if name == declaration.target:
            labels, found = read_target(column, declaration.positive)
        elif name in declaration.categorical:
            one_hot, found = read_categories(column, impute=impute)
            categories |= {(name, category): is_in for category, is_in in one_hot.items()}
        elif name not in declaration.drop:
            numeric[name], found = read_numbers(column, impute=impute)
        faults += found
    if not numeric and not categories:
        faults.append("no column is left to learn from, expected one beside target and drop: drop fewer columns")
    if faults:
        raise DataError("\n  ".join([f"{declaration.file} with its {len(table.lines)} rows cannot be used:", *faults]))
    num_rows = len(labels)
    return Parsed(
        labels=labels,
        numbers=np.stack([*numeric.values()], axis=1) if numeric else np.zeros((num_rows, 0)),
        one_hot=np.stack([*categories.values()], axis=1) if categories else np.zeros((num_rows, 0), bool),
        names=(*numeric, *(f"{name}_{category}" for name, category in categories)),
    )


def find_absent_columns(declaration: Table, table: CsvTable) -> list[str]:
    """Columns that the declaration names and the header does not."""
    faults = []
    for role, names in declaration.roles.items():
        for name in [name for name in names if name not in table.columns]:
            matches = get_close_matches(name, table.columns) or list(table.columns)[:NUM_NAMES]
            listed = " or ".join(f"'{match}'" for match in matches)
            faults.append(f"column '{name}' ({role}): is not in the header, expected {listed}: mend its spelling")
    return faults
