"""Time each run in a process of its own, round by round: a new process finds what stands here, not in what is run."""

import resource
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from rich.progress import track

from tools.bench.contenders import TIMERS, WORKLOADS, Workload

Measured = dict[str, float]  # one line of a run
Run = tuple[str, str]  # who does it, and the name of its work
Results = Mapping[Run, Sequence[Measured]]  # run -> its line in every round


def measure_rounds(runs: Sequence[Run], *, rounds: int, quick: bool) -> Results:
    results: dict[Run, list[Measured]] = {run: [] for run in runs}
    for run in track([run for _ in range(rounds) for run in runs], "Timing", transient=True):
        results[run].append(do_run(run, quick=quick))
    return results


def do_run(run: Run, *, quick: bool) -> Measured:
    """Do a run in a process of its own."""
    contender, name = run
    work = WORKLOADS[name].quick() if quick else WORKLOADS[name]
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(time_run, contender, work).result()


def time_run(contender: str, work: Workload) -> Measured:
    """Seconds of one network, and the peak memory of this process in MB."""
    timers = TIMERS
    if contender == "jax":
        from tools.bench.jax_lanes import time_jax  # holds the process to one core

        timers = {"jax": time_jax}
    warm, cold = timers[contender](work)
    num_lanes = work.num_lanes if contender in ("lanes", "jax") else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return {
        "seconds": warm / num_lanes,
        "seconds_with_compilation": cold / num_lanes,
        "memory_mb": peak / (1_000_000 if sys.platform == "darwin" else 1000),
    }
