"""Numbers as records keep them."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat

# quantity -> [replicate]; None where it has no finite value, as the weights of a network that has diverged
Values = dict[str, Annotated[list[FiniteFloat | None], Field(min_length=2)]]


def round_number(value: float) -> float:
    """Round to the seven digits that float32 predictions carry."""
    return float(f"{value:.7g}")


def keep(values: np.ndarray) -> list[float | None]:
    """What was measured, [replicate], as a record keeps it."""
    return [round_number(value) if np.isfinite(value) else None for value in values]


def read(kept: Sequence[float | None]) -> np.ndarray:
    """As an array [replicate], NaN where there is no finite value."""
    return np.array(kept, dtype=np.float64)
