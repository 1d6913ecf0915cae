"""Which stage runs when: whatever has its upstream up to date and work to do, as many at once as the engine takes."""

import json
import time
from collections.abc import Collection, Mapping

from dvc.exceptions import DvcException
from dvc.lock import LockError

from tools.repro.engine import Engine, Job
from tools.repro.pipeline import Pipeline, explain
from tools.repro.progress import Outcome, Result, View, format_seconds
from tools.repro.project import FOLDER, PAUSE, check_signals, write_in_one_step

SECONDS = FOLDER / "seconds.json"  # that each stage took when it last ran
NOT_DONE = (Outcome.FAILED, Outcome.SKIPPED)


def rank_stages(upstream: Mapping[str, Collection[str]], seconds: Mapping[str, float]) -> dict[str, tuple[float, int]]:
    """How urgent each stage is: the longest way from its start to the end of the pipeline, and how many wait for it.

    Args:
        upstream: of every stage, in an order in which each stands behind its upstream.
        seconds: that each stage takes.
    """
    longest, waiting = dict(seconds), {name: set[str]() for name in upstream}
    for name in reversed(list(upstream)):
        for needed in upstream[name]:
            longest[needed] = max(longest[needed], seconds[needed] + longest[name])
            waiting[needed] |= {name} | waiting[name]
    return {name: (longest[name], len(waiting[name])) for name in upstream}


class Run:
    """One run of a pipeline. At its end `results` names every stage, in the order in which they ended."""

    def __init__(self, pipeline: Pipeline, engine: Engine, view: View):
        self.pipeline, self.engine, self.view = pipeline, engine, view
        self.seconds = json.loads(SECONDS.read_text()) if SECONDS.exists() else {}
        self.ranks = rank_stages(pipeline.upstream, pipeline.seconds | self.seconds)
        self.due: list[Job] = []  # their commands wait for the engine
        self.running: dict[str, Job] = {}
        self.ended: list[tuple[Job, int]] = []  # their commands have ended with that status, and wait to be recorded
        self.blocked: dict[str, float] = {}  # by another DVC command, to be tried again at that time
        self.results: dict[str, Result] = {}

    def run(self) -> None:
        """Bring everything up to date that can be. A stage that fails stops those that depend on it, and no other."""
        stopped = True
        try:
            while len(self.results) < len(self.pipeline.stages):
                check_signals()
                self.step()
            stopped = False
        finally:
            self.engine.stop()
            self.pipeline.close(stopped=stopped)
            self.view.close()
            write_in_one_step(SECONDS, json.dumps(self.seconds))

    def step(self) -> None:
        """Do the most pressing thing: commands are made ready ahead, so that the engine never waits for DVC."""
        while self.due and len(self.running) < self.engine.slots:
            self.submit(self.due.pop(0))
        ready = self.find_ready() if len(self.due) < self.engine.slots else []
        if ready:
            self.begin(ready[0])
        elif self.ended:
            self.finish(*self.ended.pop(0))
        for name, status in self.engine.wait(0 if ready or self.ended else PAUSE):
            job = self.running.pop(name)
            job.seconds = time.monotonic() - job.started
            self.ended.append((job, status))
        self.view.refresh()

    def find_ready(self) -> list[str]:
        """Stages of which nothing is known but that all they need is settled, the most urgent first."""
        known = {*self.results, *self.running, *(job.name for job in self.due), *(job.name for job, _ in self.ended)}
        upstream, now = self.pipeline.upstream, time.monotonic()
        ready = [name for name in upstream if name not in known and upstream[name] <= self.results.keys()]
        ready = [name for name in ready if self.blocked.get(name, now) <= now]
        return sorted(ready, key=self.ranks.__getitem__, reverse=True)

    def begin(self, name: str) -> None:
        """Settle a stage, or make its command ready."""
        if cause := self.find_cause(name):
            self.record(Result(name, Outcome.SKIPPED, f"skipped: {cause} failed"))
            return
        try:
            found = self.pipeline.begin(name)
        except LockError as error:
            if name not in self.blocked:
                self.view.tell(f"Waiting: {name}: {explain(error)}")
            self.blocked[name] = time.monotonic() + PAUSE
        except DvcException as error:
            self.record(Result(name, Outcome.FAILED, "failed", (explain(error),)))
        else:
            if isinstance(found, Job):
                self.due.append(found)
            else:
                self.record(Result(name, found, found.name.lower()))

    def find_cause(self, name: str) -> str:
        """The failed stage because of which this one cannot run; empty if it can."""
        bad = {needed for needed in self.pipeline.upstream[name] if self.results[needed].outcome in NOT_DONE}
        causes = [self.find_cause(needed) or needed for needed in sorted(bad)]
        return causes[0] if causes else ""

    def submit(self, job: Job) -> None:
        job.started = time.monotonic()
        self.running[job.name] = job
        self.engine.submit(job)
        self.view.start(job)

    def finish(self, job: Job, status: int) -> None:
        """Record a stage whose command has ended."""
        reason = f"exited with {status}" if status > 0 else f"killed by signal {-status}"
        try:
            self.pipeline.finish(job.name, status=status)
        except DvcException as error:
            status, reason = 1, explain(error)
        took = format_seconds(job.seconds)
        if status:
            output = (f"The end of its output ({job.log} has all of it):", *job.read_end(15), reason)
            self.record(Result(job.name, Outcome.FAILED, f"failed after {took}", output))
        else:
            self.seconds[job.name] = round(job.seconds, 1)
            self.record(Result(job.name, Outcome.RUN, took))

    def record(self, result: Result) -> None:
        self.results[result.name] = result
        self.view.finish(result)
