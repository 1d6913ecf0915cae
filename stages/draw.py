"""Draw one study: its sentences, tables, figures, and a page of this study alone.

Reads   data/plan/{<study>/,_statistics.json}, data/points/<study>/{comparison.json,paths.csv},
        data/{predictions,reference}/<study>/, models/<study>/
Writes  metrics/studies/<study>/{page.html,answer.txt,headline.txt}, and for each of its data sets (in a folder of its
        name, where there are several) part.json, of which `report` is made
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import write_bytes
from stages.lib.judge.comparison import Comparison, load_comparison, load_paths
from stages.lib.judge.plans import StatisticsPlan, load_statistics_plan
from stages.lib.report.answers import is_survey, tell_study
from stages.lib.report.charts import make_figure
from stages.lib.report.overview import draw_overview, survey, tell_overview
from stages.lib.report.page import STUDIES, StudyPart, render_page
from stages.lib.report.study import draw_several, draw_study, load_study_records


def run(
    study: str, comparison: Comparison, parts: Mapping[str, StudyPart], settings: StatisticsPlan
) -> tuple[StudyPart, dict[Path, str]]:
    """The part of a study, and what else is written, by the paths; comparison, parts: task -> those of the study."""
    overview = survey(comparison, {task: part.data[task] for task, part in parts.items()}, settings)
    sentences, effects = tell_overview(overview)[1:], make_figure(f"answer-{study}", draw_overview(overview))
    headline = sentences if any(map(is_survey, comparison.values())) else []  # as the answer over all studies has it
    part, *others = parts.values()
    if others:
        part = draw_several(study, overview.columns[0], comparison, parts, settings)
    shown = [part, *parts.values()] if others else [part]
    context = {
        "name": part.title,
        "lead": sentences,
        "sentences": [],
        "answer": effects,
        "parts": shown,
        "measured": [],
    }
    alone = [line for result in comparison.values() for line in tell_study(result, settings.confidence)]
    return part, {
        STUDIES / study / "page.html": render_page("study/page.html.jinja", settings, **context),
        STUDIES / study / "answer.txt": "\n".join(alone if len(parts) == 1 else sentences) + "\n",
        STUDIES / study / "headline.txt": "".join(f"{line}\n" for line in headline),  # `make` prints it at once
    }


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    comparison, points = load_comparison(study, whole=True), load_paths(study)
    parts = {task: draw_study(result, load_study_records(result, task, points)) for task, result in comparison.items()}
    part, files = run(study, comparison, parts, load_statistics_plan())
    part.save()
    for path, content in files.items():
        write_bytes(path, content.encode())


if __name__ == "__main__":
    run_main(main)
