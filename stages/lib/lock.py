"""What dvc.lock and DVC's cache hold: the outputs of stages, with their hashes.

Outputs of stages that are gone are removed: DVC leaves them on disk, and would count them as inputs of the next stage.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

LOCK = Path("dvc.lock")
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?", re.ASCII)
MAX_LISTING = 2**26  # bytes of the list of a folder's files
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def is_cached(folder: Path, md5: str, cache: Path) -> bool:
    """Whether a file is what the cache has under a hash, or a folder has just the files of the list that it has there.

    The cache has to have all of these.
    """
    if folder.is_file():
        return bool(HASH.fullmatch(md5)) and hash_file(folder) == md5 == hash_file(find_object(cache, md5))
    listed = read_listing(find_object(cache, md5)) if HASH.fullmatch(md5) and md5.endswith(".dir") else None
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    files = {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}
    return files == listed and all(hash_file(find_object(cache, md5)) == md5 for md5 in files.values())


def read_listing(path: Path) -> dict[str, str] | None:
    """The files of a folder with their hashes, as DVC's cache lists them; None where it is no list that DVC writes."""
    try:
        entries: Any = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_LISTING else None
        listed = {entry["relpath"]: entry["md5"] for entry in entries}
        folders = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
        good = isinstance(entries, list) and all(len(entry) == 2 for entry in entries) and len(listed) == len(entries)
        good = good and all(is_inside(name) and str(PurePosixPath(name)) == name for name in listed)
        good = good and all(len(md5) == 32 and HASH.fullmatch(md5) for md5 in listed.values())
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return listed if good and folders.isdisjoint(listed) else None


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
        root = yaml.compose(LOCK.read_text(encoding="utf-8"), Loader=Loader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    entries = [read_texts(entry) for entry in find_nodes(root, "stages", None, "outs", None)]
    return {entry["path"]: entry.get("md5", "") for entry in entries if "path" in entry}


def find_nodes(node: yaml.Node | None, *path: str | None) -> Iterator[yaml.Node]:
    """The nodes below one at a path of keys, of which None stands for all of a mapping or a sequence."""
    if not path:
        yield from () if node is None else (node,)
    elif isinstance(node, yaml.SequenceNode) and path[0] is None:
        for value in node.value:
            yield from find_nodes(value, *path[1:])
    for key, value in list_items(node) if path else ():
        if path[0] in (key, None):
            yield from find_nodes(value, *path[1:])


def list_items(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    """The keys and values of a mapping; none of what is not one."""
    return [(str(key.value), value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


def read_texts(node: yaml.Node) -> dict[str, str]:
    """The values of a mapping that are no mappings or sequences, as they are written."""
    return {key: value.value for key, value in list_items(node) if isinstance(value, yaml.ScalarNode)}
