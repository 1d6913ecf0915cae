"""YAML from elsewhere: its limits, its faults in one line, and the line of each key.

What is read is what anybody may have sent. libyaml looks through it first, which takes a hundredth of the time that
ruamel.yaml needs for it, and without recursion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from stages.lib.base.commands import UserError

MAX_BYTES = 2**17  # of params.yaml, which has a tenth of that; ruamel.yaml takes a second for so much
MAX_DEPTH = 24
MAX_VALUES = 20_000  # keys and values, those behind aliases counted wherever they stand
MARKER = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TextError(UserError):
    """Text that is no YAML, or more than is read; the message has one line, and `line` is that of the fault."""

    def __init__(self, text: str, line: int = 0):
        super().__init__(f"line {line}: {text}" if line else text)
        self.line = line


def decode(data: bytes, *, limit: int = MAX_BYTES) -> str:
    """The text of a file; TextError where it is too long or not UTF-8."""
    if len(data) > limit:
        raise TextError(f"has {len(data):,} bytes, expected at most {limit:,}: shorten it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextError("is not UTF-8 text, expected UTF-8: save it as such", line) from None


def compose(text: str, *, most: int = MAX_VALUES, aliases: bool = True) -> yaml.Node | None:
    """The nodes of a document, each with its place; None of an empty one. aliases: whether it may have any.

    Raises TextError where it is no YAML, is nested too deeply, or has more than so many values.
    """
    if found := MARKER.search(text):
        raise TextError(
            f"holds a conflict marker of git ({found[1]}), expected none: choose one side and remove the markers",
            text.count("\n", 0, found.start()) + 1,
        )
    try:
        check_events(text, aliases=aliases)
        root = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise explain(error) from None
    except ValueError as error:  # such as a character that no text has
        raise TextError(f"is not YAML ({' '.join(str(error).split())}), expected YAML: correct it") from None
    if root is not None and count_values(root, {}, most) > most:
        raise TextError(f"has more than {most:,} values (aliases written out), expected at most that: shorten it")
    return root


def check_events(text: str, *, aliases: bool) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.AliasEvent) and not aliases:
            raise TextError("has aliases, expected none: write the values out", event.start_mark.line + 1)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1
            raise TextError(f"is nested more than {MAX_DEPTH} levels deep, expected fewer: remove brackets", line)


def explain(error: yaml.YAMLError) -> TextError:
    """libyaml's message in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    reason = ", ".join(part for part in parts if part) or " ".join(str(error).split())[:200]
    return TextError(f"is not YAML ({reason}), expected YAML: correct it", mark.line + 1 if mark else 0)


def count_values(node: yaml.Node, known: dict[int, int], most: int) -> int:
    """The values of a node, aliases written out; one that contains itself has no end."""
    if id(node) not in known:
        known[id(node)] = most + 1  # while it is counted: what comes by again contains itself
        known[id(node)] = 1 + sum(count_values(child, known, most) for child in list_children(node))
    return known[id(node)]


def list_children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def find_line(root: yaml.Node | None, where: Sequence[str | int]) -> int:
    """The line, counted from 1, of the key or entry at a path; where it is missing, of the last part that is there."""
    if root is None:
        return 1
    line, node = root.start_mark.line + 1, root
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = [(value, value) for value in node.value[part : part + 1]]
        else:
            found = []
        if not found:
            break
        line, node = found[-1][0].start_mark.line + 1, found[-1][1]
    return line
