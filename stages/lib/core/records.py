"""Plan files: frozen dataclasses as JSON in data/plan, written by `plan` and read by the other stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter

from stages.lib.core.files import read_bytes, write_bytes

Plan = TypeVar("Plan")

FOLDER = Path("data/plan")


@cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Made once for each kind: pydantic takes ten milliseconds for one."""
    return TypeAdapter(kind)


def to_json(plan: object) -> str:
    kind: Any = type(plan)
    if isinstance(plan, dict):  # of plans, each by the name of its task; empty where a study leaves a variant out
        kind = dict[str, type(next(iter(plan.values()), None))]  # type: ignore[misc]
    return adapter_of(kind).dump_json(plan, indent=2).decode() + "\n"


def from_json(kind: type[Plan], text: str) -> Plan:
    """The inverse of `to_json`."""
    return adapter_of(kind).validate_json(text)  # type: ignore[arg-type]


def find_plan(name: str) -> Path:
    """The file of a plan, by the plan's name in the plan folder."""
    return FOLDER / f"{name}.json"


def save_plans(named: Mapping[str, object]) -> None:
    """Write every plan under its name in the plan folder. Names that start with _ are no variants."""
    for name, plan in named.items():
        write_bytes(find_plan(name), to_json(plan).encode())


def split_task(task: str) -> tuple[str, str]:
    """The study of a task, and the name that it has within: `tables/german`; empty where a study is one task."""
    study, _, dataset = task.partition("/")
    return study, dataset


def load_task_plan(kind: type[Plan], task: str, name: str) -> Plan:
    """Read one plan of a task: a plan file of a study holds those of all its tasks."""
    plans: dict[str, Plan] = load_plan(dict[str, kind], f"{split_task(task)[0]}/{name}")  # type: ignore[valid-type]
    return plans[task]


def load_plan(kind: type[Plan], name: str) -> Plan:
    """Read one plan by its name in the plan folder."""
    return from_json(kind, read_bytes(find_plan(name), written_by="plan").decode())


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
