"""Numbers as records keep them."""

from typing import Annotated

from pydantic import Field, FiniteFloat

Values = dict[str, Annotated[list[FiniteFloat], Field(min_length=2)]]  # quantity -> [replicate]


def round_number(value: float) -> float:
    """Round to the seven digits that float32 predictions carry."""
    return float(f"{value:.7g}")
