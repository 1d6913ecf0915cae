"""The project in the current folder: whether it can be worked on, and that one run at a time does so."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.base.commands import UserError
from stages.lib.settings.blocks import check_blocks
from stages.lib.settings.mistakes import ParamsError
from stages.lib.settings.params import parse_params

FOLDER = Path(".dvc/tmp/repro")  # what a run needs on disk while it lasts
PATIENCE = 1800.0  # seconds to wait for another run to end
PAUSE = 0.2  # seconds between two looks

Tell = Callable[[str], None]


class BusyError(UserError):
    """Another run is at work in this project, and does not end."""


def check_project() -> None:
    """UserError unless the current folder is one that DVC can work in."""
    for needed, remedy in {
        "dvc.yaml": "change to the project's folder and run this again",
        ".dvc": "change to the project's folder and run this again, or make it a DVC project with `dvc init`",
    }.items():
        if not Path(needed).exists():
            raise UserError(f"{Path.cwd()} has no {needed}, expected the folder of a DVC project: {remedy}")


def check_params() -> None:
    """UserError, with one line per mistake, before any work starts. Does nothing in a project without the schema."""
    path = Path("params.yaml")
    if path.is_file() and Path("stages/lib/settings/params.py").is_file():
        try:
            studies = parse_params(path.read_text(encoding="utf-8")).studies
            check_blocks(Path("dvc.yaml").read_text(encoding="utf-8"), studies)
        except UnicodeDecodeError as error:
            raise ParamsError(f"params.yaml is no UTF-8 text ({error}), expected it to be: save it as UTF-8") from None


def wait_until(is_free: Callable[[], str], tell: Tell) -> None:
    """Wait for `is_free` to return no text; its text, what is in the way, is told once. BusyError after PATIENCE."""
    end, told = time.monotonic() + PATIENCE, ""
    while reason := is_free():
        if time.monotonic() > end:
            raise BusyError(f"{reason}, expected it to end within {PATIENCE / 60:.0f} minutes: stop it, run this again")
        if not told:
            tell(f"Waiting: {reason} (Ctrl-C gives up)")
            told = reason
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
