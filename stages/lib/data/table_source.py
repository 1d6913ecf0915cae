"""The source of a table: a CSV file in the project."""

from __future__ import annotations

from pathlib import Path

from stages.lib.core.files import read_plain
from stages.lib.data.fetch_plan import FetchPlan
from stages.lib.data.pins import Pin, Source

HOW_TO_MEND = """\
To mend it, put the file in its place; where it has been edited since the plan was made, run `dvc repro`."""


def make_pins(plan: FetchPlan) -> dict[str, Pin]:
    return {name: Pin(file.size, file.sha256) for name, file in plan.files.items()}


def from_plan(plan: FetchPlan) -> Source:
    """The files that the plan names."""
    label = ", ".join(file.path for file in plan.files.values())
    return Source(label, lambda name, size: read_plain(Path(plan.files[name].path), most=size))
