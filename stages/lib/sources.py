"""Where raw data come from, and the SHA-256 that makes every source give the same bytes.

A source hands over one file at a time, decompressed and converted; `collect` goes through a chain of sources and places
only files whose SHA-256 is the pinned one. Downloads stay in memory until they are checked, so that a process killed at
any time leaves no half-written file behind.
"""

import gzip
import hashlib
import http.client
import io
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pooch


class Pin(NamedTuple):
    """What a raw file must be: its size in bytes and its SHA-256."""

    size: int
    sha256: str


# Of the decompressed content: distributors recompress the files.
PINS: dict[str, dict[str, Pin]] = {
    "thoracic_surgery": {
        "thoracic_surgery.csv": Pin(21_354, "fa53af63b75c9738c57400ebb88f5bdeb728dc6f421de856798e1a4cbfd1d096"),
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": Pin(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        "train-labels-idx1-ubyte": Pin(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        "t10k-images-idx3-ubyte": Pin(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        "t10k-labels-idx1-ubyte": Pin(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    },
}

TUTORIAL_URL = "https://ds-lecture-data.s3.ap-northeast-2.amazonaws.com/everydeep/ThoraricSurgery.csv"
UCI_URL = "https://archive.ics.uci.edu/static/public/277/thoracic+surgery+data.zip"
ZALANDO_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")

THORACIC_HEADER = "id,DGN,PRE4,PRE5,PRE6,PRE7,PRE8,PRE9,PRE10,PRE11,PRE14,PRE17,PRE19,PRE25,PRE30,PRE32,AGE,Risk1Yr"

TIMEOUT = (4.0, 15.0)  # seconds to connect, and between two pieces of the answer: short, the next source waits

# What reading, unpacking and converting raise on a file that is not what it should be.
DAMAGE = (OSError, EOFError, ValueError, LookupError, zlib.error, zipfile.BadZipFile)


class Unavailable(Exception):
    """A source cannot give a file; the message is the reason."""


class Broken(Unavailable):
    """The file came, but damaged: worth a second try."""


@dataclass(frozen=True)
class Source:
    """A place that may have the files; `read` maps a file's name to its content, not yet checked."""

    label: str
    read: Callable[[str], bytes]


def collect(pins: Mapping[str, Pin], chain: Iterable[Source], target: Path) -> None:
    """Fill the folder `target` with the pinned files, each from the first source of the chain that has it.

    Prints why a source fell through and where each file came from. Raises Unavailable, with all reasons, when a file is
    still missing at the end. A source that failed once is not asked for the remaining files.
    """
    missing = [name for name, pin in pins.items() if not is_there(target / name, pin)]
    for name in (name for name in pins if name not in missing):
        print(f"{target / name}: already there", flush=True)
    reasons: list[str] = []
    for source in chain:
        try:
            while missing:
                write_atomically(target / missing[0], deliver(source, missing[0], pins[missing[0]]))
                print(f"{target / missing.pop(0)}: from {source.label}", flush=True)
        except Unavailable as reason:
            reasons.append(f"{source.label}: no {missing[0]}: {reason}")
            print(reasons[-1], flush=True)
    if missing:
        raise Unavailable("\n  ".join([f"no source gave {', '.join(missing)}", *reasons]))


def is_there(path: Path, pin: Pin) -> bool:
    return path.is_file() and path.stat().st_size == pin.size and hash_data(path.read_bytes()) == pin.sha256


def hash_data(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def deliver(source: Source, name: str, pin: Pin) -> bytes:
    """Return a file's content as pinned; when it came damaged, ask once more."""
    with suppress(Broken):
        return read_checked(source, name, pin)
    return read_checked(source, name, pin)


def read_checked(source: Source, name: str, pin: Pin) -> bytes:
    try:
        data = source.read(name)
    except DAMAGE as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    if len(data) != pin.size:
        raise Broken(f"{len(data):,} bytes, expected {pin.size:,}")
    if hash_data(data) != pin.sha256:
        raise Broken(f"SHA-256 {hash_data(data)}, expected {pin.sha256}")
    return data


def write_atomically(path: Path, data: bytes) -> None:
    """Put the file in place all at once. The partial file lies beside the folder, never in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# Sources of Fashion-MNIST ------------------------------------------------------------------------------------------


def from_folder(path: Path) -> Source:
    """Files that are here already, plain or .gz."""
    return Source(str(path), lambda name: read_folder(path, name))


def from_mirror(base_url: str, *, timeout: tuple[float, float] = TIMEOUT) -> Source:
    """A web folder with the files as .gz."""
    return Source(base_url, lambda name: gunzip(download(f"{base_url}{name}.gz", timeout=timeout)))


def read_folder(path: Path, name: str) -> bytes:
    if not path.is_dir():
        raise Unavailable("no such folder")
    for candidate in (path / name, path / f"{name}.gz"):
        if candidate.is_file():
            return gunzip(candidate.read_bytes())
    raise Unavailable(f"neither {name} nor {name}.gz is in that folder")


def gunzip(data: bytes) -> bytes:
    """Decompress; data that are not gzip are returned as they are (some servers decompress on their own)."""
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def download(url: str, *, timeout: tuple[float, float] = TIMEOUT) -> bytes:
    """Return what the address holds; raises Broken when the answer broke off, Unavailable when none came."""
    content = io.BytesIO()
    with ExitStack() as stack:  # closes the connection after a fault, which pooch leaves open
        fetch = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=2**16,
            timeout=timeout,
            hooks={"response": lambda response, **_: stack.enter_context(response)},
        )
        try:
            fetch(url, content, None)
        except OSError as error:  # whatever requests raises is one; the root cause is what a person can read
            cause: BaseException = error
            while cause.__context__:
                cause = cause.__context__
            broke_off = isinstance(cause, http.client.HTTPException | ConnectionResetError)
            raise (Broken if broke_off else Unavailable)(f"{type(cause).__name__}: {cause}") from error
    return content.getvalue()


# Sources of Thoracic Surgery ---------------------------------------------------------------------------------------


def from_project(path: Path = Path("data/source")) -> Source:
    """The copy that this project carries."""
    return Source(str(path), lambda name: read_folder(path, name))


def from_tutorial(url: str = TUTORIAL_URL) -> Source:
    """The tutorial's copy: the table without its header line."""

    def read(name: str) -> bytes:
        return format_table([float(value) for value in line.split(",")] for line in download(url).decode().split())

    return Source(url, read)


def from_uci(url: str = UCI_URL) -> Source:
    """The original: an ARFF file in a zip archive. It has no id; the patient's id is the number of the row."""
    return Source(url, lambda name: format_table(parse_arff(download(url))))


def parse_arff(data: bytes) -> Iterable[list[float]]:
    """Yield the rows, codes as numbers: DGN3 -> 3, PRZ1 -> 1, OC12 -> 12, T -> 1, F -> 0."""
    from scipy.io import arff  # half a second, needed here alone

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (member,) = (name for name in archive.namelist() if name.lower().endswith(".arff"))
        rows, _ = arff.loadarff(io.StringIO(archive.read(member).decode(errors="replace")))
    for number, row in enumerate(rows, start=1):
        codes = ({b"T": 1, b"F": 0}.get(row[name], row[name]) for name in THORACIC_HEADER.split(",")[1:])
        yield [number, *(float(re.sub(rb"^\D+", b"", code) if isinstance(code, bytes) else code) for code in codes)]


def format_table(rows: Iterable[Sequence[float]]) -> bytes:
    """The table as CSV in its one canonical form: header line, sorted by DGN and id, shortest numbers."""
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    lines = [THORACIC_HEADER, *(",".join(f"{value:g}" for value in row) for row in ordered)]
    return "\n".join([*lines, ""]).encode()
