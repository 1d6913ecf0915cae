"""Bring the pipeline up to date, or some of its stages and what they need, independent ones side by side.

The result is that of `dvc repro` where nothing is left of stages that are gone: that is removed. Studies are run in
the order of params.yaml, and the answer of each is printed as soon as it is known. A stage that fails stops those that
depend on it, and no other. Ctrl-C stops everything; what is done comes back from DVC's cache in the next run, also
after a run that was killed, and dvc.lock is written at the end of one.

exit status:
  0    everything, or what was asked for, is up to date
  1    a stage failed; the end of its output is shown, all of it is in .dvc/tmp/repro/<stage>.log
  2    the project, the disk or the command line needs mending
  130  stopped by Ctrl-C (143: by SIGTERM)
"""

import argparse
import asyncio
import gc
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import sys
import textwrap
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from stages.lib.core.cli import UserError, make_parser
from tools.guard import check_lock, print_error
from tools.repro.engine import FOLDER, PAUSE, SIGNALS, LocalEngine

PARAMS = Path("params.yaml")
SCHEMA = Path("stages/lib")  # the rules stand in several of its modules
UNCHANGED = FOLDER / "unchanged.json"  # the state of all files after which a run had nothing to do
ANSWER, REPORT = Path("metrics/answer.txt"), Path("metrics/report.html")
SHOWN = set[str]()  # lines of answers that stand on the terminal


def set_params(text: str) -> None:
    """Set values of params.yaml as `dvc exp run -S` does, `dropout=0.3 l2=0.02`; none where one of them is wrong."""
    from dvc.utils.hydra import apply_overrides

    from stages.lib.core.files import write_bytes  # here, as NumPy comes with it

    draft = FOLDER / PARAMS.name
    draft.write_bytes(PARAMS.read_bytes())
    try:
        apply_overrides(draft, shlex.split(text))
    except Exception as error:  # of shlex, DVC, Hydra, OmegaConf or ruamel
        (reason, *_) = str(error.__cause__ or error).splitlines()
        expected = f"expected KEY=VALUE with a key of {PARAMS}, as `dvc exp run -S` takes it"
        raise UserError(f"--set {text}: {reason}, {expected}") from error
    check_params(draft)
    write_bytes(PARAMS, draft.read_bytes())  # the draft may lie on another disk


def check_params(path: Path = PARAMS) -> None:
    """ParamsError, with one line per mistake. Does nothing in a project without the schema."""
    if not all(path.is_file() for path in (path, SCHEMA / "settings/schema.py")):
        return
    # Here, because pydantic takes a fifth of a second.
    from stages.plan import check, read_text

    check(read_text(str(path)), read=None)


def describe_files(paths: Sequence[str], cache: str) -> str:
    """A digest of the names, sizes, times and inodes of all files in some paths, and of the times of a cache's folders.

    DVC trusts a hash as long as these of a file are the same. What is taken out of its cache changes a folder there.
    """
    states: list[object] = [sys.version, *((each.name, each.stat().st_mtime_ns) for each in Path(cache).glob("??"))]
    for path in paths:
        inside = [f"{folder}/{name}" for folder, _, names in os.walk(path) for name in names]
        for file in map(Path, inside or [path]):
            state = file.stat() if file.exists() else None
            states.append((str(file), state and (state.st_size, state.st_mtime_ns, state.st_ino)))
    return hashlib.sha256(json.dumps(sorted(map(str, states))).encode()).hexdigest()


def count_unchanged() -> int:
    """The number of stages if no file has changed since a whole run had nothing to do, or had just ended; else 0."""
    with suppress(OSError, ValueError, TypeError, LookupError):  # none yet, damaged, or a file is gone
        kept = json.loads(UNCHANGED.read_text())
        return kept["stages"] if describe_files(kept["paths"], kept["cache"]) == kept["state"] else 0
    return 0


def show_text(path: Path) -> None:
    """Print what a stage has written for a terminal, but for lines that one shows already."""
    if path.is_file():  # printed as it is, but for what would steer a terminal
        text = "".join(c for c in path.read_text(encoding="utf-8") if c.isprintable() or c == "\n")
        if sys.stdout.isatty():
            lines = [line for line in text.splitlines(keepends=True) if line not in SHOWN]
            SHOWN.update(lines)
            text = lay_out("".join(lines))
        print(text, end="", flush=True)


def show_answer() -> None:
    """Print the answer that the stage `report` has written."""
    show_text(ANSWER)
    if REPORT.is_file():
        print(f"Figures and tables: {REPORT} (make show)", end="")


