"""Time the lanes against stock Keras, scikit-learn and JAX on the same work, and write metrics/bench.json.

Every run is a process of its own. A round does each run once, one after another, so that what else the machine does
hits all alike; ratios are taken within a round.

A run is named by who does it, its task, and how many networks train at once: lanes-thoracic-400.
"""

import os
import platform
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.progress import track

from stages.lib.core.cli import make_parser, run_main
from stages.lib.core.files import write_json
from tools.bench.contenders import TASKS, TIMERS, Task

OUTPUT = Path("metrics/bench.json")
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "jax", "scikit-learn", "numpy")
CONTENDERS = (*TIMERS, "jax")
WORKLOADS = {  # the lanes that share the work of a run; stock Keras and scikit-learn train one network
    "thoracic-50": "100 epochs of 300 rows, batches of 30, 16-30-30-1",
    "thoracic-400": "the same",
    "fashion_30-10": "an epoch of 60,000 images, batches of 30, 784-64-10",
    "fashion_128-10": "the same, batches of 128",
    "fashion_small-40": "20 epochs of 2,000 images, batches of 32, 784-64-10 with an L2 penalty",
}

Measured = dict[str, float]  # one line of a run
Results = Mapping[str, Sequence[Measured]]  # run -> its line in every round


class Target(NamedTuple):
    """`value` of the results must be at least (or, where it is a cost, at most) the bound."""

    name: str
    of: str  # a run
    to: str | None  # the run that its cost is divided by; None: its memory
    bound: float
    at_most: bool = False


TARGETS = (
    Target("Thoracic, 50 lanes: stock fit / lanes", "stock-thoracic", "lanes-thoracic-50", 50),
    Target("Thoracic, 400 lanes: stock fit / lanes", "stock-thoracic", "lanes-thoracic-400", 100),
    Target("Fashion-MNIST, batches of 30: stock fit / lanes", "stock-fashion_30", "lanes-fashion_30-10", 10),
    Target("Fashion-MNIST, batches of 128: stock fit / lanes", "stock-fashion_128", "lanes-fashion_128-10", 10),
    Target("Fashion-MNIST, batches of 30: lanes / JAX", "lanes-fashion_30-10", "jax-fashion_30-10", 1.5, True),
    Target("Fashion-MNIST, batches of 128: lanes / JAX", "lanes-fashion_128-10", "jax-fashion_128-10", 1.5, True),
    Target("Fashion-MNIST, 40 lanes in blocks: lanes / JAX", "lanes-fashion_small-40", "jax-fashion_small-40", 1, True),
    Target("Thoracic, a lane among 400 / among 50", "lanes-thoracic-400", "lanes-thoracic-50", 1, True),
    Target("Thoracic, 400 lanes: memory, MB", "lanes-thoracic-400", None, 2000, True),
    Target("Fashion-MNIST, ten lanes: memory, MB", "lanes-fashion_30-10", None, 2000, True),
)


def name_run(contender: str, workload: str) -> str:
    """stock-thoracic, lanes-thoracic-400: those that train one network know no number of lanes."""
    return f"{contender}-{workload}" if contender in ("lanes", "jax") else f"{contender}-{workload.split('-')[0]}"


def list_round() -> list[str]:
    """Each run once, in the order of a round."""
    contenders = [name for name in CONTENDERS if name != "jax" or find_spec("jax")]
    return list(dict.fromkeys(name_run(contender, workload) for workload in WORKLOADS for contender in contenders))


def do_run(run: str, *, quick: bool) -> Measured:
    """Do a run in a process of its own."""
    contender, task, *num_lanes = run.split("-")
    work = TASKS[task].quick() if quick else TASKS[task]
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(time_run, contender, work, int(num_lanes[0]) if num_lanes else 1).result()


