"""Put the results of metrics/ into README.md, between its markers, so that no number there is typed.

`python -m tools.readme` writes; with --check it only says whether README.md is in step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stages.lib.answers import answer, rank_arms
from stages.lib.arms import ArmKey
from stages.lib.base.commands import UserError, make_parser
from stages.lib.comparison import ArmResult, Comparison, load_comparison
from stages.lib.scores import SCORES
from stages.lib.wording import ARMS, describe_rows

README, BENCH = Path("README.md"), Path("metrics/bench.json")
START, END = "<!-- {} -->\n", "<!-- end of {} -->\n"
STUDIES = ("thoracic", "fashion")  # that README.md opens with
NUM_ARMS = 8  # of each


def render(comparison: Comparison) -> str:
    """The answers of the first studies, and their best arms, as Markdown."""
    parts = []
    for name in (name for name in STUDIES if name in comparison):
        study = comparison[name]
        ranked = rank_arms(study)
        shown = [row for index, row in enumerate(ranked) if index < NUM_ARMS or row[1] is study.baseline_result]
        columns = [f"{SCORES[score].label} | difference | verdict" for score in study.scores.values()]
        lines = [
            f"**`{name}`**: {describe_rows(study)}",
            "",
            *(f"- {sentence}" for sentence in answer(study)),
            "",
            f"| variant | arm | {' | '.join(columns)} |",
            f"|---|---|{'--:|--:|---|' * len(columns)}",
            *(render_row(*row, baseline=study.baseline) for row in shown),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def render_row(key: ArmKey, arm: ArmResult, *, baseline: str) -> str:
    """One arm; a baseline of its own is named."""
    cells = [f"| {key.variant} | {ARMS[key.kind]} |"]
    for judged in arm.judged.values():
        found, difference = judged.difference, ""
        if found:
            other = f" from {arm.baseline}" if arm.baseline != baseline else ""
            difference = f"{found.value:+.4f} ({found.ci_low:+.4f} to {found.ci_high:+.4f}){other}"
        cells.append(f"{judged.value:.4f} | {difference} | {judged.verdict} |")
    return " ".join(cells)


def render_bench(bench: dict[str, Any]) -> str:
    """What one network costs, as `make bench` measured it, in times of what it costs in lanes."""
    lines = ["| work | seconds in lanes | stock Keras | scikit-learn | JAX |", "|---|--:|--:|--:|--:|"]
    for name, workload in bench["workloads"].items():
        found = workload["contenders"]
        others = [found[other] for other in ("stock", "sklearn", "jax") if other in found]
        times = [f"{other['times_lanes']['median']:.3g}" for other in others]
        lines.append(f"| {name} | {found['lanes']['seconds']['median']:.3g} | {' | '.join(times)} |")
    return "\n".join(lines)


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
        wanted = insert(readme, "results", render(load_comparison()))
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
