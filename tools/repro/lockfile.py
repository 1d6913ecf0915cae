"""dvc.lock, of which a run knows the text of each entry and writes it anew in one step.

DVC would parse all of it before a stage and again after it, then empty the file and fill it: with 85 stages that is
1.3 s for each, and a process that is killed in the midst of it leaves half a file, which no DVC command can read.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, loads_yaml

from tools.repro.project import FOLDER, write_in_one_step

LOCKFILE = Path("dvc.lock")
RECORD = FOLDER / "entries.json"  # the entries that dvc.lock had before the run, in order; removed when that has ended


class Lockfile:
    """The text of dvc.lock.

    order: of all stages, as `dvc repro` goes through them, and so the order in which it appends new entries.
    """

    def __init__(self, order: Sequence[str]):
        self.read()
        recorded, present = json.loads(RECORD.read_text()) if RECORD.exists() else None, list(self.entries)
        if recorded is None or present[: len(recorded)] != recorded:  # else a run was killed: this one takes it up
            recorded = present
            write_in_one_step(RECORD, json.dumps(present))
        self.places = {name: place for place, name in enumerate(dict.fromkeys([*recorded, *order]))}

    def read(self) -> None:
        text, self.stamp = LOCKFILE.read_text(encoding="utf-8") if LOCKFILE.exists() else "", stamp()
        self.head, self.entries, self.tail = split(text) or split(dumps_yaml(loads_yaml(text))) or ("", {}, "")

    def find_place(self, name: str) -> int:
        return self.places.get(name, len(self.places))

    def put(self, stage: PipelineStage) -> None:
        """Record a stage. Call it with DVC's lock held: another DVC command may have written too."""
        if self.stamp != stamp():
            self.read()
        self.entries[stage.name] = dumps_yaml({"stages": to_lockfile(stage)}).removeprefix("stages:\n")
        names = sorted(self.entries, key=self.find_place)
        write_in_one_step(LOCKFILE, self.head + "".join(self.entries[name] for name in names) + self.tail)
        self.stamp = stamp()


def stamp() -> tuple[int, ...]:
    known = LOCKFILE.stat() if LOCKFILE.exists() else None
    return (known.st_ino, known.st_mtime_ns, known.st_size) if known else ()


def split(text: str) -> tuple[str, dict[str, str], str] | None:
    """The text before the entries, that of each, and what follows. None if it is not laid out as DVC does it."""
    lines, root = text.splitlines(keepends=True), yaml.compose(text, Loader=yaml.CSafeLoader)
    tops = {key.value: key.start_mark.line for key, _ in root.value} if root else {}
    if "stages" not in tops:
        return (text if tops else "schema: '2.0'\n") + "stages:\n", {}, ""
    first = tops["stages"] + 1
    behind = min((line for line in tops.values() if line >= first), default=len(lines))
    keys = [key for name, node in root.value if name.value == "stages" for key, _ in node.value]
    starts = [key.start_mark.line for key in keys]
    if starts and (starts[0] != first or not all(re.match(r"  \S", lines[start]) for start in starts)):
        return None
    ranges = pairwise([*starts, behind])
    entries = {key.value: "".join(lines[start:end]) for key, (start, end) in zip(keys, ranges, strict=True)}
    return "".join(lines[: first - 1]) + "stages:\n", entries, "".join(lines[behind:])
