"""Write the report: a page that opens offline, the same in Markdown with pictures, model cards, the answer in text.

Reads   metrics/{comparison.json,paths.csv,searches.csv,audit.json,series/}; metrics/{bench,calibration}.json, which
        `make bench` and `make calibrate` have measured
Writes  metrics/{report.html,report.md,answer.txt}, metrics/figures/<figure>.svg, metrics/cards/<study>.md
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib.claims.judging import load_audit
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import write_bytes
from stages.lib.judge.comparison import FOLDER, load_comparison, load_paths, load_searches
from stages.lib.report.compose import draw_page, draw_picture
from stages.lib.report.figure import CONFIG, THEMES, VEGA_LITE, to_variables
from stages.lib.report.page import FILTERS, describe_studies, list_measured, tabulate_run
from stages.lib.report.sections import Results, draw_answer
from stages.lib.report.series import load_all
from stages.lib.report.terminal import tell_answer

FIGURES, CARDS = FOLDER / "figures", FOLDER / "cards"
TEMPLATES = Path("stages/templates")


def run(found: Results) -> dict[Path, bytes]:
    """Every file of the report, by its path.

    Charts are not checked against Vega-Lite's schema, which takes longer than all else; tests check them.
    """
    with alt.utils.schemapi.debug_mode(False):
        return render_files(found)


def render_files(found: Results) -> dict[Path, bytes]:
    """The page for browsers, the page in Markdown, the figures, the model cards, and the answer for a terminal."""
    answer, studies = draw_answer(found), describe_studies(found)
    measured = list_measured(found)
    context: dict[str, Any] = {
        "answer": answer,
        "studies": studies,
        "measured": measured,
        "facts": found.facts,
        "run": tabulate_run(found),
    }
    environment = make_environment()
    page = environment.get_template("report.html.jinja").render(
        **context,
        config=CONFIG,
        themes=to_variables(),
        notices=(TEMPLATES / "notices.txt").read_text(encoding="utf-8"),
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE),
    )
    text = environment.get_template("report.md.jinja").render(**context)
    lines = tell_answer(found.comparison, found.facts)
    files = {FOLDER / "report.html": page, FOLDER / "report.md": text, FOLDER / "answer.txt": lines}
    for theme in THEMES:
        files[FIGURES / f"answer-{theme}.svg"] = draw_picture(answer, theme)
    for figure in [figure for study in studies for figure in study.figures] + [
        f for part in measured for f in part.figures
    ]:
        files[FIGURES / f"{figure.key}.svg"] = draw_page(figure)
    card = environment.get_template("card.md.jinja")
    files |= {CARDS / f"{study.name}.md": card.render(study=study, facts=found.facts) for study in studies}
    return {path: content.encode() for path, content in files.items()}


def make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("stages"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    return environment


def load_results() -> Results:
    """All results that are there."""
    comparison = load_comparison()
    series = load_all(comparison)
    return Results(
        comparison=comparison,
        paths=load_paths(),
        tables=series.tables,
        pictures=series.pictures,
        facts=series.facts,
        bench=json.loads((FOLDER / "bench.json").read_bytes()),
        calibration=json.loads((FOLDER / "calibration.json").read_bytes()),
        audit=load_audit(),
        searches=load_searches(),
    )


def main() -> None:
    parse_arguments(__doc__)
    for path, content in run(load_results()).items():
        write_bytes(path, content)


if __name__ == "__main__":
    run_main(main)
