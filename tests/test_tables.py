"""The public tables of data/source: the bytes of the checksum file, the counts of README's table."""

import csv
import hashlib
import re
from collections import Counter

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "data/source"
LINES = (FOLDER / "SHA256SUMS").read_text().splitlines()
CHECKSUMS = {path: checksum for checksum, path in map(str.split, LINES) if path.startswith("data/source/")}


def read_counts() -> dict[str, tuple[int, int, Counter[str], int]]:
    """Path of a table -> rows, columns beside the class, rows of each class, missing cells, as README states them."""
    text = (FOLDER / "README.md").read_text()
    lines = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| \d+ \| ([\w ,]+) \| (\d+) \|$", text, re.MULTILINE)
    counts = {}
    for name, rows, columns, classes, missing in lines:
        pairs = (part.split() for part in classes.split(", "))
        numbers = Counter({label: int(number) for label, number in pairs})
        counts[f"data/source/{name}.csv"] = (int(rows), int(columns), numbers, int(missing))
    return counts


def test_each_table_has_its_checksum_and_its_counts() -> None:
    assert len(CHECKSUMS) >= 11
    assert list(read_counts()) == list(CHECKSUMS)


@pytest.mark.parametrize("path", CHECKSUMS)
def test_a_table_is_the_one_that_readme_describes_and_keeps_the_countable_points_of_the_rule(path: str) -> None:
    data, counts = (ROOT / path).read_bytes(), read_counts()[path]
    assert hashlib.sha256(data).hexdigest() == CHECKSUMS[path]
    header, *rows = csv.reader(data.decode().splitlines())
    missing = sum(cell == "" for row in rows for cell in row)
    assert (len(rows), len(header) - 1, Counter(row[-1] for row in rows), missing) == counts
    assert header[-1] == "class"
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in header)
    assert (200 <= counts[0] <= 5000, counts[1] <= 60, min(counts[2].values()) >= 20) == (True, True, True)
