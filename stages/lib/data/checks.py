"""What a careful statistician looks for in a table before a network is trained on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.records import adapter_of
from stages.lib.data.dataset import Rows

FOLDER = Path("data/checks")

FEW_ROWS = 50  # of a class: ten in each of five folds
GIVES_AWAY = 0.995  # AUC of one column alone
MIN_GROUPS = 20  # values of a column that may name groups
SURE, SURPRISING = 0.95, 0.25  # share of pairs of rows that agree in a group; by how much more than neighbours do
OWNERS = ("patient", "subject", "person", "customer", "client", "user", "household", "group")  # of several rows
IDS = {"id", "nr", "key", "mrn", *OWNERS, *(f"{owner}id" for owner in OWNERS)}  # the last word of an id's name


@dataclass(frozen=True)
class Check:
    """A finding that a reader of a result has to know.

    name: of the check, which says what is told. columns: names of columns, classes or variants. value: a number.
    """

    name: str
    columns: tuple[str, ...] = ()
    value: float = 0.0


def check_rows(rows: Rows) -> list[Check]:
    """Findings in a table."""
    labels, columns = rows.labels, list(zip(rows.features, rows.columns.T, strict=True))
    whole = np.ascontiguousarray(np.column_stack([rows.columns, labels]))
    num_repeated = len(whole) - len(np.unique(whole.view(f"V{whole.itemsize * whole.shape[1]}")))
    rarest = int(np.bincount(labels).min())

    def find(is_odd: Callable[[np.ndarray], bool]) -> tuple[str, ...]:
        return tuple(name for name, column in columns if is_odd(column))

    found = [
        Check("repeated_rows", (), num_repeated / len(whole)),
        Check("groups", tuple(find_groups(labels, dict(columns)))),
        Check("constant", find(lambda column: column.min() == column.max())),
        Check("identifiers", find(is_counter)),
        Check("gives_away", find(lambda column: rank_classes(labels, column) >= GIVES_AWAY)),
        Check("few_rows", (), rarest if rarest < FEW_ROWS else 0),
        Check("dates", rows.dates),
    ]
    return [check for check in found if check.columns or check.value]


def is_counter(column: np.ndarray) -> bool:
    """Whether it counts the rows: whole numbers without gaps, each once."""
    return bool(len(column) > 1 and column[0] % 1 == 0 and (np.diff(np.sort(column)) == 1).all())


def rank_classes(labels: np.ndarray, column: np.ndarray) -> float:
    """How well the column alone ranks rows by class: AUC, whichever direction; mean over the pairs of more classes."""
    is_known = ~np.isnan(column)
    values = np.where(is_known, column, np.median(column[is_known]) if is_known.any() else 0.0)
    of_class = [np.sort(values[labels == label]) for label in np.unique(labels)]
    areas = [count_below(one, other) / (len(one) * len(other)) for one, other in combinations(of_class, 2)]
    return float(np.mean([max(area, 1 - area) for area in areas]))


def count_below(values: np.ndarray, others: np.ndarray) -> float:
    """Pairs whose first is the smaller, equal ones by half (Mann and Whitney 1947); both are sorted."""
    below, above = (np.searchsorted(others, values, side) for side in ("left", "right"))
    return float(len(values) * len(others) - (below + above).sum() / 2)


def find_groups(labels: np.ndarray, columns: Mapping[str, np.ndarray]) -> list[str]:
    """Columns of whole numbers or codes [row] that may name what rows belong to: values repeat and fix the class."""
    return [name for name, column in columns.items() if names_groups(labels, name, column)]


def names_groups(labels: np.ndarray, name: str, column: np.ndarray) -> bool:
    """Whether rows of one value have one class, though rows of neighbouring values have not.

    A column that is called an id needs only the first: its values may be in the order of the classes.
    """
    if not np.isfinite(column).all() or (column % 1).any():
        return False
    values, place = np.unique(column, return_inverse=True)
    counts = np.zeros((len(values), labels.max() + 1))
    np.add.at(counts, (place, labels), 1)
    sizes = counts.sum(axis=1)
    is_repeated = sizes > 1
    if len(values) < MIN_GROUPS or sizes[is_repeated].sum() < 0.5 * len(labels):
        return False
    repeated, num = counts[is_repeated], sizes[is_repeated]
    by_value = np.average((repeated * (repeated - 1)).sum(axis=1) / (num * (num - 1)), weights=num)
    shares = counts / sizes[:, None]
    by_neighbour = (shares[1:] * shares[:-1]).sum(axis=1).mean()
    return bool(by_value >= SURE and (is_id(name) or by_value - by_neighbour >= SURPRISING))


def is_id(name: str) -> bool:
    """Whether a column is called an id: `patient`, `PatientID`, `id 2`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return bool(words) and words[-1].lower() in IDS


def is_repeated_id(name: str, cells: Iterable[str]) -> bool:
    """Whether a column is called an id, holds no fractions, and some value of it names several rows."""
    counts = Counter(cell for cell in cells if cell)
    is_fraction = any(re.fullmatch(r"[+-]?\d*\.\d*[1-9]\d*", cell) for cell in counts)
    return is_id(name) and not is_fraction and len(counts) >= MIN_GROUPS and max(counts.values()) > 1


Checks = dict[str, list[Check]]  # task -> what was found in its data set


def save_checks(study: str, checks: Checks) -> None:
    write_json(FOLDER / f"{study}.json", adapter_of(Checks).dump_python(checks, mode="json"))


def load_checks(study: str) -> Checks:
    return adapter_of(Checks).validate_json(read_bytes(FOLDER / f"{study}.json", written_by=f"preprocess@{study}"))
