"""The plan of an experiment: the runs that it changes, and what it varies."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lib.core.records import load_plan
from stages.lib.lanes.plan import RunPlan

FOLDER = "_experiments"  # in the plan folder


@dataclass(frozen=True)
class ExperimentPlan:
    """One experiment.

    kind: its function in `table.py`, which says what levels and members are.
    runs: variant of the study -> its run, with the replicates and epochs of the experiment.
    rows: training rows of each replicate; None for all.
    shared_rows: whether replicates share rows that they are judged on with one another's training rows.
    """

    name: str
    kind: str
    study: str
    runs: dict[str, RunPlan]
    rows: int | None
    levels: tuple[float, ...]
    members: int | None
    shared_rows: bool

    @property
    def run(self) -> RunPlan:
        """The first."""
        return next(iter(self.runs.values()))


def load_experiment_plan(name: str) -> ExperimentPlan:
    return load_plan(ExperimentPlan, f"{FOLDER}/{name}")


def load_experiments() -> tuple[str, ...]:
    """The names of all experiments of the plan, in the order of params.yaml."""
    return load_plan(tuple[str, ...], FOLDER)
