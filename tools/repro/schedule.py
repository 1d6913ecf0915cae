"""Which stage runs when: whatever has its upstream up to date and work to do, as many at once as there are jobs."""

from collections.abc import Collection, Mapping
from multiprocessing.connection import wait

from tools.repro import lockfile, signals
from tools.repro.outcomes import Outcome, Result
from tools.repro.pipeline import Pipeline
from tools.repro.progress import View
from tools.repro.worker import Worker, start_server, stop_workers


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
    """One run of a pipeline. At its end `results` names every stage."""

    def __init__(self, pipeline: Pipeline, view: View, *, jobs: int):
        self.pipeline, self.view, self.jobs = pipeline, view, jobs
        self.ranks = rank_stages(pipeline.upstream, pipeline.seconds)
        self.due: list[str] = []  # stages that have work to do and wait for a job, the most urgent first
        self.workers: list[Worker] = []
        self.results: dict[str, Result] = {}

    def run(self) -> None:
        """Bring everything up to date that can be. A stage that fails stops those that depend on it, and no other."""
        self.judge_ready()
        if self.due:
            lockfile.record_entries()
            start_server()
        try:
            while self.due or self.workers:
                while self.due and len(self.workers) < self.jobs:
                    self.start(self.due.pop(0))
                self.collect()
                self.judge_ready()
        finally:
            stop_workers(self.workers)

    def judge_ready(self) -> None:
        """Decide about the stages whose upstream is settled: skipped, unchanged or due. That may settle others."""
        while ready := self.find_ready():
            causes = {name: self.find_cause(name) for name in ready}
            changed = self.pipeline.find_changed(name for name in ready if not causes[name])
            for name in ready:
                if causes[name]:
                    self.record(Result(name, Outcome.SKIPPED, cause=causes[name]))
                elif name in changed:
                    self.due.append(name)
                else:
                    self.record(Result(name, Outcome.UNCHANGED))
        self.due.sort(key=self.ranks.__getitem__, reverse=True)

    def find_ready(self) -> list[str]:
        known = {*self.due, *self.results, *(worker.name for worker in self.workers)}
        upstream = self.pipeline.upstream
        return [name for name in upstream if name not in known and upstream[name] <= self.results.keys()]

    def find_cause(self, name: str) -> str:
        """The failed stage because of which this one cannot run; empty if it can."""
        for needed in sorted(self.pipeline.upstream[name]):
            result = self.results[needed]
            if result.outcome in (Outcome.FAILED, Outcome.SKIPPED):
                return result.cause or needed
        return ""

    def start(self, name: str) -> None:
        with signals.HANDLER.step():  # whoever stops this run must find every worker listed, and listening
            worker = Worker(name)
            self.workers.append(worker)
            worker.start()
        self.view.start(worker)

    def collect(self) -> None:
        """Wait until a stage ends, and note how."""
        ended = wait([worker.process.sentinel for worker in self.workers])
        for worker in [worker for worker in self.workers if worker.process.sentinel in ended]:
            status = worker.wait()
            self.workers.remove(worker)
            self.record(judge(worker, status))

    def record(self, result: Result) -> None:
        self.results[result.name] = result
        self.view.finish(result)


def judge(worker: Worker, status: int) -> Result:
    if status:
        end = [f"killed by signal {-status}"] if status < 0 else []
        return Result(worker.name, Outcome.FAILED, worker.seconds, output=(*worker.read_end(15), *end), log=worker.log)
    return Result(worker.name, Outcome.RESTORED if worker.was_restored() else Outcome.RUN, worker.seconds)
