"""Time the lanes against stock Keras, scikit-learn and JAX on the same work, and write metrics/bench.json.

Every run is a process of its own. A round does each run once, one after another, so that what else the machine does
hits all alike; ratios are taken within a round.

`python -m tools.bench --run lanes-thoracic-400` is one run: contender, task of workloads.py, networks at once.
It prints one line of JSON.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from stages.lib.core.cli import UserError, make_parser, run_main
from tools.bench.workloads import TASKS

OUTPUT = Path("metrics/bench.json")
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "jax", "scikit-learn", "numpy")
CONTENDERS = {"stock": "Keras' Model.fit", "sklearn": "MLPClassifier", "lanes": "lanes", "jax": "JAX"}
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


def list_runs() -> list[str]:
    """Each run once, in the order of a round."""
    contenders = [name for name in CONTENDERS if name != "jax" or find_spec("jax")]
    return list(dict.fromkeys(name_run(contender, workload) for workload in WORKLOADS for contender in contenders))


def run_one(run: str, *, quick: bool) -> Measured:
    """Do a run in this process."""
    from tools.bench.contenders import measure  # not before a process is the run's own

    if run not in list_runs():
        raise UserError(f"{run}: no such run, expected one of {', '.join(list_runs())}")
    contender, task, *num_lanes = run.split("-")
    return measure(contender, TASKS[task].quick() if quick else TASKS[task], int(num_lanes[0]) if num_lanes else 1)


def start_run(run: str, *, quick: bool) -> Measured:
    """Do a run in a process of its own."""
    command = [sys.executable, "-m", "tools.bench", "--run", run] + ["--quick"] * quick
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise UserError(f"{run} failed with status {finished.returncode}:\n{finished.stderr[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def measure_rounds(runs: Sequence[str], *, rounds: int, quick: bool) -> Results:
    results: dict[str, list[Measured]] = {run: [] for run in runs}
    for run in track([run for _ in range(rounds) for run in runs], "Timing", transient=True):
        results[run].append(start_run(run, quick=quick))
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
        runs = {contender: name_run(contender, workload) for contender in CONTENDERS}
        runs = {contender: run for contender, run in runs.items() if run in results}
        if "lanes" in runs:
            contenders = {name: report_run(results, run, runs["lanes"]) for name, run in runs.items()}
            workloads[workload] = {"description": description, "contenders": contenders}
    targets = {
        target.name: judge(target, results) for target in TARGETS if {target.of, target.to or target.of} <= {*results}
    }
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


def judge(target: Target, results: Results) -> dict[str, Any]:
    if target.to:
        value = divide(results, target.of, target.to)["median"]
    else:
        value = max(line["memory_mb"] for line in results[target.of])
    met = value <= target.bound if target.at_most else value >= target.bound
    return {"value": value, "at_most" if target.at_most else "at_least": target.bound, "met": met}


def describe_machine() -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
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


def print_bench(bench: Mapping[str, Any], console: Console) -> None:
    """A table per workload with a row per contender, and one of the targets."""
    console.print("Seconds of one network, and how many times the lanes' they are: without and with compiling (c.).")
    console.print("Medians and range of the rounds. What has a ~ is extrapolated from a part of the rows.\n")
    columns = ("", "seconds", "x lanes", "range", "with c.", "x lanes", "memory")
    for name, workload in bench["workloads"].items():
        table = start_table(f"{name}: {workload['description']}", *columns)
        for contender, found in workload["contenders"].items():
            ratio, compiled = found["times_lanes"], found["seconds_with_compilation"]
            table.add_row(
                CONTENDERS[contender],
                ("~" if found["extrapolated_from"] < 1 else "") + show(found["seconds"]["median"]),
                show(ratio["median"]),
                f"{show(ratio['min'])} to {show(ratio['max'])}",
                show(compiled["median"]),
                show(found["times_lanes_with_compilation"]["median"]),
                f"{found['memory_mb']:.0f} MB",
            )
        console.print(table, "")
    table = start_table("Targets", "", "value", "bound", "")
    for name, target in bench["targets"].items():
        bound = f"at most {target['at_most']:g}" if "at_most" in target else f"at least {target['at_least']:g}"
        table.add_row(name, show(target["value"]), bound, "met" if target["met"] else "[bold]missed")
    console.print(table)


def show(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def start_table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def main() -> None:
    parser = make_parser("tools.bench", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that each run is done (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the work, to try it out; writes no file")
    parser.add_argument("--run", help="do this one run in this process and print its line")
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run_one(options.run, quick=options.quick)))
        return
    console = Console(highlight=False)
    if options.quick:
        console.print("Quick: a twentieth of the work that the tables name, too little to judge by.")
    if not find_spec("jax"):
        console.print("JAX is not installed, so its rows are missing: make bench installs it")
    bench = report(measure_rounds(list_runs(), rounds=options.rounds, quick=options.quick), rounds=options.rounds)
    print_bench(bench, console)
    if not options.quick:
        OUTPUT.write_text(json.dumps(bench, indent=2) + "\n")


if __name__ == "__main__":
    run_main(main)
