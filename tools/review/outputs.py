"""Outputs of a recorded run, read by their hashes from DVC's cache or from the working tree.

DVC keeps each file under the MD5 of its content. A folder's hash ends in .dir and names the list of its files, which is
kept in the same way. Whatever is read is checked against its hash, so that it is what the run wrote, wherever it lies.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import StringConstraints, TypeAdapter

from tools.review.record import Record

CONFIGURATION = (".dvc/config", ".dvc/config.local")
FOLDER_HASH = re.compile(r"[0-9a-f]{32}\.dir")
PLAIN = re.compile(r"\w[\w.-]*", re.ASCII)  # the name of a file or folder, and no path
MAX_BYTES = 2**30  # of one file: the largest predictions have a twentieth of that
UNUSABLE = (  # what reading, parsing and scoring a damaged file may raise
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)

Reason = Literal["unrecorded", "missing", "damaged"]


class UnavailableError(Exception):
    """An output cannot be had.

    unrecorded: dvc.lock does not name it. missing: neither the cache nor the working tree holds it. damaged: what they
    hold is not what was written.
    """

    def __init__(self, reason: Reason):
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True)
class Member:
    """A file of a folder."""

    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    relpath: str


LISTING = TypeAdapter(list[Member])


class Outputs:
    """The output folders of a run.

    record: of the run; None where there is none. in_workspace: whether it was the last run of the working tree.
    """

    def __init__(self, record: Record | None, *, in_workspace: bool):
        self.record, self.in_workspace = record, in_workspace
        self._members: dict[Path, dict[str, str]] = {}

    @cached_property
    def cache(self) -> Path:
        return find_cache() / "files/md5"

    def read(self, folder: Path, name: str) -> bytes:
        """The content of a file, name relative to the folder; UnavailableError where it cannot be had."""
        members = self.list_members(folder)
        if name not in members:
            raise UnavailableError("unrecorded")
        return self.find_content(members[name], beside=folder / name)

    def read_arrays(self, folder: Path, name: str) -> dict[str, np.ndarray]:
        """The members of an .npz. Compressed ones are refused: no array is larger than the file."""
        with np.load(io.BytesIO(self.read(folder, name)), allow_pickle=False) as arrays:
            if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                raise UnavailableError("damaged")
            return dict(arrays)

    def list_members(self, folder: Path) -> dict[str, str]:
        """File -> hash."""
        if folder not in self._members:
            md5 = self.record.find_hash(folder.as_posix()) if self.record else ""
            if not FOLDER_HASH.fullmatch(md5) or not is_plain(folder.as_posix()):
                raise UnavailableError("unrecorded")
            members = LISTING.validate_json(self.find_listing(md5, folder))
            self._members[folder] = {member.relpath: member.md5 for member in members if is_plain(member.relpath)}
        return self._members[folder]

    def find_listing(self, md5: str, folder: Path) -> bytes:
        """The list of a folder's files; `dvc repro --no-commit` leaves it out of the cache."""
        try:
            return self.find_content(md5)
        except UnavailableError:
            listing = list_folder(folder) if self.in_workspace else b""
            if hash_content(listing) != md5.removesuffix(".dir"):
                raise
            return listing

    def find_content(self, md5: str, *, beside: Path | None = None) -> bytes:
        """The content with a hash, from the cache, or from a file of the working tree."""
        paths = [self.cache / md5[:2] / md5[2:]]
        if beside and self.in_workspace:
            paths.append(beside)
        found = [path for path in paths if path.is_file()]
        for content in read_all(found):
            if hash_content(content) == md5.removesuffix(".dir"):
                return content
        raise UnavailableError("damaged" if found else "missing")


def read_all(paths: Iterable[Path]) -> Iterable[bytes]:
    """The contents of files that are not too large, one after the other."""
    return (path.read_bytes() for path in paths if path.stat().st_size <= MAX_BYTES)


def is_plain(path: str) -> bool:
    """Whether a relative path stays below its start and has no unusual names."""
    return all(PLAIN.fullmatch(part) for part in path.split("/"))


def hash_content(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def list_folder(folder: Path) -> bytes:
    """The list of a folder's files as DVC writes it."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    entries = [
        {"md5": hash_content(content), "relpath": name} for name in sorted(files) for content in read_all([files[name]])
    ]
    return json.dumps(entries, sort_keys=True).encode()


def find_cache() -> Path:
    """DVC's cache: `cache.dir` of the project's configuration, else .dvc/cache."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read(CONFIGURATION, encoding="utf-8")
    except (configparser.Error, OSError, ValueError):
        return Path(".dvc/cache")
    return Path(".dvc", config.get("cache", "dir", fallback="cache"))
