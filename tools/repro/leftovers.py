"""What else works on this project, or was left at work by a run that was killed."""

import re
from pathlib import Path

import psutil

EXPERIMENTS = Path(".dvc/tmp/exps")  # where DVC runs those that are queued
RWLOCK = Path(".dvc/tmp/rwlock")  # DVC's list: which process reads or writes which file


def find_others() -> str:
    """What else runs stages of this project, in words; empty if nothing does. Call it with DVC's lock held."""
    others = {**find_owners(), **find_commands()}
    if not others:
        RWLOCK.unlink(missing_ok=True)  # DVC heeds it while a process has a number that stands there, and not if broken
        return ""
    named = [
        f"process {pid} ({command if len(command) < 60 else f'{command[:57]}...'})" for pid, command in others.items()
    ]
    return f"another run is at work in this project: {', '.join(named)}"


def find_owners() -> dict[int, str]:
    """Number -> command of the processes in DVC's list that are DVC or runs like this one, and have not ended."""
    text = RWLOCK.read_text() if RWLOCK.exists() else ""
    known = [describe(int(number)) for number in re.findall(r'"pid": *(\d+)', text)]
    return {pid: command for pid, command in known if re.search(r"(^|/| )dvc |tools\.repro ", f"{command} ")}


def find_commands() -> dict[int, str]:
    """Number -> command of this project's stages that run now: DVC names the stage in their environment.

    Those of queued experiments are left alone: they work in folders of their own.
    """
    above = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    return dict(
        describe(process.pid)
        for process in psutil.process_iter(["cwd", "environ", "status"])
        if process.pid not in above
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and "DVC_STAGE" in (environ := process.info["environ"] or {})
        and environ.get("DVC_ROOT") == str(Path.cwd())
        and not Path(process.info["cwd"] or ".").is_relative_to(Path.cwd() / EXPERIMENTS)
    )


def describe(pid: int) -> tuple[int, str]:
    """Its number and command; no command if it has ended, or is this one."""
    try:
        process = psutil.Process(pid)
        ended = process == psutil.Process() or process.status() == psutil.STATUS_ZOMBIE
        return pid, "" if ended else " ".join(process.cmdline())
    except psutil.Error:
        return pid, ""
