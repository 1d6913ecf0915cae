"""dvc.lock, written whole and in one order.

DVC empties dvc.lock and then fills it again, for a tenth of a second and more after every stage: a process killed in
between leaves half a file, which no DVC command can read. And it appends new entries in the order of completion, which
is chance when stages run side by side.
"""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import dvc.lock
from dvc.utils.serialize import _common, load_yaml, modify_yaml

from tools.project import FOLDER

LOCKFILE = Path("dvc.lock")
DRAFT = FOLDER / "dvc.lock"
RECORD = FOLDER / "entries.json"  # the entries that dvc.lock had before the run, in order

dump_in_place = _common._dump_data


def dump_whole(path: str | PathLike[str], data: Any, dumper: Any, fs: Any = None, **options: Any) -> None:
    """In place of DVC's own writer: a new dvc.lock takes the place of the old one in one step."""
    if Path(path).name != LOCKFILE.name:
        dump_in_place(path, data, dumper, fs=fs, **options)
        return
    dump_in_place(DRAFT, data, dumper, **options)
    DRAFT.replace(path)


def adapt_dvc() -> None:
    """In this process, dvc.lock is always whole, and a lock that is taken is tried again after 0.05 s, not 0.5 s."""
    _common._dump_data = dump_whole
    dvc.lock.DEFAULT_TIMEOUT = 0.3  # seconds, for six tries


def list_entries(path: Path = LOCKFILE) -> list[str]:
    return list(load_yaml(path).get("stages", {})) if path.exists() else []


def record_entries() -> None:
    """Before the first stage of a run. The record of a run that was killed stands until one ends in order."""
    if not RECORD.exists():
        draft = RECORD.with_suffix(".draft")
        draft.write_text(json.dumps(list_entries()))
        draft.replace(RECORD)


def drop_record() -> None:
    """At the end of a run that was not stopped."""
    RECORD.unlink(missing_ok=True)


def sort_entries(order: Sequence[str]) -> None:
    """Bring dvc.lock into the order that `dvc repro` leaves: what was there before the run in its place, then the new.

    Entries of stages that dvc.yaml no longer has stay, as they do with `dvc repro`.

    Args:
        order: of all stages, as `dvc repro` goes through them.
    """
    if not RECORD.exists():
        return
    places: dict[str, int] = {}
    for name in [*json.loads(RECORD.read_text()), *order]:
        places.setdefault(name, len(places))
    found = list_entries()
    wanted = sorted(found, key=lambda name: places.get(name, len(places)))
    if wanted != found:
        with modify_yaml(LOCKFILE) as content:
            for name in wanted:
                content["stages"].move_to_end(name)
