"""Bring the whole pipeline up to date, independent stages side by side.

The result is that of `dvc repro`. A stage that fails stops those that depend on it, and no other. Ctrl-C stops
everything; what is done comes back from DVC's cache in the next run, and dvc.lock is written at the end of one.

exit status:
  0    everything is up to date
  1    a stage failed; the end of its output is shown, all of it is in .dvc/tmp/repro/<stage>.log
  2    the project, the disk or the command line needs mending
  130  stopped by Ctrl-C (143: by SIGTERM)
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from stages.lib.core.cli import UserError, make_parser
from tools.check_params import check_params
from tools.guard import check_records
from tools.repro.engine import FOLDER, SIGNALS, LocalEngine


def parse_arguments() -> argparse.Namespace:
    parser = make_parser("tools.repro", __doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="stages at once here (default: the cores)")
    parser.add_argument("--cluster", help="run them on a Dask cluster: its scheduler's address, or the file it writes")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs: {options.jobs} given, expected a whole number of at least 1")
    return options


def reproduce(options: argparse.Namespace) -> int:
    """Run what has changed, say how it ended, and return the exit status."""
    if missing := [needed for needed in ("dvc.yaml", ".dvc") if not Path(needed).exists()]:
        raise UserError(f"{Path.cwd()} has no {missing[0]}, expected the folder of a DVC project: change to it")
    FOLDER.mkdir(parents=True, exist_ok=True)
    check_records()
    check_params()
    started = time.monotonic()
    gc.disable()  # to look for garbage takes a tenth of the time, and finds a megabyte
    # Here, because to import DVC takes half a second, and NumPy starts threads, which have to block signals as well.
    from tools import results
    from tools.repro.pipeline import Pipeline
    from tools.repro.run import Run

    if options.cluster:
        from tools.repro.cluster import ClusterEngine
    run = Run(Pipeline(), ClusterEngine(**vars(options)) if options.cluster else LocalEngine(options.jobs))
    asyncio.run(run.run())
    gc.freeze()  # nor is it looked for at the end
    took = timedelta(seconds=round(time.monotonic() - started))
    parts = ", ".join(f"{number} {how}" for how, number in run.counts.items())
    if run.failures:
        print(*run.failures, f"\n{parts} after {took}: mend what failed and run this again", sep="\n")
        return 1
    results.show()
    print(f"\nEverything is up to date after {took}: {parts}")
    return 0


def main() -> int:
    options = parse_arguments()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they wait to be looked at: no step of DVC's is cut short
    try:
        return reproduce(options)
    except (UserError, ModuleNotFoundError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
    except OSError as error:
        print(f"error: {error}, expected a folder that can be written to: mend it, run this again", file=sys.stderr)
    except KeyboardInterrupt:
        number = min(signal.sigpending(), default=signal.SIGINT)
        print("Stopped by", "Ctrl-C." if number == signal.SIGINT else "SIGTERM.", "What is done is kept: run again.")
        return 128 + number
    return 2


if __name__ == "__main__":
    sys.exit(main())
