"""Files as bytes, JSON and arrays: written whole or not at all, with the same bytes for the same content.

The records that flow between stages (plans, samples, runs, predictions, comparison) know their own paths and members;
this module knows none of them.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.cli import UserError

EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip archive can hold

# What NumPy raises on bytes that are no .npz.
DAMAGE = (ValueError, EOFError, LookupError, OSError, AttributeError, NotImplementedError, zipfile.BadZipFile)


class MissingArtifactError(UserError):
    """An input of a stage is missing; the message names the stage that writes it."""


class DamagedArtifactError(UserError):
    """An input of a stage is not what was written; the message names the file."""


class UnwritableError(UserError, OSError):
    """A file could not be written: the disk is full, or the folder read-only; the message names the file."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: into a draft in a folder beside it, which then takes its place."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            draft = Path(folder) / path.name
            draft.write_bytes(content)
            draft.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnwritableError(
            f"{path} cannot be written ({reason}), expected room for {len(content):,} bytes: free space on the disk, "
            "or let the folder be written to, and run this again"
        ) from error


def read_bytes(path: Path, *, written_by: str) -> bytes:
    """Read a whole file; MissingArtifactError names the stage that writes it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingArtifactError(
            f"{path} is missing, expected the output of `{written_by}`: run `dvc repro` (or `dvc pull`)"
        ) from None


def read_plain(path: Path, *, most: int) -> bytes:
    """A whole file of the user's; OSError, with the reason, where it is a pipe or a device or has too many bytes."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its other end
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes", str(path))
    return content


def write_json(path: Path, content: Any) -> None:
    """Indented JSON. ValueError where a number is not finite."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def pack_zip(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip archive with the same bytes for the same members, whatever the day, the machine and Python's release.

    NumPy's own .npz has headers that differ between releases of Python which write large members ahead of their size.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            header = zipfile.ZipInfo(name, EPOCH_OF_ZIP)
            header.create_system, header.external_attr = 3, 0o600 << 16  # as on Unix
            archive.writestr(header, content)
    return buffer.getvalue()


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An .npz; equal arrays give equal bytes."""
    write_bytes(path, pack_zip((f"{name}.npy", pack_array(values)) for name, values in arrays.items()))


def pack_array(values: Any) -> bytes:
    """An .npy."""
    np.lib.format.write_array(member := io.BytesIO(), np.asarray(values), allow_pickle=False)
    return member.getvalue()


def read_arrays(path: Path, *, written_by: str) -> dict[str, Any]:
    """The members of an .npz; one without dimensions becomes a plain number or text, one of text a tuple.

    DamagedArtifactError where it is none: the checksum of each member is checked.
    """
    content = read_bytes(path, written_by=written_by)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: to_value(array) for name, array in arrays.items()}
    except DAMAGE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedArtifactError(
            f"{path} is damaged ({reason}), expected the arrays that `{written_by}` wrote: delete it and run `make`, "
            "which checks what it restores"
        ) from None


def to_value(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if array.dtype.kind == "U" else array


def add_prefix(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Member names for a mapping inside a record: `weight` makes `weight_kernel_1` of `kernel_1`."""
    return {f"{prefix}_{name}": array for name, array in arrays.items()}


def pop_prefix(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `add_prefix`; takes its members out of `arrays`."""
    names = [name for name in arrays if name.startswith(f"{prefix}_")]
    return {name.removeprefix(f"{prefix}_"): arrays.pop(name) for name in names}
