"""Parts of pages, and how they are written: as a page for browsers, as Markdown, and as records that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stages.lib.core.files import read_bytes, write_bytes
from stages.lib.core.records import adapter_of
from stages.lib.judge.comparison import METRICS
from stages.lib.judge.plans import StatisticsPlan
from stages.lib.judge.scores import SCORES
from stages.lib.report import styles
from stages.lib.report.charts import THEMES, VEGA_LITE, Figure, declare_colours

STUDIES = METRICS / "studies"
NOTICES = Path("stages/templates/study/notices.txt")
LONGEST = 100_000  # characters of a text in Markdown

Row = dict[str, Any]  # of a table, by headings


@dataclass(frozen=True)
class StudyPart:
    """What pages show of a study, or of one of its data sets.

    title: in words, with how many rows it has. data: task -> what its data are called. about: data, recipe, protocol.
    answers, brief: sentences, and the few of the report in Markdown. table: every arm; summary: what is decided, for
    that report. tables: a row for each data set, where there are several. mechanisms: what regularisers did inside the
    networks. series: name -> table for `dvc plots`.
    """

    name: str
    title: str
    data: dict[str, str]
    about: str
    answers: list[str]
    brief: list[str]
    table: list[Row]
    summary: list[Row]
    mechanisms: list[str]
    figures: list[Figure]
    series: dict[str, str]
    tables: list[Row] = field(default_factory=list)

    def save(self) -> None:
        write_bytes(STUDIES / self.name / "part.json", adapter_of(StudyPart).dump_json(self))

    @staticmethod
    def load(study: str) -> StudyPart:
        return adapter_of(StudyPart).validate_json(read_bytes(STUDIES / study / "part.json", written_by="draw"))


@dataclass(frozen=True)
class Part:
    """Something beside the studies: a heading, what to know, tables by their captions, and figures.

    short: a table for the report in Markdown.
    """

    key: str
    title: str
    note: str
    tables: dict[str, list[Row]]
    figures: Sequence[Figure] = ()
    short: Sequence[Row] = ()


# Templates -----------------------------------------------------------------------------------------------------------


def render_page(template: str, settings: StatisticsPlan, **context: Any) -> str:
    """A page in Markdown, or one for browsers, which needs nothing but itself; settings: what it says of its words.

    Every text is escaped, without a word in the template.
    """
    is_markdown = template.endswith(".md.jinja")
    options: dict[str, Any] = {"finalize": escape_markdown} if is_markdown else {"autoescape": True}
    environment = Environment(
        loader=PackageLoader("stages"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
    environment.filters |= {
        "cell": show_cell, "percent": show_percent, "verdict": styles.name_verdict, "by_column": turn_rows,
    }  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    context |= {
        "verdicts": styles.VERDICTS,
        "confidence": settings.confidence,
        "margins": {SCORES[score].label: margin for score, margin in settings.equivalence.items()},
    }
    if not is_markdown:
        context |= {
            "themes": {theme: Markup(declare_colours(theme)) for theme in THEMES},
            "notices": Markup(NOTICES.read_text(encoding="utf-8")),
            "bundle": Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)),
        }
    return environment.get_template(template).render(context)


def escape_markdown(value: Any) -> str:
    return str(value) if isinstance(value, Markup) else styles.escape(value, most=LONGEST)


def turn_rows(spec: dict[str, Any]) -> dict[str, Any]:
    """A figure's specification with its rows by column, which takes a third less room; the page's script turns them."""
    rows = spec["datasets"]["rows"]
    return spec | {"datasets": {"rows": {name: [row[name] for row in rows] for row in rows[:1] for name in row}}}


def show_cell(value: Any) -> str:
    return styles.show_number(value) if isinstance(value, float) else str(value)


def show_percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
