"""Bring the pipeline up to date, or some of its stages and what they need, independent ones side by side.

The result is that of `dvc repro`. A stage that fails stops those that depend on it, and no other. Ctrl-C stops
everything; what is done comes back from DVC's cache in the next run, and dvc.lock is written at the end of one.

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
import os
import signal
import sys
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from stages.lib.core.cli import UserError, make_parser
from tools.guard import check_records, print_error
from tools.repro.engine import FOLDER, SIGNALS, LocalEngine

PARAMS = Path("params.yaml")
SCHEMA = Path("stages/lib")  # the rules stand in several of its modules
CHECKED = FOLDER / "checked"  # digest of the files in which no mistake was found
ANSWER, REPORT = Path("metrics/answer.txt"), Path("metrics/report.html")


def parse_arguments() -> argparse.Namespace:
    parser = make_parser("tools.repro", __doc__)
    told = "a stage (train@tables-l2) or all of a matrix (train), with what it needs; default: all stages"
    parser.add_argument("targets", nargs="*", metavar="target", help=told)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="stages at once here (default: the cores)")
    parser.add_argument("--cluster", help="run them on a Dask cluster: its scheduler's address, or the file it writes")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs: {options.jobs} given, expected a whole number of at least 1")
    return options


def check_params() -> None:
    """ParamsError, with one line per mistake. Does nothing in a project without the schema, or where it found none."""
    if not all(path.is_file() for path in (PARAMS, SCHEMA / "settings/schema.py")):
        return
    files = [PARAMS, *sorted(SCHEMA.rglob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    if CHECKED.is_file() and CHECKED.read_text() == digest:
        return
    # Here, because pydantic takes a fifth of a second.
    from stages.plan import check, read_text

    check(read_text(str(PARAMS)), read=None)
    CHECKED.write_text(digest)


def show_answer() -> None:
    """Print the answer that the stage `report` has written for a terminal."""
    if ANSWER.is_file():  # printed as it is, but for what would steer a terminal
        print("".join(c for c in ANSWER.read_text(encoding="utf-8") if c.isprintable() or c == "\n"), end="")
    if REPORT.is_file():
        print(f"\nFigures and tables: {REPORT} (make show)", end="")


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
    check_records()
    check_params()
    started = time.monotonic()
    gc.disable()  # to look for garbage takes a tenth of the time, and finds a megabyte
    # Here, because to import DVC takes half a second, and NumPy starts threads, which have to block signals as well.
    from tools.repro.pipeline import Pipeline
    from tools.repro.run import Run

    run = Run(Pipeline(options.targets), make_engine(options))
    asyncio.run(run.run())
    gc.freeze()  # nor is it looked for at the end
    took = timedelta(seconds=round(time.monotonic() - started))
    parts = ", ".join(f"{number} {how}" for how, number in run.counts.items())
    if run.failures:
        print(*run.failures, f"\n{parts} after {took}: mend what failed and run this again", sep="\n")
        return 1
    if "report" in run.pipeline.stages:
        show_answer()
    what = "What was asked for" if options.targets else "Everything"
    print(f"\n{what} is up to date after {took}: {parts}")
    return 0


def main() -> int:
    options = parse_arguments()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they wait to be looked at: no step of DVC's is cut short
    try:
        return reproduce(options)
    except (UserError, ModuleNotFoundError) as error:
        print_error(error)
    except OSError as error:
        print(f"error: {error}, expected a folder that can be written to: mend it, run this again", file=sys.stderr)
    except KeyboardInterrupt:
        number = min(signal.sigpending(), default=signal.SIGINT)
        print("Stopped by", "Ctrl-C." if number == signal.SIGINT else "SIGTERM.", "What is done is kept: run again.")
        return 128 + number
    return 2


if __name__ == "__main__":
    sys.exit(main())
