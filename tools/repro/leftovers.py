"""What a killed run leaves behind: entries in DVC's list of files in use, and commands of stages that still run."""

import json
from pathlib import Path

import psutil

EXPERIMENTS = Path(".dvc/tmp/exps")  # where DVC runs those that are queued
RWLOCK = Path(".dvc/tmp/rwlock")  # DVC's list: which process reads or writes which file


def find_others() -> str:
    """What else runs stages of this project, in words; empty if nothing does.

    Call it with DVC's lock held: it clears DVC's list.
    """
    others = {process.pid: process for process in [*clear_rwlock(), *find_commands()]}
    named = [f"process {pid} ({describe(process)})" for pid, process in others.items()]
    return f"another run is at work in this project: {', '.join(named)}" if named else ""


def describe(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return "gone by now"
    return command if len(command) < 60 else f"{command[:57]}..."


def clear_rwlock() -> list[psutil.Process]:
    """Strike out the files of processes that are gone, and return those that are not.

    DVC does this too, unless the process is a zombie or its number has been given to another one since, as happens in
    containers; and it cannot go on when the list is only half written.
    """
    try:
        content = json.loads(RWLOCK.read_text())
        writers, readers = dict(content["write"]), dict(content["read"])
        numbers = {info["pid"] for infos in [*readers.values(), writers.values()] for info in infos}
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError):
        RWLOCK.unlink()
        return []
    alive = {number: process for number in numbers if (process := find_owner(number))}
    writers = {path: info for path, info in writers.items() if info["pid"] in alive}
    readers = {path: [info for info in infos if info["pid"] in alive] for path, infos in readers.items()}
    draft = RWLOCK.with_name("rwlock.draft")
    draft.write_text(json.dumps({"write": writers, "read": {path: infos for path, infos in readers.items() if infos}}))
    draft.replace(RWLOCK)
    return list(alive.values())


def find_owner(number: int) -> psutil.Process | None:
    """The process with that number, unless it has ended, or is this one, or neither DVC nor one of our workers."""
    try:
        process = psutil.Process(number)
        if process == psutil.Process() or process.status() == psutil.STATUS_ZOMBIE:
            return None
        command = process.cmdline()
    except psutil.Error:
        return None
    ours = any(Path(part).name == "dvc" or "forkserver" in part for part in command)
    return process if ours else None


def find_commands() -> list[psutil.Process]:
    """Commands of this project's stages that run now: DVC names the stage in their environment.

    Those of queued experiments are left alone: they work in folders of their own.
    """
    above = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    return [
        process
        for process in psutil.process_iter(["cwd", "environ", "status"])
        if process.pid not in above
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and "DVC_STAGE" in (environ := process.info["environ"] or {})
        and environ.get("DVC_ROOT") == str(Path.cwd())
        and not Path(process.info["cwd"] or ".").is_relative_to(Path.cwd() / EXPERIMENTS)
    ]
