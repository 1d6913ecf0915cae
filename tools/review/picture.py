"""The picture of a review: each changed arm by the score that decides on it, at the base and now."""

from __future__ import annotations

import altair as alt
import pandas as pd

from stages.lib.judge.scores import SCORES
from stages.lib.report import charts
from stages.lib.report.styles import VERDICTS, name_arm
from tools.review.judging import ORDER, Review

MOST_DRAWN = 20  # arms, what is decided first
ROW, WIDTH, LABELS = 17, 260, 190


def draw_picture(result: Review) -> str:
    """SVG that stands alone: a ring where an arm was, a mark where it is now, on the interval that decided about it.

    The interval is that of the change, so it leaves out the ring where the change is more than noise.
    """
    now = "now" if result.head.revision is None else f"at {result.head.name}"
    rows = pd.DataFrame(
        {
            "panel": f"{change.key.study}: {SCORES[change.score].label}, at {result.base.name} (ring) and {now}",
            "arm": name_arm(change.key.variant, change.key.kind),
            "base": change.base,
            "head": change.head,
            "low": change.base + change.difference.low,
            "high": change.base + change.difference.high,
            "verdict": VERDICTS[change.verdict].label,
        }
        for change in list(result.arms.values())[:MOST_DRAWN]
    )
    names = alt.Axis(labelLimit=LABELS, minExtent=LABELS, labelColor=charts.INK)
    base, scale = charts.ROWS.encode(y=alt.Y("arm:N", sort=None, title=None, axis=names)), alt.Scale(zero=False)
    x = {
        name: alt.X(f"{name}:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4))
        for name in ("low", "base", "head")
    }
    colours = charts.scale_colours(VERDICTS[verdict] for verdict in ORDER)
    colour = alt.Color("verdict:N", title=None, scale=colours)
    panel = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=x["low"], x2="high:Q", color=colour),
        base.mark_point(size=55, color=charts.MUTED).encode(x=x["base"]),
        base.mark_point(size=55, filled=True, opacity=1).encode(x=x["head"], color=colour),
    ).properties(width=WIDTH, height=alt.Step(ROW))
    facet = alt.Facet("panel:N", sort=rows["panel"].unique().tolist(), title=None)
    chart = panel.facet(facet, columns=2).resolve_scale(x="independent", y="independent")
    if len(rows) < len(result.arms):
        chart = chart.properties(
            title=f"{len(rows)} of {len(result.arms)} changed results: what is decided comes first"
        )
    return charts.stand_alone(charts.make_figure("review", charts.finish_chart(chart, rows, title="", note="")).svg)
