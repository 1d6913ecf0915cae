"""What the report shows, in order: a part for each study, then what was measured beside them, and what ran."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from stages.lib.claims.judging import ClaimResult
from stages.lib.judge.comparison import FOLDER, StudyResult
from stages.lib.judge.plans import StatisticsPlan
from stages.lib.judge.scores import SCORES
from stages.lib.report import markdown
from stages.lib.report.answers import Answer, is_survey
from stages.lib.report.charts import THEMES, VEGA_LITE, Figure, declare_colours, make_figure, paint, stand_alone
from stages.lib.report.measured import (
    Row,
    draw_calibration,
    list_versions,
    tabulate_bench,
    tabulate_claims,
    tabulate_errors,
)
from stages.lib.report.overview import Overview, draw_overview, survey, tell_overview
from stages.lib.report.styles import VERDICTS

FIGURES = FOLDER / "figures"
NOTICES = Path("stages/templates/notices.txt")
LONG_TEXT = 40  # characters of a cell that wraps
LONGEST = 100_000  # characters of a text in Markdown


@dataclass(frozen=True)
class StudyPart:
    """One study in the report.

    rows: how many, of what. about: data, recipe and protocol. facts: a row of the table of what ran.
    table: every arm. mechanisms: what regularisers did inside the networks.
    card: of its models. series: name -> table for `dvc plots`.
    """

    result: StudyResult
    name: str
    title: str
    rows: str
    about: str
    answer: Answer
    facts: Row
    table: list[Row]
    mechanisms: list[str]
    figures: list[Figure]
    card: str
    series: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Part:
    """Something beside the studies: a heading, what to know, tables by their captions, and figures."""

    key: str
    title: str
    note: str
    tables: dict[str, list[Row]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


def assemble(
    parts: Sequence[StudyPart],
    audit: Sequence[ClaimResult],
    bench: Mapping[str, Any],
    calibration: Mapping[str, Any],
    settings: StatisticsPlan,
) -> dict[Path, str]:
    """The page, the same in Markdown, the answer, and their figures, by their paths."""
    studies = sorted(parts, key=lambda part: not is_survey(part.result))
    overview = survey({part.name: part.result for part in parts}, {part.name: part.rows for part in parts}, settings)
    effects, sentences = make_figure("answer", draw_overview(overview)), tell_overview(overview)
    measured = [*list_measured(audit, calibration), tabulate_run(studies, bench)]
    context = {
        "answer": effects,
        "sentences": sentences,
        "studies": studies,
        "measured": measured,
        "verdicts": VERDICTS,
        "confidence": settings.confidence,
        "margins": {SCORES[score].label: margin for score, margin in settings.equivalence.items()},
    }
    files = {
        FOLDER / "report.html": render_page(context),
        FOLDER / "report.md": make_environment(is_markdown=True).get_template("report.md.jinja").render(context),
        FOLDER / "answer.txt": "\n".join(sentences) + "\n",
        FOLDER / "answer.json": tell_answers(studies, sentences, overview),
    }
    files |= {FIGURES / f"answer-{theme}.svg": paint(effects.svg, theme) for theme in THEMES}
    files |= draw_files(figure for part in measured for figure in part.figures)
    return files


def list_files(part: StudyPart) -> dict[Path, str]:
    """The files that belong to one study: its figures, its card, and its series for `dvc plots`."""
    files = draw_files(part.figures) | {FOLDER / "cards" / f"{part.name}.md": part.card}
    for name, table in part.series.items():
        text = table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
        files[FOLDER / "series" / name / f"{part.name}.csv"] = text
    return files


def draw_files(figures: Iterable[Figure]) -> dict[Path, str]:
    """The pictures of figures, for the page in Markdown."""
    return {FIGURES / f"{figure.key}.svg": stand_alone(figure.svg) for figure in figures}


def tell_answers(studies: Sequence[StudyPart], sentences: Sequence[str], overview: Overview) -> str:
    """The answers for other programs, and where they were drawn."""
    over_tables = {column: {arm: asdict(one) for arm, one in arms.items()} for column, arms in overview.pooled.items()}
    answers = [{"study": part.name, "rows": part.rows, "headline": str(part.answer.headline)} for part in studies]
    content: dict[str, Any] = {"machine": platform.machine(), "versions": list_versions(), "sentences": sentences}
    content |= {"over_tables": over_tables, "answers": answers}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def list_measured(audit: Sequence[ClaimResult], calibration: Mapping[str, Any]) -> list[Part]:
    """The parts whose data are there."""
    parts = []
    if audit:
        note = (
            "Claims of the tutorial, and its defects, each measured by an experiment of this pipeline. Where the test "
            "set is fixed, intervals cover other seeds; those of differences from a study's baseline cover other test "
            "rows, too. A mean over tables has the interval of their spread, which covers other tables. A claim is "
            "supported, or refuted, where all quantities that decide say so; it depends where one supports and another "
            "refutes it, and is undecided else."
        )
        parts.append(Part("audit", "The tutorial's claims", note, {"claims": tabulate_claims(audit)}))
    chart = draw_calibration(calibration)
    if chart:
        note = (
            "Intervals are not believed because their formula is published; they are counted where the truth is known."
        )
        tables = {"errors and power": tabulate_errors(calibration)}
        figures = [make_figure("calibration", chart)]
        parts.append(Part("calibration", "Are the intervals right?", note, tables, figures))
    return parts


def tabulate_run(studies: Iterable[StudyPart], bench: Mapping[str, Any]) -> Part:
    """Versions, seeds and protocols; the machine and durations as of the benchmark's own run."""
    tables = {
        "studies": [part.facts for part in studies],
        "versions": [{"library": name, "version": version} for name, version in list_versions().items()],
        "what one network costs": align_rows(tabulate_bench(bench)),
    }
    machine = bench["machine"]
    note = (
        f"Drawn on {platform.machine()}. The same inputs give the same bytes on any x86-64 machine. Durations were "
        f"measured on {machine['cores']} cores of {machine['processor']} (make bench)."
    )
    return Part("run", "What ran", note, tables)


