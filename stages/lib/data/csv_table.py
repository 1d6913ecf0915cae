"""CSV files as columns of text, and the faults of their form."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from stages.lib.data.dataset import DataError, list_examples

MAX_NAME = 100  # characters of a column's name
OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


class Column(NamedTuple):
    """A column of text: its name, its cells [row] without the spaces around them, and the line of the file of each."""

    name: str
    cells: Sequence[str]
    lines: Sequence[int]


class CsvTable(NamedTuple):
    """A CSV file as text.

    columns: by their names; of columns with one name the first.
    faults: what is wrong with the header and with rows of another number of cells, which are left out.
    """

    columns: dict[str, Column]
    num_rows: int
    faults: list[str]


def read_csv(data: bytes, *, name: str) -> CsvTable:
    """Parse a CSV file: UTF-8, cells separated by commas, one header line; blank lines are skipped.

    Raises DataError where the file is no such table.
    """
    return make_table(parse_records(decode_text(data, name=name), name=name), name=name)


def make_table(records: list[tuple[int, list[str]]], *, name: str) -> CsvTable:
    """The columns of records, of which the first is the header."""
    (_, named), *rows = records
    if len(named) == 1:
        for separator, words in OTHER_SEPARATORS.items():
            if separator in named[0]:
                raise DataError(f"{name} separates its cells by {words}, expected commas: save it with commas")
    header = [" ".join(column.split()) for column in named]  # spreadsheets write other spaces, too
    faults = find_faults(header, rows)
    whole = [(line, cells) for line, cells in rows if len(cells) == len(header)]
    if not whole:
        raise DataError(f"{name} with its {len(rows)} rows cannot be used:", *faults)
    lines, columns = [line for line, _ in whole], dict[str, Column]()
    for column, *cells in zip(header, *(cells for _, cells in whole), strict=True):
        columns.setdefault(column, Column(column, cells, lines))
    return CsvTable(columns, len(whole), faults)


def decode_text(data: bytes, *, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name} is not UTF-8 in line {line}, expected UTF-8 text: save it as CSV UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{name} has a zero byte in line {line}, expected text: save it as CSV UTF-8")
    return text


def parse_records(text: str, *, name: str, separator: str = ",") -> list[tuple[int, list[str]]]:
    """The line in which each record starts, and its cells; DataError where there is no header and one row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=separator)
    records, line = [], 1
    try:
        for cells in reader:
            if cells:
                records.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        found = f"{name} is not CSV: {error} in the row that starts in line {line}"
        expected = 'cells separated by commas, with "" for a quotation mark inside a quoted cell'
        raise DataError(f"{found}, expected {expected}: mend that row") from None
    if len(records) < 2:
        found = "has no row below its header line" if records else "is empty"
        raise DataError(f"{name} {found}, expected a header line and one line for each row: fill it")
    return records


def find_faults(header: list[str], rows: list[tuple[int, list[str]]]) -> list[str]:
    """Columns without a name of their own that can be printed, and rows of another number of cells, in words."""
    unnamed = [str(number) for number, column in enumerate(header, start=1) if not column]
    odd = [repr(column[:40]) for column in header if len(column) > MAX_NAME or not column.isprintable()]
    repeated = [f"'{column}' {number} times" for column, number in Counter(header).items() if column and number > 1]
    ragged = [f"{len(cells)} in line {line}" for line, cells in rows if len(cells) != len(header)]
    rename, quote = "rename the columns", "put a cell that holds a comma in quotation marks"
    faults = {
        "header: expected a name for each column; found none for column": (unnamed, "name it"),
        f"header: expected names of at most {MAX_NAME} characters that can be printed; found": (odd, rename),
        "header: expected each name once; found": (repeated, rename),
        f"rows: expected {len(header)} cells, as in the header; found": (ragged, quote),
    }
    return [f"{words} {list_examples(examples)}: {mend}" for words, (examples, mend) in faults.items() if examples]
