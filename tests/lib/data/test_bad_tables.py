# ruff: noqa: E501  # a table
"""A table of tables that cannot be used: each is refused in words, whatever its bytes, and never ends in another error."""

import itertools

import numpy as np
import pytest

from stages.lib.data.dataset import DataError
from stages.lib.data.fashion_mnist import parse_idx
from stages.lib.data.table import Table, parse_table
from stages.lib.data.thoracic_table import read_thoracic

GOOD = "id,age,ward,outcome\n" + "".join(f"{row},{30 + row},{'ab'[row % 2]},{row % 3 % 2}\n" for row in range(12))
DECLARED = {"target": "outcome", "drop": ["id"], "categorical": ["ward"]}

# What stands in GOOD, what is put in its place, what of the declaration is another, and what is told.
TABLES: list[tuple[str, str, dict, str]] = [
    ("", "", {"target": "result"}, "column 'result' (target): is not in the header"),
    ("", "", {"drop": ["idd"]}, "column 'idd' (drop): is not in the header, expected 'id'"),
    ("", "", {"categorical": ["wards"]}, "column 'wards' (categorical): is not in the header, expected 'ward'"),
    ("", "", {"positive": "2"}, "outcome"),
    ("", "", {"categorical": []}, "ward"),
    ("", "", {"drop": ["id", "age", "ward"], "categorical": []}, "no column is left to learn from"),
    ("id,age", "id,id", {}, "expected each name once; found 'id' 2 times"),
    ("id,age", "id,", {}, "found none for column 2: name it"),
    (
        "id,age",
        f"id,{'x' * 101}",
        {},
        "header: expected names of at most 100 characters that can be printed; found 'xxx",
    ),
    ("id,age", "id,a\x1b[2J", {}, "found 'a\\x1b[2J'"),
    (
        "0,30,a,0\n",
        f"0,30,{'x' * 1001},0\n",
        {},
        "(categorical): expected categories of at most 100 characters; found 'xxx",
    ),
    (",0\n", f",{'x' * 101}\n", {}, "(target): expected classes of at most 100 characters; found 'xxx"),
    (
        GOOD,
        "id,ward,outcome\n" + "".join(f"{row},w{row},{row % 2}\n" for row in range(1001)),
        {"drop": ["id"]},
        "found 1,001 different values, expected at most 1,000 categories",
    ),
    ("id,age,ward,outcome", "id;age;ward;outcome", {}, ""),
    ("id,age,ward,outcome", "id,age,ward", {}, "rows: expected 3 cells, as in the header; found 4 in line 2"),
    ("id,age,ward,outcome", "id,age,ward,outcome,x", {}, "rows: expected 5 cells, as in the header; found 4 in line 2"),
    ("0,30,a,0\n", "0,30,a,0,9\n", {}, "found 5 in line 2"),
    ("0,30,a,0\n", "0,30,a\n", {}, "found 3 in line 2"),
    ("0,30,a,0\n", "0,30,a,\n", {}, "line 2"),
    ("0,30,a,0\n", "0,,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,30,,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,thirty,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,nan,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,inf,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,-Infinity,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,1e999,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,'30',a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,30 years,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", '0,"3,0",a,0\n', {}, "line 2"),
    ("0,30,a,0\n", "0,0x1e,a,0\n", {}, "line 2"),
    ("0,30,a,0\n", "0,30,a,NA\n", {}, "line 2"),
    ("0,30,a,0\n", '0,"30,a,0\n', {}, "is not CSV"),
    ("0,30,a,0\n", '0,"30"x,a,0\n', {}, "is not CSV"),
    ("0,30,a,0\n", "0,30,\0,0\n", {}, "has a zero byte in line 2"),
    ("0,30,a,0\n", "0,30,a,0\n" + "x" * 200_000 + "\n", {}, "is not CSV"),
    (",0\n", ",1\n", {}, "outcome"),
    (GOOD, "", {}, "is empty"),
    (GOOD, "\n\n\n", {}, "is empty"),
    (GOOD, "id,age,ward,outcome\n", {}, "has no row below its header line"),
    (GOOD, "id;age;ward;outcome\n1;2;a;0\n", {}, "separates its cells by ';'"),
    (GOOD, "id\tage\tward\toutcome\n1\t2\ta\t0\n", {}, "separates its cells by tabs"),
    (GOOD, "id|age|ward|outcome\n1|2|a|0\n", {}, "separates its cells by '|'"),
    (GOOD, "outcome\n0\n1\n", {}, "is not in the header"),
    (GOOD, '{"id": 1}\n', {}, ""),
    (GOOD, "<html>\n<body>sign in\n", {}, ""),
    (GOOD, "PK\3\4\n", {}, ""),
]


