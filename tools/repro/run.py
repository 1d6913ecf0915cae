"""One run: whatever has its upstream up to date and work to do is done, what the first answer needs first."""

import asyncio
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from datetime import timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from dvc.exceptions import DvcException

from tools.repro.engine import PAUSE, TICK, Job, LocalEngine
from tools.repro.pipeline import Pipeline, explain_dvc

if TYPE_CHECKING:
    from rich.live import Live

BAR = 20  # columns
AHEAD = 2  # stages that are made ready before there is a place for them


def name_block(stage: str) -> str:
    """The stage of dvc.yaml that a stage comes from: train of train@tables-l2."""
    return stage.partition("@")[0]


def guess_seconds(names: list[str], known: dict[str, float], typical: dict[str, float]) -> dict[str, float]:
    """The seconds that stages may take: as when they last ran, else as others of their block on average, else typical.

    typical: of those that dvc.yaml tells of; one second where it does not.
    """
    blocks = defaultdict[str, list[float]](list)
    for name, seconds in known.items():
        blocks[name_block(name)].append(seconds)
    for name in names:
        blocks.setdefault(name_block(name), [typical.get(name, 1.0)])
    return {name: known[name] if name in known else fmean(blocks[name_block(name)]) for name in names}


def measure_ways(upstream: dict[str, set[str]], seconds: dict[str, float]) -> dict[str, float]:
    """The seconds from the start of each stage to the end of all, by the longest way."""
    ranks = dict(seconds)
    for name in reversed(upstream):
        for needed in upstream[name] & ranks.keys():
            ranks[needed] = max(ranks[needed], seconds[needed] + ranks[name])
    return ranks


def place_stages(upstream: dict[str, set[str]], answers: Collection[str]) -> dict[str, int]:
    """The number of the first answer that a stage gives or leads to, the number of all answers if it is none.

    upstream: of each stage, in an order in which they may run. answers: stages, in the order that is wanted.
    """
    places = dict.fromkeys(upstream, len(answers)) | {name: number for number, name in enumerate(answers)}
    for name in reversed(upstream):
        for needed in upstream[name]:
            places[needed] = min(places[needed], places[name])
    return places


