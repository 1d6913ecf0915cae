"""Forest plots: each arm's difference from its baseline, with interval, the margin that does not matter, verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import altair as alt
import pandas as pd

from stages.lib.judge.arms import REFERENCE
from stages.lib.judge.comparison import StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report import charts
from stages.lib.report.answers import rank_arms
from stages.lib.report.styles import VERDICTS, name_arm, style_of

ROW, WIDTH = 17, 172
LETTER, NAMES = 6.3, 230  # about the width of a letter, and the most room for the names of arms
WIDEST = 6  # times the typical difference: what lies further out is drawn at the edge, with its number
COLUMNS = ("score", "variant", "arm", "baseline", "value", "difference", "low", "high", "verdict")


def read_forest(confidence: float) -> str:
    """How a forest plot is read."""
    return (
        "Each mark is the difference from the arm's baseline, mostly the same network without the regulariser; the "
        f"further right, the more it helps. The line is the {100 * confidence:g} % interval, wide enough for all arms "
        "of its question together; what no question is about has its own. In the shaded band differences are too small "
        "to matter. An arrow: the line goes on; a number at the edge: the mark itself lies further out."
    )


def draw_forest(study: StudyResult, margins: Mapping[str, float], confidence: float) -> charts.Chart:
    """Every arm of a study, reference models included; a panel for each score."""
    tables = [
        label_rows(list_differences(study, score).assign(panel=SCORES[score].label), margins[score]).assign(place=place)
        for place, score in enumerate(study.scores.values())
    ]
    rows = pd.concat(tables, ignore_index=True)
    labels = min(NAMES, round(LETTER * rows["arm"].str.len().max())) if len(rows) else 0
    panels = [draw_panel(table, labels=labels) for table in tables if len(table)] or [charts.ROWS.mark_point()]
    joined, title = charts.join_panels(panels, columns=2), "Every arm against its baseline"
    return charts.finish_chart(joined, rows, title=title, note=read_forest(confidence))


def list_differences(study: StudyResult, score: str) -> pd.DataFrame:
    """A row for every arm that is compared with another, the best first; with the names of the records."""
    rows = []
    for key, arm in rank_arms(study, score):
        value, difference = arm.judged[score].value, arm.judged[score].difference
        if difference:
            numbers = (value, difference.value, difference.low, difference.high)
            rows.append((score, *key, arm.baseline, *numbers, difference.verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def label_rows(rows: pd.DataFrame, margin: float) -> pd.DataFrame:
    """The rows of `list_differences` in words, with the margin that does not matter."""
    arms = [
        style_of(variant).label if kind == REFERENCE else name_arm(variant, kind)
        for variant, kind in zip(rows["variant"], rows["arm"], strict=True)
    ]
    baselines = [style_of(baseline).label for baseline in rows["baseline"]]
    verdicts = [VERDICTS[verdict].label for verdict in rows["verdict"]]
    labelled = rows.drop(columns=["variant"]).assign(arm=arms, baseline=baselines, verdict=verdicts)
    return labelled.assign(margin_low=-margin, margin_high=margin)


def draw_panel(rows: pd.DataFrame, *, labels: int) -> charts.Panel:
    """One score; right is better, so the axis of a score that should be small is turned."""
    first = rows.iloc[0]
    low, high = fit_axis(rows)
    scale = alt.Scale(domain=[low, high], reverse=not SCORES[first["score"]].greater_is_better, nice=False, clamp=True)
    title = f"difference, {VERDICTS['better'].label} →"
    ticks = alt.Axis(tickCount=3, labelOverlap=True, labelSeparation=4, format="+.3~f")
    x = alt.X("difference:Q", title=title, scale=scale, axis=ticks)
    axis = alt.Axis(labelLimit=labels, minExtent=labels, labelPadding=8, labelColor=charts.INK)
    y = alt.Y("arm:N", sort=None, title=None, axis=axis)
    colour = alt.Color("verdict:N", title=None, scale=charts.scale_colours(VERDICTS.values()))
    shapes = {style.label: style.shape for style in VERDICTS.values()}
    shape = alt.Shape("verdict:N", title=None, scale=alt.Scale(domain=list(shapes), range=list(shapes.values())))
    tooltip = charts.list_tooltips("arm", "baseline", "verdict", numbers=("value", "difference", "low", "high"))
    base = charts.ROWS.transform_filter(alt.datum.place == int(first["place"]))
    inside = base.transform_filter((alt.datum.difference >= low) & (alt.datum.difference <= high))
    arrows, numbers = draw_outside(base, inside, scale)
    chart = alt.layer(
        base.mark_rect(color=charts.GRID).encode(x=alt.X("margin_low:Q", scale=scale), x2="margin_high:Q", y=y),
        base.mark_rule(color=charts.MUTED, strokeDash=[2, 2]).encode(x=alt.datum(0, scale=scale)),
        inside.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, color=colour),
        *(arrow.encode(y=y, color=colour) for arrow in arrows),
        *(number.encode(x=x, y=y) for number in numbers),
        base.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    )
    return chart.properties(width=WIDTH, height=ROW * len(rows), title=str(first["panel"]))


def draw_outside(base: alt.Chart, inside: alt.Chart, scale: alt.Scale) -> tuple[list[alt.Chart], list[alt.Chart]]:
    """At the ends of the axis: an arrow where an interval goes on, and the number of a difference that lies outside."""
    (low, high), found = scale.domain, alt.datum
    sides: list[Literal["left", "right"]] = ["right", "left"] if scale.reverse else ["left", "right"]
    arrows, numbers = [], []
    for side, end, goes_on, lies_outside in (
        (sides[0], low, found.low < low, found.difference < low),
        (sides[1], high, found.high > high, found.difference > high),
    ):
        arrow = inside.transform_filter(goes_on).mark_point(shape=f"triangle-{side}", filled=True, size=40, opacity=1)
        arrows.append(arrow.encode(x=alt.datum(end, scale=scale)))
        number = base.mark_text(dx=8 if side == "left" else -8, align=side).transform_filter(lies_outside)
        numbers.append(number.encode(text=alt.Text("difference:Q", format="+.3f")))
    return arrows, numbers


def fit_axis(rows: pd.DataFrame) -> tuple[float, float]:
    """An axis that holds 0, every difference, and intervals as far as they leave room for the others."""
    widest = WIDEST * float(rows["difference"].abs().median())
    low = min(0.0, rows["low"].clip(lower=-widest).min())
    high = max(0.0, rows["high"].clip(upper=widest).max())
    pad = 0.04 * (high - low) or 1.0
    return float(low - pad), float(high + pad)
