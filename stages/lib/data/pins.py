"""Raw files with pinned content, placed from the first source that has them.

A source hands over one file at a time, decompressed and converted; `collect` asks a chain of sources and places only
files whose SHA-256 is the pinned one, so that every source gives the same bytes. Downloads stay in memory until they
are checked.
"""

from __future__ import annotations

import hashlib
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stages.lib.core.files import write_bytes

# What reading, unpacking and converting raise on a file that is not what it should be.
DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, RuntimeError),  # RuntimeError: encrypted, or NotImplementedError
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)


class Pin(NamedTuple):
    """What a raw file must be: its size in bytes and its SHA-256, both of the decompressed content."""

    size: int
    sha256: str


class Unavailable(Exception):
    """A source cannot give a file; the message is the reason."""


class Broken(Unavailable):
    """The file came, but damaged: worth a second try."""


@dataclass(frozen=True)
class Source:
    """A place that may have the files; `read` maps a file's name and size to its content, not yet checked.

    It may read no more than that size needs: a source that never ends is left.
    """

    label: str
    read: Callable[[str, int], bytes]


def collect(pins: Mapping[str, Pin], chain: Iterable[Source], target: Path) -> None:
    """Fill the folder `target` with the pinned files, each from the first source of the chain that has it.

    Prints why a source failed and where each file came from. Raises Unavailable, with all reasons, when a file is still
    missing at the end. A source that failed once is not asked for the remaining files.
    """
    remove_other_files(target, pins)
    missing = [name for name, pin in pins.items() if not is_there(target / name, pin)]
    for name in (name for name in pins if name not in missing):
        print(f"{target / name}: already there", flush=True)
    reasons: list[str] = []
    for source in chain:
        try:
            while missing:
                write_bytes(target / missing[0], deliver(source, missing[0], pins[missing[0]]))
                print(f"{target / missing.pop(0)}: from {source.label}", flush=True)
        except Unavailable as reason:
            reasons.append(f"{source.label}: no {missing[0]}: {reason}")
            print(reasons[-1], flush=True)
    if missing:
        raise Unavailable("\n  ".join([f"no source gave {', '.join(missing)}", *reasons]))


def remove_other_files(target: Path, pins: Mapping[str, Pin]) -> None:
    """Remove what DVC would keep with the raw files, such as the draft that a killed run left."""
    for path in target.glob("*"):
        if path.is_file() and path.name not in pins:
            path.unlink()


def is_there(path: Path, pin: Pin) -> bool:
    return path.is_file() and path.stat().st_size == pin.size and hash_data(path.read_bytes()) == pin.sha256


def hash_data(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def deliver(source: Source, name: str, pin: Pin) -> bytes:
    """A file's content as pinned; where it came damaged, the source is asked once more."""
    with suppress(Broken):
        return read_checked(source, name, pin)
    return read_checked(source, name, pin)


def read_checked(source: Source, name: str, pin: Pin) -> bytes:
    """A file's content; Broken where it is not the pinned one."""
    try:
        data = source.read(name, pin.size)
    except DAMAGE as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    if len(data) != pin.size:
        raise Broken(f"{len(data):,} bytes, expected {pin.size:,}")
    if hash_data(data) != pin.sha256:
        raise Broken(f"SHA-256 {hash_data(data)}, expected {pin.sha256}")
    return data
