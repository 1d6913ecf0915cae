"""YAML: its limits, its faults in one line, and the line of each key."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from stages.lib.core.cli import UserError

MAX_BYTES = 2**17  # of params.yaml, which has a tenth of that; ruamel.yaml takes a second for so much
MAX_DEPTH = 24
MARKER = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
Lines = dict[tuple[str | int, ...], int]
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TextError(UserError):
    """Text that is no YAML, or more than is read; the message has one line."""

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


def compose(text: str) -> yaml.Node | None:
    """The nodes of a document, each with its place; None of an empty one.

    Raises TextError where it is no YAML, or is nested too deeply.
    """
    if found := MARKER.search(text):
        told = f"holds a conflict marker of git ({found[1]}), expected none: choose one side and remove the markers"
        raise TextError(told, text.count("\n", 0, found.start()) + 1)
    try:
        check_depth(text)
        return yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise explain_yaml(error, text) from None
    except (ValueError, RecursionError) as error:  # such as a character that no text has
        raise TextError(f"is not YAML ({' '.join(str(error).split())}), expected YAML: correct it") from None


def check_depth(text: str) -> None:
    """TextError where a document is nested too deeply, such as one that contains itself: parsers use recursion."""
    anchors = list[str | None]()  # of the collections around a place
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchors.pop()
        if len(anchors) > MAX_DEPTH or (isinstance(event, yaml.AliasEvent) and event.anchor in anchors):
            told = f"is nested more than {MAX_DEPTH} levels deep, expected fewer: remove brackets"
            raise TextError(told, event.start_mark.line + 1)


def explain_yaml(error: Any, text: str) -> TextError:
    """libyaml's or ruamel.yaml's message in one line."""
    if hasattr(error, "position"):  # a character that YAML does not take
        line, reason = text.count("\n", 0, error.position) + 1, getattr(error, "reason", "")
        return TextError(f"is not YAML (a character that it does not take: {reason}), expected YAML: remove it", line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    parts = [getattr(error, name, None) for name in ("context", "problem")]
    first_lines = [part.strip().splitlines()[0][:200] for part in parts if part and part.strip()]
    reason = ", ".join(first_lines) or " ".join(str(error).split())[:200]
    return TextError(f"is not YAML ({reason}), expected YAML: correct it", mark.line + 1 if mark else 0)


class Constructor(SafeConstructor):
    """ruamel.yaml's, which also says in which line a value stands that is none, such as the 45th of May."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
            reason, line = " ".join(str(error).split())[:100], node.start_mark.line + 1
            raise TextError(f"holds a value that is none ({reason}), expected another: change it", line) from None


@lru_cache(maxsize=4)  # a review reads two texts, twice each, and they are often one
def load_document(text: str) -> tuple[Any, yaml.Node | None]:
    """The values of a text, read with the parser that DVC uses (YAML 1.2), and its nodes; nobody changes either.

    Raises TextError where it is no YAML, or more than is read.
    """
    root = compose(text)
    parser = YAML(typ="safe", pure=True)
    parser.Constructor = Constructor
    try:
        return parser.load(text), root
    except YAMLError as error:
        raise explain_yaml(error, text) from None


def index_lines(node: yaml.Node | None, path: tuple[str | int, ...] = (), line: int = 1) -> Lines:
    """The line of every key and entry of a document, counted from 1, by the path to it."""
    pairs = list[tuple[Any, yaml.Node, yaml.Node]]()
    if isinstance(node, yaml.MappingNode):
        pairs = [(key.value, key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(number, value, value) for number, value in enumerate(node.value)]
    lines = {path: line if path or node is None else node.start_mark.line + 1}
    for part, place, value in pairs:
        lines |= index_lines(value, (*path, part), place.start_mark.line + 1)
    return lines


def find_line(lines: Lines, where: tuple[str | int, ...]) -> int:
    """The line of what is at a path; where it is missing, that of the last part that is there."""
    return next(lines[where[:size]] for size in range(len(where), -1, -1) if where[:size] in lines)
