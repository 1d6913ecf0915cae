"""The process of a command, which ends with the one that wants it. A worker is sent this text: the standard library."""

import multiprocessing
import os
import re
import runpy
import select
import signal
import subprocess
import sys
from threading import Thread

STAGE = re.compile(r"python -m stages\.\w+(?: [\w.@-]+)*")  # a command that needs no process of its own


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
