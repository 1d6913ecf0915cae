"""Read a CSV file as pandas does, with any usual separator, encoding and sign for a missing value."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages.lib.core.files import read_plain
from stages.lib.data.csv_table import OTHER_SEPARATORS, make_table, parse_records
from stages.lib.data.dataset import DataError

MOST_BYTES = 2**25  # `plan` reads no more
MOST_COLUMNS = 1000
LOOKED_AT = 50  # records that tell the separator
# Signs of a missing value: those of pandas, and ?.
MISSING = frozenset(["NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", "?"])
FORMATS = {  # first bytes -> what the file is
    b"PK\x03\x04": "a zip archive, such as an Excel file",
    b"\x1f\x8b": "compressed",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class Sheet(NamedTuple):
    """A table of text.

    columns: name -> its cells [row], empty where a value is missing. lines: of the file, in which each row starts.
    remarks: what was assumed in reading it, in words.
    """

    columns: dict[str, list[str]]
    lines: list[int]
    remarks: list[str]

    def to_csv(self) -> bytes:
        """The table as the project keeps it: UTF-8, commas, nothing in the cells of missing values."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*self.columns.values(), strict=True))
        return text.getvalue().encode()


def read_sheet(path: Path) -> Sheet:
    """DataError, in words, where the file is no table."""
    text, remarks = decode_sheet(read_file(path), name=path.name)
    separator = find_separator(text)
    if separator != ",":
        remarks.append(f"cells are separated by {OTHER_SEPARATORS[separator]}")
    records = parse_records(text, name=path.name, separator=separator)
    (_, header), *rows = records
    if not 2 <= len(header) <= MOST_COLUMNS:
        expected = f"expected a target and at most {MOST_COLUMNS - 1} columns beside it, separated by , ; | or tabs"
        raise DataError(f"{path.name} has {len(header):,} columns, {expected}: choose the columns that matter")
    if is_index := not header[0] and is_index_of(rows):
        header[0] = "index"  # pandas' to_csv writes one without a name
    table = make_table(records, name=path.name)
    if table.faults:
        raise DataError(f"{path.name} with its {len(rows):,} rows cannot be used:", *table.faults)
    columns = {name: list(column.cells) for name, column in table.columns.items()}
    if is_index:
        del columns["index"]
        remarks.append("the first column has no name and is another in each row: taken as an index, and left out")
    remarks += [*mark_missing(columns), *(read_decimal_commas(columns) if separator != "," else [])]
    return Sheet(columns, [line for line, _ in rows], remarks)


def is_index_of(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the first cell of each row is a whole number, and another in each."""
    cells = {cells[0] for _, cells in rows}
    return len(cells) == len(rows) and all(cell.isdecimal() for cell in cells)


def read_file(path: Path) -> bytes:
    """The bytes of a plain file; DataError where there is none or it is a link out of the project."""
    expected = "expected a CSV file"
    if path.is_symlink() and is_in_project(path.parent) and not is_in_project(path):
        raise DataError(f"{path} is a link out of the project, {expected}: name the file itself")
    try:
        data = read_plain(path, most=MOST_BYTES)
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, {expected}: name a file in it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}), {expected}: mend DATA") from None
    for start, words in FORMATS.items():
        if data.startswith(start):
            raise DataError(f"{path} is {words}, {expected}: save it as CSV UTF-8")
    return data


def is_in_project(path: Path) -> bool:
    return path.resolve().is_relative_to(Path.cwd())


def decode_sheet(data: bytes, *, name: str) -> tuple[str, list[str]]:
    """Text, and what was assumed."""
    remarks = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("latin-1")
        line = data.count(b"\n", 0, error.start) + 1
        remarks.append(f"it is not UTF-8 in line {line}: read as Latin-1, so look at the letters with accents")
    if found := CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise DataError(f"{name} is no text in line {line}, expected a CSV file: save it as CSV UTF-8")
    return text, remarks


def find_separator(text: str) -> str:
    """The separator by which most of the first records have as many cells as the header, and the most of them."""

    def fit(separator: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        try:
            widths = [len(cells) for cells, _ in zip(reader, range(LOOKED_AT), strict=False) if cells]
        except csv.Error:
            return 0, 0
        return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

    return max([",", *OTHER_SEPARATORS], key=fit)


def mark_missing(columns: dict[str, list[str]]) -> list[str]:
    """Empty the cells that say that a value is missing, and tell which signs were found."""
    found = Counter(sign for cells in columns.values() for sign in MISSING.intersection(cells))
    columns |= {name: ["" if cell in MISSING else cell for cell in cells] for name, cells in columns.items()}
    return [f"{sign!r} in {number} column{'s' * (number > 1)} is taken as missing" for sign, number in found.items()]


def read_decimal_commas(columns: dict[str, list[str]]) -> list[str]:
    """Write 1,5 as 1.5 in columns of such numbers, where cells are not separated by commas, and tell it."""
    mended = []
    for name, cells in columns.items():
        has_comma = [cell for cell in cells if "," in cell]
        if has_comma and all(DECIMAL_COMMA.fullmatch(cell) for cell in has_comma):
            columns[name] = [cell.replace(",", ".") for cell in cells]
            mended.append(name)
    return [f"decimal commas in {', '.join(mended)} are written as points"] if mended else []