def align_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows with the same headings, empty where one has no cell."""
    headings = dict.fromkeys(heading for row in rows for heading in row)
    return [{heading: row.get(heading, "") for heading in headings} for row in rows]


# Templates -----------------------------------------------------------------------------------------------------------


def render_page(context: Mapping[str, Any]) -> str:
    """The page for browsers, which needs nothing but itself."""
    return (
        make_environment(is_markdown=False)
        .get_template("report.html.jinja")
        .render(
            **context,
            themes={theme: Markup(declare_colours(theme)) for theme in THEMES},
            notices=Markup(NOTICES.read_text(encoding="utf-8")),
            bundle=Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)),
        )
    )


def make_environment(*, is_markdown: bool) -> Environment:
    """Templates in which every text is escaped, without a word in the template: for Markdown, or for HTML."""
    options: dict[str, Any] = {"finalize": escape_markdown} if is_markdown else {"autoescape": True}
    environment = Environment(
        loader=PackageLoader("stages"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
    environment.filters |= {
        "cell": show_cell, "svg": show_svg, "json": show_json, "cell_class": name_class, "percent": show_percent,
    }  # fmt: skip
    return environment


def escape_markdown(value: Any) -> str:
    return str(value) if isinstance(value, Markup) else markdown.escape(value, most=LONGEST)


def show_cell(value: Any) -> str:
    """Numbers with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def show_svg(figure: Figure) -> Markup:
    """The picture of a figure, named by its title for those who cannot see it."""
    return Markup(figure.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(figure.title)}" ', 1))


def show_json(value: Any) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"))


def name_class(value: Any) -> Markup:
    """The class of a cell."""
    return Markup(' class="text"' if isinstance(value, str) and len(value) > LONG_TEXT else "")
