"""What dvc.lock tells of a run: from which inputs each arm was computed, and whether the run reached its end."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.error import YAMLError

from stages.lib.params import parse_yaml
from tools.lock_text import split_lock

Key = tuple[str, str, str]  # study, variant, kind of arm
Hashes = frozenset[tuple[str, str]]  # path, hash of its content

SECTIONS = re.compile(r"^    (deps|outs):\n((?:    [- ] .*\n)*)", re.MULTILINE)
COMMAND = re.compile(r"^    cmd:(.*\n(?:    [- ] .*\n)*)", re.MULTILINE)
HASH = re.compile(r"^    - path: (.*)\n      hash: md5\n      md5: (\S+)", re.MULTILINE)
GATHERED = ("data/plan", "data/predictions", "data/reference", "models")  # folders that hold the parts of many arms


@dataclass(frozen=True)
class Record:
    """The stages of a run: what went in and came out, and the parameters of the last one that was begun."""

    commands: dict[str, str]  # of each stage
    deps: dict[str, Hashes]
    outs: dict[str, Hashes]
    params: Any

    def find_inputs(self, key: Key) -> Hashes | None:
        """What one arm's answers depend on, code included, but for folders that hold its neighbours' parts as well.

        None if it is not known.
        """
        study, variant, kind = key
        networks = [f"train_{study}@{variant}", f"evaluate@{study}", "compare"]
        stages = [f"reference@{study}", "compare"] if kind == "reference" else networks
        if not self.deps.keys() >= set(stages):
            return None
        hashes = frozenset[tuple[str, str]]().union(*(self.deps[name] for name in stages))
        gathered = {*GATHERED, *(f"{folder}/{study}" for folder in GATHERED)}
        commands = {(name, self.commands.get(name, "")) for name in stages}
        return frozenset((path, value) for path, value in hashes if path not in gathered) | commands

    def find_unfinished(self, keys: Iterable[Key], *, comparison: str) -> list[str]:
        """In words, why these are not the arms of one whole run; empty if they are, as far as this can tell.

        It sees where one stage has read a file or folder in another state than its writer, or another reader, has left
        it in. Of a run that stopped between all of a study's trainings and its evaluation nothing shows: `make check`.
        """
        stages = {"plan", "compare"}
        for study, variant, kind in keys:
            run = f"reference@{study}" if kind == "reference" else f"train_{study}@{variant}"
            stages |= {f"preprocess@{study}", f"evaluate@{study}", run}
        seen = [part.get(name, frozenset()) for part in (self.deps, self.outs) for name in stages]
        hashes = frozenset[tuple[str, str]]().union(*seen)
        if len({path for path, _ in hashes}) < len(hashes):  # one stage has seen what another has not
            return ["the last run did not reach its end"]
        written = dict(self.outs.get("compare", ())).get("metrics/comparison.json")
        if written and written != hashlib.md5(comparison.encode(), usedforsecurity=False).hexdigest():
            return ["metrics/comparison.json is not what the last run wrote"]
        return []


def read_record(text: str) -> Record | None:
    """Out of the text of a dvc.lock; None where it is laid out in another way than DVC's, or knows no plan."""
    lock = split_lock(text)
    if lock is None or "plan" not in lock.entries:
        return None
    sections = {name: dict(SECTIONS.findall(entry)) for name, entry in lock.entries.items()}
    deps, outs = (
        {name: frozenset(HASH.findall(parts.get(section, ""))) for name, parts in sections.items()}
        for section in ("deps", "outs")
    )
    commands = {name: "".join(COMMAND.findall(entry)) for name, entry in lock.entries.items()}
    try:
        params = parse_yaml(lock.entries["plan"])["plan"].get("params", {}).get("params.yaml")
    except YAMLError:
        return None
    return None if params is None else Record(commands, deps, outs, params)
