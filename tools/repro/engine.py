"""What runs the commands of stages: this machine, or a cluster, behind one interface."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from tools.repro.project import FOLDER

OF_A_STAGE = re.compile(r"python -m (stages\.\w+)(?: [\w.@-]+)*")


@dataclass
class Job:
    """The command of one stage."""

    name: str
    command: str
    folder: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    at_home: bool = False  # not for a cluster
    started: float = 0.0  # by the monotonic clock
    seconds: float = 0.0  # that it took

    @property
    def log(self) -> Path:
        return FOLDER / (re.sub(r"[^\w@.-]", "_", self.name) + ".log")

    @property
    def module(self) -> str:
        """The module that a command `python -m stages.train a b` runs; empty for any other command."""
        found = OF_A_STAGE.fullmatch(self.command)
        return found[1] if found else ""

    def read_end(self, num_lines: int) -> list[str]:
        """The last lines of its output that hold something."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 1000 * num_lines))
            lines = file.read().decode(errors="replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-num_lines:]


class Engine(Protocol):
    @property
    def slots(self) -> int:
        """Commands at once."""

    def submit(self, job: Job) -> None:
        """Start its command. All it prints goes to its log."""

    def wait(self, seconds: float) -> Iterable[tuple[str, int]]:
        """The stages whose commands have ended, and the status of each, as soon as there are any."""

    def stop(self) -> None:
        """End all that runs, within seconds."""


class LocalEngine:
    """Processes of this machine. Each module of stages has a server that has imported it and forks for its commands."""

    def __init__(self, slots: int):
        self.slots, self.running = slots, dict[str, str]()  # stage -> module
        self.servers: dict[str, tuple[Connection, subprocess.Popen[bytes]]] = {}

    def submit(self, job: Job) -> None:
        job.log.write_bytes(b"")
        is_ours = Path(shutil.which("python") or "").parent == Path(sys.executable).parent
        self.running[job.name] = module = job.module if is_ours and job.folder == str(Path.cwd()) else ""
        if module not in self.servers:
            self.servers[module] = start_server(module)
        self.servers[module][0].send((job.name, job.command, job.folder, str(job.log)))

    def wait(self, seconds: float) -> list[tuple[str, int]]:
        ready, ended = wait([connection for connection, _ in self.servers.values()], seconds), list[tuple[str, int]]()
        for key, (connection, _) in [item for item in self.servers.items() if item[1][0] in ready]:
            try:
                ended.append(connection.recv())
            except (EOFError, OSError):  # the server was killed, and with it all that it ran
                self.servers.pop(key)[1].wait()
                ended += [(name, -signal.SIGKILL) for name, module in self.running.items() if module == key]
        for name, _ in ended:
            self.running.pop(name, None)
        return ended

    def stop(self) -> None:
        for connection, _ in self.servers.values():
            connection.close()
        for _, process in self.servers.values():
            process.wait()


def start_server(module: str) -> tuple[Connection, subprocess.Popen[bytes]]:
    """A process of tools.repro.server and the way to it. What is written to it before it is ready waits there."""
    ours, theirs = Pipe()
    with (FOLDER / f"{module or 'shell'}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.repro.server", str(theirs.fileno()), module],
            env=os.environ | {"DVC_STAGE": f"of {module or 'the shell'}", "DVC_ROOT": str(Path.cwd())},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C on the terminal is for the run alone
        )
    theirs.close()
    return ours, process