@pytest.mark.parametrize(("old", "new", "other", "message"), TABLES, ids=range(len(TABLES)))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_bad_table_is_refused_in_words(old: str, new: str, other: dict, message: str, end: str) -> None:
    declaration = Table(file="data/source/mine.csv", **(DECLARED | other))
    text = GOOD.replace(old, new) if old else GOOD
    with pytest.raises(DataError) as caught:
        parse_table(declaration, text.replace("\n", end).encode())
    assert "data/source/mine.csv" in str(caught.value)
    assert message in str(caught.value), caught.value
    assert all(len(line) < 600 for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    "data", [b"\xff\xfe" + "a,b".encode("utf-16-le"), b"a,b\n\xe9,1\n", bytes(range(256)), b"\0" * 100]
)
def test_bytes_that_are_no_text_are_refused_in_words(data: bytes) -> None:
    for read in (
        lambda: parse_table(Table(file="data/source/mine.csv", target="a"), data),
        lambda: read_thoracic(data),
    ):
        with pytest.raises(DataError):
            read()


# Of the Thoracic table: what is done to its lines, and what is told.
LINES = {
    "an extra cell in every row": (lambda lines: [lines[0], *(f"{line},1" for line in lines[1:])], "expected 18 cells"),
    "an extra cell in one": (lambda lines: [*lines[:9], f"{lines[9]},1", *lines[10:]], "found 19 in line 10"),
    "a cell less in every row": (
        lambda lines: [lines[0], *(line.rpartition(",")[0] for line in lines[1:])],
        "expected 18 cells",
    ),
    "an extra name": (lambda lines: [f"{lines[0]},x", *lines[1:]], "expected 19 cells"),
    "an extra column": (lambda lines: [f"{lines[0]},x", *(f"{line},1" for line in lines[1:])], "x: expected no column"),
    "a name twice": (lambda lines: [lines[0].replace("PRE5", "PRE4"), *lines[1:]], "expected each name once"),
    "another name": (lambda lines: [lines[0].replace("AGE", "age"), *lines[1:]], "AGE: expected a column of this name"),
    "another order": (
        lambda lines: [lines[0].replace("id,DGN", "DGN,id"), *lines[1:]],
        "expected the columns in the order",
    ),
    "no header": (lambda lines: lines[1:], ""),
    "a row less": (lambda lines: lines[:-1], "expected 470 rows"),
    "a row twice": (lambda lines: [*lines, lines[-1]], "expected 470 rows"),
    "nothing": (lambda lines: [], "is empty"),
    "the header alone": (lambda lines: lines[:1], "has no row below"),
}


@pytest.mark.parametrize("name", LINES)
def test_another_thoracic_table_is_refused_in_words(name: str, thoracic_csv: bytes) -> None:
    change, message = LINES[name]
    with pytest.raises(DataError) as caught:
        read_thoracic("\n".join(change(thoracic_csv.decode().splitlines())))
    assert message in str(caught.value)
    assert "thoracic_surgery.csv" in str(caught.value)


@pytest.mark.parametrize(("column", "cell"), [*itertools.product(range(18), ["", "x", "nan"])])
def test_a_cell_that_is_no_number_is_told_with_its_column_and_line(column: int, cell: str, thoracic_csv: bytes) -> None:
    lines = thoracic_csv.decode().splitlines()
    cells = lines[4].split(",")
    cells[column] = cell
    with pytest.raises(DataError) as caught:
        read_thoracic("\n".join([*lines[:4], ",".join(cells), *lines[5:]]))
    assert f"{lines[0].split(',')[column]}: expected" in str(caught.value)
    assert "in line 5" in str(caught.value)


IDX = {
    "empty": (b"", "starts with ''"),
    "short": (b"\0\0\x08", "starts with '00 00 08'"),
    "text": (b"<html>", "starts with '3c 68 74 6d'"),
    "gzip": (b"\x1f\x8b\x08\0", "starts with '1f 8b 08 00'"),
    "floats": (b"\0\0\x0d\1" + bytes(4), "element type 0x0d"),
    "65 dimensions": (
        bytes([0, 0, 8, 65]) + np.ones(65, ">u4").tobytes() + b"\1",
        "65 dimensions, expected at most 64",
    ),
    "255 dimensions": (bytes([0, 0, 8, 255]) + np.ones(255, ">u4").tobytes() + b"\1", "255 dimensions"),
    "sizes cut short": (bytes([0, 0, 8, 3]) + bytes(4), "too short for the sizes of 3 dimensions"),
    "elements missing": (bytes([0, 0, 8, 1]) + np.array([9], ">u4").tobytes() + b"123", "3 elements, expected 9"),
    "elements too many": (bytes([0, 0, 8, 1]) + np.array([2], ">u4").tobytes() + b"123", "3 elements, expected 2"),
    "no elements": (
        bytes([0, 0, 8, 3]) + np.array([0, 2**32 - 1, 2**32 - 1], ">u4").tobytes(),
        "is no array, expected smaller dimensions",
    ),
    "sizes that overflow": (
        bytes([0, 0, 8, 3]) + np.full(3, 2**32 - 1, ">u4").tobytes(),
        "0 elements, expected 79228162458924105385300197375",
    ),
}


@pytest.mark.parametrize("name", IDX)
def test_a_bad_image_file_is_refused_in_words(name: str) -> None:
    data, message = IDX[name]
    with pytest.raises(DataError, match="images: ") as caught:
        parse_idx(data, name="images")
    assert message in str(caught.value)
