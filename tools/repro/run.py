"""One run: whatever has its upstream up to date and work to do is done, the longest way to the end first."""

import asyncio
import signal
import sys
import time
from collections import Counter
from datetime import timedelta
from graphlib import TopologicalSorter
from typing import Any

from dvc.exceptions import DvcException

from tools.repro.engine import PAUSE, Job, LocalEngine
from tools.repro.pipeline import Pipeline, explain


class Run:
    def __init__(self, pipeline: Pipeline, engine: LocalEngine):
        self.pipeline, self.engine, self.num_stages = pipeline, engine, len(pipeline.upstream)
        self.counts, self.jobs, self.failures = Counter[str](), list[Job](), list[str]()
        self.causes = dict[str, str]()  # stage that has failed or is skipped -> the failed stage that it is because of
        self.live: Any = None
        self.ranks = dict(pipeline.seconds)  # of the longest way from a stage to the end of the pipeline
        for name in reversed(pipeline.upstream):
            for needed in pipeline.upstream[name]:
                self.ranks[needed] = max(self.ranks[needed], pipeline.seconds[needed] + self.ranks[name])
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
            self.pipeline.close(stopped=self.graph.is_active())

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
            if outcome != "unchanged":
                place = f"{self.counts.total():{len(str(self.num_stages))}}/{self.num_stages}"
                print(f"[{place}] {name}  {said}", flush=True)
            self.graph.done(name)
            self.offer()

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
            took = timedelta(seconds=round(time.monotonic() - job.started))
            if not status:
                self.pipeline.record(name)
                self.pipeline.seconds[name] = took.total_seconds()
                return "run", str(took)
            said = f"failed after {took}"
            reason = f"exited with {status}" if status > 0 else f"killed by signal {-status}"
            reasons = [f"The end of its output ({job.log} has all of it):", *job.read_end(15), reason]
        except (DvcException, OSError) as error:
            said, reasons = "failed", [explain(error)]
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
