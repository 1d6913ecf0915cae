"""Paths of strengths: a score at each strength with its interval, the knob and what tuning chose marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt
import pandas as pd

from stages.lib.judge.comparison import PathPoint, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.figure import BASE, INK, MUTED, Figure, Panel
from stages.lib.report.styles import style_of

COLUMNS = {
    "variant": "regulariser",
    "strength": "strength",
    "mean": "score",
    "low": "interval from",
    "high": "to",
    "mark": "mark",
}
KNOB, TUNED = "knob", "chosen by validation rows"
NOTE = (
    "The line is the score on held-out rows at each strength, the band its interval: that of the score itself, which "
    "is wider than that of a difference. The dashed line is the baseline. A filled mark is the knob of params.yaml; "
    "a ring is a strength that some replicate chose on its validation rows."
)
WIDTH, HEIGHT = 130, 95


def draw_paths(name: str, study: StudyResult, points: Sequence[PathPoint]) -> list[Figure]:
    """A figure for each score of the study; empty where nothing has a path."""
    figures = []
    for score in study.scores.values():
        own = [point for point in points if (point.study, point.score) == (name, score)]
        variants = list(dict.fromkeys(point.variant for point in own))
        if variants:
            baseline, domain = study.baseline_result.judged[score].value, choose_domain(own)
            panels = [
                draw_panel(
                    study, variant, [p for p in own if p.variant == variant], baseline, domain, SCORES[score].label
                )
                for variant in variants
            ]
            title = f"{SCORES[score].label} at each strength"
            figures.append(Figure(f"paths-{name}-{score}", title, NOTE, panels, COLUMNS, kind="small"))
    return figures


def choose_domain(points: Sequence[PathPoint]) -> list[float]:
    """One scale for all panels, that of the means; bands may leave it."""
    means = pd.Series([point.mean for point in points])
    pad = 0.15 * (means.max() - means.min()) or 0.01
    return [float(means.min() - pad), float(means.max() + pad)]


def draw_panel(
    study: StudyResult, variant: str, points: Sequence[PathPoint], baseline: float, domain: list[float], label: str
) -> Panel:
    style, kinds = style_of(variant), study.arms[variant]
    marks = dict.fromkeys(next(iter(kinds["tuned"].strengths.values())), TUNED) if "tuned" in kinds else {}
    marks |= dict.fromkeys(next(iter(kinds["at_knob"].strengths.values())), KNOB)
    rows = pd.DataFrame(
        [(style.label, p.strength, p.mean, p.ci_low, p.ci_high, marks.get(p.strength, "")) for p in points],
        columns=list(COLUMNS),
    )
    kind: Literal["log", "symlog"] = "log" if (rows["strength"] > 0).all() else "symlog"
    ticks = sorted({rows["strength"].min(), rows["strength"].max()})
    x = alt.X(
        "strength:Q",
        title=None,
        scale=alt.Scale(type=kind, nice=False, domain=ticks),
        axis=alt.Axis(values=ticks, format="~g", grid=False),
    )
    scale = alt.Scale(domain=domain, nice=False, clamp=True, zero=False)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".3~f"))
    tooltip = [
        alt.Tooltip("strength:Q"),
        *(alt.Tooltip(f"{f}:Q", title=COLUMNS[f], format=".4f") for f in ("mean", "low", "high")),
        "mark:N",
    ]
    chart = alt.layer(
        BASE.mark_area(color=style.colour, opacity=0.18).encode(
            x=x, y=alt.Y("low:Q", scale=scale, title=None), y2=alt.Y2("high:Q")
        ),
        BASE.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(y=alt.datum(baseline)),
        BASE.mark_line(color=style.colour).encode(x=x, y=y),
        BASE.mark_point(filled=True, size=16, opacity=1, color=style.colour).encode(x=x, y=y, tooltip=tooltip),
        BASE.transform_filter(f"datum.mark == '{KNOB}'")
        .mark_point(filled=True, size=70, opacity=1, color=style.colour)
        .encode(x=x, y=y, tooltip=tooltip),
        BASE.transform_filter(f"datum.mark == '{TUNED}'").mark_point(filled=False, size=70, color=INK).encode(x=x, y=y),
    )
    return Panel(chart.properties(width=WIDTH, height=HEIGHT, title=style.label), rows)
