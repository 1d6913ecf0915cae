"""What is found in a table before a network is trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.lib.data.checks import check_rows, find_groups, load_checks, save_checks
from stages.lib.data.dataset import Rows

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 2, 200).astype(np.uint8)
NOISE = GENERATOR.normal(size=200)


def check(column: np.ndarray, labels: np.ndarray = LABELS) -> dict[str, tuple[tuple[str, ...], float]]:
    """The findings in a table of noise and one more column."""
    rows = Rows(labels, np.column_stack([NOISE[: len(labels)], column]), ("noise", "column"))
    return {check.name: (check.columns, check.value) for check in check_rows(rows)}


FOUND = {  # column -> the check that finds it
    "constant": np.ones(200),
    "identifiers": GENERATOR.permutation(200),
    "gives_away": LABELS + NOISE / 100,
}


@pytest.mark.parametrize("name", FOUND)
def test_a_column_that_is_of_no_use_is_found(name: str) -> None:
    assert check(FOUND[name]) == {name: (("column",), 0.0)}


def test_nothing_is_found_in_a_table_that_is_in_order() -> None:
    assert check(GENERATOR.normal(size=200)) == {}
    assert check(np.where(NOISE > 1, np.nan, 1.0)) == {}


def test_classes_with_few_rows_and_repeated_rows_are_counted() -> None:
    assert check(GENERATOR.normal(size=200), (np.arange(200) < 30).astype(np.uint8)) == {"few_rows": ((), 30.0)}
    rows = np.arange(200) // 2
    twice = Rows(LABELS[rows], NOISE[rows, None], ("noise",))
    assert {check.name: check.value for check in check_rows(twice)} == {"repeated_rows": 0.5}


def test_a_column_that_names_what_rows_belong_to_is_found_in_any_order_of_rows() -> None:
    order = GENERATOR.permutation(600)
    patient, died = np.repeat(np.arange(200.0), 3)[order], np.repeat(LABELS, 3)[order]
    age = np.round(40 + 10 * died + GENERATOR.normal(size=600) * 10)  # repeats, and says something of the class
    measured = np.round(died * 50 + GENERATOR.normal(size=600) * 5)  # repeats, and says nearly all of it
    columns = {
        "patient": patient,
        "x": patient * 7 % 200,
        "age": age,
        "measured": measured,
        "noise": died + patient / 7,
    }
    assert find_groups(died, columns) == ["patient", "x"]
    in_order = {"patient_id": np.arange(600.0) // 3}  # numbered class by class: its name tells
    assert find_groups(np.sort(np.repeat(LABELS, 3)), in_order) == ["patient_id"]


def test_checks_are_kept_and_read_back(inside: Path) -> None:
    found = {"my": check_rows(Rows(LABELS, np.ones((200, 1)), ("column",)))}
    save_checks("my", found)
    assert load_checks("my") == found
