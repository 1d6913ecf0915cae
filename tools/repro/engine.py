"""The commands of stages, and what runs them: processes of this machine.

A process of a command ends with the one that wants it. A worker of a cluster is sent this text: the standard library.
"""

import asyncio
import errno
import multiprocessing.resource_tracker
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

FOLDER = Path(".dvc/tmp/repro")  # what a run needs on disk while it lasts
SECONDS = FOLDER / "seconds.json"  # that each stage took when it last ran
SIGNALS = {signal.SIGINT, signal.SIGTERM}  # they end a run
PAUSE, TICK, GRACE = 0.2, 0.02, 1.0  # seconds between two looks, two at a command, asking it to end and killing it
QUICK = ("plan", "fetch", "compare", "audit", "draw", "report")  # stages without a cluster, and without TensorFlow
STAGE = re.compile(r"python -m stages\.\w+(?: [\w.@-]+)*")  # a command that needs no process of its own
FORKS = multiprocessing.get_context("forkserver")


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
        self.lifeline, _ = os.pipe()  # which the system closes where this process ends
        multiprocessing.set_forkserver_preload(["tools.repro.preload"])
        os.environ |= {"DVC_ROOT": str(Path.cwd()), "DVC_STAGE": "of a run"}  # so that the next run knows what is left

    async def run(self, job: Job) -> int:
        """Run its command in the next free place, and return the status. All it prints goes to its log."""
        async with self.free:
            job.started = time.monotonic()
            job.log.write_bytes(b"")
            pid, find_status = self.start(job)
            try:
                while (status := find_status()) is None:
                    await asyncio.sleep(TICK)
            finally:
                for number in (signal.SIGINT, signal.SIGKILL) if find_status() != 0 else ():
                    with suppress(ProcessLookupError, PermissionError):  # once all have ended
                        os.killpg(pid, number)  # all that it has started, too
                        for _ in range(round(GRACE / TICK)):
                            await asyncio.sleep(TICK)
                            find_status()
                            os.killpg(pid, 0)
        return status

    def start(self, job: Job) -> tuple[int, Callable[[], int | None]]:
        """The number of the process that its command has become, and what tells its status once it has ended."""
        arguments = (job.name, job.command, job.folder, str(job.log.absolute()))
        if job.quick or not STAGE.fullmatch(job.command) or list_code() != self.loaded:
            started = subprocess.Popen([sys.executable, "-m", __name__, *arguments], stdin=self.lifeline)
            return started.pid, started.poll
        fork = FORKS.Process(target=run_command, args=arguments)
        multiprocessing.resource_tracker.ensure_running()  # else starting a process does, which unblocks signals
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            fork.start()
        except (EOFError, ConnectionError):
            expected = "expected more time and memory for it: raise what `ulimit -a` shows, run this again"
            raise ChildProcessError(f"the process that starts stages was killed, {expected}") from None
        return fork.pid, lambda: fork.exitcode  # type: ignore[return-value]


def explain_disk(error: Exception) -> str:
    """That the disk is full, a folder cannot be written to, or what starts stages is gone, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ChildProcessError):
        return text
    is_full = getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in text  # of the system, or of SQLite
    expected = "room on the disk" if is_full else "a folder that can be written to"
    return f"{text}, expected {expected}: mend it, run this again"


def list_code() -> set[tuple[str, int, int]]:
    """The modules of stages, each with the time of its last change and its size."""
    states = {str(path): path.stat() for path in Path("stages").rglob("*.py")}
    return {(path, state.st_mtime_ns, state.st_size) for path, state in states.items()}


def run_command(name: str, command: str, folder: str, log: str) -> None:
    """Become the command of a stage, in a folder; all that it prints goes to a log."""
    os.setsid()  # so that it can be ended with all that it starts
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    Thread(target=end_with_parent, daemon=True).start()
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"  # noqa: PTH120
    os.environ |= {"PATH": path, "DVC_STAGE": name}
    os.chdir(folder)
    if STAGE.fullmatch(command):
        sys.argv = command.split()[2:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        status = subprocess.call(command, shell=True, executable=os.environ.get("SHELL"), stdin=subprocess.DEVNULL)
        sys.exit(status if status >= 0 else 128 - status)  # as a shell tells a signal


def end_with_parent() -> None:
    """Wait until the process that wants the command is gone, however it ended, then end all that the command runs."""
    parent = multiprocessing.parent_process()  # none on a worker, which holds the other end of the standard input
    select.select([parent.sentinel if parent else 0], [], [])
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    run_command(*sys.argv[1:])
