"""What a table holds, and the study that suits it: by its rows, columns and classes, never by how anything scores."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from stages.lib.data.checks import find_groups, is_counter, is_repeated_id
from stages.lib.data.dataset import DataError, list_examples
from stages.lib.data.table import MOSTLY, holds_dates, make_keys, to_number
from tools.judge.sheet import Sheet

# Columns.
MOST_CATEGORIES, CATEGORIES_PER_ROW, ALWAYS_CATEGORIES = 100, 0.1, 20  # of a column that is used
MOST_CLASSES, MIN_CLASS = 20, 10  # values of a numeric target that are still classes; rows of each class
MOST_INPUTS = 2000  # of a network
TOO_MANY = "text with too many different values"  # why a column is left out, which may yet name groups
# Protocol, network and steps: docs/judge.md says why.
FOLDS, REPEATS, FEW_ROWS, MORE_REPEATS = 5, 5, 500, 10
VALIDATION, MOST_VALIDATION = 0.2, 1000  # share, and rows
BATCH, MIN_STEPS, MIN_EPOCHS, MIN_TRAINING = 32, 300, 30, 500
WIDTHS = ((1000, 64), (4000, 128), (10**9, 256))  # most training rows, units of each of two hidden layers
# Time on two cores, measured; `make tour` has a run to compare with.
NUM_POINTS = 69  # of the catalogue
FIXED_SECONDS, SECONDS_PER_VISIT = 40.0, 1.0e-10  # all that does not depend on rows; a row, a weight


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    left_out: reason -> columns. missing: columns that lack values. classes: class -> rows.
    """

    numeric: list[str] = field(default_factory=list)
    categorical: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    classes: Counter[str] = field(default_factory=Counter)

    @property
    def num_inputs(self) -> int:
        """Inputs of a network, missing values as categories of their own counted."""
        return len(self.numeric) + sum(self.categorical.values()) + len(set(self.missing) & set(self.categorical))


@dataclass(frozen=True)
class Wishes:
    """What the user says of the table. group: empty where nothing is said, `none` where rows belong to no group."""

    target: str
    group: str = ""
    positive: str = ""
    drop: tuple[str, ...] = ()
    minutes: float = 5.0


def look_at(sheet: Sheet, wishes: Wishes) -> Columns:
    """What the columns are; DataError with every question that only the user can answer, and the line to write."""
    named = [wishes.target, *wishes.drop, *([wishes.group] if wishes.group not in ("", "none") else [])]
    if wrong := [tell_absent(name, sheet) for name in named if name not in sheet.columns]:
        raise DataError("\n".join(wrong))
    if len(set(named)) < len(named):
        raise DataError("a column is named twice among TARGET, GROUP and DROP, expected it once: remove one")
    columns, questions = Columns(classes=Counter(sheet.columns[wishes.target])), []
    questions += ask_about_target(sheet, wishes.target, columns.classes)
    for name, cells in sheet.columns.items():
        if name not in named:
            questions += sort_column(columns, name, cells, sheet.lines)
    if not wishes.group and not questions:
        names = [*columns.numeric, *columns.categorical, *columns.left_out.get(TOO_MANY, [])]
        questions += ask_about_groups(sheet, wishes, names)
    if not questions and not columns.numeric and not columns.categorical:
        questions.append("no column is left to learn from, expected one beside target and group: DROP fewer")
    if columns.num_inputs > MOST_INPUTS:
        found = f"the columns make {columns.num_inputs:,} inputs of a network, expected at most {MOST_INPUTS:,}"
        questions.append(f"{found}: leave out some of those with the most categories by DROP=column,column")
    if questions:
        raise DataError("\n".join(questions))
    return columns


def tell_absent(name: str, sheet: Sheet) -> str:
    near = get_close_matches(name, sheet.columns, n=1) or list(sheet.columns)[:10]
    return f"column '{name}' is not in the file, expected one such as {', '.join(near)}: mend its spelling"


def ask_about_target(sheet: Sheet, target: str, classes: Counter[str]) -> list[str]:
    title, numbers = f"TARGET '{target}'", [to_number(cell) for cell in classes]
    if empty := classes.get("", 0):
        found = f"{title} has no value in {empty} rows, first in line {sheet.lines[sheet.columns[target].index('')]}"
        return [f"{found}, expected a class in each: remove these rows"]
    if len(classes) > MOST_CLASSES and None not in numbers:
        found = f"{title} holds {len(classes)} different numbers"
        return [f"{found}: regression is not judged here, choose a column of classes"]
    if len(classes) < 2:
        return [f"{title} holds one class alone, '{min(classes)}', expected two or more: choose another column"]
    rarest, num_rows = min(classes.items(), key=lambda entry: entry[1])
    if num_rows < MIN_CLASS:
        few = sum(number < MIN_CLASS for number in classes.values())
        expected = f"expected {MIN_CLASS} of each: merge rare classes, remove their rows, or choose another column"
        found = f"{few} of {len(classes)} classes have too few rows, such as '{rarest}' with {num_rows}"
        return [f"{title}: {found}, {expected}"]
    return []


