"""Records of what trained networks show, replicate by replicate: those of a study, and those of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter

from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.records import Values, keep, load_plan, read

STUDIES, EXPERIMENTS = Path("data/predictions"), Path("data/evidence")
EXPERIMENT_PLANS = "_experiments"  # their folder in the plan folder, and the plan of their names


@dataclass(frozen=True)
class Point:
    """A variant at one point of its strengths. strengths: regulariser -> strength. values: quantity -> [replicate]."""

    strengths: dict[str, FiniteFloat]
    values: Values

    def of(self, quantity: str) -> np.ndarray:
        """[replicate], NaN where there is no finite value."""
        return read(self.values[quantity])


@dataclass(frozen=True)
class Measured:
    """A variant of a study.

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
class Case:
    """What an experiment has measured of one thing, at one level of what it varies. values: quantity -> [replicate]."""

    name: str
    values: Values
    level: float = 0.0


@dataclass(frozen=True)
class ExperimentResult:
    """An experiment, on rows that its networks have not seen: validation rows of its study.

    test_train_ratio: of the rows that it is judged on, see `resampled_mean`; 0 where each replicate has its own.
    """

    test_train_ratio: float
    cases: list[Case]


STUDY_LAYOUT = TypeAdapter(dict[str, Measured])  # by the variant
EXPERIMENT_LAYOUT = TypeAdapter(ExperimentResult)


def to_values(arrays: Mapping[str, np.ndarray]) -> Values:
    """Arrays [replicate] as a record keeps them."""
    return {name: keep(values) for name, values in arrays.items()}


def save_measurements(study: str, variants: Mapping[str, Measured]) -> None:
    write_json(STUDIES / study / "_measurements.json", STUDY_LAYOUT.dump_python(dict(variants), mode="json"))


def load_measurements(study: str) -> dict[str, Measured]:
    path = STUDIES / study / "_measurements.json"
    return STUDY_LAYOUT.validate_json(read_bytes(path, written_by="evaluate"))


def save_experiment(name: str, result: ExperimentResult) -> None:
    write_json(EXPERIMENTS / name / "evidence.json", EXPERIMENT_LAYOUT.dump_python(result, mode="json"))


def load_experiments() -> dict[str, ExperimentResult]:
    """All experiments of the plan, in the order of params.yaml."""
    results = {}
    for name in load_plan(tuple[str, ...], EXPERIMENT_PLANS):
        content = read_bytes(EXPERIMENTS / name / "evidence.json", written_by=f"experiment@{name}")
        results[name] = EXPERIMENT_LAYOUT.validate_json(content)
    return results
