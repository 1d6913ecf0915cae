"""Mistakes in params.yaml in words: what was found, what was expected, how to mend it."""

from __future__ import annotations

from typing import Any

from stages.lib.base.commands import UserError
from stages.lib.datasets.kinds import KINDS
from stages.lib.studies.protocols import PROTOCOLS


class ParamsError(UserError):
    """params.yaml cannot be used; the message has one line per mistake."""


def raise_all(mistakes: list[str]) -> None:
    found = [text for text in mistakes if text]
    if found:
        raise ValueError("\n".join(found))


# What pydantic's errors expected, in words; {names} come from the error's own context.
EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number less than {lt:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_pattern_mismatch": "a name of small letters, digits and _, a letter first",
    "string_type": "text",
    "too_short": "at least one entry",
    "union_tag_invalid": "a kind among {expected_tags}",
    "union_tag_not_found": "a mapping with a kind",
}


def explain(entry: Any) -> list[str]:
    """One mistake that pydantic found, in words; a check of several fields at once may have found several."""
    parts = [str(part) for part in drop_tags(entry["loc"])]
    where = ".".join(parts) or "params.yaml"
    if entry["type"] == "value_error":
        return [f"{where}: {line}" for line in str(entry["ctx"]["error"]).splitlines()]
    if entry["type"] == "missing":
        return [f"{where}: is missing, expected a value: add it"]
    if entry["type"] == "extra_forbidden":
        return [f"{where}: is not a known key, expected one that params.yaml came with: remove it or mend its spelling"]
    expected = EXPECTED.get(entry["type"], entry["msg"]).format(**entry.get("ctx", {}))
    return [f"{where}: is {entry['input']!r}, expected {expected}: change it"]


def drop_tags(location: tuple[str | int, ...]) -> list[str | int]:
    """pydantic's location without the kind that it adds behind `protocol` and behind the name of a data set."""
    return [
        part
        for place, part in enumerate(location)
        if part != "[key]"
        and not (part in PROTOCOLS and location[place - 1] == "protocol")
        and not (part in KINDS and place == 2 and location[0] == "datasets")
    ]
