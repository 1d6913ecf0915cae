"""Scores at each strength of a path, the knob and what tuning chose marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import altair as alt
import pandas as pd

from stages.lib.judge.arms import TUNED
from stages.lib.judge.comparison import PathPoint, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.charts import INK, MUTED, ROWS, Chart, Panel, finish_chart, join_panels, list_tooltips
from stages.lib.report.styles import style_of

KNOB, CHOSEN = "knob", "chosen by validation rows"
WIDTH, HEIGHT = 122, 95
WIDEST = 0.1  # share of the bands that may leave their panels


def draw_paths(study: StudyResult, points: Sequence[PathPoint]) -> Chart | None:
    """A panel for each path and score; None where nothing has a path."""
    panels, tables = [], []
    for score in study.scores.values():
        table = pd.DataFrame([asdict(point) for point in points if point.score == score])
        for variant, own in table.groupby("variant", sort=False) if len(table) else ():
            tables.append(list_path(study, str(variant), own))
            panels.append(draw_path(study, str(variant), score, tables[-1], domain=choose_domain(table)))
    if not panels:
        return None
    note = (
        "The line is the score on held-out rows at each strength, the band its interval: that of the score itself, "
        "which is wider than that of a difference. The dashed line is the baseline. A filled mark is the knob of "
        "params.yaml; a ring is a strength that some replicate chose on its validation rows. The widest bands are "
        "cut at the edge of their panel."
    )
    rows = pd.concat(tables, ignore_index=True)
    return finish_chart(join_panels(panels, columns=6), rows, title="Scores at each strength", note=note)


def list_path(study: StudyResult, variant: str, points: pd.DataFrame) -> pd.DataFrame:
    """The points of one path by one score, the knob and the chosen strengths marked."""
    kinds = study.arms[variant]
    marks = dict.fromkeys(next(iter(kinds["tuned"].strengths.values())), CHOSEN) if TUNED in kinds else {}
    marks |= dict.fromkeys(next(iter(kinds["at_knob"].strengths.values())), KNOB)
    rows = points.assign(
        score=SCORES[str(points["score"].iloc[0])].label,
        variant=style_of(variant).label,
        mark=[marks.get(strength, "") for strength in points["strength"]],
    )
    return rows[["score", "variant", "strength", "mean", "ci_low", "ci_high", "mark"]]


def choose_domain(points: pd.DataFrame) -> list[float]:
    """One scale for all panels, that of the means and of all but the widest bands."""
    low = min(points["mean"].min(), points["ci_low"].quantile(WIDEST))
    high = max(points["mean"].max(), points["ci_high"].quantile(1 - WIDEST))
    pad = 0.05 * (high - low) or 0.01
    return [float(low - pad), float(high + pad)]


def draw_path(study: StudyResult, variant: str, score: str, rows: pd.DataFrame, *, domain: list[float]) -> Panel:
    style, label = style_of(variant), SCORES[score].label
    kind: Literal["log", "symlog"] = "log" if (rows["strength"] > 0).all() else "symlog"
    ends = sorted({float(rows["strength"].min()), float(rows["strength"].max())})
    axis = alt.Axis(values=ends, format="~g", grid=False)
    x = alt.X("strength:Q", title=None, scale=alt.Scale(type=kind, nice=False, domain=ends), axis=axis)
    scale = alt.Scale(domain=domain, nice=False, clamp=True, zero=False)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".3~f"))
    tooltip = list_tooltips("variant", "score", "mark", numbers=("strength", "mean", "ci_low", "ci_high"))
    base = ROWS.transform_filter((alt.datum.score == label) & (alt.datum.variant == style.label))
    points = base.mark_point(filled=True, opacity=1, color=style.colour)
    chart = alt.layer(
        base.mark_area(color=style.colour, opacity=0.18).encode(
            x=x, y=alt.Y("ci_low:Q", scale=scale, title=None), y2="ci_high:Q"
        ),
        base.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(
            y=alt.datum(study.arms[study.baseline]["at_knob"].judged[score].value)
        ),
        base.mark_line(color=style.colour).encode(x=x, y=y),
        points.encode(
            x=x, y=y, size=alt.condition(alt.datum.mark == KNOB, alt.value(70), alt.value(16)), tooltip=tooltip
        ),
        base.transform_filter(alt.datum.mark == CHOSEN).mark_point(size=70, color=INK).encode(x=x, y=y),
    )
    return chart.properties(width=WIDTH, height=HEIGHT, title=alt.Title(style.label, subtitle=label))
