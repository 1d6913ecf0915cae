"""Forest plots: each arm's difference from its baseline, with interval, the margin that does not matter, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import altair as alt
import pandas as pd

from stages.lib.judge.arms import REFERENCE
from stages.lib.judge.comparison import StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.answers import rank_arms
from stages.lib.report.charts import (
    GRID,
    INK,
    MUTED,
    ROWS,
    Chart,
    Panel,
    finish_chart,
    join_panels,
    list_tooltips,
    scale_colours,
)
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


def draw_forest(study: StudyResult, margins: Mapping[str, float], confidence: float) -> Chart:
    """Every arm of a study, by both scores, reference models included."""
    tables = [
        label_rows(list_differences(study, score), margins[score], panel=SCORES[score].label)
        for score in study.scores.values()
    ]
    return draw_panels(tables, title="Every arm against its baseline", confidence=confidence)


def list_differences(study: StudyResult, score: str) -> pd.DataFrame:
    """A row for every arm that is compared with another, the best first; with the names of the records."""
    rows = []
    for key, arm in rank_arms(study, score):
        value, difference = arm.judged[score].value, arm.judged[score].difference
        if difference:
            numbers = (value, difference.value, difference.low, difference.high)
            rows.append((score, *key, arm.baseline, *numbers, difference.verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def label_rows(rows: pd.DataFrame, margin: float, *, panel: str) -> pd.DataFrame:
    """The rows of `list_differences` in words, with the margin that does not matter."""
    arms = [
        style_of(variant).label if kind == REFERENCE else name_arm(variant, kind)
        for variant, kind in zip(rows["variant"], rows["arm"], strict=True)
    ]
    labels = {
        "arm": arms,
        "baseline": [style_of(baseline).label for baseline in rows["baseline"]],
        "verdict": [VERDICTS[verdict].label for verdict in rows["verdict"]],
    }
    return rows.assign(panel=panel, **labels, margin_low=-margin, margin_high=margin).drop(columns=["variant"])


def draw_panels(tables: Sequence[pd.DataFrame], *, title: str, confidence: float) -> Chart:
    """A panel for each table that has rows."""
    numbered = [table.assign(place=place) for place, table in enumerate(tables)]  # two may have one title
    letters = max((len(arm) for table in tables for arm in table["arm"]), default=0)
    labels = min(NAMES, round(LETTER * letters))
    panels = [draw_panel(table, labels=labels) for table in numbered if len(table)] or [ROWS.mark_point()]
    rows = pd.concat(numbered, ignore_index=True)
    return finish_chart(join_panels(panels, columns=2), rows, title=title, note=read_forest(confidence))


def draw_panel(rows: pd.DataFrame, *, labels: int) -> Panel:
    """One score; right is better, so the axis of a score that should be small is turned."""
    first = rows.iloc[0]
    greater_is_better = SCORES[first["score"]].greater_is_better
    low, high = fit_axis(rows)
    scale = alt.Scale(domain=[low, high], reverse=not greater_is_better, nice=False, clamp=True)
    title = f"difference, {VERDICTS['better'].label} →"
    x = alt.X(
        "difference:Q",
        title=title,
        scale=scale,
        axis=alt.Axis(tickCount=3, labelOverlap=True, labelSeparation=4, format="+.3~f"),
    )
    axis = alt.Axis(labelLimit=labels, minExtent=labels, labelPadding=8, labelColor=INK)
    y = alt.Y("arm:N", sort=None, title=None, axis=axis)
    names, styles = [style.label for style in VERDICTS.values()], list(VERDICTS.values())
    colour = alt.Color("verdict:N", title=None, scale=scale_colours(names, styles))
    shape = alt.Shape("verdict:N", title=None, scale=alt.Scale(domain=names, range=[style.shape for style in styles]))
    tooltip = list_tooltips("arm", "baseline", "verdict", numbers=("value", "difference", "low", "high"))
    base = ROWS.transform_filter(alt.datum.place == int(first["place"]))
    inside = base.transform_filter((alt.datum.difference >= low) & (alt.datum.difference <= high))
    chart = alt.layer(
        base.mark_rect(color=GRID).encode(x=alt.X("margin_low:Q", scale=scale), x2="margin_high:Q", y=y),
        base.mark_rule(color=MUTED, strokeDash=[2, 2]).encode(x=alt.datum(0, scale=scale)),
        inside.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, color=colour),
        *(
            arrow.encode(x=alt.datum(end, scale=scale), y=y, color=colour)
            for arrow, end in draw_arrows(inside, low, high, turned=not greater_is_better)
        ),
        *(layer.encode(x=x, y=y) for layer in draw_numbers(base, low, high, turned=not greater_is_better)),
        base.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    )
    return chart.properties(width=WIDTH, height=ROW * len(rows), title=str(first["panel"]))


def draw_arrows(base: alt.Chart, low: float, high: float, *, turned: bool) -> Iterator[tuple[alt.Chart, float]]:
    """Where an interval goes on outside the axis, and the end of the axis that it leaves."""
    left, right = ("triangle-right", "triangle-left") if turned else ("triangle-left", "triangle-right")
    for shape, end, outside in ((left, low, alt.datum.low < low), (right, high, alt.datum.high > high)):
        yield base.transform_filter(outside).mark_point(shape=shape, filled=True, size=40, opacity=1), end


def draw_numbers(base: alt.Chart, low: float, high: float, *, turned: bool) -> list[alt.Chart]:
    """The numbers of the differences outside the axis, beside their marks at its ends."""
    text = alt.Text("difference:Q", format="+.3f")
    left, right = base.mark_text(dx=8, align="left"), base.mark_text(dx=-8, align="right")
    return [
        (right if turned else left).transform_filter(alt.datum.difference < low).encode(text=text),
        (left if turned else right).transform_filter(alt.datum.difference > high).encode(text=text),
    ]


def fit_axis(rows: pd.DataFrame) -> tuple[float, float]:
    """An axis that holds 0, every difference, and intervals as far as they leave room for the others."""
    widest = WIDEST * float(rows["difference"].abs().median())
    low = min(0.0, rows["low"].clip(lower=-widest).min())
    high = max(0.0, rows["high"].clip(upper=widest).max())
    pad = 0.04 * (high - low) or 1.0
    return float(low - pad), float(high + pad)
