"""The valid parts of a declaration that has mistakes, so that one mistake does not hide the next."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError


def salvage(kind: type[BaseModel], value: Any) -> Any:
    """An object of a class of declarations that lacks the fields which are not valid."""
    given = value if isinstance(value, dict) else {}
    found = kind.model_construct()
    found.__dict__.clear()
    for name, field in kind.model_fields.items():
        if name in given:
            keep(found.__dict__, name, Annotated[field.annotation, field], given[name])
        elif not field.is_required():
            found.__dict__[name] = field.get_default(call_default_factory=True)
    return found


def keep(found: dict[str, Any], name: str, kind: Any, value: Any) -> None:
    """Add the value if it is valid, or what is valid of it where it is a mapping of fields or of names."""
    try:
        found[name] = TypeAdapter(kind).validate_python(value)
    except ValidationError:
        inner = strip(kind)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found[name] = salvage(inner, value)
        elif get_origin(inner) is dict and isinstance(value, dict):
            key_kind, entry_kind = get_args(inner)
            found[name] = salvage_entries(key_kind, entry_kind, value)


def salvage_entries(key_kind: Any, entry_kind: Any, value: dict[Any, Any]) -> dict[str, Any]:
    """All entries with a valid name; of a declaration that is not valid nothing is known but its name."""
    entries: dict[str, Any] = {}
    names = TypeAdapter(key_kind)
    for name, entry in value.items():
        try:
            names.validate_python(name)
        except ValidationError:
            continue
        if not isinstance(strip(entry_kind), type) or issubclass(strip(entry_kind), BaseModel):
            entries[name] = SimpleNamespace()
        keep(entries, name, entry_kind, entry)
    return entries


def strip(kind: Any) -> Any:
    """A type without what is annotated to it."""
    return strip(get_args(kind)[0]) if get_origin(kind) is Annotated else kind
