"""Files as bytes, JSON and arrays: written whole or not at all, with the same bytes for the same content.

The records that flow between stages (plans, samples, runs, predictions, comparison) know their own paths and members;
this module knows none of them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.base.commands import UserError


class MissingArtifactError(UserError):
    """An input of a stage is missing; the message names the stage that writes it."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: into a draft beside it, which then takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def read_bytes(path: Path, *, written_by: str) -> bytes:
    """Read a whole file; MissingArtifactError names the stage that writes it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingArtifactError(
            f"{path} is missing, expected the output of `{written_by}`: run `dvc repro` (or `dvc pull`)"
        ) from None


def write_json(path: Path, content: Any) -> None:
    """Indented JSON. ValueError where a number is not finite."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An .npz. NumPy dates its members 1980, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(values) for name, values in arrays.items()})
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, *, written_by: str) -> dict[str, Any]:
    """The members of an .npz; one without dimensions becomes a plain number or text, one of text a tuple."""
    with np.load(io.BytesIO(read_bytes(path, written_by=written_by)), allow_pickle=False) as arrays:
        return {name: to_value(array) for name, array in arrays.items()}


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


def prune_folders(root: Path, names: Collection[str]) -> None:
    """Remove the folders in `root` that have another name: what studies and variants that are gone have left.

    DVC leaves them on disk, and would count them as an input of the next stage.
    """
    for folder in sorted(root.glob("*")):
        if folder.is_dir() and folder.name not in names:
            shutil.rmtree(folder)
