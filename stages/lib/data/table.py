"""A table of the user's own: any CSV file with a class to predict."""

from __future__ import annotations

import errno
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stages.lib.core.fields import Text, Unrepeated, shorten
from stages.lib.core.files import read_plain
from stages.lib.data.csv_table import Column, CsvTable, read_csv
from stages.lib.data.dataset import DataError, Dataset, Facts, FetchPlan, FileSource, Read, Rows, list_examples
from stages.lib.data.samples import Encoder

FOLDER = "data/source"
RAW_NAME = "table.csv"
MISSING = ("", "NA", "NaN", "nan")  # cells that hold no value
MISSING_CATEGORY = ""  # no cell that holds a value is empty
MAX_CLASSES = 256  # class numbers are uint8
MAX_CATEGORIES = 1000  # each is a column of features
MAX_LENGTH = 100  # characters of a category or a class
LARGEST = float(np.finfo(np.float32).max)  # networks compute with float32
NUM_NAMES = 10  # columns named in a message
MOSTLY = 0.9  # share of the cells of a column
REPEATED = 2  # rows that a category of text has on average, or more
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( .*)?|\d{1,2}:\d\d(:\d\d)?")

HOW_TO_MEND = """\
To mend it, put the file in its place; where it has been edited since the plan was made, run `dvc repro`."""


def check_file(path: str) -> str:
    """Refuse a file outside the folder that git tracks, which a colleague's clone would not have, and a hidden one.

    Of hidden files in that folder, such as half-written ones, git and DVC take no notice.
    """
    parts = PurePosixPath(path).parts
    is_hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    if "\\" in path or "\0" in path or is_hidden or parts[:-1][:2] != tuple(FOLDER.split("/")):
        raise ValueError(f"is {shorten(path)}, expected a file in {FOLDER}, such as {FOLDER}/mine.csv: copy it there")
    return path


