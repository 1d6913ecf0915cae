"""dvc.lock, taken apart into the text of its entries: to parse the whole of it takes a second."""

import re
from dataclasses import dataclass

from ruamel.yaml import YAML

HEAD = "schema: '2.0'\nstages:\n"
PARTS = re.compile(r"(?P<head>(?:.*\n)*?stages:\n)(?P<entries>(?:  .*\n|\n)*)(?P<tail>(?:\S.*\n(?: .*\n|\n)*)*)")
START_OF_ENTRY = re.compile(r"^(?=  \S)", re.MULTILINE)


@dataclass
class LockText:
    """The text of dvc.lock: its entries by the name of the stage, and what stands before and behind them."""

    head: str
    entries: dict[str, str]
    tail: str

    def __str__(self) -> str:
        return self.head + "".join(self.entries.values()) + self.tail


def split_lock(text: str) -> LockText | None:
    """None if the text is not laid out as DVC lays out dvc.lock."""
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
    name = (
        next(iter(YAML(typ="safe", pure=True).load(line)), "") if re.match(r"  \S", line) and line.endswith(":") else ""
    )
    return str(name)
