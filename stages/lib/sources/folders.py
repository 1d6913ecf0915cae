"""Sources that are folders of this machine."""

from __future__ import annotations

import gzip
from pathlib import Path

from stages.lib.sources.pins import Source, Unavailable


def from_folder(path: Path) -> Source:
    """Files that are already on this machine, plain or .gz."""
    return Source(str(path), lambda name: read_folder(path, name))


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
