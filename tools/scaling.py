"""Say how long a run of the whole pipeline would take on more workers, from how long each stage took last time.

The stages and what they wait for are this project's, and they are put in order by what orders real runs. Only the
clock is made up: a command takes as long as it did, and recording it at home takes SECONDS_AT_HOME, one after another.

exit status:
  0    the table has been printed
  2    nothing has run yet
"""

import json
import sys

from stages.lib.base.commands import make_parser
from tools.repro.engine import Job
from tools.repro.pipeline import Pipeline
from tools.repro.progress import Result, View
from tools.repro.schedule import SECONDS, Run

WORKERS = (1, 2, 4, 8, 64)
SECONDS_AT_HOME = 0.25  # to begin and to record a stage: DVC hashes and copies its files


class Simulation:
    """A pipeline and an engine in one, with a clock that they alone move."""

    def __init__(self, pipeline: Pipeline, seconds: dict[str, float], *, workers: int):
        self.stages, self.upstream, self.seconds = pipeline.stages, pipeline.upstream, seconds
        self.slots, self.clock, self.ends = workers, 0.0, dict[str, float]()

    def begin(self, name: str) -> Job:
        return Job(name, "", "")

    def submit(self, job: Job) -> None:
        self.ends[job.name] = self.clock + self.seconds[job.name]

    def wait(self, seconds: float) -> list[tuple[str, int]]:
        if seconds and self.ends:
            self.clock = max(self.clock, min(self.ends.values()))
        ended = [name for name, end in self.ends.items() if end <= self.clock]
        for name in ended:
            del self.ends[name]
        return [(name, 0) for name in ended]

    def finish(self, name: str, *, status: int) -> None:
        self.clock += SECONDS_AT_HOME

    def stop(self) -> None:
        """Nothing runs."""

    def run(self) -> float:
        """Seconds."""
        run = Run(self, self, Silence(len(self.stages)))  # type: ignore[arg-type]
        while len(run.results) < len(self.stages):
            run.step()
        return self.clock


class Silence(View):
    def finish(self, result: Result) -> None:
        """Tell nothing."""


def find_longest_way(pipeline: Pipeline, seconds: dict[str, float]) -> float:
    """The seconds of the longest chain of stages that wait for one another: no number of workers goes below."""
    longest: dict[str, float] = {}
    for name in pipeline.stages:
        before = max((longest[needed] for needed in pipeline.upstream[name]), default=0.0)
        longest[name] = before + seconds[name] + SECONDS_AT_HOME
    return max(longest.values())


def main() -> int:
    make_parser("tools.scaling", __doc__).parse_args()
    pipeline = Pipeline(print)
    if not SECONDS.exists():
        print(f"error: {SECONDS} is missing, expected what a run has left: run make in a fresh clone", file=sys.stderr)
        return 2
    seconds = pipeline.seconds | json.loads(SECONDS.read_text())
    print(f"{sum(seconds[name] for name in pipeline.stages):.0f} s of work in {len(pipeline.stages)} stages")
    for workers in WORKERS:
        print(f"{workers:3d} workers {Simulation(pipeline, seconds, workers=workers).run():6.0f} s")
    print(f"longest way {find_longest_way(pipeline, seconds):6.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
