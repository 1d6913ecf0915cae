"""Keep what a stage makes part by part: where it runs again, only parts whose inputs have changed are made anew.

DVC runs a stage as a whole: for one changed strength all of its path, for one changed variant all predictions of a
study. So files are kept by a digest of all that shapes them: their inputs, the code of this process, the versions of
what is installed. They are links to the outputs, which take no room on the disk. Where nothing is kept, as in a fresh
clone, everything is made; the bytes are the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from stages.lib.core.files import write_bytes

KEPT = Path(".dvc/tmp/kept")
WHOLE = "whole"  # an empty file, written last


def digest(inputs: Iterable[str | Path]) -> str:
    """Of texts and of the content of files, and of all that is the same for the whole process."""
    parts = [describe_process(), *(hash_file(part) if isinstance(part, Path) else part for part in inputs)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@cache
def describe_process() -> str:
    """The code of the project that is loaded, and the versions of all that is installed."""
    loaded = [module for name, module in sys.modules.items() if name == "__main__" or name.startswith("stages.")]
    files = sorted({path for module in loaded if (path := getattr(module, "__file__", None)) and "stages" in path})
    installed = sorted((found.name, found.version) for found in distributions())
    return repr((installed, [hash_file(Path(path)) for path in files]))


def hash_file(path: Path) -> str:
    state = path.stat()
    return hash_state(path, state.st_mtime_ns, state.st_size, state.st_ino)


@cache
def hash_state(path: Path, *state: int) -> str:
    """Once for each state of a file: many parts share one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recall(name: str, inputs: Sequence[str | Path], make: Callable[[Path], None], target: Path) -> None:
    """Fill a folder with the files that are kept of these inputs, or make them.

    Args:
        name: of what is made; of each name the newest files are kept.
        make: writes the files into the folder that it is given.
        target: a folder that files are added to.
    """
    of_name = KEPT / name
    folder = of_name / digest(inputs)
    if not (folder / WHOLE).is_file():
        shutil.rmtree(of_name, ignore_errors=True)
        make(folder)
        if digest(inputs) == folder.name:  # an input that was edited meanwhile may have been read before or after
            write_bytes(folder / WHOLE, b"")
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name != WHOLE:
            link(path, target / path.name)


def link(path: Path, target: Path) -> None:
    """A second name for a file; a copy on another disk."""
    target.unlink(missing_ok=True)
    with suppress(OSError):
        os.link(path, target)
        return
    shutil.copyfile(path, target)
