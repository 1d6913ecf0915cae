"""Measurements: what the trained networks of a study show apart from its two scores, replicate by replicate.

They are the part of the audit's evidence that needs no training of its own; see evidence.py for the other part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter

from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.values import Values, read

FOLDER = Path("data/evidence/studies")


@dataclass(frozen=True)
class Point:
    """A variant at one point of its strengths. strengths: regulariser -> strength."""

    strengths: dict[str, FiniteFloat]
    values: Values

    def of(self, quantity: str) -> np.ndarray:
        """[replicate], NaN where there is no finite value."""
        return read(self.values[quantity])


@dataclass(frozen=True)
class Measured:
    """A variant.

    points: the first holds the knobs. tuned: [replicate], the point with the best validation score of each.
    num_weights: of one network, biases included.
    """

    points: Annotated[list[Point], Field(min_length=1)]
    tuned: list[int]
    num_weights: int

    def at_knob(self, quantity: str) -> np.ndarray:
        return self.points[0].of(quantity)

    def at_tuned(self, quantity: str) -> np.ndarray:
        return np.stack([point.of(quantity) for point in self.points])[self.tuned, np.arange(len(self.tuned))]


@dataclass(frozen=True)
class Addition:
    """What a variant scores on held-out rows less what one with a single regulariser less does.

    value, low, high: the difference with its interval at the confidence of params.yaml, see lib/statistics.
    """

    variant: str
    without: str
    score: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


@dataclass(frozen=True)
class Measurements:
    """A study. no_skill: what predictions of the class shares give. test_train_ratio: see `resampled_mean`."""

    test_train_ratio: float
    no_skill: Values
    variants: dict[str, Measured]
    additions: list[Addition]


LAYOUT = TypeAdapter(Measurements)


def find_path(study: str) -> Path:
    return FOLDER / study / "measurements.json"


def save_measurements(study: str, found: Measurements) -> None:
    write_json(find_path(study), LAYOUT.dump_python(found, mode="json"))


def load_measurements(study: str) -> Measurements:
    return LAYOUT.validate_json(read_bytes(find_path(study), written_by=f"measure@{study}"))
