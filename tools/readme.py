"""Put the results of metrics/ into README.md, between its markers, so that no number there is typed.

`python -m tools.readme` writes; with --check it only says whether README.md is in step.
"""

import json
import sys
from pathlib import Path
from typing import Any

from stages.lib.wording import ARMS, SCORES
from tools.arguments import make_parser

README = Path("README.md")
START, END = "<!-- {} -->\n", "<!-- end of {} -->\n"
SHOWN = ("thoracic", "fashion")  # the studies that README.md opens with
TOP = 8  # arms of each


def render(comparison: dict[str, Any]) -> str:
    """The best arms of the shown studies and their baselines, as Markdown tables."""
    parts = []
    for study in (name for name in SHOWN if name in comparison):
        rows = [(variant, kind, arm) for variant, arms in comparison[study].items() for kind, arm in arms.items()]
        rows.sort(key=lambda row: -row[2]["value"])
        shown = [row for index, row in enumerate(rows) if index < TOP or row[2]["verdict"] == "baseline"]
        score = SCORES[rows[0][2]["metric"]]
        lines = [
            f"**`{study}`**: {rows[0][2]['protocol']}",
            "",
            f"| variant | arm | {score} on held-out rows | difference from the baseline | verdict |",
            "|---|---|--:|--:|---|",
            *(render_row(*row) for row in shown),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def render_row(variant: str, kind: str, arm: dict[str, Any]) -> str:
    difference = ""
    if "difference" in arm:
        difference = f"{arm['difference']:+.4f} ({arm['ci_low']:+.4f} to {arm['ci_high']:+.4f})"
    return f"| {variant} | {ARMS[kind]} | {arm['value']:.4f} | {difference} | {arm['verdict']} |"


def render_bench(bench: dict[str, Any]) -> str:
    """What one network costs, as `make bench` measured it, in times of what it costs in lanes."""
    lines = ["| work | seconds in lanes | stock Keras | scikit-learn | JAX |", "|---|--:|--:|--:|--:|"]
    for name, workload in bench["workloads"].items():
        found = workload["contenders"]
        others = [found[other] for other in ("stock", "sklearn", "jax") if other in found]
        times = [f"{other['times_lanes']['median']:.3g}" for other in others]
        lines.append(f"| {name} | {found['lanes']['seconds']['median']:.3g} | {' | '.join(times)} |")
    return "\n".join(lines)


def load(name: str) -> dict[str, Any]:
    return json.loads(Path(f"metrics/{name}.json").read_text(encoding="utf-8"))


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
        wanted = insert(readme, "results", render(load("comparison")))
        wanted = insert(wanted, "bench", render_bench(load("bench")))
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing, expected it beside the results: git checkout {error.filename}")
    if options.check and wanted != readme:
        sys.exit("error: README.md does not show what metrics/ holds: run python -m tools.readme")
    if not options.check and wanted != readme:
        README.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