def time_run(contender: str, task: Task, num_lanes: int) -> Measured:
    """Seconds of one network, and the peak memory of this process in MB."""
    timers = TIMERS
    if contender == "jax":
        from tools.bench.jax_lanes import time_jax  # holds the process to one core

        timers = {"jax": time_jax}
    warm, cold = timers[contender](task, num_lanes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return {
        "seconds": warm / num_lanes,
        "seconds_with_compilation": cold / num_lanes,
        "memory_mb": peak / (1_000_000 if sys.platform == "darwin" else 1000),
    }


def measure_rounds(runs: Sequence[str], *, rounds: int, quick: bool) -> Results:
    results: dict[str, list[Measured]] = {run: [] for run in runs}
    for run in track([run for _ in range(rounds) for run in runs], "Timing", transient=True):
        results[run].append(do_run(run, quick=quick))
    return results


def summarize(values: Iterable[float]) -> Measured:
    ordered = sorted(values)
    return {"min": ordered[0], "median": median(ordered), "max": ordered[-1]}


def divide(results: Results, of: str, to: str, field: str = "seconds") -> Measured:
    """The ratio of two runs' costs, round by round."""
    return summarize(top[field] / bottom[field] for top, bottom in zip(results[of], results[to], strict=True))


def report(results: Results, *, rounds: int) -> dict[str, Any]:
    """What metrics/bench.json holds.

    machine: processor, cores, versions. rounds. workloads: name -> what it is, and for each contender the seconds of
    one network (with_compilation: tracing or compiling included), the peak memory of its process in MB, and how many
    times the lanes' cost that is. targets: name -> value, bound, met. Spreads are min, median and max over the rounds.
    """
    workloads = {}
    for workload, description in WORKLOADS.items():
        runs = {contender: run for contender in CONTENDERS if (run := name_run(contender, workload)) in results}
        if "lanes" in runs:
            contenders = {contender: report_run(results, run, runs["lanes"]) for contender, run in runs.items()}
            workloads[workload] = {"description": description, "contenders": contenders}
    done = [target for target in TARGETS if {target.of, target.to or target.of} <= results.keys()]
    targets = {target.name: rate_target(target, results) for target in done}
    return {"machine": describe_machine(), "rounds": rounds, "workloads": workloads, "targets": targets}


def report_run(results: Results, run: str, lanes: str) -> dict[str, Any]:
    contender, task, *_ = run.split("-")
    return {
        "seconds": summarize(line["seconds"] for line in results[run]),
        "seconds_with_compilation": summarize(line["seconds_with_compilation"] for line in results[run]),
        "memory_mb": max(line["memory_mb"] for line in results[run]),
        "times_lanes": divide(results, run, lanes),
        "times_lanes_with_compilation": divide(results, run, lanes, "seconds_with_compilation"),
        "extrapolated_from": TASKS[task].share if contender == "sklearn" else 1.0,  # share of the rows
    }


def rate_target(target: Target, results: Results) -> dict[str, Any]:
    if target.to:
        value = divide(results, target.of, target.to)["median"]
    else:
        value = max(line["memory_mb"] for line in results[target.of])
    met = value <= target.bound if target.at_most else value >= target.bound
    return {"value": value, "at_most" if target.at_most else "at_least": target.bound, "met": met}


def describe_machine() -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": (models or [platform.processor() or platform.machine()])[0],
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
    }


def render_bench(bench: Mapping[str, Any]) -> str:
    """What one network costs in lanes, and how many times as much elsewhere, as a table in Markdown."""
    lines = ["| work | seconds in lanes | stock Keras | scikit-learn | JAX |", "|---|--:|--:|--:|--:|"]
    for name, workload in bench["workloads"].items():
        costs = workload["contenders"]
        others = [costs.get(contender) for contender in CONTENDERS if contender != "lanes"]
        times = [f"{other['times_lanes']['median']:.3g}" if other else "" for other in others]
        lines.append(f"| {name} | {costs['lanes']['seconds']['median']:.3g} | {' | '.join(times)} |")
    return "\n".join(lines)


def render_target(name: str, target: Mapping[str, Any]) -> str:
    bound = f"at most {target['at_most']}" if "at_most" in target else f"at least {target['at_least']}"
    return f"{'met   ' if target['met'] else 'MISSED'}  {name}: {target['value']:.4g}, {bound}"


def main() -> None:
    parser = make_parser("tools.bench", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that each run is done (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the work, to try it out; writes no file")
    options = parser.parse_args()
    if options.quick:
        print("Quick: a twentieth of the work that the table names, too little to judge by.")
    if not find_spec("jax"):
        print("JAX is not installed, so its column is missing: make bench installs it")
    bench = report(measure_rounds(list_round(), rounds=options.rounds, quick=options.quick), rounds=options.rounds)
    print(render_bench(bench), *(render_target(*entry) for entry in bench["targets"].items()), sep="\n")
    if not options.quick:
        write_json(OUTPUT, bench)
        print(f"Written, with ranges, compilation and memory: {OUTPUT}")


if __name__ == "__main__":
    run_main(main)
