"""What a single field of a declaration in params.yaml may hold, and what it has to be when it may not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A mapping with known keys, exact types and finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def one_of(names: Iterable[str]) -> AfterValidator:
    """Accept one of these names."""
    known = tuple(names)

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"is {name!r}, expected one of {', '.join(known)}: mend its spelling")
        return name

    return AfterValidator(check)


def empty_if_none(value: Any) -> Any:
    """`unregularized:` with nothing behind it means `unregularized: {}`."""
    return {} if value is None else value


def refuse_repetition(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"is {values}, expected each entry at most once: remove the repetition")
    return values


Entry = TypeVar("Entry")
Unrepeated = Annotated[list[Entry], AfterValidator(refuse_repetition)]
Strengths = Annotated[Unrepeated[Entry], Field(min_length=1)]