def sort_column(columns: Columns, name: str, cells: Sequence[str], lines: Sequence[int]) -> list[str]:
    """Add a column to its kind; or the question that it raises."""
    counts = Counter(cell for cell in cells if cell)
    known, texts = counts.total(), {cell for cell in counts if to_number(cell) is None}
    num_numbers = known - sum(counts[cell] for cell in texts)
    reason = ""
    if len(counts) < 2:
        reason = "constant"
    elif holds_dates(cells):
        reason = "dates or times"
    elif MOSTLY * known <= num_numbers < known:
        rows = zip(cells, lines, strict=True)
        wrong = list_examples([f"'{cell}' in line {line}" for cell, line in rows if cell in texts])
        mend = f"mend or empty these cells, or leave it out by {shlex.quote(f'DROP={name}')}"
        return [f"column '{name}' holds numbers but for {wrong}: {mend}"]
    elif not texts and known == len(cells) and is_counter(np.array([to_number(cell) for cell in cells])):
        reason = "count the rows"
    elif texts and len(counts) > min(MOST_CATEGORIES, max(ALWAYS_CATEGORIES, CATEGORIES_PER_ROW * len(cells))):
        reason = TOO_MANY
    if reason:
        columns.left_out.setdefault(reason, []).append(name)
        return []
    if known < len(cells):
        columns.missing.append(name)
    if texts:
        columns.categorical[name] = len(counts)
    else:
        columns.numeric.append(name)
    return []


def ask_about_groups(sheet: Sheet, wishes: Wishes, names: Sequence[str]) -> list[str]:
    """A column that seems to name what rows belong to: it is called an id, be it dropped or not, or acts as one."""
    found = [name for name in (*names, *wishes.drop) if is_repeated_id(name, sheet.columns[name])]
    seen = "is called an id, and its values repeat"
    if not found:
        labels = encode(sheet.columns[wishes.target]).astype(np.uint8)
        found = find_groups(labels, {name: encode(sheet.columns[name]) for name in names})
        seen = f"has values that repeat and determine '{wishes.target}'"
    if not found:
        return []
    reason = "as if rows of one value belonged together; such rows on both sides of a split would flatter every model"
    mend = f"write {shlex.quote(f'GROUP={found[0]}')} to keep them together, or GROUP=none if they do not"
    return [f"column '{found[0]}' {seen}, {reason}: {mend}"]


def encode(cells: Sequence[str]) -> np.ndarray:
    """Cells [row] as numbers: their own where all are numbers, else their place in sorted order; NaN where missing."""
    keys = make_keys(cell for cell in cells if cell)
    places = {key: place for place, key in enumerate(sorted(set(keys.values())))}
    is_text = any(isinstance(key, str) for key in keys.values())
    numbers = {cell: float(places[key] if is_text else key) for cell, key in keys.items()}
    return np.array([numbers.get(cell, np.nan) for cell in cells])


# The study -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyDesign:
    """A study's protocol, network and length. training: most training rows of a replicate, None where all are used.

    seconds: estimated, for the whole catalogue on two cores.
    """

    repeats: int
    validation: float
    training: int | None
    units: int
    steps: int
    num_training: int
    seconds: float

    @property
    def epochs(self) -> int:
        return max(1, round(self.steps / -(-self.num_training // BATCH)))


def choose_design(num_rows: int, num_inputs: int, num_classes: int, minutes: float) -> StudyDesign:
    """The design with the most training rows, then the most repeats, that fits into the time."""
    outside = num_rows - -(-num_rows // FOLDS)
    validation = round(min(VALIDATION, MOST_VALIDATION / outside), 3)
    rows = outside - int(np.ceil(validation * outside))

    def make(training: int, repeats: int) -> StudyDesign:
        units = next(units for most, units in WIDTHS if training <= most)
        steps = max(MIN_STEPS, MIN_EPOCHS * -(-training // BATCH))
        weights = num_inputs * units + units * units + units * (num_classes if num_classes > 2 else 1)
        visits = steps * BATCH + steps * BATCH / training * validation * outside / 3  # a forward pass is a third
        seconds = FIXED_SECONDS + SECONDS_PER_VISIT * FOLDS * repeats * NUM_POINTS * visits * weights
        return StudyDesign(repeats, validation, training if training < rows else None, units, steps, training, seconds)

    sizes = [rows, *(size for size in range(10_000, MIN_TRAINING, -250) if size < rows), min(rows, MIN_TRAINING)]
    repeats_tried = (MORE_REPEATS, REPEATS) if num_rows < FEW_ROWS else (REPEATS,)
    tried = [make(size, repeats) for size in sizes for repeats in repeats_tried]
    return next((design for design in tried if design.seconds <= 60 * minutes), tried[-1])
