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
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from stages.lib.base.commands import UserError, make_parser
from tools.repro import project, signals, summary
from tools.repro.outcomes import Outcome, Result, format_seconds

REPORT = Path("metrics/report.md")


def parse_arguments() -> argparse.Namespace:
    parser = make_parser("tools.repro", __doc__)
    parser.add_argument(
        "--jobs",
        type=parse_count,
        default=count_cores(),
        help="stages to run at once (default: the cores, %(default)s)",
    )
    return parser.parse_args()


def parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} given, expected a whole number of at least 1")
    return int(text)


def count_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reproduce(console: Console, *, jobs: int) -> list[Result]:
    """Run what has changed; one result per stage, in the order in which they ended."""
    # Here, because importing DVC takes a second: neither --help nor a mistake in params.yaml waits for it.
    from tools.repro.pipeline import Pipeline
    from tools.repro.progress import View
    from tools.repro.schedule import Run

    pipeline = Pipeline(console.print)
    with View(console, list(pipeline.stages)) as view:
        run = Run(pipeline, view, jobs=jobs)
        try:
            run.run()
        except BaseException:
            pipeline.suspend()
            raise
        pipeline.settle()
    return list(run.results.values())


def report(console: Console, results: list[Result], *, seconds: float) -> int:
    """Say how the run ended, and return the exit status."""
    counts = Counter(result.outcome for result in results)
    for result in results:
        if result.outcome is Outcome.FAILED:
            console.print(f"\n{result.name} failed. The end of its output ({result.log} has all of it):", style="red")
            console.print("\n".join(f"    {line}" for line in result.output))
    if counts[Outcome.FAILED]:
        skipped = f", {counts[Outcome.SKIPPED]} skipped because of that" if counts[Outcome.SKIPPED] else ""
        console.print(
            f"\n{counts[Outcome.FAILED]} of {len(results)} stages failed{skipped}, after {format_seconds(seconds)}: "
            "mend what the output above names and run this again"
        )
        return 1
    for study, variants in summary.load_metrics().items():
        console.print()
        console.print(summary.tabulate(study, variants), soft_wrap=False)
    if REPORT.is_file():
        console.print(f"\nDifferences, verdicts and tuned strengths: {REPORT}", end="")
    if counts[Outcome.UNCHANGED] == len(results):
        console.print(f"\nEverything is up to date ({len(results)} stages).")
        return 0
    console.print(
        f"\n{len(results)} stages up to date in {format_seconds(seconds)}: {counts[Outcome.RUN]} run, "
        f"{counts[Outcome.RESTORED]} restored, {counts[Outcome.UNCHANGED]} unchanged"
    )
    return 0


def main() -> int:
    options, started = parse_arguments(), time.monotonic()
    signals.listen()
    is_terminal = sys.stdout.isatty()
    console = Console(
        force_terminal=is_terminal, width=None if is_terminal else 120, markup=False, highlight=False, soft_wrap=True
    )
    try:
        project.check_project()
        project.check_params()
        with project.alone(console.print):
            results = reproduce(console, jobs=options.jobs)
            return report(console, results, seconds=time.monotonic() - started)
    except UserError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {error}, expected a project folder that can be written to: mend it, run this again",
            file=sys.stderr,
        )
        return 2
    except signals.Stopped as stopped:
        name = "Ctrl-C" if stopped.number == signal.SIGINT else signal.Signals(stopped.number).name
        console.print(f"Stopped by {name}. What is done is kept: run this again to go on from there.")
        return 128 + stopped.number


if __name__ == "__main__":
    sys.exit(main())
