"""What the runs of a study need of the machine at least, against what it has. It refuses, and never changes a plan.

The estimates are of what cannot be done without: the rows, the weights of all lanes, what is recorded of them, the
predictions. They leave out what is little beside that, so what they refuse cannot be held.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from stages.lib.data.dataset import Facts
from stages.lib.data.protocols import FixedTest, RepeatedStratifiedKFold
from stages.lib.data.samples import DEVELOPMENT, HELD_OUT
from stages.lib.judge.predictions import FOLDER as PREDICTIONS
from stages.lib.lanes.plan import MODELS, RunPlan
from stages.lib.settings.mistakes import Mistake
from stages.lib.settings.schema import Params

FLOAT, DOUBLE, NUMBER = 4, 8, 4  # bytes
# Of the lanes' weights: those of the blocks and those of the run; of the rows: NumPy's and TensorFlow's; of their
# numbers: those of the replicates and those of an epoch in their order.
COPIES = 2
HISTORY = 40  # bytes of a lane's epoch: epoch, lane, loss and two monitors
GIGABYTE = 1e9


class Room(NamedTuple):
    """Bytes of memory and on the disk of the project: those that there are, or those that a run needs at least."""

    memory: float
    disk: float


def find_room() -> Room:
    """What this machine has. The memory is that of the control group where it has less."""
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such limit
            memory = min(memory, float(Path("/sys/fs/cgroup", name).read_text()))
    return Room(memory, shutil.disk_usage(Path.cwd()).free)


def estimate(plan: RunPlan, facts: Facts, protocol: RepeatedStratifiedKFold | FixedTest) -> Room:
    """What a run needs at least."""
    lanes = plan.grid.num_lanes
    widths = [facts.num_inputs, *plan.network.hidden, plan.network.outputs]
    weights = sum((before + 1) * after for before, after in pairwise(widths))
    predicted = lanes * count_held_out(protocol, facts) * plan.network.outputs * FLOAT
    history = lanes * plan.epochs * HISTORY
    rows = facts.num_rows * facts.num_inputs * (1 if facts.image else DOUBLE)  # encoded in advance only where few
    seen = protocol.count_training(facts) / (1 - protocol.validation)  # by a replicate, which has their numbers
    training = COPIES * (lanes * weights * FLOAT + rows + seen * plan.grid.num_starts * NUMBER) + history
    trained = lanes * weights * FLOAT * (1 + plan.stopped)  # of the best epoch beside those of the last
    return Room(max(training, predicted), trained + predicted + history)


def count_held_out(protocol: RepeatedStratifiedKFold | FixedTest, facts: Facts) -> int:
    """Number of rows that a replicate is judged on, or one less."""
    if isinstance(protocol, RepeatedStratifiedKFold):
        return facts.num_rows // protocol.folds
    return facts.num_own_test or int(facts.num_rows * (protocol.test or 0))


def estimate_rows(facts: Facts) -> float:
    """Bytes of the files of a task's rows: an image stands in one of both, a table's row in each."""
    return facts.num_rows * facts.num_inputs * (1 if facts.image else 2 * DOUBLE)


def find_too_large(params: Params, plans: dict[str, Any], facts: Mapping[str, Facts], room: Room) -> Iterator[Mistake]:
    """The runs that this machine has not the memory for, the studies that it has not the disk for.

    facts: of each data set.
    """
    for name, study in params.studies.items():
        protocol, lanes, disk = study.settings.protocol, 0, 0.0
        for task, dataset in study.tasks.items():
            disk += estimate_rows(facts[dataset])
            for variant in study.variants:
                plan = plans[f"{name}/{variant}"][task]
                need = estimate(plan, facts[dataset], protocol)
                lanes, disk = lanes + plan.grid.num_lanes, disk + need.disk
                if need.memory > room.memory:
                    text = describe_need(task, plan.grid.num_lanes, need.memory, room.memory, "of memory")
                    yield Mistake(study.places[variant], text)
        there = room.disk + measure_present(name)
        if disk > there:
            yield Mistake(study.where, describe_need(name, lanes, disk, there, "on the disk"))


def measure_present(study: str) -> int:
    """Bytes of what an earlier run of the study has left, which a new one replaces."""
    folders = (MODELS, PREDICTIONS, DEVELOPMENT, HELD_OUT)
    return sum(path.stat().st_size for folder in folders for path in (folder / study).rglob("*") if path.is_file())


def describe_need(subject: str, lanes: int, needed: float, there: float, what: str) -> str:
    found = f"{subject} trains {lanes:,} networks, which need at least {needed / GIGABYTE:,.1f} GB {what}"
    expected = f"expected at most the {there / GIGABYTE:,.1f} GB that this machine has"
    return f"{found}, {expected}: lower repeats or seeds, the entries of the path, hidden or epochs"
