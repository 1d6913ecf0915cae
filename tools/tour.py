"""Do what README.md tells, in a clone of its own, and record in metrics/tour.json what it prints and what it takes.

The first `make`, from nothing; a changed knob, its `make`, `dvc metrics diff` and `make review`. What is not committed
is left out. Takes as long as the whole pipeline does; nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import psutil

from stages.lib.core.cli import UserError, make_parser, run_main
from tools.bench.__main__ import describe_machine

OUTPUT = Path("metrics/tour.json")
KNOB, VALUE = "dropout", 0.3
TICK = 2.0  # seconds between two looks at the memory


@dataclass(frozen=True)
class Step:
    """What a command has printed and what it took: seconds, and bytes of memory at the peak."""

    printed: str
    seconds: float
    memory: int


def follow(command: str, folder: Path, *, ends_with: tuple[int, ...] = (0,)) -> Step:
    """Run a command as a user would. UserError where it ends with another status than `ends_with`."""
    print(f"$ {command}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        shlex.split(command), cwd=folder, text=True, stdout=subprocess.PIPE, env=find_environment()
    )
    ended, peaks = Event(), [0]

    def watch() -> None:
        while not ended.wait(TICK):
            peaks[0] = max(peaks[0], measure_memory(process.pid))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    printed, _ = process.communicate()
    ended.set()
    watcher.join()
    if process.returncode not in ends_with:
        raise UserError(f"`{command}` ended with status {process.returncode}, expected a project that runs: see above")
    return Step(printed, time.monotonic() - start, peaks[0])


def find_environment() -> dict[str, str]:
    """Without the activated environment of this project: the clone has its own."""
    return {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")}


def measure_memory(pid: int) -> int:
    """Bytes that a process and all those below it hold; what they share is counted once."""
    total = 0
    with suppress(psutil.Error):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.Error):
                found = process.memory_full_info()
                total += getattr(found, "pss", found.uss)
    return total


def measure_disk(folder: Path) -> int:
    """Bytes that a folder's files take, each counted once however many links it has."""
    found = {(status.st_dev, status.st_ino): status for status in map(Path.lstat, folder.rglob("*"))}
    return sum(status.st_blocks * 512 for status in found.values())


def change_knob(params: Path) -> None:
    text, changed = re.subn(rf"(?m)^{KNOB}: \S+", f"{KNOB}: {VALUE}", params.read_text(encoding="utf-8"))
    if changed != 1:
        raise UserError(f"{params} has {changed} lines `{KNOB}: ...`, expected one")
    params.write_text(text, encoding="utf-8")


def main() -> None:
    make_parser("tools.tour", __doc__).parse_args()
    with TemporaryDirectory() as scratch:
        clone = Path(scratch, "clone")
        follow(f"git clone --quiet {shlex.quote(str(Path.cwd()))} {clone}", Path(scratch))
        follow("git checkout --quiet -B main", clone)
        commit = follow("git rev-parse --short HEAD", clone).printed.strip()
        install, first = follow("make setup", clone), follow("make", clone)
        disk = measure_disk(clone)
        change_knob(clone / "params.yaml")
        again = follow("make", clone)
        difference = follow(f"{clone}/.venv/bin/dvc metrics diff", clone)
        reviewed = follow(f"{clone}/.venv/bin/python -m tools.review main", clone, ends_with=(0, 1))
    steps = {"install": install, "first": first, "again": again, "diff": difference, "review": reviewed}
    found = {"machine": describe_machine(), "commit": commit, "disk": disk, "knob": f"{KNOB}={VALUE}"}
    OUTPUT.write_text(json.dumps(found | {name: asdict(step) for name, step in steps.items()}, indent=2) + "\n")


if __name__ == "__main__":
    run_main(main)