class Run:
    def __init__(self, pipeline: Pipeline, engine: LocalEngine, *, tell: Callable[[Path], None] | None = None):
        """tell: shows what a stage has found, from the file that it has written; None: that is not wanted."""
        self.pipeline, self.engine, self.num_stages = pipeline, engine, len(pipeline.upstream)
        self.counts, self.failures, self.tell = Counter[str](), list[str](), tell
        self.causes = dict[str, str]()  # stage that has failed or is skipped -> the failed stage that it is because of
        self.live: Live | None = None
        self.started, self.shown = time.monotonic(), 0.0
        self.left = list(pipeline.upstream)  # stages that have not ended, in the order in which they may run
        self.places = place_stages(pipeline.upstream, pipeline.answers)
        self.graph = TopologicalSorter(pipeline.upstream)
        self.graph.prepare()
        self.changed = list[str]()  # stages that have something to do, and wait for no other any more
        self.jobs, self.tasks = dict[str, Job](), dict[str, asyncio.Task[int]]()  # of stages that need a command

    async def run(self) -> None:
        """Bring everything up to date that can be. A stage that fails stops those that depend on it, and no other."""
        try:
            while self.graph.is_active():
                if signal.sigpending():
                    raise KeyboardInterrupt
                for name in [name for name, task in self.tasks.items() if task.done()]:
                    if not self.is_awaited(name):  # the next command starts before this one is recorded
                        self.start()
                        await asyncio.sleep(0)
                    self.settle(name, self.finish)
                await self.prepare()
                self.show()
                await asyncio.sleep(TICK)
        finally:
            _ = [task.cancel() for task in self.tasks.values()]
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
            if self.live:
                self.live.stop()
            self.pipeline.close(stopped=self.graph.is_active(), failed=bool(self.failures))

    async def prepare(self) -> None:
        """Settle what is unchanged, then what needs no command; start commands, and make ready those that come next."""
        end = time.monotonic() + PAUSE
        while time.monotonic() < end:
            while found := self.graph.get_ready():
                for name in sorted(found, key=self.left.index):
                    self.settle(name, self.look)
            ranks = self.rank_stages()
            name = min(self.changed, key=ranks.__getitem__, default="")
            waiting = sorted(ranks[job] for job in self.jobs.keys() - self.tasks.keys())
            if not name or (len(waiting) >= AHEAD and waiting[0] < ranks[name]):
                break
            self.changed.remove(name)
            self.settle(name, self.begin)
            self.start()
            await asyncio.sleep(0)
        self.start()  # what was made ready before, too: the last that ran may have left its place to none

    def start(self) -> None:
        """Start the most urgent commands, as many as there are places for."""
        ranks, running = self.rank_stages(), sum(not task.done() for task in self.tasks.values())
        places = max(0, self.engine.slots - running)
        for name in sorted(self.jobs.keys() - self.tasks.keys(), key=ranks.__getitem__)[:places]:
            self.tasks[name] = asyncio.create_task(self.engine.run(self.jobs[name]))

    def guess_left(self) -> dict[str, float]:
        """The seconds that each stage that has not ended may still take."""
        known, typical, now = self.pipeline.seconds, self.pipeline.typical, time.monotonic()
        seconds = guess_seconds(self.left, known, typical)
        for name, job in self.jobs.items():
            seconds[name] = max(seconds[name] - (now - job.started if job.started else 0), 0)
        return seconds

    def rank_stages(self) -> dict[str, tuple[int, float, int]]:
        """How urgent each stage is that has not ended; the least is the most urgent.

        What leads to the first answer goes first, and of that what has the longest way to the end. But before all goes
        what has a way as long as all cores need for the rest: left for later, one of them would work alone at the end.
        """
        seconds = self.guess_left()
        ways = measure_ways({name: self.pipeline.upstream[name] for name in self.left}, seconds)
        rest = sum(seconds.values()) / self.engine.slots
        places = {name: self.places[name] if ways[name] < rest else -1 for name in self.left}
        return {name: (places[name], -ways[name], number) for number, name in enumerate(self.left)}

    def is_awaited(self, name: str) -> bool:
        """Whether another stage waits for this one alone."""
        upstream, left = self.pipeline.upstream, set(self.left)
        return any(upstream[other] & left == {name} for other in left)

    def tell_rest(self) -> str:
        """How long the stages that have not ended may take, in words; some of them may have nothing to do."""
        if not self.left:
            return ""
        seconds = self.guess_left()
        longest = max(measure_ways({name: self.pipeline.upstream[name] for name in self.left}, seconds).values())
        rest = timedelta(seconds=round(max(longest, sum(seconds.values()) / self.engine.slots)))
        new = {name_block(name) for name in self.left} - {name_block(name) for name in self.pipeline.seconds}
        return f"  (rest: at least {rest})" if new else f"  (rest: up to {rest})"

    def settle(self, name: str, step: Callable[[str], tuple[str, str]]) -> None:
        """Take a step of a stage, which says how it ends, in a word and in words to be shown; empty if it goes on."""
        try:
            outcome, said = step(name)
        except (DvcException, OSError) as error:
            outcome, said = self.fail(name, "failed", explain_dvc(error))
        if not outcome:
            return
        self.counts[outcome] += 1
        self.left.remove(name)
        self.graph.done(name)
        if outcome == "failed" or (outcome != "unchanged" and not sys.stdout.isatty()):
            place = f"{self.counts.total():{len(str(self.num_stages))}}/{self.num_stages}"
            print(f"[{place}] {name}  {said}{self.tell_rest() if outcome == 'run' else ''}", flush=True)
        if self.tell and name in self.pipeline.answers and name not in self.causes:
            self.tell(self.pipeline.answers[name])

    def look(self, name: str) -> tuple[str, str]:
        """Whether a stage has something to do, and can."""
        if causes := {self.causes[needed] for needed in self.pipeline.upstream[name] & self.causes.keys()}:
            self.causes[name] = min(causes)
            return "skipped", f"skipped: {min(causes)} failed"
        if not self.pipeline.is_changed(name):
            return "unchanged", ""
        self.changed.append(name)
        return "", ""

    def begin(self, name: str) -> tuple[str, str]:
        """Do what needs no command."""
        job = self.pipeline.begin(name)
        if isinstance(job, str):
            return job, job
        self.jobs[name] = job
        return "", ""

    def finish(self, name: str) -> tuple[str, str]:
        """Record what a command has done that has ended."""
        job, task = self.jobs.pop(name), self.tasks.pop(name)
        seconds = time.monotonic() - job.started
        took = timedelta(seconds=round(seconds))
        if not (status := task.result()):
            self.pipeline.record(name)
            self.pipeline.seconds[name] = round(seconds, 1)
            return "run", str(took)
        reason = f"exited with {status}" if status > 0 else f"killed by signal {-status}"
        reasons = [f"The end of its output ({job.log} has all of it):", *job.read_end(15), reason]
        return self.fail(name, f"failed after {took}", *reasons)

    def fail(self, name: str, said: str, *reasons: str) -> tuple[str, str]:
        """Keep what is told at the end."""
        self.causes[name] = name
        self.failures.append("\n    ".join([f"\n{name} failed. {reasons[0]}", *reasons[1:]]))
        return "failed", said

    def show(self) -> None:
        """On a terminal, how far the run is, and a line for each command: for how long it runs, the last it printed."""
        if not sys.stdout.isatty() or time.monotonic() < self.shown + PAUSE:
            return
        from rich import console, live, progress_bar, table, text  # not before there is something to be seen

        self.live, self.shown = self.live or live.Live(transient=True), time.monotonic()
        self.live.start()
        head, ended = table.Table.grid(padding=(0, 1)), self.counts.total()
        since = timedelta(seconds=round(self.shown - self.started))
        told = text.Text(f"{ended} of {self.num_stages} stages, {since}{self.tell_rest()}", no_wrap=True)
        head.add_row(progress_bar.ProgressBar(self.num_stages, ended, width=BAR), told)
        running = [job for job in self.jobs.values() if job.started]
        lines = [f"{self.shown - job.started:5.0f} s  {'  '.join([job.name, *job.read_end(1)])}" for job in running]
        self.live.update(console.Group(head, text.Text("\n".join(lines), no_wrap=True, overflow="ellipsis")))
