"""What dvc.lock and DVC's cache hold: the outputs of stages, with their hashes.

Outputs of stages that are gone are removed: DVC leaves them on disk, and would count them as inputs of the next stage.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

LOCK = Path("dvc.lock")
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?", re.ASCII)
Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # which makes text of each value, as it is written


def prune_outputs(root: Path, names: Collection[str]) -> None:
    """Remove what lies in `root`, has another name, and is an output by dvc.lock.

    Never through a link, and only where DVC's cache has every file of it: what dvc.lock claims may be forged, and
    nothing is lost.
    """
    if any(path.is_symlink() for path in (root, *root.parents)):
        return
    gone = [path for path in sorted(root.glob("*")) if path.name not in names and not path.is_symlink()]
    made = list_outputs() if gone else {}
    for path in gone:
        if path.as_posix() in made:
            if not is_cached(path, made[path.as_posix()], find_cache()):
                print(f"note: {path} is left: dvc.lock calls it an output, but DVC's cache lacks what is in it")
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def find_cache() -> Path:
    """The folder of DVC's cache, wherever it is configured to be."""
    from dvc.config import Config  # which takes a tenth of a second, and is seldom needed

    return Path(Config(".dvc")["cache"].get("dir", ".dvc/cache"), "files/md5")


def is_cached(path: Path, md5: str, cache: Path) -> bool:
    """Whether a file is what the cache has under a hash, or a folder has just the files of the list that it has there.

    The cache has to have all of these.
    """
    if not HASH.fullmatch(md5):
        return False
    listed = read_listing(find_object(cache, md5)) if md5.endswith(".dir") else {".": md5}
    files = [file for file in (path, *path.rglob("*")) if file.is_symlink() or not file.is_dir()]
    found = {file.relative_to(path).as_posix(): hash_file(file) for file in files}
    return found == listed and all(hash_file(find_object(cache, one)) == one for one in found.values())


def read_listing(path: Path) -> dict[str, str] | None:
    """The files of a folder with their hashes, as DVC's cache lists them; None where it is damaged or leads out."""
    try:
        listed = {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}
        return listed if all(map(is_inside, listed)) else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def read_entry(path: Path) -> dict[str, str]:
    """Path and hash of the outputs that an entry of DVC's cache of runs names; none if it is damaged."""
    try:
        entry = yaml.load(path.read_bytes(), Loader=Loader)
        return {out["path"]: out["md5"] for out in entry["outs"]}
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return {}


def is_inside(path: str) -> bool:
    """Whether a path as DVC writes it stays in the project: relative, and nowhere up."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path


def find_object(cache: Path, md5: str) -> Path:
    """Where DVC's cache has what has this hash."""
    return cache / md5[:2] / md5[2:]


def hash_file(path: Path) -> str:
    """The MD5 of a file; empty of what is none: a link, a folder, a pipe."""
    if path.is_file() and not path.is_symlink():
        with suppress(OSError), path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return ""


def list_outputs() -> dict[str, str]:
    """Path and hash of what dvc.lock names as outputs, also of stages that are gone; none where it cannot be read."""
    try:
        stages = yaml.load(LOCK.read_text(encoding="utf-8"), Loader=Loader)["stages"].values()
        return {out["path"]: out.get("md5", "") for stage in stages for out in stage.get("outs", ())}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return {}
