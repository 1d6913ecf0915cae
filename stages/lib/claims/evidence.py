"""Evidence: what an experiment of the audit has measured, replicate by replicate.

Its networks are scored on rows that they have not seen, which are validation rows of a study: held-out rows of a study
are for `evaluate` and `reference` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.values import Values, keep

FOLDER = Path("data/evidence/experiments")


@dataclass(frozen=True)
class Case:
    """What was measured of one thing at one level of what the experiment varies. values: quantity -> [replicate]."""

    name: str
    level: float
    values: Values


@dataclass(frozen=True)
class Count:
    """How many of so many cases."""

    name: str
    hits: int
    cases: int


@dataclass(frozen=True)
class Evidence:
    """One experiment.

    test_train_ratio: of the rows that it is judged on, see `resampled_mean`; 0 where each replicate has its own.
    """

    study: str
    test_train_ratio: float
    cases: list[Case]
    counts: list[Count] = field(default_factory=list)


LAYOUT = TypeAdapter(Evidence)


def make_case(name: str, values: Mapping[str, np.ndarray], level: float = 0.0) -> Case:
    """A case of arrays [replicate]."""
    return Case(name, level, {key: keep(found) for key, found in values.items()})


def find_path(experiment: str) -> Path:
    return FOLDER / experiment / "evidence.json"


def save_evidence(experiment: str, found: Evidence) -> None:
    write_json(find_path(experiment), LAYOUT.dump_python(found, mode="json"))


def load_evidence(experiment: str) -> Evidence:
    return LAYOUT.validate_json(read_bytes(find_path(experiment), written_by=f"experiment@{experiment}"))
