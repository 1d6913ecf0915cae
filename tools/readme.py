"""Put the results of metrics/ and the graph of dvc.yaml into README.md, between its markers, so that none is typed.

`python -m tools.readme` writes; with --check it only says whether README.md is in step.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core.cli import UserError, make_parser

README, GRAPH = Path("README.md"), Path("dvc.yaml")
ANSWER, BENCH, TOUR = Path("metrics/answer.json"), Path("metrics/bench.json"), Path("metrics/tour.json")
NUM_SHOWN = 5  # lines of what a command printed
START, END = "<!-- {} -->\n", "<!-- end of {} -->\n"


def render_answers(answer: dict[str, Any]) -> str:
    """A line for each study."""
    return "\n".join(f"- **{told['rows']}** (`{told['study']}`): {told['headline']}" for told in answer["answers"])


def render_graph(stages: dict[str, Any]) -> str:
    """The stages of dvc.yaml and what flows between them, as Mermaid; the train blocks are one box.

    What a stage has of another only through a third, or beside it, has no arrow of its own.
    """
    bodies = {name: stage.get("do", stage) for name, stage in stages.items()}
    verbs = {name: "train" if name.startswith("train_") else name for name in stages}
    writers = {path: verbs[name] for name, body in bodies.items() for path in list_outputs(body)}
    arrows: dict[str, list[str]] = {}
    for name, body in bodies.items():
        for path, writer in writers.items():
            if writer != verbs[name] and any(is_inside(needed, path) for needed in body["deps"]):
                arrows.setdefault(writer, []).append(verbs[name])
    lines = [
        f"    {first} --> {second}"
        for first, others in arrows.items()
        for second in dict.fromkeys(others)
        if not any(is_upstream(other, second, arrows) for other in others if other != second)
    ]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def is_upstream(first: str, second: str, arrows: dict[str, list[str]]) -> bool:
    return any(other == second or is_upstream(other, second, arrows) for other in arrows.get(first, ()))


def list_outputs(body: dict[str, Any]) -> list[str]:
    entries: Iterable[Any] = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def is_inside(needed: str, written: str) -> bool:
    """Whether what a stage needs is an output, lies in it, or holds it; names of studies and variants match all."""
    first, second = ([part for part in path.split("/") if part] for path in (needed, written))
    return all(one == other or "${" in one + other for one, other in zip(first, second, strict=False))


def render_bench(bench: dict[str, Any]) -> str:
    """What one network costs, as `make bench` measured it, in times of what it costs in lanes."""
    lines = ["| work | seconds in lanes | stock Keras | scikit-learn | JAX |", "|---|--:|--:|--:|--:|"]
    for name, workload in bench["workloads"].items():
        found = workload["contenders"]
        others = [found[other] for other in ("stock", "sklearn", "jax") if other in found]
        times = [f"{other['times_lanes']['median']:.3g}" for other in others]
        lines.append(f"| {name} | {found['lanes']['seconds']['median']:.3g} | {' | '.join(times)} |")
    return "\n".join(lines)


def render_cost(tour: dict[str, Any]) -> str:
    """What the first `make` takes, as `make tour` measured it."""
    machine, install, first, again = (tour[name] for name in ("machine", "install", "first", "again"))
    minutes = (install["seconds"] + first["seconds"]) / 60
    return (
        f"On {machine['cores']} cores of {machine['processor']} the first `make` took {minutes:.0f} "
        f"minutes, {tour['disk'] / 1e9:.1f} GB of disk and\n{first['memory'] / 1e9:.1f} GB of memory; the next one, "
        f"after `{tour['knob']}`, {again['seconds'] / 60:.1f} minutes (`make tour` at commit {tour['commit']})."
    )


def render_change(tour: dict[str, Any]) -> str:
    """The end of `make` after a changed knob, and the start of what DVC tells of it."""
    name = tour["knob"].partition("=")[0]
    lines = tour["diff"]["printed"].splitlines()
    rows = [line for line in lines[1:] if f".{name}." in line]
    shown = [re.sub(r"  +", "  ", line) for line in [lines[0], *rows[:NUM_SHOWN]]]
    done = next(line for line in reversed(tour["again"]["printed"].splitlines()) if line.startswith("Everything"))
    return "\n".join(["```", f"$ make  # after {tour['knob']}", done, "$ dvc metrics diff", *shown, "...", "```"])


def render_review(tour: dict[str, Any]) -> str:
    """The conclusion of a review, and rows of its table: those that are decided first."""
    conclusion, *lines = tour["review"]["printed"].splitlines()
    head, rule, *rows = [line for line in lines if line.startswith("|")]
    rows.sort(key=lambda row: not row.endswith(("| better |", "| worse |")))
    return "\n".join(f"> {line}".rstrip() for line in [conclusion, "", head, rule, *rows[:NUM_SHOWN]])


def insert(readme: str, section: str, content: str) -> str:
    start, end = START.format(section), END.format(section)
    if readme.count(start) != 1 or readme.count(end) != 1:
        sys.exit(
            f"error: {README} has lost its markers, expected one {start.strip()} and one {end.strip()}: restore them"
        )
    before, rest = readme.split(start)
    _, after = rest.split(end)
    return f"{before}{start}{content}\n{end}{after}"


def main() -> None:
    parser = make_parser("tools.readme", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where README.md is out of step")
    options = parser.parse_args()
    try:
        readme = README.read_text(encoding="utf-8")
        tour = json.loads(TOUR.read_text(encoding="utf-8"))
        answer = json.loads(ANSWER.read_text(encoding="utf-8"))
        wanted = insert(readme, "answers", render_answers(answer))
        for section, render in (("cost", render_cost), ("change", render_change), ("review", render_review)):
            wanted = insert(wanted, section, render(tour))
        wanted = insert(wanted, "graph", render_graph(yaml.safe_load(GRAPH.read_text(encoding="utf-8"))["stages"]))
        wanted = insert(wanted, "bench", render_bench(json.loads(BENCH.read_text(encoding="utf-8"))))
    except UserError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing, expected it beside the results: git checkout {error.filename}")
    if options.check and wanted != readme:
        sys.exit("error: README.md does not show what metrics/ holds: run python -m tools.readme")
    if not options.check and wanted != readme:
        README.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
