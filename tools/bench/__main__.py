"""Time the lanes against stock Keras, scikit-learn and JAX on the same work, and write metrics/bench.json.

Every run is a process of its own. A round does each run once, one after another, so that what else the machine does
hits all alike; ratios are taken within a round.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from stages.lib.core.cli import make_parser, run_main
from stages.lib.core.files import write_json
from stages.lib.versions import NUMERIC, find_versions
from tools.bench.contenders import TIMERS, WORKLOADS, Measured, Results, Run, measure_rounds

OUTPUT = Path("metrics/bench.json")


def list_round() -> list[Run]:
    """Each run once, in the order of a round."""
    contenders = [name for name in TIMERS if name != "jax" or find_spec("jax")]
    return [(contender, task) for task in WORKLOADS for contender in contenders]


def summarize(values: list[float]) -> Measured:
    return {"min": min(values), "median": median(values), "max": max(values)}


def report(results: Results, *, rounds: int) -> dict[str, Any]:
    """What metrics/bench.json holds.

    machine: processor, cores, versions. rounds. workloads: name -> its `Workload`, for each contender the seconds of
    one network (with_compilation: tracing or compiling included), the peak memory of its process in MB, and how many
    times the lanes' cost that is. Spreads are min, median and max over the rounds.
    """
    workloads = dict[str, Any]()
    for task in dict.fromkeys(task for _, task in results):
        contenders = {name: report_run(results, (name, task)) for name in TIMERS if (name, task) in results}
        workloads[task] = {"work": asdict(WORKLOADS[task]), "contenders": contenders}
    return {"machine": describe_machine(), "rounds": rounds, "workloads": workloads}


def report_run(results: Results, run: Run) -> dict[str, Any]:
    """Ratios are taken round by round."""
    lines, lanes = results[run], results["lanes", run[1]]
    costs: dict[str, Any] = {"memory_mb": max(line["memory_mb"] for line in lines)}
    for name in ("seconds", "seconds_with_compilation"):
        costs[name] = summarize([line[name] for line in lines])
        ratios = [line[name] / lane[name] for line, lane in zip(lines, lanes, strict=True)]
        costs[name.replace("seconds", "times_lanes")] = summarize(ratios)
    return costs


def describe_machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": (models or [platform.processor() or platform.machine()])[0],
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": find_versions([*NUMERIC, "jax"]),
    }


def render_bench(bench: Mapping[str, Any]) -> str:
    """What one network costs in lanes, and how many times as much elsewhere, as a table in Markdown."""
    lines = [
        "In brackets: tracing or compiling included",
        "| work | seconds in lanes | stock Keras | scikit-learn | JAX |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, workload in bench["workloads"].items():
        costs = workload["contenders"]
        others = [costs.get(contender, {}) for contender in TIMERS if contender != "lanes"]
        cells = [show_cost(costs["lanes"], "seconds"), *(show_cost(other, "times_lanes") for other in others)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def show_cost(cost: Mapping[str, Any], field: str) -> str:
    return f"{cost[field]['median']:.3g} ({cost[f'{field}_with_compilation']['median']:.3g})" if cost else ""


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
    print(render_bench(bench))
    if not options.quick:
        write_json(OUTPUT, bench)
        print(f"Written, with ranges, compilation and memory: {OUTPUT}")


if __name__ == "__main__":
    run_main(main)
