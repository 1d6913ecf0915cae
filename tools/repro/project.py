"""The project in the current folder: one run at a time works on it, and a signal ends that run where nothing is cut."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.base.commands import UserError

FOLDER = Path(".dvc/tmp/repro")  # what a run needs on disk while it lasts
PATIENCE = 1800.0  # seconds to wait for another run to end
PAUSE = 0.2  # seconds between two looks

signals: list[int] = []  # that have come
Tell = Callable[[str], None]


class BusyError(UserError):
    """Another run is at work in this project, and does not end."""


class Stopped(BaseException):
    """A signal asks this run to end."""


def listen() -> None:
    """Only note signals from here on: no step of DVC's is cut short, and a second signal changes nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: signals.append(number))


def check_signals() -> None:
    if signals:
        raise Stopped


def check_project() -> None:
    """UserError unless the current folder is one that DVC can work in."""
    for needed, remedy in {"dvc.yaml": "", ".dvc": ", or make it a DVC project with `dvc init`"}.items():
        if not Path(needed).exists():
            raise UserError(
                f"{Path.cwd()} has no {needed}, expected the folder of a DVC project: "
                f"change to the project's folder and run this again{remedy}"
            )


def wait_until(is_free: Callable[[], str], tell: Tell) -> None:
    """Wait for `is_free` to return no text; its text, what is in the way, is told once. BusyError after PATIENCE."""
    end, told = time.monotonic() + PATIENCE, False
    while reason := is_free():
        check_signals()
        if time.monotonic() > end:
            raise BusyError(f"{reason}, expected it to end within {PATIENCE / 60:.0f} minutes: stop it, run this again")
        if not told:
            tell(f"Waiting: {reason} (Ctrl-C gives up)")
            told = True
        time.sleep(PAUSE)


@contextmanager
def alone(tell: Tell) -> Iterator[None]:
    """The only run in this project: a second one waits here. The system frees the lock of a process that is killed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("a+") as file:

        def is_free() -> str:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                return f"process {file.read().strip() or 'unknown'} runs this pipeline already"
            return ""

        wait_until(is_free, tell)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write_in_one_step(path: Path, text: str) -> None:
    """Whoever reads the file, and whenever this process is killed, it is whole."""
    draft = FOLDER / f"{path.name}.draft"
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
