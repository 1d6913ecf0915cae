"""Write the report: a page that opens offline, the same in Markdown with pictures, model cards, the answer in text.

Reads   metrics/{comparison,audit}.json, metrics/paths.csv, data/plan/{<study>/,_statistics.json},
        data/{predictions,reference}/<study>/, models/<study>/, data/development/<study>/ (whether rows are
        images); metrics/{bench,calibration}.json, which `make bench` and `make calibrate` have measured
Writes  metrics/{report.html,report.md,answer.txt,answer.json}, metrics/figures/<figure>.svg, metrics/cards/<study>.md,
        metrics/series/{forest,learning}/<study>.csv
"""

from __future__ import annotations

import json

from stages.lib.claims.judging import load_audit
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import write_bytes
from stages.lib.judge.comparison import FOLDER, Comparison, load_comparison, load_paths
from stages.lib.judge.plans import load_statistics_plan
from stages.lib.report.page import assemble, list_files
from stages.lib.report.study import draw_study, load_study_records


def choose_detailed(comparison: Comparison) -> set[str]:
    """The study of each data set that has the most arms: of the others the report draws their arms alone."""
    by_arms = sorted(comparison.items(), key=lambda item: len(item[1].arms))
    return set({result.dataset: task for task, result in by_arms}.values())


def main() -> None:
    parse_arguments(__doc__)
    paths, comparison = load_paths(), load_comparison()
    detailed = choose_detailed(comparison)
    parts = [
        draw_study(result, load_study_records(result, task, paths), detailed=task in detailed)
        for task, result in comparison.items()
    ]
    bench, calibration = (json.loads((FOLDER / f"{name}.json").read_bytes()) for name in ("bench", "calibration"))
    files = assemble(parts, load_audit(), bench, calibration, load_statistics_plan())
    for part in parts:
        files |= list_files(part)
    for path, content in files.items():
        write_bytes(path, content.encode())


if __name__ == "__main__":
    run_main(main)
