"""Thoracic Surgery: the committed table, its damaged forms, its encoding, and its sources."""

import io
import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from stages.lib.data.dataset import DataError
from stages.lib.data.download import Unavailable, collect_files, from_folder
from stages.lib.data.thoracic_surgery import (
    DIAGNOSES,
    FEATURES,
    LABEL,
    PINS,
    TUTORIAL_FEATURES,
    ThoracicSurgery,
    expand_columns,
    fit_thoracic_encoder,
    from_tutorial,
    from_uci,
    read_thoracic,
)
from tests.conftest import ROOT
from tests.lib.data.server import Server, read_all

CSV = (ROOT / "data/source/thoracic_surgery.csv").read_bytes()
TEXT = CSV.decode().splitlines()
LINES = [line.split(",") for line in TEXT]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return read_thoracic(CSV)


def change(*changes: tuple[int, str, str]) -> list[str]:
    """The lines of the committed table with some cells changed: line of the file (from 1), column, text."""
    lines = [line.copy() for line in LINES]
    for line, column, text in changes:
        lines[line - 1][LINES[0].index(column)] = text
    return [",".join(line) for line in lines]


def complaints(lines: list[str]) -> list[str]:
    with pytest.raises(DataError, match=r"thoracic_surgery\.csv ") as error:
        read_thoracic("\n".join(lines).encode())
    first, *others = str(error.value).split("\n  ")
    return others or [first]


# Read --------------------------------------------------------------------------------------------


def test_committed_table_is_read_exactly(table: pd.DataFrame) -> None:
    assert table.astype(str).to_numpy().tolist() == [
        [str(float(cell)) if name in ("PRE4", "PRE5") else cell for name, cell in zip(LINES[0], line, strict=True)]
        for line in LINES[1:]
    ]
    assert table.dtypes.map(str).value_counts().to_dict() == {"int64": 16, "float64": 2}


@pytest.mark.parametrize(
    ("column", "cell", "complaint"),
    [
        ("AGE", "60.5", "AGE: expected a whole number from 21 to 87; found '60.5' in line 3"),
        ("AGE", "99", "AGE: expected a whole number from 21 to 87; found '99' in line 3"),
        ("id", "471", "id: expected a whole number from 1 to 470, no value twice; found '471' in line 3"),
        ("id", "2", "id: expected a whole number from 1 to 470, no value twice; found '2' in line 3, '2' in line 55"),
        ("PRE4", "1.43", "PRE4: expected a number from 1.44 to 6.3; found '1.43' in line 3"),
        ("PRE5", "inf", "PRE5: expected a number from 0.96 to 86.3; found 'inf' in line 3"),
        ("DGN", "7", "DGN: expected one of 1, 2, 3, 4, 5, 6, 8; found '7' in line 3"),
        ("PRE6", "3", "PRE6: expected one of 0, 1, 2; found '3' in line 3"),
        ("PRE14", "10", "PRE14: expected one of 11, 12, 13, 14; found '10' in line 3"),
        ("PRE32", "2", "PRE32: expected one of 0, 1; found '2' in line 3"),
        ("Risk1Yr", "1", "table: expected 70 rows with Risk1Yr 1"),
    ],
)
def test_wrong_cell_is_named(column: str, cell: str, complaint: str) -> None:
    assert complaints(change((3, column, cell))) == [complaint]


@pytest.mark.parametrize(("column", "cell"), [*itertools.product(LINES[0], ["", "x", "nan", "1_0"])])
def test_cell_that_is_no_number_is_told_with_its_column_and_line(column: str, cell: str) -> None:
    told = complaints(change((5, column, cell)))[0]
    assert told.startswith(f"{column}: expected")
    assert told.endswith(f"; found '{cell}' in line 5")


def test_all_faults_are_told_at_once_and_the_rows_of_each_in_short() -> None:
    lines = change((2, "AGE", "old"), (3, "AGE", "0"), *((line, "PRE7", "5") for line in range(4, 9)))
    assert complaints(lines[:-1]) == [
        "PRE7: expected one of 0, 1; found '5' in line 4, '5' in line 5, '5' in line 6, 2 more",
        "AGE: expected a whole number from 21 to 87; found 'old' in line 2, '0' in line 3",
        "table: expected 470 rows",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*TEXT[:9], f"{TEXT[9]},1", *TEXT[10:]], "found 19 in line 10"),
        ([f"{TEXT[0]},x", *(f"{line},1" for line in TEXT[1:])], "x: expected no column of this name"),
        ([TEXT[0].replace("AGE", "age"), *TEXT[1:]], "AGE: expected a column of this name"),
        ([TEXT[0].replace("id,DGN", "DGN,id"), *TEXT[1:]], "expected the columns in the order id, DGN"),
        (TEXT[1:], ""),
        ([*TEXT, TEXT[-1]], "table: expected 470 rows"),
    ],
    ids=range(6),
)
def test_another_table_is_refused_in_words(lines: list[str], message: str) -> None:
    """What is no table at all is refused by the reader of CSV files, which has tests of its own."""
    assert message in "\n".join(complaints(lines))


# Encode ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def columns(table: pd.DataFrame) -> np.ndarray:
    return expand_columns(table)


def subsets(columns: np.ndarray) -> list[np.ndarray]:
    """Training rows, 80 % each: a hundred at random, and the most one-sided ones by PRE5."""
    rng, num_rows = np.random.default_rng(0), round(0.8 * len(columns))
    ordered = columns[columns[:, FEATURES.index("PRE5")].argsort()]
    random = [columns[rng.choice(len(columns), num_rows, replace=False)] for _ in range(100)]
    return [*random, ordered[:num_rows], ordered[-num_rows:]]


