"""What a single field of a declaration in params.yaml may hold, and what it has to be when it may not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from reprlib import Repr
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Shortened(Repr):
    """repr() of what a file holds, short enough for a message."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxlist = self.maxdict = self.maxtuple = self.maxset = 6
        self.maxlevel = 3

    def repr_int(self, value: int, level: int) -> str:  # Python writes no number out that has thousands of digits
        return repr(value) if abs(value) < 10**18 else f"a number of {value.bit_length()} bits"


shorten = Shortened().repr


class Strict(BaseModel):
    """A mapping with known keys, exact types and finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


LONGEST_NAME, LONGEST_TEXT, LONGEST_LIST = 64, 200, 1000  # characters, characters, entries
LARGEST = 1e9  # of numbers without a bound of their own: float32 keeps its square
MOST_ROUNDS = 100_000  # epochs, and what counts them

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=LONGEST_NAME)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what NumPy and scikit-learn take
Count = Annotated[int, Field(ge=1, le=10**7)]  # of rows, which a data set bounds
Units = Annotated[int, Field(ge=1, le=2**14)]  # of a layer
Layer = Annotated[int, Field(ge=1, le=100)]  # counted from 1
Epochs = Annotated[int, Field(ge=1, le=MOST_ROUNDS)]
Rounds = Annotated[int, Field(ge=0, le=MOST_ROUNDS)]  # of waiting
Repeats = Annotated[int, Field(ge=1, le=1000)]
Folds = Annotated[int, Field(ge=2, le=1000)]
Seeds = Annotated[int, Field(ge=2, le=10_000)]
Members = Annotated[int, Field(ge=2, le=100)]  # of an ensemble
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
MOST_DECLARED = 200  # names in a mapping of things that one declares
Declared = Field(min_length=1, max_length=MOST_DECLARED)


def one_of(names: Iterable[str]) -> AfterValidator:
    """Accept one of these names."""
    known = tuple(names)

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"is {shorten(name)}, expected one of {', '.join(known)}: mend its spelling")
        return name

    return AfterValidator(check)


def empty_if_none(value: Any) -> Any:
    """`unregularized:` with nothing behind it means `unregularized: {}`."""
    return {} if value is None else value


def refuse_repetition(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"is {shorten(values)}, expected each entry at most once: remove the repetition")
    return values


def to_list(value: Any) -> Any:
    """`l1, l2` means [l1, l2], and 0.1 means [0.1]: DVC's writer gives each entry of a list a line of its own."""
    if isinstance(value, str):
        return [to_number(part.strip()) for part in value.split(",")]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def to_number(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


Entry = TypeVar("Entry")
Listed = Annotated[list[Entry], BeforeValidator(to_list), Field(max_length=LONGEST_LIST)]
Unrepeated = Annotated[
    list[Entry], BeforeValidator(to_list), Field(max_length=LONGEST_LIST), AfterValidator(refuse_repetition)
]
Strengths = Annotated[Unrepeated[Entry], Field(min_length=1)]
