"""What comes back from DVC's cache, checked first: DVC itself believes whatever is read-only there.

A damaged object is named, removed, and so made anew by the stage that writes it. To hash what is restored takes 1.7
seconds a gigabyte.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.dependency import Dependency, ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc.utils.serialize import ParseError, load_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_objects.errors import ObjectFormatError

from stages.lib.core.lock import HASH, find_object, hash_file, read_listing
from stages.lib.settings.yaml_text import TextError, compose, decode
from tools.guard import ENTRY, GuardError

MAX_ENTRY = 2**20  # bytes of an entry of the cache of runs


class Inspector:
    """Tells which stages have something to do, as `stage.status` does, without its locks: a run holds the project's.

    Stages share most of their inputs. An input that was found as recorded is not looked at again as long as no stage
    had anything to do. From then on commands run, and files change.
    """

    def __init__(self) -> None:
        self.as_recorded: set[tuple[str, str]] | None = set()  # path and hash of inputs; None: not kept any more

    def is_changed(self, stage: PipelineStage) -> bool:
        """Whether there is something to do for a stage; also where DVC cannot read what its cache has of it."""
        known, deps = self.as_recorded or (), [] if stage.frozen else stage.deps
        items = [*(dep for dep in deps if identify(dep) not in known), *stage.outs]
        try:
            changed = stage.is_callback or stage.always_changed or stage.changed_stage()
            changed = changed or any(item.status() for item in items)
        except (ObjectFormatError, ValueError, TypeError, LookupError, AttributeError):  # a forged list of files
            changed = True
        if changed:
            self.as_recorded = None
        elif self.as_recorded is not None:
            self.as_recorded.update(identify(dep) for dep in deps if not isinstance(dep, ParamsDependency))
        return changed


def identify(dep: Dependency) -> tuple[str, str]:
    """Where an input is and what is recorded of it; parameters also differ in which of a file's are meant."""
    return dep.fs_path, str(dep.hash_info)


def prepare_restore(repo: Repo, stage: PipelineStage, tell: Callable[[str], None]) -> None:
    """Give a stage the hashes of today's inputs, and remove what DVC would restore and is damaged.

    Hashes of outputs, as dvc.lock has them, stay with the stage only if they are of the same command and inputs.
    """
    if stage.changed_stage() or stage.changed_deps():
        for out in stage.outs:
            out.hash_info = HashInfo()
    stage.save_deps()
    check_cache(repo, stage, tell)


def check_cache(repo: Repo, stage: PipelineStage, tell: Callable[[str], None]) -> None:
    """Remove from DVC's cache what it would believe of a stage and is not what its hash says; each fault is told.

    These are the objects of its present outputs, the entries of the cache of runs for its inputs, and the
    objects that these name. DVC restores or keeps what is there, and looks no closer.
    """
    record = to_single_stage_lockfile(stage)
    outs = record.get("outs", [])
    paths = [out["path"] for out in outs]
    folder = find_entries(repo, record | {"outs": paths})
    expect_no_link(Path(repo.stage_cache.cache_dir), folder)
    for path in sorted(folder.glob("*")):
        named = read_outs(path)
        if is_about(named, paths):
            outs = outs + named
        else:
            tell(f"Damaged in DVC's cache of runs, removed: {path} (of {stage.addressing})")
            remove(path)
    with suppress(OSError):  # it is missing, or holds an entry
        folder.rmdir()  # as a run leaves it that is killed in between; DVC would look for its newest entry, and fail
    for md5, output in {str(out.get("md5", "")): out["path"] for out in outs}.items():
        expect_no_link(Path(repo.cache.local.path), find_object(Path(repo.cache.local.path), md5).parent)
        for bad in find_bad(Path(repo.cache.local.path), md5):
            tell(f"Damaged in DVC's cache, removed: {bad} (of {output})")
            remove(bad)


def find_entries(repo: Repo, identity: dict[str, Any]) -> Path:
    """The folder in the cache of runs for a command with its inputs and the paths of its outputs: DVC's layout."""
    key = dict_sha256(identity, exclude=["size", "nfiles"])
    return Path(repo.stage_cache.cache_dir, key[:2], key)


def expect_no_link(root: Path, folder: Path) -> None:
    """GuardError where a folder inside DVC's cache is a link: what is removed there would be somebody else's."""
    for path in (folder, folder.parent):
        if path.is_relative_to(root) and path != root and path.is_symlink():
            raise GuardError(f"{path} is a link to {path.resolve()}, expected a folder of DVC's cache: remove the link")


def read_outs(path: Path) -> list[dict[str, Any]]:
    """The outputs that an entry names; none if it cannot be read."""
    if not is_plain(path) or path.stat().st_size > MAX_ENTRY:
        return []
    try:
        compose(decode(path.read_bytes(), limit=MAX_ENTRY), most=MAX_ENTRY)
        return list(load_yaml(str(path))["outs"])
    except (OSError, ParseError, TextError, ValueError, LookupError, TypeError):
        return []


def is_about(outs: list[Any], paths: list[str]) -> bool:
    """Whether an entry names these outputs, each once, by hashes of their content, and nothing else."""
    for out in outs:
        if not isinstance(out, dict) or not out.keys() <= ENTRY or out.get("hash") != "md5":
            return False
        if not all(isinstance(out.get(key), str) for key in ("path", "md5")) or not HASH.fullmatch(out["md5"]):
            return False
    return sorted(out["path"] for out in outs) == sorted(paths)


def find_bad(folder: Path, md5: str) -> Iterator[Path]:
    """The objects of an output that are not what their hash says; those that are missing are not among them."""
    if not HASH.fullmatch(md5):
        return
    path = find_object(folder, md5)
    if not os.path.lexists(path):
        return
    if hash_file(path) != md5.removesuffix(".dir"):
        yield path
    elif md5.endswith(".dir"):
        members = read_listing(path)
        if members is None:
            yield path
        for member in set((members or {}).values()):
            member_path = find_object(folder, member)
            expect_no_link(folder, member_path.parent)
            if os.path.lexists(member_path) and hash_file(member_path) != member:
                yield member_path


def is_plain(path: Path) -> bool:
    return not path.is_symlink() and path.is_file()


def remove(path: Path) -> None:
    """Remove a file or a link, or a folder in the place of one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
