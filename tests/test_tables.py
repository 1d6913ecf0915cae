"""The public tables of data/source: bytes as the checksum file has them, README's counts, what its rule counts."""

import csv
import hashlib
import re
from collections import Counter

import pytest

from tests.conftest import ROOT
from tests.project import load_yaml

FOLDER = ROOT / "data/source"
CHECKSUMS = {
    path: checksum
    for checksum, path in map(str.split, (FOLDER / "SHA256SUMS").read_text().splitlines())
    if path.startswith("data/source/")
}
LINE = (
    r"^\| (\w+) \| (\d+) \| (\d+) \| (\w+): ([^|]+) \| (\d+) \| (\w[\w ]*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]*\|$"
)
DESCRIBED = {
    f"data/source/{name}.csv": cells for name, *cells in re.findall(LINE, (FOLDER / "README.md").read_text(), re.M)
}
DECLARED = {
    f"data/source/{name}.csv": entry for name, entry in load_yaml(ROOT / "params.yaml")["datasets"]["tables"].items()
}
LARGEST = 12e6  # bytes of all tables


def test_each_table_has_a_checksum_a_row_in_readme_and_bytes_of_its_own() -> None:
    assert list(DESCRIBED) == list(CHECKSUMS)
    assert len(set(CHECKSUMS.values())) == len(CHECKSUMS)
    assert {*CHECKSUMS, "data/source/thoracic_surgery.csv"} == {
        f"data/source/{path.name}" for path in FOLDER.glob("*.csv")
    }
    assert [path for path in CHECKSUMS if path in DECLARED] == list(DECLARED)
    assert sum((ROOT / path).stat().st_size for path in CHECKSUMS) <= LARGEST


def test_no_more_than_a_third_of_the_tables_of_classes_are_of_medicine() -> None:
    fields = Counter(DESCRIBED[path][5] for path in DECLARED)
    assert 3 * (fields["medicine"] + 1) <= fields.total() + 1  # thoracic surgery is one more


@pytest.mark.parametrize("path", CHECKSUMS)
def test_a_table_is_the_one_that_readme_describes_and_keeps_the_countable_points_of_the_rule(path: str) -> None:
    data, (num_rows, num_columns, target, told, missing, *named) = (ROOT / path).read_bytes(), DESCRIBED[path]
    assert hashlib.sha256(data).hexdigest() == CHECKSUMS[path]
    header, *rows = csv.reader(data.decode().splitlines())
    counts = Counter(row[-1] for row in rows)
    assert header[-1] == target and len(set(header)) == len(header)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in header)
    assert {len(row) for row in rows} == {len(header)} and "" not in counts and b"\r" not in data
    assert (len(rows), sum(row.count("") for row in rows)) == (int(num_rows), int(missing))
    assert 100 <= len(rows) <= 3000 and all(named)
    if path in DECLARED:
        assert DECLARED[path]["target"] == target
        assert len(header) - 1 - ("group" in DECLARED[path]) == int(num_columns)
        assert (
            ", ".join(f"{name} {counts[name]}" for name in sorted(counts, key=lambda name: (-counts[name], name)))
            == told
        )
        assert min(counts.values()) >= 20
    else:
        assert len({float(value) for value in counts}) > 20
        assert told == f"{len({float(value) for value in counts})} values"
