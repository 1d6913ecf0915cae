"""What every chart is made of: colours of the page, a configuration, rows; and its picture in SVG.

A figure is a chart of Altair's with a title, a description that says how to read it, and the rows that all its parts
show. Panels stand side by side by Altair's own facet; the page's script makes fewer columns on a phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from stages.lib.report.styles import Style

VEGA_LITE = "6.1"
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
    "numberFormat": ".3~r",
    "font": FONT,
    "axis": {
        "labelColor": MUTED, "titleColor": INK, "gridColor": GRID, "labelPadding": 5,
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "domain": False, "ticks": False,
        "labelFlush": False,
    },
    "title": {"color": INK, "fontSize": 12, "anchor": "start", "fontWeight": 600, "offset": 6},
    "legend": {"labelColor": INK, "labelFontSize": 12, "orient": "top", "title": None, "symbolOpacity": 1},
    "header": {
        "labelColor": INK, "labelFontSize": 12, "labelFontWeight": 600, "labelAnchor": "start", "labelPadding": 4,
        "title": None,
    },
    "facet": {"spacing": 14},
    "text": {"color": INK, "fontSize": 11},
    "view": {"stroke": None},
    "rule": {"color": MUTED},
}  # fmt: skip
PERCENT = "format(100 * datum.value, '~f') + ' %'"  # labels of an axis
SIGNIFICANT = 6  # digits of a number in a chart's data, of which tables show three
ROWS = alt.Chart(alt.NamedData("rows"))  # what every part of a chart starts from
Chart = alt.LayerChart | alt.FacetChart


@dataclass(frozen=True)
class Figure:
    """A chart as it is written. key: unique, names its file. title, note: what it shows, and how it is read.

    spec: of Vega-Lite. svg: its picture, for either theme.
    """

    key: str
    title: str
    note: str
    spec: dict[str, Any]
    svg: str


def finish_chart(chart: Chart, rows: pd.DataFrame, *, title: str, note: str) -> Chart:
    """The chart with the rows that all its parts show, its title, and how it is read."""
    records = [{str(name): round_value(value) for name, value in row.items()} for row in rows.to_dict("records")]
    return chart.properties(
        datasets={"rows": records}, usermeta={"title": title}, description=note, config=alt.Config(**CONFIG)
    )


def make_figure(key: str, chart: Chart) -> Figure:
    """The specification and the picture of a chart; tests check it against Vega-Lite's schema, which takes long."""
    with alt.utils.schemapi.debug_mode(False):
        spec = chart.to_dict(validate=False)
    del spec["$schema"]  # of Altair's own version
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    svg = tidy(re.sub(r"\bclip\d+", f"clip-{key}", svg))  # numbers count up in a process; panels are of one size
    return Figure(key, spec["usermeta"]["title"], spec["description"], spec, svg)


def round_value(value: Any) -> Any:
    """A number as a chart holds it; None for NaN."""
    if isinstance(value, float):
        return None if value != value else float(f"{value:.{SIGNIFICANT}g}")
    return value if isinstance(value, (str, int, type(None))) else value.item()


def scale_colours(styles: Iterable[Style]) -> alt.Scale:
    """The labels of styles in their colours."""
    colours = {style.label: style.colour for style in styles}
    return alt.Scale(domain=list(colours), range=list(colours.values()))


TIDYING = (
    (r'<(?:path|rect|line|text)[^>]*? (?:opacity="0"|display="none")[^>]*?(?:/>|>[^<]*</text>)', ""),
    (r'<path class="background"[^>]*?/>', ""),
    (r' (?:class|role|aria-[a-z]+|pointer-events|font-family|version|xmlns:xlink)="[^"]*"', ""),
    (r' (?:opacity="1"|stroke-width="1"|fill="transparent")', ""),
    (r' font-size="11px"', ""),
    (r"(<line [^>]*/>)\1+", r"\1"),  # a rule at one place is drawn once for every row
    (r"(<clipPath .*?</clipPath>)\1+", r"\1"),
    (r' (?:x2|y2)="0"', ""),
)


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


def declare_colours(theme: str) -> str:
    """A theme's colours as CSS declarations."""
    return ";".join(f"{variable[4:-1]}:{colour}" for variable, colour in THEMES[theme].items())


def paint(svg: str, theme: str) -> str:
    """The picture with a theme's colours written out, on a transparent page."""
    for variable, colour in THEMES[theme].items():
        svg = svg.replace(variable, colour)
    return f"{svg}\n"


def stand_alone(svg: str) -> str:
    """The picture on a page of its own, light or dark as the reader's system is."""
    dark = f"@media(prefers-color-scheme:dark){{svg{{{declare_colours('dark')}}}}}"
    style = f"<style>svg{{{declare_colours('light')}}}{dark}</style>"
    page = f'{style}<rect width="100%" height="100%" fill="{PAGE}"/>'
    return re.sub(r"(<svg [^>]*>)", lambda found: found[0] + page, svg, count=1) + "\n"
