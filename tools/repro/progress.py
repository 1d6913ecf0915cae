"""The progress of a run: a live view on a terminal, elsewhere a line for each stage that ends."""

import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tools.repro.outcomes import Outcome, Result, describe_result, format_seconds
from tools.repro.worker import Worker

COLORS = {Outcome.FAILED: "red", Outcome.SKIPPED: "yellow", Outcome.RESTORED: "cyan"}


class View:
    """What is done and what is going on."""

    def __init__(self, console: Console, names: list[str]):
        self.console, self.total, self.done = console, len(names), 0
        self.width = max((len(name) for name in names), default=0)
        self.started = time.monotonic()
        self.workers: dict[str, Worker] = {}
        is_live = console.is_terminal and not console.is_dumb_terminal
        self.live = Live(console=console, get_renderable=self.render, transient=True) if is_live else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def start(self, worker: Worker) -> None:
        self.workers[worker.name] = worker

    def finish(self, result: Result) -> None:
        self.workers.pop(result.name, None)
        self.done += 1
        if result.outcome is not Outcome.UNCHANGED:
            count = f"[{self.done:{len(str(self.total))}}/{self.total}]"
            self.console.print(f"{count} {result.name}  {describe_result(result)}", style=COLORS.get(result.outcome))

    def render(self) -> RenderableType:
        """A line for each stage that runs, and one for all."""
        stages = Table.grid(padding=(0, 2, 0, 0), expand=True)
        stages.add_column(width=min(self.width, self.console.width // 2), no_wrap=True, overflow="ellipsis")
        stages.add_column(justify="right", no_wrap=True)
        stages.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for worker in list(self.workers.values()):
            stages.add_row(worker.name, format_seconds(worker.seconds), Text("".join(worker.read_end(1)), "dim"))
        overall = Table.grid(padding=(0, 2, 0, 0))
        overall.add_row(
            ProgressBar(total=self.total, completed=self.done, width=30),
            f"{self.done} of {self.total} stages",
            format_seconds(time.monotonic() - self.started),
        )
        return Group(stages, overall)
