"""What runs the commands of stages: processes of this machine."""

import asyncio
import multiprocessing.resource_tracker
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.repro import child

FOLDER = Path(".dvc/tmp/repro")  # what a run needs on disk while it lasts
SIGNALS = {signal.SIGINT, signal.SIGTERM}  # they end a run
PAUSE, TICK, GRACE = 0.2, 0.02, 1.0  # seconds between two looks, two at a command, asking it to end and killing it
forked, spawned = multiprocessing.get_context("forkserver").Process, multiprocessing.get_context("spawn").Process


@dataclass
class Job:
    """The command of one stage."""

    name: str
    command: str
    folder: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    quick: bool = False  # needs no cluster, and no fork of what has imported TensorFlow
    started: float = 0.0  # by the monotonic clock; 0: not yet

    @property
    def log(self) -> Path:
        return FOLDER / (re.sub(r"[^\w@.-]", "_", self.name) + ".log")

    def read_end(self, num_lines: int) -> list[str]:
        """The last lines of its output that hold something."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-num_lines:]


class LocalEngine:
    """So many jobs at once. Stages are forks of one process that has imported their libraries.

    It has imported them in the way of the code that it found, which may set how they compute: where the code has
    changed since, a stage is a process of its own.
    """

    def __init__(self, jobs: int, slots: int = 0):
        self.slots, self.free = slots or jobs, asyncio.Semaphore(jobs)
        self.loaded = list_code()
        multiprocessing.set_forkserver_preload(["tools.repro.preload"])
        os.environ |= {"DVC_ROOT": str(Path.cwd()), "DVC_STAGE": "of a run"}  # so that the next run knows what is left

    async def run(self, job: Job) -> int:
        """Run its command in the next free place, and return the status. All it prints goes to its log."""
        async with self.free:
            fork = child.STAGE.fullmatch(job.command) and not job.quick and list_code() == self.loaded
            start = forked if fork else spawned
            process = start(target=child.run_command, args=(job.name, job.command, job.folder, str(job.log.absolute())))
            job.started = time.monotonic()
            job.log.write_bytes(b"")
            multiprocessing.resource_tracker.ensure_running()  # else starting a process does, which unblocks signals
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            process.start()
            try:
                while process.exitcode is None:
                    await asyncio.sleep(TICK)
            finally:
                for number in (signal.SIGINT, signal.SIGKILL) if process.exitcode != 0 else ():
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, number)  # type: ignore[arg-type]  # all that it has started, too
                        await asyncio.sleep(GRACE)
        return process.exitcode


def list_code() -> set[tuple[str, int, int]]:
    """The modules of stages, each with the time of its last change and its size."""
    status = {str(path): path.stat() for path in Path("stages").rglob("*.py")}
    return {(path, found.st_mtime_ns, found.st_size) for path, found in status.items()}
