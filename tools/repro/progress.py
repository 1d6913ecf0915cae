"""The progress of a run: a live view on a terminal, elsewhere a line for each stage that ends."""

import enum
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.repro.engine import Job

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Outcome(enum.Enum):
    """How a stage ended, and its color on a terminal."""

    UNCHANGED = "dim"
    RUN = "default"
    RESTORED = "cyan"  # from DVC's cache of earlier runs
    FAILED = "red"
    SKIPPED = "yellow"  # because something upstream failed


@dataclass(frozen=True)
class Result:
    name: str
    outcome: Outcome
    said: str  # in words
    output: tuple[str, ...] = ()  # failed: the last lines that it printed


def format_seconds(seconds: float) -> str:
    """`12 s`, `1 min 52 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class View:
    """What is done and what is going on."""

    def __init__(self, total: int):
        self.total, self.done = total, 0
        self.tasks: dict[str, tuple[Job, TaskID]] = {}
        self.live: Progress | None = None

    def start(self, job: Job) -> None:
        if sys.stdout.isatty():
            self.live = self.live or make_live()
            self.tasks[job.name] = job, self.live.add_task(job.name, said="")

    def refresh(self) -> None:
        for job, task in self.tasks.values():
            if self.live:
                self.live.update(task, said="".join(job.read_end(1)))

    def finish(self, result: Result) -> None:
        self.done += 1
        if self.live and result.name in self.tasks:
            self.live.remove_task(self.tasks.pop(result.name)[1])
        if result.outcome is not Outcome.UNCHANGED:
            count = f"[{self.done:{len(str(self.total))}}/{self.total}]"
            self.tell(f"{count} {result.name}  {result.said}", result.outcome.value)

    def tell(self, line: str, color: str = "default") -> None:
        if self.live:
            self.live.console.print(line, style=color, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)

    def close(self) -> None:
        if self.live:
            self.live.stop()


def make_live() -> "Progress":
    """A line for each stage that runs: its name, how long it has been running, the last that it printed."""
    from rich.progress import Progress, TextColumn, TimeElapsedColumn  # not before there is something to be seen
    from rich.table import Column

    names, said = (Column(no_wrap=True, overflow="ellipsis", ratio=ratio) for ratio in (2, 3))
    columns = (
        TextColumn("{task.description}", markup=False, table_column=names),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", markup=False, style="dim", table_column=said),
    )
    live = Progress(*columns, transient=True, expand=True)
    live.start()
    return live
