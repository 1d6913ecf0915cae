"""A process that imports a module of stages, once, and forks for each of its commands.

`import tensorflow` is 1.6 of the 2.3 seconds of a short stage. A fork is what the command would be at that point: it
runs the module as `python -m` does. Where the code has changed since the import, it is the very command that runs.
"""

import ctypes
import gc
import importlib
import os
import runpy
import shlex
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

Job = tuple[str, str, str, str]  # of a stage: its name, its command, the folder and the log of that

GRACE = 1.0  # seconds between asking a command to end and killing it
SETUP = {"bash": ["--noprofile", "--norc"], "zsh": ["--no-rcs"]}  # DVC starts a shell without any


def main(connection: Connection, module: str) -> None:
    before = stat_sources()
    is_loaded = load(module)
    job = serve(connection)
    if job:
        connection.close()
        run(*job, module=module if is_loaded and before == stat_sources() else "")


def stat_sources() -> dict[Path, tuple[int, int]]:
    """What tells whether the code of the stages has changed."""
    return {path: ((known := path.stat()).st_mtime_ns, known.st_size) for path in Path("stages").rglob("*.py")}


def load(module: str) -> bool:
    """Import all that a command imports, but run nothing: a thread would not live on in a fork."""
    try:
        loaded = importlib.import_module(module or "os")
        if "runtime" in vars(loaded):
            loaded.runtime.start()  # imports TensorFlow
    except (Exception, SystemExit):
        return False  # the command will tell what is wrong
    gc.freeze()  # no fork is to touch, and so copy, what all of them share
    return bool(module)


def serve(connection: Connection) -> Job | None:
    """Fork for each job. Returns the job in the fork, and None in the server, at the end of the run."""
    children: dict[int, str] = {}
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    with suppress(EOFError, OSError):  # the run is over, however it ended
        while True:
            for source in wait([connection, awake]):
                if source == awake:
                    os.read(awake, 4096)
                    for pid, status in reap(children):
                        connection.send((children.pop(pid), status))
                    continue
                job, pid = connection.recv(), os.fork()
                if not pid:
                    return job
                with suppress(ProcessLookupError, PermissionError):  # it has done so itself
                    os.setpgid(pid, pid)  # before it may be sent a signal
                children[pid] = job[0]
    for number in (signal.SIGINT, signal.SIGKILL) if children else ():
        for pid in children:
            send(pid, number)
        time.sleep(GRACE if number == signal.SIGINT else 0)
    return None


def reap(children: dict[int, str]) -> list[tuple[int, int]]:
    """Those that have ended, with their status. What a failed one left running ends with it."""
    found = [os.waitpid(pid, os.WNOHANG) for pid in children]
    ended = [(pid, os.waitstatus_to_exitcode(status)) for pid, status in found if pid]
    for pid, status in ended:
        if status:
            send(pid, signal.SIGKILL)
    return ended


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def run(name: str, command: str, folder: str, log: str, *, module: str) -> None:
    """In the fork: be the command."""
    os.setpgid(0, 0)  # so that it can be stopped with all that it starts
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["DVC_STAGE"] = name
    os.chdir(folder)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: if the server is killed
    if module:
        del sys.modules[module]  # it runs as __main__, as if it had never been imported
        sys.argv = shlex.split(command)[2:]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    shell = os.environ.get("SHELL") or "/bin/sh"
    os.execv(shell, [shell, *SETUP.get(Path(shell).name, []), "-c", command])


if __name__ == "__main__":
    main(Connection(int(sys.argv[1])), sys.argv[2])