def lay_out(text: str) -> str:
    """Lines broken between words, as wide as the terminal is; what each is about in bold, if colours are wanted."""
    width, bold = shutil.get_terminal_size().columns, r"\1" if "NO_COLOR" in os.environ else "\033[1m\\1\033[0m"
    lines = [textwrap.fill(line, width, subsequent_indent="  ") for line in text.splitlines()]
    return "".join(re.sub(r"^([^:]{1,60}:)", bold, line) + "\n" for line in lines)


def make_engine(options: argparse.Namespace) -> LocalEngine:
    if not options.cluster:
        return LocalEngine(options.jobs)
    if not find_spec("distributed"):
        raise UserError("--cluster needs Dask, which is not installed: `make CLUSTER=...` installs it")
    from tools.repro.cluster import ClusterEngine

    return ClusterEngine(options.cluster, options.jobs)


def reproduce(options: argparse.Namespace) -> int:
    """Run what has changed, say how it ended, and return the exit status."""
    if missing := [needed for needed in ("dvc.yaml", ".dvc") if not Path(needed).exists()]:
        raise UserError(f"{Path.cwd()} has no {missing[0]}, expected the folder of a DVC project: change to it")
    if os.pathsep in (folder := str(Path(sys.executable).parent)):
        raise UserError(f"{folder} has {os.pathsep!r} in its name, which PATH cannot hold: rename the folder")
    FOLDER.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if number := 0 if options.targets or options.set else count_unchanged():
        return tell_end(options, started, {"unchanged": number})
    check_lock()
    check_params()
    if options.set:
        set_params(options.set)
    gc.disable()  # to look for garbage takes a tenth of the time, and finds a megabyte
    # Here, because to import DVC takes half a second, and NumPy starts threads, which have to block signals as well.
    from tools.repro.pipeline import Pipeline
    from tools.repro.run import Run

    tell = None if options.targets else show_text
    run = Run(Pipeline(options.targets), make_engine(options), tell=tell)
    files, all_stages = run.pipeline.list_files(), len(run.pipeline.stages)
    state = describe_files(**files)
    asyncio.run(run.run())
    if not (options.targets or run.failures):
        if run.counts["unchanged"] < all_stages:  # a file may have been edited since its stage has ended
            state = describe_files(**files)
            state = "" if run.pipeline.has_changed() else state
        UNCHANGED.write_text(json.dumps({"stages": all_stages, "state": state, **files}))
    gc.freeze()  # nor is it looked for at the end
    return tell_end(options, started, run.counts, run.failures)


def tell_end(options: argparse.Namespace, started: float, counts: dict[str, int], failures: Sequence[str] = ()) -> int:
    """Say how a run ended, and return the exit status."""
    took = timedelta(seconds=round(time.monotonic() - started))
    parts = ", ".join(f"{number} {how}" for how, number in counts.items())
    if failures:
        print(*failures, f"\n{parts} after {took}: mend what failed and run this again", sep="\n")
        return 1
    if not options.targets:
        show_answer()
    what = "What was asked for" if options.targets else "Everything"
    print(f"\n{what} is up to date after {took}: {parts}")
    return 0


def stop_with(parent: int) -> None:
    """Stop this run, as SIGTERM does, once its parent is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    parser = make_parser("tools.repro", __doc__)
    told = "a stage (train@tables-l2) or all of a matrix (train), with what it needs; default: all stages"
    parser.add_argument("targets", nargs="*", metavar="target", help=told)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="stages at once here (default: the cores)")
    parser.add_argument("--cluster", help="run them on a Dask cluster: its scheduler's address, or the file it writes")
    parser.add_argument("--set", help="first set these in params.yaml, as dvc exp run -S does: 'dropout=0.3 l2=0.02'")
    parser.add_argument("--with-parent", action="store_true", help="stop where the process that has started this ends")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs: {options.jobs} given, expected a whole number of at least 1")
    if sys.warnoptions:  # such as -W error: warnings of libraries are shown, and end nothing
        sys.warnoptions.clear()  # which the processes of stages would be given
        os.environ.pop("PYTHONWARNINGS", None)
        warnings.simplefilter("default")
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they wait to be looked at: no step of DVC's is cut short
    if options.with_parent:
        Thread(target=stop_with, args=(os.getppid(),), daemon=True).start()
    try:
        return reproduce(options)
    except (UserError, ModuleNotFoundError, OSError, sqlite3.Error) as error:
        print_error(error)
    except KeyboardInterrupt:
        number = min(signal.sigpending(), default=signal.SIGINT)
        print("Stopped by", "Ctrl-C." if number == signal.SIGINT else "SIGTERM.", "What is done is kept: run again.")
        return 128 + number
    return 2


if __name__ == "__main__":
    sys.exit(main())