def to_text(value: Any) -> Any:
    """`positive: 1` means the class written 1 in the file."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Table(Dataset):
    """A CSV file in data/source with a target of two classes or more.

    positive: for two classes, the one whose probability is predicted; the second one if it is not given.
    drop: columns that are not used.
    categorical: columns that are one-hot encoded, beside those of text (`is_category`); all others hold numbers.
    group: a column whose equal values name rows that belong together, such as those of one patient; no feature.
    missing: `refuse`, or `impute`: the training rows' median for numbers, a category of its own for categories.
    """

    how_to_mend: ClassVar[str] = HOW_TO_MEND

    kind: Literal["table"] = "table"
    file: Annotated[Text, AfterValidator(check_file)]
    target: Text
    positive: Annotated[Text | None, BeforeValidator(to_text)] = None
    drop: Unrepeated[Text] = Field(default_factory=list)
    categorical: Unrepeated[Text] = Field(default_factory=list)
    group: Annotated[Text | None, BeforeValidator(to_text)] = None
    missing: Literal["refuse", "impute"] = "refuse"

    @model_validator(mode="after")
    def check_roles(self) -> Table:
        by_name = defaultdict[str, list[str]](list)
        for role, names in self.roles.items():
            for name in names:
                by_name[name].append(role)
        if twice := {name: " and ".join(roles) for name, roles in by_name.items() if len(roles) > 1}:
            told = "column '{}' is named under {}, expected one of them: remove the others"
            raise ValueError("\n".join(told.format(*entry) for entry in twice.items()))
        return self

    @property
    def roles(self) -> dict[str, list[str]]:
        """The columns that are named, by the key that names them."""
        grouped = [self.group] if self.group else []
        return {"target": [self.target], "drop": self.drop, "categorical": self.categorical, "group": grouped}

    @property
    def source_files(self) -> dict[str, str]:
        return {RAW_NAME: self.file}

    @classmethod
    def sources(cls, plan: FetchPlan, scratch: Path) -> list[FileSource]:
        label = ", ".join(file.path for file in plan.files.values())
        return [FileSource(label, lambda name, size: read_plain(Path(plan.files[name].path), most=size))]

    def facts(self, read: Read) -> Facts:
        try:
            data = read(self.file)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            mend = "leave out rows or columns" if error.errno == errno.EFBIG else "copy your table there"
            raise DataError(f"{self.file} cannot be read ({reason}), expected a CSV file: {mend}") from None
        rows = parse_table(self, data)
        facts = Facts(
            tuple(np.bincount(rows.labels).tolist()),
            title=PurePosixPath(self.file).stem.replace("_", " "),
            num_columns=len(rows.features),
        )
        if rows.groups is None:
            return facts
        _, of_classes = np.unique([rows.groups, rows.labels], axis=1)  # each class of a group once
        num_groups = int(rows.groups.max()) + 1
        return facts._replace(num_groups=num_groups, class_groups=tuple(np.bincount(of_classes).tolist()))

    def load(self, load_raw: Read, encoding: str) -> Rows:
        return parse_table(self, load_raw(RAW_NAME))


def fit_table_encoder(training: np.ndarray, *, num_numeric: int) -> Encoder:
    """An encoder of the columns of training rows, the numeric ones first; all others are one-hot.

    Missing numbers become the median of the training rows (0 where all of these are missing), then each column gets
    mean 0 and standard deviation 1. A number that is constant in the training rows is 0 in every row, and so is a
    category that none of them has; one that all of them have is 1: the network has learnt nothing about other values.
    The one-hot columns are those of the whole table, not those of the training rows, because all replicates train in
    one graph and so must have the same number of features.
    """
    from sklearn.impute import SimpleImputer  # slow to import
    from sklearn.preprocessing import StandardScaler

    is_number, fill = np.arange(training.shape[1]) < num_numeric, np.zeros(training.shape[1])
    if num_numeric:
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        fill[is_number] = imputer.fit(training[:, is_number]).statistics_
    filled = np.where(np.isnan(training), fill, training)
    low, high, scaler = filled.min(axis=0), filled.max(axis=0), StandardScaler().fit(filled)
    is_scaled = is_number & (low < high)
    return Encoder(
        low=np.where(is_scaled, -np.inf, low),
        high=np.where(is_scaled, np.inf, high),
        mean=np.where(is_scaled, scaler.mean_, np.where(is_number, low, 0.0)),
        scale=np.where(is_scaled, scaler.scale_, 1.0),
        fill=fill,
    )


# The file, checked by its declaration ------------------------------------------------------------------------------


def parse_table(declaration: Table, data: bytes) -> Rows:
    """Read, check and convert the file; DataError lists every fault, one a line.

    Columns are NaN where a value is missing, the numeric ones stand first, then those that are one-hot. Groups count
    from 0 in the order of the file.
    """
    table = read_csv(data, name=declaration.file)
    impute, faults = declaration.missing == "impute", [*table.faults, *find_absent_columns(declaration, table)]
    labels, numeric, one_hot = np.zeros(0, np.uint8), list[tuple[str, np.ndarray]](), list[tuple[str, np.ndarray]]()
    groups = None
    for name, column in table.columns.items():
        try:
            if name == declaration.target:
                labels = read_target(column, declaration.positive)
            elif name == declaration.group:
                groups = read_groups(column)
            elif name in declaration.drop:
                continue
            elif name in declaration.categorical or is_category(column.cells):
                one_hot += read_categories(column, impute=impute)
            else:
                numeric.append((name, read_numbers(column, impute=impute)))
        except DataError as error:
            faults.append(str(error))
    if not set(table.columns) - {declaration.target, *declaration.drop, declaration.group}:
        faults.append("no column is left to learn from, expected one beside target, group and drop: drop fewer columns")
    if faults:
        raise DataError(f"{declaration.file} with its {table.num_rows} rows cannot be used:", *faults)
    dropped = (name for name in declaration.drop if name in table.columns)
    dates = tuple(name for name in dropped if holds_dates(table.columns[name].cells))
    names, columns = zip(*numeric, *one_hot, strict=True)
    fit = partial(fit_table_encoder, num_numeric=len(numeric))
    return Rows(labels, np.stack(columns, axis=1, dtype=float), names, fit, groups=groups, dates=dates)


def is_category(cells: Sequence[str]) -> bool:
    """Whether most cells hold text that repeats: neither numbers with a typing error, nor dates, nor names of rows."""
    known = [cell for cell in cells if not is_missing(cell)]
    is_text = sum(to_number(cell) is None for cell in known) > (1 - MOSTLY) * len(known)
    return is_text and REPEATED * len(set(known)) <= len(known) and not holds_dates(known)


def holds_dates(cells: Iterable[str]) -> bool:
    """Whether most cells that hold a value hold a date or a time."""
    known = [cell for cell in cells if not is_missing(cell)]
    return sum(bool(DATE.fullmatch(cell)) for cell in known) >= MOSTLY * max(1, len(known))


def find_absent_columns(declaration: Table, table: CsvTable) -> Iterator[str]:
    """Columns that the declaration names and the header does not."""
    for role, names in declaration.roles.items():
        for name in [name for name in names if name not in table.columns]:
            matches = get_close_matches(name, table.columns) or list(table.columns)[:NUM_NAMES]
            listed = " or ".join(f"'{match}'" for match in matches)
            yield f"column '{name}' ({role}): is not in the header, expected {listed}: mend its spelling"


def read_target(column: Column, positive: str | None) -> np.ndarray:
    """Class numbers [row] uint8.

    Classes are numbered in the order of their numbers, or of their text where one is no number. Of two classes the
    second is class 1, unless `positive` names the other.
    """
    title = f"column '{column.name}' (target)"
    is_short = Rule(is_long, f"classes of at most {MAX_LENGTH} characters", "shorten them")
    check_cells(column, title, Rule(is_missing, "a class in every row", FILL), is_short)
    keys = make_keys(column.cells)
    classes = sorted(set(keys.values()))
    words = [key if isinstance(key, str) else f"{key:g}" for key in classes]
    if len(classes) < 2:
        raise DataError(f"{title}: found only the class '{words[0]}', expected two or more: choose another")
    if len(classes) > MAX_CLASSES:
        found, mend = f"found {len(classes)} different values", "choose a column that holds classes, not measurements"
        raise DataError(f"{title}: {found}, expected at most {MAX_CLASSES} classes: {mend}")
    if positive is not None:
        chosen = positive if isinstance(classes[0], str) else to_number(positive)
        expected = f"a class of '{column.name}': choose {' or '.join(words)}"
        if len(classes) > 2:
            expected = f"no such key for a target of {len(classes)} classes: remove it"
        if len(classes) > 2 or chosen not in classes:
            raise DataError(f"positive is '{positive}', expected {expected}")
        classes.sort(key=lambda key: key == chosen)
    numbers = {key: number for number, key in enumerate(classes)}
    return np.array([numbers[keys[cell]] for cell in column.cells], np.uint8)


def read_groups(column: Column) -> np.ndarray:
    """Group numbers [row] int32, in the order in which groups come first in the file."""
    check_cells(column, f"column '{column.name}' (group)", Rule(is_missing, "a group in every row", FILL))
    keys = make_keys(column.cells)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys[cell] for cell in column.cells))}
    return np.array([numbers[keys[cell]] for cell in column.cells], np.int32)


def read_numbers(column: Column, *, impute: bool) -> np.ndarray:
    """Numbers [row] float64, NaN where the value is missing."""
    values = {cell: math.nan if is_missing(cell) else to_number(cell) for cell in set(column.cells)}
    remedy = "list it under categorical or drop, or leave the cell empty where the value is missing"
    is_number = Rule(lambda cell: values[cell] is None, "numbers", remedy)
    expected = f"numbers between {-LARGEST:.1e} and {LARGEST:.1e}"
    is_in_range = Rule(lambda cell: abs(values[cell] or 0.0) > LARGEST, expected, "replace these values")
    check_cells(column, f"column '{column.name}'", *([] if impute else [HAS_VALUE]), is_number, is_in_range)
    return np.array([values[cell] for cell in column.cells], float)


def read_categories(column: Column, *, impute: bool) -> Iterator[tuple[str, np.ndarray]]:
    """One-hot columns: name, bool [row]. Missing values are the category MISSING_CATEGORY, the last one."""
    title = f"column '{column.name}' (categorical)"
    remedy = "shorten them, or declare the column under drop"
    is_short = Rule(is_long, f"categories of at most {MAX_LENGTH} characters", remedy)
    check_cells(column, title, *([] if impute else [HAS_VALUE]), is_short)
    cells = np.array([MISSING_CATEGORY if is_missing(cell) else cell for cell in column.cells])
    categories = set(cells.tolist())
    if len(categories) > MAX_CATEGORIES:
        found = f"found {len(categories):,} different values, expected at most {MAX_CATEGORIES:,} categories"
        raise DataError(f"{title}: {found}: declare it under drop, or leave it out of categorical")
    keys = make_keys(categories - {MISSING_CATEGORY})
    for category in [*sorted(keys, key=lambda cell: (keys[cell], cell)), *sorted(categories - set(keys))]:
        yield f"{column.name}_{category}", cells == category


class Rule(NamedTuple):
    """What cells must not break, and how to mend it."""

    is_broken: Callable[[str], bool]
    expected: str
    mend: str


def check_cells(column: Column, title: str, *rules: Rule) -> None:
    """DataError with each rule that cells break, and the first of these cells."""
    faults = []
    for rule in rules:
        wrong = {cell for cell in set(column.cells) if rule.is_broken(cell)}
        rows = zip(column.cells, column.lines, strict=True)
        if wrong:
            found = list_examples([f"{shorten(cell)} in line {line}" for cell, line in rows if cell in wrong])
            faults.append(f"{title}: expected {rule.expected}; found {found}: {rule.mend}")
    if faults:
        raise DataError(*faults)


def is_missing(cell: str) -> bool:
    return cell in MISSING


def is_long(cell: str) -> bool:
    return len(cell) > MAX_LENGTH


FILL = "fill these cells or remove their rows"
HAS_VALUE = Rule(is_missing, "a value in every row", "fill these cells, or declare missing: impute")


def to_number(cell: str) -> float | None:
    """The number in a cell, None where it holds another text."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if "_" in cell or math.isnan(number) else number  # only Python reads 1_000 as a number


def make_keys(cells: Iterable[str]) -> dict[str, Any]:
    """What cells are sorted and told apart by: numbers where all are numbers (1 and 1.0 are one class), else text."""
    numbers = {cell: to_number(cell) for cell in set(cells)}
    return {cell: cell for cell in numbers} if None in numbers.values() else numbers
