"""A figure: panels side by side on a wide page and one below the other on a phone, and the table behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from stages.lib.report.series import Picture
from stages.lib.report.styles import style_of

VEGA_LITE = "6.1"
ROWS = "rows"
BASE = alt.Chart(alt.NamedData(ROWS))  # what every chart starts from
SIGNIFICANT = 4  # digits of a number in a table

# Colours that change with the theme are variables of the page. A picture that stands alone has them written out.
INK, MUTED, GRID, PAGE = "var(--ink)", "var(--muted)", "var(--grid)", "var(--page)"
THEMES: dict[str, dict[str, str]] = {
    "light": {INK: "#1c2128", MUTED: "#59636e", GRID: "#dde2e8", PAGE: "#ffffff"},
    "dark": {INK: "#e6edf3", MUTED: "#9aa5b1", GRID: "#343b45", PAGE: "#0d1117"},
}
# vl-convert carries the first of these, browsers have one of the same widths: labels measure the same everywhere.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "axis": {
        "labelColor": MUTED, "titleColor": INK, "gridColor": GRID, "labelPadding": 5,
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "domain": False, "ticks": False,
    },
    "title": {"color": INK, "fontSize": 12, "anchor": "start", "fontWeight": 600, "offset": 6},
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11},
    "text": {"color": INK, "fontSize": 11},
    "view": {"stroke": None},
    "rule": {"color": MUTED},
}  # fmt: skip


TIDYING = (
    (r'<(?:path|rect|line|text)[^>]*? (?:opacity="0"|display="none")[^>]*?(?:/>|>[^<]*</text>)', ""),
    (r'<path class="background"[^>]*?/>', ""),
    (r' (?:class|role|aria-[a-z]+|pointer-events|font-family|version|xmlns:xlink)="[^"]*"', ""),
    (r' (?:opacity="1"|stroke-width="1"|fill="transparent")', ""),
    (r' font-size="11px"', ""),
    (r"(<line [^>]*/>)\1+", r"\1"),  # a rule at one place is drawn once for every row
    (r' (?:x2|y2)="0"', ""),
)


@dataclass(frozen=True)
class Panel:
    """One chart of the data set ROWS. rows: what it shows; column names are the chart's fields."""

    chart: alt.TopLevelMixin
    rows: pd.DataFrame

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The specification in Vega-Lite, without the data and without CONFIG."""
        return {
            name: value
            for name, value in self.chart.to_dict(validate=False).items()
            if name not in ("$schema", "config")
        }

    @property
    def title(self) -> str:
        return str(self.spec["title"])

    @cached_property
    def svg(self) -> str:
        spec = self.spec | {"datasets": {ROWS: list_records(self.rows)}, "config": CONFIG}
        return tidy(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE))


@dataclass(frozen=True)
class Figure:
    """key: unique, names its files. note: how to read it. more: what is folded. columns: field -> heading."""

    key: str
    title: str
    note: str
    panels: list[Panel]
    columns: Mapping[str, str]
    kind: str = "wide"  # wide panels are about 350 points, `small` ones half of that
    legend: list[tuple[str, str, str]] = field(default_factory=list)  # label, colour, shape
    more: tuple[str, str] = ("", "")  # question, answer
    pictures: list[Picture] = field(default_factory=list)

    def group_pictures(self) -> list[tuple[str, list[Picture]]]:
        """Pictures by the label of their variant."""
        groups: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            groups.setdefault(style_of(picture.variant).label, []).append(picture)
        return list(groups.items())

    @property
    def table(self) -> pd.DataFrame:
        """The rows of all panels, numbered by panel, as they are shown."""
        numbered = [panel.rows.assign(panel=number) for number, panel in enumerate(self.panels)]
        return pd.concat(numbered, ignore_index=True)


def list_records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """As the page's table holds them: numbers with SIGNIFICANT digits, so that both draw the same chart."""
    return [{str(name): round_number(value) for name, value in row.items()} for row in rows.to_dict("records")]


def round_number(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else float(f"{value:.{SIGNIFICANT}g}")
    return value if isinstance(value, (str, int, type(None))) else value.item()


def tidy(svg: str) -> str:
    """A third of the bytes for the same picture: no invisible marks, no attributes without effect, one decimal.

    Roles and labels of single marks go too: a figure has a title, a note and a table.
    """
    for pattern, replacement in TIDYING:
        svg = re.sub(pattern, replacement, svg)
    svg = re.sub(r'(?<= )(?:d|transform)="[^"]*"', round_places, svg)
    while (shorter := re.sub(r"<g[^>]*></g>", "", svg)) != svg:
        svg = shorter
    return svg.replace("<svg ", f'<svg font-family="{FONT}" font-size="11px" ', 1)


def round_places(attribute: re.Match[str]) -> str:
    """One decimal of a pixel."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), attribute[0])


def to_variables() -> dict[str, str]:
    """Theme -> its colours as CSS declarations."""
    return {
        theme: "; ".join(f"{variable[4:-1]}: {colour}" for variable, colour in colours.items())
        for theme, colours in THEMES.items()
    }


def paint(svg: str, theme: str) -> str:
    """The picture with a theme's colours written out."""
    for variable, colour in THEMES[theme].items():
        svg = svg.replace(variable, colour)
    return svg
