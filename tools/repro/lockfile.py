"""dvc.lock, taken apart into the text of its entries.

DVC parses the whole of dvc.lock before a stage and again after it, then empties the file and fills it anew: with 85
stages that is 1.3 s for each of them, during which no other can start, and a process killed in the midst of it leaves
half a file, which no DVC command can read. Here a stage takes and puts back its own entry, in one step.

DVC also appends new entries in the order of completion, which is chance when stages run side by side; a run ends with
the order that `dvc repro` leaves.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.dvcfile
import dvc.lock
from dvc.dvcfile import Lockfile
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, load_yaml, loads_yaml

from tools.repro.project import FOLDER

LOCKFILE = Path("dvc.lock")
DRAFT = FOLDER / "dvc.lock"
RECORD = FOLDER / "entries.json"  # the entries that dvc.lock had before the run, in order

HEAD = "schema: '2.0'\nstages:\n"
PARTS = re.compile(r"(?P<head>(?:.*\n)*?stages:\n)(?P<entries>(?:  .*\n|\n)*)(?P<tail>(?:\S.*\n(?: .*\n|\n)*)*)")
START_OF_ENTRY = re.compile(r"^(?=  \S)", re.MULTILINE)


@dataclass
class LockText:
    """The text of dvc.lock: its entries by the name of the stage, and what stands before and behind them."""

    head: str
    entries: dict[str, str]
    tail: str

    def write(self) -> None:
        """In one step: whoever reads dvc.lock, and whenever this process is killed, it is whole."""
        DRAFT.write_text(self.head + "".join(self.entries.values()) + self.tail, encoding="utf-8")
        DRAFT.replace(LOCKFILE)


def read_lock() -> LockText | None:
    """None if dvc.lock is not laid out as DVC does it; DVC, which then reads it in our stead, will lay it out anew."""
    text = LOCKFILE.read_text(encoding="utf-8") if LOCKFILE.exists() else HEAD
    parts = PARTS.fullmatch(text)
    if not parts:
        return None
    entries = {find_name(entry): entry for entry in START_OF_ENTRY.split(parts["entries"]) if entry}
    return LockText(parts["head"], entries, parts["tail"]) if "" not in entries else None


def find_name(entry: str) -> str:
    """The stage that the text of an entry is about; empty if it cannot be told."""
    line = entry.partition("\n")[0]
    if re.fullmatch(r"  [\w@.-]+:", line):
        return line[2:-1]
    return next(iter(loads_yaml(line)), "") if re.match(r"  \S", line) and line.endswith(":") else ""


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
        lock.write()
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
        lock.write()
