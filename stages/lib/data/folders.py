"""Sources that are folders of this machine."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from stages.lib.core.files import read_plain
from stages.lib.data.pins import Broken, Source, Unavailable

SLACK = 2**16  # bytes that a file may be longer when it is compressed


def from_folder(path: Path) -> Source:
    """Files that are already on this machine, plain or .gz."""
    return Source(str(path), lambda name, size: read_folder(path, name, size))


def read_folder(path: Path, name: str, size: int) -> bytes:
    if not path.is_dir():
        raise Unavailable("no such folder")
    for candidate in (path / name, path / f"{name}.gz"):
        if candidate.is_file():
            return gunzip(read_plain(candidate, most=size + SLACK), size)
    raise Unavailable(f"neither {name} nor {name}.gz is in that folder")


def gunzip(data: bytes, size: int) -> bytes:
    """Decompress; data that are not gzip are returned as they are (some servers decompress on their own).

    Broken where there are more than so many bytes: a few of them can be made into gigabytes.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        content = file.read(size + 1)
    if len(content) > size:
        raise Broken(f"more than {size:,} bytes when decompressed, expected {size:,}")
    return content
