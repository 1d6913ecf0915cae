"""What each run needs of the machine at least, against what it has. It refuses, and never changes a plan.

The estimates are of what cannot be done without: the weights of all lanes, what is recorded of them, the predictions,
the rows. They leave out what a run needs beside that, so what they refuse cannot be held.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from stages.lib.core.records import split_task
from stages.lib.data.dataset import Facts
from stages.lib.lanes.plan import RunPlan, find_run
from stages.lib.settings.mistakes import Mistake
from stages.lib.settings.schema import Params

FLOAT = 4  # bytes
COPIES = 2  # of the lanes' weights: those of the blocks, and those of the run
HISTORY = 40  # bytes of a lane's epoch: epoch, lane, loss and two monitors
GIGABYTE = 1e9


class Machine(NamedTuple):
    """Bytes of memory that it has, and bytes that are free on the disk of the project."""

    memory: float
    disk: float


class Need(NamedTuple):
    """Number of networks of a run, and bytes of memory and of disk that it needs at least."""

    lanes: int
    memory: float
    disk: float


def find_machine() -> Machine:
    """This one. The memory is that of the control group where it has less."""
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, float(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # no such limit
            continue
    return Machine(memory, shutil.disk_usage(Path.cwd()).free)


def estimate(plan: RunPlan, facts: Facts) -> Need:
    """What a run needs at least."""
    lanes = plan.grid.num_lanes
    widths = [facts.num_inputs, *plan.network.hidden, plan.network.outputs]
    weights = sum((before + 1) * after for before, after in pairwise(widths))
    predicted = lanes * facts.num_own_test * plan.network.outputs * FLOAT  # how many others are held out differs
    history = lanes * plan.epochs * HISTORY
    rows = facts.num_rows * facts.num_inputs
    widest = min(plan.batch_size, facts.num_rows) * sum(widths) * FLOAT
    training = lanes * weights * FLOAT * COPIES + history + rows + widest
    return Need(lanes, max(training, predicted), lanes * weights * FLOAT + history + predicted)


def find_too_large(
    params: Params, plans: Mapping[str, object], facts: Mapping[str, Facts], machine: Machine
) -> Iterator[Mistake]:
    """The runs that this machine cannot hold; facts: of each data set."""
    runs = [run for named in plans.values() if isinstance(named, dict) for run in named.values()]
    for plan in (run for run in runs if isinstance(run, RunPlan)):
        study = params.studies[split_task(plan.task)[0]]
        need = estimate(plan, facts[study.tasks[plan.task]])
        present = sum(path.stat().st_size for path in find_run(plan.task, plan.variant).glob("*"))
        for what, needed, there in (
            ("of memory", need.memory, machine.memory),
            ("on the disk", need.disk, machine.disk + present),
        ):
            if needed > there:
                text = (
                    f"trains {need.lanes:,} networks, which need at least {needed / GIGABYTE:,.1f} GB {what}, expected "
                    f"at most the {there / GIGABYTE:,.1f} GB that this machine has: lower repeats or seeds, the "
                    "entries of the path, hidden or epochs"
                )
                yield Mistake(study.places[plan.variant], f"{plan.task} {text}")
