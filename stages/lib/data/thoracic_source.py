"""Sources of Thoracic Surgery: the project's copy, the tutorial's CSV without a header, UCI's ARFF in a zip archive."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stages.lib.data.downloads import download
from stages.lib.data.folders import from_folder
from stages.lib.data.pins import Pin, Source

PINS = {
    "thoracic_surgery.csv": Pin(21_354, "fa53af63b75c9738c57400ebb88f5bdeb728dc6f421de856798e1a4cbfd1d096"),
}
LARGEST = 2**20  # bytes of a table as others write it: a hundredth of them would do
FOLDER = Path("data/source")
TUTORIAL_URL = "https://ds-lecture-data.s3.ap-northeast-2.amazonaws.com/everydeep/ThoraricSurgery.csv"
UCI_URL = "https://archive.ics.uci.edu/static/public/277/thoracic+surgery+data.zip"
HEADER = "id,DGN,PRE4,PRE5,PRE6,PRE7,PRE8,PRE9,PRE10,PRE11,PRE14,PRE17,PRE19,PRE25,PRE30,PRE32,AGE,Risk1Yr"

HOW_TO_MEND = """\
To mend it, run this again with another --source (committed, tutorial, uci), or restore the committed file:
  git checkout -- data/source/thoracic_surgery.csv"""


def from_tutorial(url: str = TUTORIAL_URL) -> Source:
    """The tutorial's copy: the table without its header line."""

    def read(name: str, size: int) -> bytes:
        lines = download(url, most=LARGEST).decode().split()
        return format_table([float(value) for value in line.split(",")] for line in lines)

    return Source(url, read)


def from_uci(url: str = UCI_URL) -> Source:
    """The original. It has no id; the patient's id is the number of the row."""
    return Source(url, lambda name, size: format_table(parse_arff(download(url, most=LARGEST))))


CHOICES: dict[str, Callable[[], Source]] = {
    "committed": lambda: from_folder(FOLDER),
    "tutorial": from_tutorial,
    "uci": from_uci,
}


def parse_arff(data: bytes) -> Iterable[list[float]]:
    """Yield the rows, codes as numbers: DGN3 -> 3, PRZ1 -> 1, OC12 -> 12, T -> 1, F -> 0."""
    from scipy.io import arff  # slow to import

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (member,) = (name for name in archive.namelist() if name.lower().endswith(".arff"))
        with archive.open(member) as file:
            text = file.read(LARGEST + 1).decode(errors="replace")
    if len(text) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} characters when decompressed, expected fewer")
    rows, _ = arff.loadarff(io.StringIO(text))
    for number, row in enumerate(rows, start=1):
        codes = ({b"T": 1, b"F": 0}.get(row[name], row[name]) for name in HEADER.split(",")[1:])
        yield [number, *(float(re.sub(rb"^\D+", b"", code) if isinstance(code, bytes) else code) for code in codes)]


def format_table(rows: Iterable[Sequence[float]]) -> bytes:
    """The table as CSV in one fixed form: header line, sorted by DGN and id, shortest numbers."""
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    lines = [HEADER, *(",".join(f"{value:g}" for value in row) for row in ordered)]
    return "\n".join([*lines, ""]).encode()
