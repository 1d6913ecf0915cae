"""CSV files as columns of text, and the faults of their form."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass

from stages.lib.data.dataset import DataError, list_examples

MAX_NAME = 100  # characters of a column's name
OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


@dataclass(frozen=True)
class CsvTable:
    """A CSV file as text.

    columns: name -> cells [row], without the spaces around them. Of columns with one name the first.
    lines: [row], the line of the file in which the row starts.
    faults: what is wrong with the header and with rows of another number of cells, which are left out.
    """

    columns: dict[str, tuple[str, ...]]
    lines: list[int]
    faults: list[str]


def read_csv(data: bytes, *, name: str) -> CsvTable:
    """Parse a CSV file: UTF-8, cells separated by commas, one header line; blank lines are skipped.

    Raises DataError where the file is no such table.
    """
    records = parse_records(data, name=name)
    if not records:
        raise DataError(f"{name} is empty, expected a header line and one line for each row: fill it")
    (_, named), *rows = records
    header = [" ".join(column.split()) for column in named]  # spreadsheets write other spaces, too
    if not rows:
        raise DataError(f"{name} has no row below its header line, expected one line for each row: fill it")
    if len(named) == 1:
        for separator, words in OTHER_SEPARATORS.items():
            if separator in named[0]:
                raise DataError(f"{name} separates its cells by {words}, expected commas: save it with commas")
    faults = find_header_faults(header) + find_ragged_rows(rows, len(header))
    whole = [(line, cells) for line, cells in rows if len(cells) == len(header)]
    if not whole:
        raise DataError("\n  ".join([f"{name} with its {len(rows)} rows cannot be used:", *faults]))
    columns: dict[str, tuple[str, ...]] = {}
    for column, *cells in zip(header, *(cells for _, cells in whole), strict=True):
        columns.setdefault(column, tuple(cells))
    return CsvTable(columns, [line for line, _ in whole], faults)


def parse_records(data: bytes, *, name: str) -> list[tuple[int, list[str]]]:
    """The line in which each record starts, and its cells."""
    try:
        text = data.decode("utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name} is not UTF-8 in line {line}, expected UTF-8 text: save it as CSV UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{name} has a zero byte in line {line}, expected text: save it as CSV UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    records, line = [], 1
    try:
        for cells in reader:
            if cells:
                records.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{name} is not CSV: {error} in the row that starts in line {line}, expected cells separated by commas, "
            'with "" for a quotation mark inside a quoted cell: mend that row'
        ) from None
    return records


def find_header_faults(header: list[str]) -> list[str]:
    """Columns without a name, and names that stand more than once."""
    faults = []
    unnamed = [str(number) for number, column in enumerate(header, start=1) if not column]
    if unnamed:
        faults.append(
            f"header: expected a name for each column; found none for column {list_examples(unnamed)}: name it"
        )
    odd = [repr(column[:40]) for column in header if len(column) > MAX_NAME or not column.isprintable()]
    if odd:
        faults.append(
            f"header: expected names of at most {MAX_NAME} characters that can be printed; found {list_examples(odd)}: "
            "rename the columns"
        )
    repeated = [f"'{column}' {number} times" for column, number in Counter(header).items() if column and number > 1]
    if repeated:
        faults.append(f"header: expected each name once; found {list_examples(repeated)}: rename the columns")
    return faults


def find_ragged_rows(rows: list[tuple[int, list[str]]], num_columns: int) -> list[str]:
    examples = [f"{len(cells)} in line {line}" for line, cells in rows if len(cells) != num_columns]
    if not examples:
        return []
    return [
        f"rows: expected {num_columns} cells, as in the header; found {list_examples(examples)}: "
        "put a cell that holds a comma in quotation marks"
    ]
