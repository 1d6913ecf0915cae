"""CSV files: ordinary forms are read, and whatever is no table is refused in words."""

import pytest

from stages.lib.data.csv_table import read_csv
from stages.lib.data.dataset import DataError

CSV = "id,ward,outcome\n1,north,yes\n2,south,no\n3,north,no\n4,east,yes\n"
TEXT = "expected UTF-8 text: save it as CSV UTF-8"


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV.replace(",", " , "),
        CSV.replace("north", '"north"'),
        CSV.replace("\n3,", "\n\n3,"),
        CSV.rstrip(),
    ],
    ids=range(7),
)
def test_ordinary_forms_of_csv_are_read(text: str) -> None:
    table = read_csv(text.encode(), name="mine")
    assert (list(table.columns), table.num_rows, table.faults) == (["id", "ward", "outcome"], 4, [])
    assert list(table.columns["ward"].cells) == ["north", "south", "north", "east"]


def test_lines_are_those_of_the_file_where_cells_hold_line_breaks() -> None:
    table = read_csv(CSV.replace("north", '"nor\nth"', 1).replace("\n3,", "\n\n3,").encode(), name="mine")
    assert list(table.columns["id"].lines) == [2, 4, 6, 7]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "mine is empty, expected a header line and one line for each row: fill it"),
        ("\n\n\n", "mine is empty, expected"),
        (
            "id,outcome\n",
            "mine has no row below its header line, expected a header line and one line for each row: fill it",
        ),
        (CSV.encode("utf-16"), f"mine is not UTF-8 in line 1, {TEXT}"),
        (CSV.encode() + b"5,\xe9st", f"mine is not UTF-8 in line 6, {TEXT}"),
        (bytes(range(256)), f"mine is not UTF-8 in line 2, {TEXT}"),
        (CSV.replace("south", "\0"), "mine has a zero byte in line 3, expected text: save it as CSV UTF-8"),
        (CSV.replace(",", ";"), "mine separates its cells by ';', expected commas: save it with commas"),
        (CSV.replace(",", "\t"), "mine separates its cells by tabs, expected commas"),
        (CSV.replace(",", "|"), "mine separates its cells by '|', expected commas"),
        (
            CSV.replace("south", '"so"uth'),
            "mine is not CSV: ',' expected after '\"' in the row that starts in line 3, expected cells separated by "
            'commas, with "" for a quotation mark inside a quoted cell: mend that row',
        ),
        (CSV.replace("south", '"south'), "mine is not CSV: "),
        (f"{CSV}{'x' * 200_000}\n", "mine is not CSV: "),
        ("a,b\n1,2,3\n", "mine with its 1 rows cannot be used:\n  rows: expected 2 cells"),
    ],
    ids=range(14),
)
def test_file_that_is_no_table_is_refused(content: str | bytes, fault: str, end: str) -> None:
    data = content.replace("\n", end).encode() if isinstance(content, str) else content
    with pytest.raises(DataError) as error:
        read_csv(data, name="mine")
    assert str(error.value).startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            CSV.replace("1,north", "1,nor,th").replace("2,south,no", "2,south"),
            "rows: expected 3 cells, as in the header; found 4 in line 2, 2 in line 3: "
            "put a cell that holds a comma in quotation marks",
        ),
        (
            CSV.replace("yes\n", "yes,1\n").replace("no\n", "no,1\n") + "5,east,no\n",
            "rows: expected 3 cells, as in the header; found 4 in line 2, 4 in line 3, 4 in line 4, 1 more: "
            "put a cell that holds a comma in quotation marks",
        ),
        (CSV.replace("ward", "id"), "header: expected each name once; found 'id' 2 times: rename the columns"),
        (CSV.replace("ward", ""), "header: expected a name for each column; found none for column 2: name it"),
        (
            CSV.replace("ward", "a\x1b[2J"),
            "header: expected names of at most 100 characters that can be printed; found 'a\\x1b[2J': "
            "rename the columns",
        ),
        (
            CSV.replace("ward", "x" * 101),
            f"header: expected names of at most 100 characters that can be printed; found '{'x' * 40}': "
            "rename the columns",
        ),
    ],
    ids=range(6),
)
def test_faults_of_header_and_rows_are_told_beside_those_of_columns(text: str, fault: str) -> None:
    assert read_csv(text.encode(), name="mine").faults == [fault]
