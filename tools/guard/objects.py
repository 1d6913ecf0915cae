"""What comes back from DVC's cache, checked first: DVC itself believes whatever is read-only there.

A damaged object is named, removed, and so made anew by the stage that writes it. To hash what is restored takes 1.7
seconds a gigabyte.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.stage import PipelineStage
from dvc.stage.cache import StageCache

from tools.guard import HASH, KNOWN, is_inside

MAX_LISTING = 2**26  # bytes of the list of a folder's files


def guard_cache(repo: Any, tell: Callable[[str], None]) -> None:
    """Have DVC restore nothing that is not what its hash says. `tell` is called with each fault."""
    repo.stage_cache = CheckedCache(repo, tell)


class CheckedCache(StageCache):
    """DVC's cache of runs. What it would restore are outputs of the stage, and their objects have their hashes."""

    def __init__(self, repo: Any, tell: Callable[[str], None]):
        super().__init__(repo)
        self.tell, self.folder = tell, Path(repo.cache.local.path)
        self.stage: Any = None  # that is at work

    def restore(self, stage: PipelineStage, *arguments: Any, **options: Any) -> None:
        self.stage = stage
        super().restore(stage, *arguments, **options)

    def save(self, stage: PipelineStage) -> None:
        self.stage = stage
        super().save(stage)

    def _load_cache(self, key: str, value: str) -> Any:
        """DVC's own step of reading an entry: one that is not about the outputs of the stage is removed."""
        entry = super()._load_cache(key, value)
        if entry is None or is_about(entry.get("outs") or [], {out.def_path for out in self.stage.outs}):
            return entry
        path = Path(self._get_cache_path(key, value))
        self.tell(f"Damaged in DVC's cache of runs, removed: {path} (of {self.stage.addressing})")
        remove(path)
        return None

    def _create_stage(self, cache: Any, wdir: str | None = None) -> PipelineStage:
        """DVC's own step between reading an entry and touching files, when an entry is restored or written again."""
        for out in cache["outs"]:
            for bad in find_bad(self.folder, str(out.get("md5", ""))):
                self.tell(f"Damaged in DVC's cache, removed: {bad} (of {out['path']})")
                remove(bad)
        return super()._create_stage(cache, wdir)


def is_about(outs: list[dict[str, Any]], paths: set[str]) -> bool:
    """Whether an entry names these outputs by hashes of their content, and nothing else."""
    plain = all(out.keys() <= KNOWN and HASH.fullmatch(str(out.get("md5", ""))) for out in outs)
    return plain and {out["path"] for out in outs} == paths


def find_bad(folder: Path, md5: str) -> Iterator[Path]:
    """The objects of an output that are not what their hash says; those that are missing are not among them."""
    if not HASH.fullmatch(md5):
        return
    path = find_path(folder, md5)
    if not path.exists():
        return
    if hash_file(path) != md5.removesuffix(".dir"):
        yield path
    elif md5.endswith(".dir"):
        members = read_listing(path)
        if members is None:
            yield path
        for member in set(members or ()):
            member_path = find_path(folder, member)
            if member_path.exists() and hash_file(member_path) != member:
                yield member_path


def find_path(folder: Path, md5: str) -> Path:
    return folder / md5[:2] / md5[2:]


def hash_file(path: Path) -> str:
    """The MD5 of a file; empty of what is none."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return ""


def read_listing(path: Path) -> list[str] | None:
    """The hashes of a folder's files; None where its list is not one that DVC writes."""
    try:
        entries = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_LISTING else None
        names = [entry["relpath"] for entry in entries or ()]
        hashes = [entry["md5"] for entry in entries or ()]
        good = all(map(is_inside, names)) and all(len(md5) == 32 and HASH.fullmatch(md5) for md5 in hashes)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return hashes if entries is not None and good and len(set(names)) == len(names) else None


def remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
