"""The record of what trained networks show, replicate by replicate: those of a study, or those of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter

from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.records import Values, keep, load_plan

STUDIES, EXPERIMENTS = Path("data/predictions"), Path("data/evidence")
EXPERIMENT_PLANS = "_experiments"  # their folder in the plan folder, and the plan of their names


At = Literal["knob", "tried", "tuned"]


@dataclass(frozen=True)
class Case:
    """What was measured of a variant of a study, or of one thing of an experiment. values: quantity -> [replicate].

    level: of what an experiment varies; or the strength of the regulariser that a variant has its name from.
    at: of a variant, its knob, a point that is tried, or tuned: those with the best validation scores.
    """

    name: str
    values: Values
    level: float = 0.0
    at: At = "tried"


@dataclass(frozen=True)
class Measured:
    """A study, on held-out rows, or an experiment, on the validation rows of its study.

    test_train_ratio: of the rows that it is judged on, see `resampled_mean`; 0 where each replicate has its own.
    """

    test_train_ratio: float
    cases: list[Case]


LAYOUT = TypeAdapter(Measured)


def to_values(arrays: Mapping[str, np.ndarray]) -> Values:
    """Arrays [replicate] as a record keeps them."""
    return {name: keep(values) for name, values in arrays.items()}


def load_experiments() -> tuple[str, ...]:
    """The names of all experiments, in the order of params.yaml."""
    return load_plan(tuple[str, ...], EXPERIMENT_PLANS)


def find_study(task: str) -> Path:
    return STUDIES / task / "_measurements.json"


def find_experiment(name: str) -> Path:
    return EXPERIMENTS / name / "evidence.json"


def save_measured(measured: Measured, path: Path) -> None:
    write_json(path, LAYOUT.dump_python(measured, mode="json"))


def load_measured(path: Path, *, written_by: str) -> Measured:
    return LAYOUT.validate_json(read_bytes(path, written_by=written_by))
