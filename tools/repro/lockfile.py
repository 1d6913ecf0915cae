"""dvc.lock while stages run side by side.

DVC parses the whole of dvc.lock before a stage and again after it, then empties the file and fills it anew: with 85
stages that is 1.3 s for each of them, during which no other can start, and a process killed in the midst of it leaves
half a file, which no DVC command can read. Here a stage takes and puts back its own entry, in one step.

DVC also appends new entries in the order of completion, which is chance when stages run side by side; a run ends with
the order that `dvc repro` leaves.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dvc.dvcfile
import dvc.lock
from dvc.dvcfile import Lockfile
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, load_yaml, loads_yaml

from tools.lock_text import HEAD, LockText, split_lock
from tools.repro.project import FOLDER

LOCKFILE = Path("dvc.lock")
DRAFT = FOLDER / "dvc.lock"
RECORD = FOLDER / "entries.json"  # the entries that dvc.lock had before the run, in order


def read_lock() -> LockText | None:
    """None if dvc.lock is not laid out as DVC does it; DVC, which then reads it in our stead, will lay it out anew."""
    return split_lock(LOCKFILE.read_text(encoding="utf-8") if LOCKFILE.exists() else HEAD)


def write_lock(lock: LockText) -> None:
    """In one step: whoever reads dvc.lock, and whenever this process is killed, it is whole."""
    DRAFT.write_text(str(lock), encoding="utf-8")
    DRAFT.replace(LOCKFILE)


class OneEntry(Lockfile):
    """dvc.lock for a process that works on one stage: DVC's own class, without the entries of all others."""

    name = ""  # of the stage

    def is_ours(self) -> bool:
        return Path(self.path).absolute() == LOCKFILE.absolute()

    def load(self, **options: Any) -> Any:
        lock = read_lock()
        if not lock or not self.is_ours():
            return super().load(**options)
        return loads_yaml(HEAD + lock.entries[self.name]) if self.name in lock.entries else {}

    def dump_stages(self, stages: Iterable[PipelineStage], **options: Any) -> None:
        lock = read_lock()
        if not lock or not self.is_ours():
            super().dump_stages(stages, **options)
            return
        for stage in stages:
            lock.entries[stage.name] = dumps_yaml({"stages": to_lockfile(stage, **options)}).removeprefix("stages:\n")
        write_lock(lock)
        self.repo.scm_context.track_file(self.relpath)


def adapt_dvc(name: str) -> None:
    """Fit the DVC of this process to its work, which is the stage of that name alone."""
    OneEntry.name = name
    dvc.dvcfile.Lockfile = OneEntry
    dvc.lock.DEFAULT_TIMEOUT = 0.3  # seconds for six tries at a lock that others hold shortly, if often


def list_entries() -> list[str]:
    lock = read_lock()
    return list(lock.entries if lock else load_yaml(LOCKFILE)["stages"])


def record_entries() -> None:
    """Before the first stage of a run. The record of a run that was killed stands until one ends in order.

    Unless dvc.lock begins otherwise by then: git has put another one in its place.
    """
    present = list_entries()
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else None
    if recorded is None or present[: len(recorded)] != recorded:
        draft = RECORD.with_suffix(".draft")
        draft.write_text(json.dumps(present))
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
    lock = read_lock()
    if not lock or not RECORD.exists():
        return
    places: dict[str, int] = {}
    for name in [*json.loads(RECORD.read_text()), *order]:
        places.setdefault(name, len(places))
    wanted = sorted(lock.entries, key=lambda name: places.get(name, len(places)))
    if wanted != list(lock.entries):
        lock.entries = {name: lock.entries[name] for name in wanted}
        write_lock(lock)
