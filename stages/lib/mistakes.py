"""Mistakes in params.yaml in words: what stands there, what was expected, how to mend it."""

from collections.abc import Iterable
from typing import Any

from stages.lib.commands import UserError


class ParamsError(UserError):
    """params.yaml cannot be used; the message has one line per mistake."""


def expect(field: str, found: str, allowed: Iterable[str], reason: str) -> str:
    return "" if found in allowed else f"{field} is {found}, expected {' or '.join(allowed)}: {reason}"


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
    "greater_than": "a number over {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number under {lt:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_pattern_mismatch": "a name of small letters, digits and _, a letter first",
    "string_type": "text",
    "too_short": "at least one entry",
    "union_tag_invalid": "a kind among {expected_tags}",
    "union_tag_not_found": "a mapping with a kind",
}
UNION_TAGS = ("repeated_stratified_k_fold", "fixed_test")  # stand in pydantic's locations, but are no keys of the file


def explain(entry: Any) -> list[str]:
    """One mistake that pydantic found, in words; a check of several fields at once may have found several."""
    parts = [str(part) for part in entry["loc"] if part != "[key]" and part not in UNION_TAGS]
    where = ".".join(parts) or "params.yaml"
    if entry["type"] == "value_error":
        return [f"{where}: {line}" for line in str(entry["ctx"]["error"]).splitlines()]
    if entry["type"] == "missing":
        return [f"{where}: is missing, expected a value: add it"]
    if entry["type"] == "extra_forbidden":
        return [f"{where}: is not a known key, expected one that params.yaml came with: remove it or mend its spelling"]
    expected = EXPECTED.get(entry["type"], entry["msg"]).format(**entry.get("ctx", {}))
    return [f"{where}: is {entry['input']!r}, expected {expected}: change it"]
