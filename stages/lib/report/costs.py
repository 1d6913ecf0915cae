"""What so many trained networks are worth, used in one way or another: a figure and a table over all data."""

from __future__ import annotations

import altair as alt
import pandas as pd

from stages.lib.report.charts import INK, ROWS, Chart, finish_chart, make_figure, scale_colours
from stages.lib.report.overview import Overview
from stages.lib.report.page import Part, Row
from stages.lib.report.styles import BLUE, COLOURS, GREY, WORDS, Style, name_verdict, say, show_change

WAYS: dict[str, str] = WORDS["ways"]
STYLES = [
    Style(label, colour, "circle") for label, colour in zip(WAYS.values(), (COLOURS["orange"], BLUE, GREY), strict=True)
]
WIDTH, HEIGHT = 150, 120
TOLD = 10  # networks of which the short report tells


def draw_costs(overview: Overview) -> Chart | None:
    """Change of the score against the number of networks; a panel for each column, a line for each way."""
    rows = pd.DataFrame(
        [
            {"column": column.title, "way": WAYS[point.way], "networks": point.networks, "change": point.change}
            for column in overview.columns
            for point in column.costs
        ]
    )
    if rows.empty:
        return None
    x = alt.X(
        "networks:Q", scale=alt.Scale(type="log", nice=False), title="networks trained", axis=alt.Axis(grid=False)
    )
    y = alt.Y("change:Q", title=f"change of {overview.score}")
    base = ROWS.encode(x=x, y=y, color=alt.Color("way:N", scale=scale_colours(STYLES), legend=alt.Legend(title=None)))
    panel = alt.layer(
        ROWS.mark_rule(strokeDash=[3, 3], color=INK).encode(y=alt.datum(0)),
        base.mark_line(strokeWidth=1.8),
        base.mark_point(filled=True, size=30, opacity=1).encode(
            tooltip=["column:N", "way:N", "networks:Q", "change:Q"]
        ),
    ).properties(width=WIDTH, height=HEIGHT)
    facet = alt.Facet("column:N", sort=rows["column"].unique().tolist(), title=None)
    chart = panel.facet(facet, columns=3).resolve_axis(x="independent")
    return finish_chart(chart, rows, title=say("costs_title"), note=say("costs", score=overview.score))


def list_costs(overview: Overview) -> list[Part]:
    """The part of a report; none where nothing is averaged."""
    chart = draw_costs(overview)
    if chart is None:
        return []
    table: list[Row] = [
        {
            "data": column.title,
            "networks": point.networks,
            "the best less the average": show_change(point.difference),
            "verdict": name_verdict(point.difference.verdict),
        }
        for column in overview.columns
        for point in column.costs
        if point.difference
    ]
    told, figures = say("costs", score=overview.score), [make_figure("equal-cost", chart)]
    short = [row for row in table if row["networks"] == TOLD]
    return [Part("costs", say("costs_title"), told, {say("costs_table"): table}, figures, short=short)]
