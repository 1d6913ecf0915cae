"""Columns of text converted to classes, numbers and categories, each with the faults that were found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from stages.lib.core.fields import shorten
from stages.lib.data.dataset import list_examples

MISSING = ("", "NA", "NaN", "nan")  # cells that hold no value
MISSING_CATEGORY = ""  # no cell that holds a value is empty
MAX_CLASSES = 256  # class numbers are uint8
MAX_CATEGORIES = 1000  # each is a column of features
MAX_LENGTH = 100  # characters of a category or a class
LARGEST = float(np.finfo(np.float32).max)  # networks compute with float32

Key = float | str


class Column(NamedTuple):
    """One column of a CSV file: its name, its cells [row], and the line of the file of each row."""

    name: str
    cells: Sequence[str]
    lines: Sequence[int]

    def find(self, is_wrong: Callable[[str], bool]) -> str:
        """The cells that are wrong, in words; empty where there is none."""
        wrong = {cell for cell in set(self.cells) if is_wrong(cell)}
        if not wrong:
            return ""
        pairs = zip(self.cells, self.lines, strict=True)
        return list_examples([f"{shorten(cell)} in line {line}" for cell, line in pairs if cell in wrong])


def read_target(column: Column, positive: str | None) -> tuple[np.ndarray, list[str]]:
    """Class numbers [row] uint8, and faults.

    Classes are numbered in the order of their numbers, or of their text where one is no number. Of two classes the
    second is class 1, unless `positive` names the other.
    """
    if found := column.find(is_missing):
        return np.zeros(0, np.uint8), [
            f"column '{column.name}' (target): expected a class in every row; found {found}: "
            "fill these cells or remove their rows"
        ]
    keys = make_keys(column.cells)
    classes = sort_keys(keys.values())
    faults = check_classes(column.name, classes, positive)
    if faults:
        return np.zeros(0, np.uint8), faults
    if positive is not None:
        chosen = to_key(positive, classes)
        classes = [*(key for key in classes if key != chosen), chosen]
    numbers = {key: number for number, key in enumerate(classes)}
    return np.array([numbers[keys[cell]] for cell in column.cells], np.uint8), []


def check_classes(name: str, classes: Sequence[Key], positive: str | None) -> list[str]:
    words = [key if isinstance(key, str) else f"{key:g}" for key in classes]
    if long := [shorten(word) for word in words if len(word) > MAX_LENGTH]:
        return [
            f"column '{name}' (target): expected classes of at most {MAX_LENGTH} characters; found "
            f"{list_examples(long)}: shorten them"
        ]
    if len(classes) < 2:
        return [f"column '{name}' (target): found only the class '{words[0]}', expected two or more: choose another"]
    if len(classes) > MAX_CLASSES:
        return [
            f"column '{name}' (target): found {len(classes)} different values, expected at most {MAX_CLASSES} classes: "
            "choose a column that holds classes, not measurements"
        ]
    if positive is not None and len(classes) > 2:
        return [f"positive is '{positive}', expected no such key for a target of {len(classes)} classes: remove it"]
    if positive is not None and to_key(positive, classes) not in classes:
        return [f"positive is '{positive}', expected a class of '{name}': choose {' or '.join(words)}"]
    return []


def read_numbers(column: Column, *, impute: bool) -> tuple[np.ndarray, list[str]]:
    """Numbers [row] float64, NaN where the value is missing, and faults."""
    if (clean := convert_clean(column.cells)) is not None:
        return clean, []
    values = {cell: to_number(cell) for cell in set(column.cells) if not is_missing(cell)}
    faults = find_missing(column, impute=impute)
    if found := column.find(lambda cell: values.get(cell, 0.0) is None):
        faults.append(
            f"column '{column.name}': expected numbers; found {found}: list it under categorical or drop, "
            "or leave the cell empty where the value is missing"
        )
    if found := column.find(lambda cell: not is_in_range(values.get(cell))):
        faults.append(
            f"column '{column.name}': expected numbers between {-LARGEST:.1e} and {LARGEST:.1e}; found {found}: "
            "replace these values"
        )
    numbers = [values.get(cell) for cell in column.cells]
    return np.array([np.nan if number is None else number for number in numbers]), faults


def convert_clean(cells: Sequence[str]) -> np.ndarray | None:
    """All cells as numbers, the quick way; None where one is missing, no number or out of range."""
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    is_clean = bool((np.abs(numbers) <= LARGEST).all()) and not any("_" in cell for cell in cells)
    return numbers if is_clean else None


def read_categories(column: Column, *, impute: bool) -> tuple[dict[str, np.ndarray], list[str]]:
    """One-hot columns, category -> bool [row], and faults. Missing values are the category MISSING_CATEGORY."""
    cells = np.array([MISSING_CATEGORY if is_missing(cell) else cell for cell in column.cells])
    found = set(cells.tolist())
    if long := column.find(lambda cell: len(cell) > MAX_LENGTH):
        return {}, [
            f"column '{column.name}' (categorical): expected categories of at most {MAX_LENGTH} characters; found "
            f"{long}: shorten them, or declare the column under drop"
        ]
    if len(found) > MAX_CATEGORIES:
        return {}, [
            f"column '{column.name}' (categorical): found {len(found):,} different values, expected at most "
            f"{MAX_CATEGORIES:,} categories: declare it under drop, or leave it out of categorical"
        ]
    categories = [*sort_texts(found - {MISSING_CATEGORY}), *sorted(found & {MISSING_CATEGORY})]
    return {category: cells == category for category in categories}, find_missing(column, impute=impute)


def find_missing(column: Column, *, impute: bool) -> list[str]:
    found = "" if impute else column.find(is_missing)
    if not found:
        return []
    return [
        f"column '{column.name}': expected a value in every row; found {found}: "
        "fill these cells, or declare missing: impute"
    ]


def is_missing(cell: str) -> bool:
    return cell in MISSING


def is_in_range(number: float | None) -> bool:
    return number is None or abs(number) <= LARGEST


def to_number(cell: str) -> float | None:
    """The number in a cell, None where it holds another text."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if "_" in cell or math.isnan(number) else number  # only Python reads 1_000 as a number


def make_keys(cells: Iterable[str]) -> dict[str, Key]:
    """What tells classes apart: numbers where all cells are numbers (1 and 1.0 are one class), else text."""
    distinct = set(cells)
    numbers = {cell: number for cell in distinct if (number := to_number(cell)) is not None}
    return dict(numbers) if len(numbers) == len(distinct) else {cell: cell for cell in distinct}


def to_key(text: str, classes: Sequence[Key]) -> Key:
    """A class named in the declaration, as a key of the same type as the classes."""
    number = to_number(text)
    return text if number is None or any(isinstance(key, str) for key in classes) else number


def sort_keys(keys: Iterable[Key]) -> list[Key]:
    """All keys are of one type, numbers or text."""
    return sorted(set(keys), key=lambda key: (0.0, key) if isinstance(key, str) else (key, ""))


def sort_texts(cells: Iterable[str]) -> list[str]:
    """Sorted by number where all are numbers, else by text; each cell is kept as it stands."""
    keys = make_keys(cells)
    return sorted(keys, key=lambda cell: (0.0, cell) if isinstance(keys[cell], str) else (float(cell), cell))
