"""Bring the whole pipeline up to date, independent stages side by side.

The result is that of `dvc repro`: the same stages run or come back from DVC's cache, and dvc.lock is the same. A stage
that fails stops those that depend on it, and no other. Ctrl-C stops everything; the next run goes on from there.

exit status:
  0    everything is up to date
  1    a stage failed; the end of its output is shown, all of it is in .dvc/tmp/repro/<stage>.log
  2    the project, the disk or the command line needs mending
  130  stopped by Ctrl-C (143: by SIGTERM)
"""

import argparse
import gc
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.base.commands import UserError, make_parser
from tools import results
from tools.check_params import check_params
from tools.guard import check_records
from tools.repro import project

if TYPE_CHECKING:
    from tools.repro.engine import Engine

REPORT = Path("metrics/report.md")


def parse_arguments() -> argparse.Namespace:
    parser = make_parser("tools.repro", __doc__)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "--jobs", type=parse_count, default=cores, help="stages to run at once (default: the cores, %(default)s)"
    )
    parser.add_argument(
        "--cluster", help="run stages on a Dask cluster: its scheduler's address, or the file it writes"
    )
    return parser.parse_args()


def parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} given, expected a whole number of at least 1")
    return int(text)


def reproduce(options: argparse.Namespace) -> int:
    """Run what has changed, say how it ended, and return the exit status."""
    gc.disable()  # what is loaded now stays: to look for garbage in it takes a tenth of the time
    # Here, because importing DVC takes half a second: neither --help nor a wrong folder waits for it.
    from tools.repro.pipeline import Pipeline
    from tools.repro.progress import Outcome, View, format_seconds
    from tools.repro.schedule import Run

    started, pipeline = time.monotonic(), Pipeline(print)
    gc.freeze()
    gc.enable()
    run = Run(pipeline, make_engine(options), View(len(pipeline.stages)))
    run.run()
    took, num_stages = format_seconds(time.monotonic() - started), len(run.results)
    counts = Counter(result.outcome for result in run.results.values())
    for result in run.results.values():
        if result.outcome is Outcome.FAILED:
            print(f"\n{result.name} failed. {result.output[0]}", *result.output[1:], sep="\n    ")
    if counts[Outcome.FAILED]:
        skipped = f", {counts[Outcome.SKIPPED]} skipped because of that" if counts[Outcome.SKIPPED] else ""
        print(f"\n{counts[Outcome.FAILED]} of {num_stages} stages failed{skipped}, after {took}: ", end="")
        print("mend what the output above names and run this again")
        return 1
    for study, variants in results.load_metrics().items():
        print("", *results.tabulate(study, variants), sep="\n")
    if REPORT.is_file():
        print(f"\nDifferences, verdicts and tuned strengths: {REPORT}", end="")
    if counts[Outcome.UNCHANGED] == num_stages:
        print(f"\nEverything is up to date ({num_stages} stages).")
    else:
        parts = [f"{counts[Outcome[name]]} {name.lower()}" for name in ("RUN", "RESTORED", "UNCHANGED")]
        print(f"\n{num_stages} stages up to date in {took}: {', '.join(parts)}")
    return 0


def make_engine(options: argparse.Namespace) -> "Engine":
    from tools.repro.engine import LocalEngine

    home = LocalEngine(options.jobs)
    if not options.cluster:
        return home
    try:
        from tools.repro.cluster import ClusterEngine
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is missing, expected what a cluster needs: make CLUSTER=... installs it"
        ) from None
    return ClusterEngine(options.cluster, home)


def main() -> int:
    options = parse_arguments()
    project.listen()
    try:
        project.check_project()
        with project.alone(print):
            check_records()
            check_params()
            return reproduce(options)
    except UserError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
    except OSError as error:
        remedy = "expected a project folder that can be written to: mend it, run this again"
        print(f"error: {error}, {remedy}", file=sys.stderr)
    except project.Stopped:
        number = project.signals[0]
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        print(f"Stopped by {name}. What is done is kept: run this again to go on from there.")
        return 128 + number
    return 2


if __name__ == "__main__":
    sys.exit(main())