def test_encoder_agrees_with_scikit_learn(table: pd.DataFrame, columns: np.ndarray) -> None:
    training = table[::2]
    one_hot = OneHotEncoder(categories=[DIAGNOSES], sparse_output=False).fit_transform(training[["DGN"]].to_numpy())
    others = training[list(FEATURES[7:])].copy()
    low, high = np.percentile(others["PRE5"], [25, 75])
    others["PRE5"] = np.minimum(others["PRE5"], high + 3 * (high - low))
    expected = StandardScaler().fit_transform(np.column_stack([one_hot, others]))
    x = fit_thoracic_encoder(columns[::2]).transform(columns[::2])
    assert (x.dtype, x.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


def test_encoder_clips_the_values_in_another_unit_and_hardly_any_other(columns: np.ndarray) -> None:
    volume, others = FEATURES.index("PRE5"), [FEATURES.index("PRE4"), FEATURES.index("AGE")]
    for training in subsets(columns):
        encoder = fit_thoracic_encoder(training)
        is_clipped = columns != columns.clip(encoder.low, encoder.high)
        assert is_clipped[columns[:, volume] > 50, volume].all()
        assert is_clipped[:, volume].sum() <= 17
        assert is_clipped[:, others].sum() <= 3


def test_code_that_no_training_row_has_is_zero(table: pd.DataFrame, columns: np.ndarray) -> None:
    encoder = fit_thoracic_encoder(columns[~table["DGN"].isin([1, 8]) & (table["PRE19"] == 0)])
    unseen = [FEATURES.index(name) for name in ("DGN_1", "DGN_8", "PRE19")]
    assert not encoder.transform(columns)[:, unseen].any()
    stranger = expand_columns(table[:1].assign(DGN=7))
    assert not stranger[0, :7].any()


# The data set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "features"), [("encoded", FEATURES), ("raw", TUTORIAL_FEATURES)])
def test_facts_and_rows_are_those_of_the_table(table: pd.DataFrame, encoding: str, features: tuple[str, ...]) -> None:
    facts = ThoracicSurgery().facts({}.__getitem__)
    assert facts.class_counts == tuple(np.bincount(table[LABEL]).tolist())
    assert (facts.num_rows, facts.outputs, facts.num_own_test, facts.image) == (470, 1, 0, ())
    rows = ThoracicSurgery().load({"thoracic_surgery.csv": CSV}.__getitem__, encoding)
    assert (rows.features, rows.num_own_test, rows.scale, rows.image) == (features, 0, 1.0, ())
    assert rows.columns.shape == (470, len(features))
    np.testing.assert_array_equal(rows.labels, table[LABEL])


# Sources -----------------------------------------------------------------------------------------------------------


def make_archive(*lines: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("ThoraricSurgery.arff", "\n".join(lines).encode("iso8859-2"))
    return archive.getvalue()


def make_uci_archive() -> bytes:
    """The committed table in the form UCI gives it: ARFF in a zip, rows by id but without it, codes with prefixes."""
    header, *rows = LINES
    rows = sorted(rows, key=lambda row: int(row[0]))
    prefixes = {"DGN": "DGN", "PRE6": "PRZ", "PRE14": "OC", "PRE4": "", "PRE5": "", "AGE": ""}
    columns = {
        name: [prefixes[name] + value if name in prefixes else "FT"[int(value)] for value in values]
        for name, *values in list(zip(header, *rows, strict=True))[1:]
    }
    kinds = {
        name: "numeric" if prefixes.get(name) == "" else f"{{{','.join(sorted(set(values)))}}}"
        for name, values in columns.items()
    }
    attributes = [f"@attribute {name} {kind}" for name, kind in kinds.items()]
    body = map(",".join, zip(*columns.values(), strict=True))
    return make_archive("% Wrocław", "@relation 'Thoracic_Surgery_Data'", *attributes, "@data", *body)


TABLE_ALONE = CSV.split(b"\n", 1)[1]


def test_every_source_ends_in_the_same_bytes(server: Server, tmp_path: Path) -> None:
    server.serve("tutorial.csv", TABLE_ALONE.replace(b"\n", b"\r\n"))
    server.serve("uci.zip", make_uci_archive())
    urls = f"{server.url}tutorial.csv", f"{server.url}uci.zip"
    for number, source in enumerate([from_folder(ROOT / "data/source"), from_tutorial(urls[0]), from_uci(urls[1])]):
        collect_files(PINS, [source], tmp_path / str(number))
        assert read_all(tmp_path / str(number)) == {"thoracic_surgery.csv": CSV}


@pytest.mark.parametrize(
    ("make_source", "answer", "reason"),
    [
        (from_uci, b"<html>sign in</html>", "BadZipFile: File is not a zip file"),
        (from_uci, make_archive("@attribute PRE4 numeric", "@data", "1.5"), "columns PRE4, expected id, DGN, PRE4"),
        (from_uci, make_archive("x" * 2**20, "x"), "more than 1,048,576 characters when decompressed"),
        (from_tutorial, b"<html>", "could not convert string to float"),
        (from_tutorial, TABLE_ALONE.replace(b"2.88", b"2.89"), "SHA-256 [0-9a-f]{64}, expected fa53af63"),
    ],
    ids=range(5),
)
def test_another_answer_is_refused(
    server: Server, target: Path, make_source: Callable, answer: bytes, reason: str
) -> None:
    server.serve("answer", answer)
    with pytest.raises(Unavailable, match=reason):
        collect_files(PINS, [make_source(f"{server.url}answer")], target)
    assert not target.exists()
