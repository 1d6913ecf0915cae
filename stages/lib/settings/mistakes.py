"""Mistakes in params.yaml in words: where, what was found, what was expected, how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from stages.lib.core.cli import UserError
from stages.lib.core.fields import shorten
from stages.lib.data.kinds import KINDS
from stages.lib.settings.yaml_text import Lines, find_line, index_lines

PARAMS = "params.yaml"
LONGEST = 3800  # characters of a message


class Mistake(NamedTuple):
    """A mistake, in words.

    where: the keys on the way to what it is told of, from the top of the file. text: what was found, and so on.
    below: further keys, to the line in which it stands.
    """

    where: tuple[str | int, ...]
    text: str
    below: tuple[str | int, ...] = ()

    def tell(self, lines: Lines) -> str:
        """In one line; lines: of the file."""
        place = f"{PARAMS}, line {find_line(lines, (*self.where, *self.below))}"
        name = ".".join(limit(str(part)) for part in self.where)
        return f"{place}: {name}: {self.text}" if name else f"{place}: {self.text}"


class ParamsError(UserError):
    """params.yaml cannot be used; the message has one line per mistake."""


def raise_all(mistakes: Iterable[Mistake], root: yaml.Node | None) -> None:
    """ParamsError with all of them, each once, if there are any; root: the file's nodes."""
    lines = index_lines(root)
    told = [line for text in dict.fromkeys(mistake.tell(lines) for mistake in mistakes) for line in text.splitlines()]
    shown = [line for line, length in zip(told, accumulate(map(len, told)), strict=True) if length < LONGEST]
    if len(shown) < len(told):
        shown.append(f"{PARAMS}: {len(told) - len(shown):,} more mistakes: mend these first")
    if told:
        raise ParamsError("\n".join(shown))


UNKNOWN = "is not a known key, expected one that params.yaml came with: remove it or mend its spelling"
# What pydantic's errors expected, in words; {names} come from the error's own context.
EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_type": "a whole number",
    "invalid_key": "text for every key",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_pattern_mismatch": "a name of small letters, digits and _, a letter first",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least one character",
    "string_type": "text",
    "too_short": "at least one entry",
    "union_tag_invalid": "a kind among {expected_tags}",
    "union_tag_not_found": "a mapping with a kind",
}


MISSING = "is missing, expected a value: add it"
TEXTS = {  # of pydantic's other errors
    "extra_forbidden": UNKNOWN,
    "missing": MISSING,
    "too_long": "has {length} entries, expected at most {max_length}: remove some",
}


def explain(entry: Any, within: tuple[str | int, ...]) -> list[Mistake]:
    """One mistake that pydantic found, in words; a check of several fields at once may have found several.

    within: the keys on the way to what was checked.
    """
    where, kind, context = tuple(drop_tags((*within, *entry["loc"]), len(within))), entry["type"], entry.get("ctx", {})
    if kind == "value_error":
        return [Mistake(where, line) for line in str(context["error"]).splitlines()]
    text = TEXTS.get(kind, f"is {{input}}, expected {EXPECTED.get(kind, entry['msg'])}: change it")
    if kind == "too_long":
        context["length"] = len(entry["input"])  # pydantic does not count to the end
    told = {name: write_number(value) for name, value in context.items()}
    return [Mistake(where, text.format(**told, input=shorten(entry["input"])))]


PARTIAL = "partial"  # is set in a model that lacks fields


def salvage(kind: Any, value: Any, where: tuple[str | int, ...], mistakes: list[Mistake]) -> Any:
    """A model with those of its fields that are valid, so that no mistake hides another; None where it is no model.

    A check that needs a field which it lacks ends in an AttributeError. What the model's own checks find is added.
    """
    kind = getattr(kind, "__origin__", kind)  # of Annotated
    if not (isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict)):
        return None
    found, lacking = dict[str, Any](), {name for name, field in kind.model_fields.items() if field.is_required()}
    for name in (name for name in kind.model_fields if name in value):
        try:
            found[name] = adapt_field(kind, name).validate_python(value[name])
        except ValidationError:
            lacking.add(name)
            if part := salvage(kind.model_fields[name].annotation, value[name], (*where, name), mistakes):
                found[name] = part
    model = kind.model_construct(_fields_set={PARTIAL}, **found)
    for name in lacking - found.keys():
        model.__dict__.pop(name, None)
    for decorator in kind.__pydantic_decorators__.model_validators.values():
        try:
            decorator.func(model)
        except AttributeError:
            pass
        except ValueError as error:
            mistakes += [Mistake(where, line) for line in str(error).splitlines()]
    return model


def is_whole(model: Any) -> bool:
    """Whether all of a model is valid; not of None."""
    return model is not None and PARTIAL not in model.model_fields_set


@cache
def adapt_field(kind: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """What validates a field by itself."""
    field: Any = kind.model_fields[name]
    return TypeAdapter(Annotated[field.annotation, field])


def write_number(value: Any) -> Any:
    """A bound as people write it."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return f"{value:,}" if isinstance(value, int) and value >= 1000 else f"{value}"


def limit(key: str) -> str:
    """A key as a message shows it: not too long, and nothing that a terminal would obey."""
    shown = key[:100] if key.isprintable() else repr(key[:100])
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def drop_tags(location: tuple[str | int, ...], start: int) -> list[str | int]:
    """pydantic's location without the kind that it adds, at `start`, behind a data set's name or `protocol`."""
    parts = [part for part in location if part != "[key]"]
    if parts[start : start + 1] == ["protocol"]:
        del parts[start + 1 : start + 2]
    elif parts[:1] == ["datasets"] and KINDS.keys() & parts[start : start + 1]:
        del parts[start]
    return parts
