"""Say how long a run of the whole pipeline would take on more workers, from how long each stage took last time.

The stages and what they wait for are this project's, and they are put in order by what orders real runs. Only the
clock is made up: a command takes as long as it did, and recording it at home takes SECONDS_AT_HOME, one after another.

exit status:
  0    the table has been printed
  2    nothing has run yet
"""

import asyncio
import contextlib
import io
import selectors
import sys

from stages.lib.core.cli import make_parser
from tools.repro.engine import Job
from tools.repro.pipeline import SECONDS, Pipeline
from tools.repro.run import Run

WORKERS = (1, 2, 4, 8, 64)
SECONDS_AT_HOME = 0.25  # to begin and to record a stage: DVC hashes and copies its files


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to what comes next, instead of waiting for it."""

    def __init__(self) -> None:
        self.clock = 0.0
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        return self.clock


class JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop):
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.clock += timeout or 0.0
        return super().select(0)


class Simulation:
    """A pipeline and an engine in one, on a clock that they alone move."""

    def __init__(self, pipeline: Pipeline, seconds: dict[str, float], *, workers: int):
        self.upstream, self.seconds, self.slots = pipeline.upstream, dict(seconds), workers
        self.free, self.loop = asyncio.Semaphore(workers), JumpingLoop()

    def begin(self, name: str) -> Job:
        return Job(name, "", "")

    async def run(self, job: Job) -> int:
        async with self.free:
            await asyncio.sleep(self.seconds[job.name])
        return 0

    def record(self, name: str) -> None:
        self.loop.clock += SECONDS_AT_HOME

    def close(self, *, stopped: bool) -> None:
        """Nothing is left."""

    def measure(self) -> float:
        """Seconds of a whole run."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.loop.run_until_complete(Run(self, self).run())  # type: ignore[arg-type]
        self.loop.close()
        return self.loop.clock


def find_longest_way(pipeline: Pipeline, seconds: dict[str, float]) -> float:
    """The seconds of the longest chain of stages that wait for one another: no number of workers goes below."""
    longest: dict[str, float] = {}
    for name in pipeline.upstream:
        before = max((longest[needed] for needed in pipeline.upstream[name]), default=0.0)
        longest[name] = before + seconds[name] + SECONDS_AT_HOME
    return max(longest.values())


def main() -> int:
    make_parser("tools.scaling", __doc__).parse_args()
    if not SECONDS.exists():
        print(f"error: {SECONDS} is missing, expected what a run has left: run make in a fresh clone", file=sys.stderr)
        return 2
    pipeline = Pipeline()
    seconds = pipeline.seconds
    print(f"{sum(seconds[name] for name in pipeline.stages):.0f} s of work in {len(pipeline.stages)} stages")
    for workers in WORKERS:
        print(f"{workers:3d} workers {Simulation(pipeline, seconds, workers=workers).measure():6.0f} s")
    print(f"longest way {find_longest_way(pipeline, seconds):6.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
