"""One stage in a process of its own: `dvc repro --single-item`, without the second that a new DVC takes to start.

A fork server imports DVC once, and each stage is a fork of it. A worker leads a process group, so that it can be
stopped with everything that it started, and stops by itself when the run that started it is gone, however that ended.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import dvc.cli

from tools.repro import lockfile, signals
from tools.repro.project import FOLDER

GRACE = 5.0  # seconds between asking a stage to end and killing it
CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = (  # what `dvc repro` imports on its way; one that a later DVC lacks costs time, nothing else
    __name__,
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.parsing.interpolate",
    "dvc.repo.artifacts",
    "dvc.repo.datasets",
    "dvc.repo.metrics",
    "dvc.repo.open_repo",
    "dvc.repo.params",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.stage.cache",
    "dvc.stage.loader",
    "dvc.stage.serialize",
    "dvc.utils.strictyaml",
    "pyparsing",
    "ruamel.yaml",
)


class Worker:
    """A stage that runs. Its output goes to `log`."""

    def __init__(self, name: str):
        self.name = name
        self.log = FOLDER / (re.sub(r"[^\w@.-]", "_", name) + ".log")
        self.log.write_bytes(b"")
        self.process = CONTEXT.Process(target=reproduce, args=(name, self.log))
        self.started = time.monotonic()

    def start(self) -> None:
        """To be called with signals held back: nobody could stop a process whose number is not known yet."""
        self.process.start()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def wait(self) -> int:
        """Its exit status. What a failed stage left running ends with it."""
        self.join()
        if self.process.exitcode:
            self.send(signal.SIGKILL)
        return self.process.exitcode or 0

    def send(self, number: signal.Signals) -> None:
        if not self.process.pid:
            return
        with suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                if self.process.exitcode is None:  # it is so new that it leads no group yet
                    os.kill(self.process.pid, number)

    def join(self, seconds: float | None = None) -> None:
        if self.process.pid:
            self.process.join(seconds)

    def was_restored(self) -> bool:
        return f"Stage '{self.name}' is cached - skipping run" in self.log.read_text(errors="replace")

    def read_end(self, num_lines: int) -> list[str]:
        """The last lines of the output that hold something."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 1000 * num_lines))
            lines = file.read().decode(errors="replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-num_lines:]


def start_server() -> None:
    """Start the process that workers are forked from; what asks the run to stop is for this process alone."""
    CONTEXT.set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # the server does it too, and would have the signals unblocked on its way
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, signals.HANDLED)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def stop_workers(workers: list[Worker]) -> None:
    """As Ctrl-C at `dvc repro`: commands end, DVC gives its locks back. What has not ended after GRACE is killed."""
    for worker in workers:
        worker.send(signal.SIGINT)
    end = time.monotonic() + GRACE
    for worker in workers:
        worker.join(max(0.0, end - time.monotonic()))
        worker.send(signal.SIGKILL)
    for worker in workers:
        worker.join()


def reproduce(name: str, log: Path) -> None:
    """In the fork: bring one stage up to date."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    threading.Thread(target=stop_when_alone, daemon=True).start()
    lockfile.adapt_dvc(name)
    sys.argv = ["dvc", "--wait-for-lock", "repro", "--single-item", name]  # DVC shows it to those who wait
    sys.exit(dvc.cli.main(sys.argv[1:]))


def stop_when_alone() -> None:
    """End this worker and all that it started once the run is gone: a killed run can stop nobody."""
    run = multiprocessing.parent_process()
    assert run is not None
    run.join()
    os.killpg(0, signal.SIGINT)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)
