"""One run: whatever has its upstream up to date and work to do is done, the longest way to the end first."""

import asyncio
import signal
import sys
import time
from collections import Counter, defaultdict
from datetime import timedelta
from graphlib import TopologicalSorter
from statistics import fmean
from typing import Any

from dvc.exceptions import DvcException

from tools.repro.engine import PAUSE, Job, LocalEngine
from tools.repro.pipeline import Pipeline, explain_dvc


def name_block(stage: str) -> str:
    """The stage of dvc.yaml that a stage comes from: train of train@tables-l2."""
    return stage.partition("@")[0]


def guess_seconds(names: list[str], known: dict[str, float]) -> dict[str, float]:
    """The seconds that stages may take: as when they last ran, else as others of their block on average, else one."""
    blocks = defaultdict[str, list[float]](list)
    for name, seconds in known.items():
        blocks[name_block(name)].append(seconds)
    return {name: known[name] if name in known else fmean(blocks.get(name_block(name), [1])) for name in names}


def measure_ways(upstream: dict[str, set[str]], seconds: dict[str, float]) -> dict[str, float]:
    """The seconds from the start of each stage to the end of all, by the longest way."""
    ranks = dict(seconds)
    for name in reversed(upstream):
        for needed in upstream[name] & ranks.keys():
            ranks[needed] = max(ranks[needed], seconds[needed] + ranks[name])
    return ranks


class Run:
    def __init__(self, pipeline: Pipeline, engine: LocalEngine):
        self.pipeline, self.engine, self.num_stages = pipeline, engine, len(pipeline.upstream)
        self.counts, self.jobs, self.failures = Counter[str](), list[Job](), list[str]()
        self.causes = dict[str, str]()  # stage that has failed or is skipped -> the failed stage that it is because of
        self.live: Any = None
        self.left = list(pipeline.upstream)  # stages that have not ended, in the order in which they may run
        self.ranks = measure_ways(pipeline.upstream, guess_seconds(self.left, pipeline.seconds))
        self.graph, self.ready = TopologicalSorter(pipeline.upstream), asyncio.PriorityQueue[tuple[float, str]]()
        self.graph.prepare()
        self.offer()

    async def run(self) -> None:
        """Bring everything up to date that can be. A stage that fails stops those that depend on it, and no other."""
        tasks = [asyncio.create_task(self.work()) for _ in range(self.engine.slots + 2)]  # two make ready what is next
        try:
            while self.graph.is_active():
                done, _ = await asyncio.wait(tasks, timeout=PAUSE, return_when=asyncio.FIRST_COMPLETED)
                if signal.sigpending():
                    raise KeyboardInterrupt
                _ = [task.result() for task in done]  # raises what has ended it
                self.show()
        finally:
            _ = [task.cancel() for task in tasks]
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.live:
                self.live.stop()
            self.pipeline.close(stopped=self.graph.is_active(), failed=bool(self.failures))

    def offer(self) -> None:
        """Queue the stages that wait for no other any more."""
        for name in self.graph.get_ready():
            self.ready.put_nowait((-self.ranks[name], name))

    async def work(self) -> None:
        """Settle one stage after the other, the most urgent first."""
        while self.graph.is_active():
            _, name = await self.ready.get()
            outcome, said = await self.settle(name)
            self.counts[outcome] += 1
            self.left.remove(name)
            if outcome != "unchanged":
                place = f"{self.counts.total():{len(str(self.num_stages))}}/{self.num_stages}"
                print(f"[{place}] {name}  {said}{self.tell_rest() if outcome == 'run' else ''}", flush=True)
            self.graph.done(name)
            self.offer()

    def tell_rest(self) -> str:
        """How long the stages that have not ended may take, in words; some of them may have nothing to do."""
        if not self.left:
            return ""
        known, now = self.pipeline.seconds, time.monotonic()
        seconds = guess_seconds(self.left, known)
        for job in self.jobs:
            seconds[job.name] = max(seconds[job.name] - (now - job.started if job.started else 0), 0)
        longest = max(measure_ways({name: self.pipeline.upstream[name] for name in self.left}, seconds).values())
        rest = timedelta(seconds=round(max(longest, sum(seconds.values()) / self.engine.slots)))
        new = {name_block(name) for name in self.left} - {name_block(name) for name in known}
        return f"  (rest: at least {rest})" if new else f"  (rest: up to {rest})"

    async def settle(self, name: str) -> tuple[str, str]:
        """How a stage ends: in one word, and in words to be shown."""
        if causes := {self.causes[needed] for needed in self.pipeline.upstream[name] & self.causes.keys()}:
            self.causes[name] = min(causes)
            return "skipped", f"skipped: {min(causes)} failed"
        try:
            job = self.pipeline.begin(name)
            if isinstance(job, str):
                return job, job
            self.jobs.append(job)
            try:
                status = await self.engine.run(job)
            finally:
                self.jobs.remove(job)
            await asyncio.sleep(0)  # the next command starts before this one is recorded
            seconds = time.monotonic() - job.started
            took = timedelta(seconds=round(seconds))
            if not status:
                self.pipeline.record(name)
                self.pipeline.seconds[name] = round(seconds, 1)
                return "run", str(took)
            said = f"failed after {took}"
            reason = f"exited with {status}" if status > 0 else f"killed by signal {-status}"
            reasons = [f"The end of its output ({job.log} has all of it):", *job.read_end(15), reason]
        except (DvcException, OSError) as error:
            said, reasons = "failed", [explain_dvc(error)]
        self.causes[name] = name
        self.failures.append("\n    ".join([f"\n{name} failed. {reasons[0]}", *reasons[1:]]))
        return "failed", said

    def show(self) -> None:
        """On a terminal, a line for each stage that runs: for how long it has, and the last that it printed."""
        if sys.stdout.isatty():
            from rich import console, text  # not before there is something to be seen

            self.live = self.live or console.Console().status("")
            self.live.start()
            running, now = [job for job in self.jobs if job.started], time.monotonic()
            lines = [f"{now - job.started:5.0f} s  {'  '.join([job.name, *job.read_end(1)])}" for job in running]
            self.live.update(text.Text("\n".join(lines), no_wrap=True, overflow="ellipsis"))
