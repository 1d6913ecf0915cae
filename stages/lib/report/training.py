"""Learning curves, weights, and which inputs a regulariser uses."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from stages.lib.report.figure import BASE, MUTED, Figure, Panel
from stages.lib.report.series import Picture
from stages.lib.report.styles import style_of

WIDTH, HEIGHT, CELL = 130, 95, 15
MOST_INPUTS = 60  # rows of a heat map that can be read


def draw_learning(name: str, learning: pd.DataFrame) -> Figure:
    """Training and validation loss of each variant at its knob, on one scale that the baseline and its kin need."""
    high = float(learning.groupby("variant")["mean"].max().quantile(0.8))
    low = float(learning["mean"].min())
    scale = alt.Scale(domain=[low, high], clamp=True, nice=False, zero=False)
    panels = []
    for variant, rows in learning.groupby("variant", sort=False):
        style = style_of(str(variant))
        x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=4, grid=False), scale=alt.Scale(nice=False))
        y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".3~g"))
        part = alt.StrokeDash(
            "part:N", scale=alt.Scale(domain=["training", "validation"], range=[[4, 3], [1, 0]]), legend=None
        )
        tooltip = [
            alt.Tooltip("part:N"),
            alt.Tooltip("epoch:Q"),
            *(alt.Tooltip(f"{field}:Q", format=".4f") for field in ("mean", "low", "high")),
        ]
        chart = alt.layer(
            BASE.mark_area(color=style.colour, opacity=0.15).encode(
                x=x, y=alt.Y("low:Q", scale=scale, title=None), y2=alt.Y2("high:Q"), detail=alt.Detail("part:N")
            ),
            BASE.mark_line(color=style.colour, strokeWidth=1.8).encode(x=x, y=y, strokeDash=part),
            BASE.mark_point(size=60, opacity=0).encode(x=x, y=y, tooltip=tooltip),
        )
        shown = rows.drop(columns=["study"]).assign(variant=style.label)
        panels.append(Panel(chart.properties(width=WIDTH, height=HEIGHT, title=style.label), shown))
    note = (
        "Loss in training, its penalties included, of the networks at their knobs: training rows dashed, validation "
        "rows solid. The band holds the middle 80 % of the replicates. A gap that grows is overfitting."
    )
    columns = {
        "variant": "regulariser",
        "part": "rows",
        "epoch": "epoch",
        "mean": "mean loss",
        "low": "10 %",
        "high": "90 %",
    }
    return Figure(f"learning-{name}", "Learning curves", note, panels, columns, kind="small")


def draw_weights(name: str, weights: pd.DataFrame) -> Figure:
    """Histogram of all kernel weights, the baseline's outline behind it."""
    highest = float(weights["share"].quantile(0.97))
    first = str(weights["variant"].iloc[0])
    baseline = weights[weights["variant"] == first].set_index("weight")["share"]
    panels = []
    for variant, rows in weights.groupby("variant", sort=False):
        style = style_of(str(variant))
        shown = rows.drop(columns=["study"]).assign(variant=style.label, first=rows["weight"].map(baseline))
        x = alt.X("weight:Q", title="weight", axis=alt.Axis(tickCount=3, grid=False), scale=alt.Scale(nice=False))
        scale = alt.Scale(domain=[0, highest], clamp=True, nice=False)
        y = alt.Y("share:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".0%"))
        tooltip = [alt.Tooltip("weight:Q", format=".3f"), alt.Tooltip("share:Q", format=".2%")]
        chart = alt.layer(
            BASE.mark_area(color=style.colour, opacity=0.75).encode(x=x, y=y, tooltip=tooltip),
            BASE.mark_line(color=MUTED, strokeWidth=1).encode(x=x, y=alt.Y("first:Q", scale=scale)),
        )
        panels.append(Panel(chart.properties(width=WIDTH, height=HEIGHT - 20, title=style.label), shown))
    note = (
        "Share of the weights of all layers in each bin, at the knobs, all replicates together; the grey line is "
        f"{style_of(first).label}. The last bins hold what is larger. A bar that leaves the top stands for "
        "weights at zero."
    )
    columns = {"variant": "regulariser", "weight": "weight", "share": "share", "first": style_of(first).label}
    return Figure(f"weights-{name}", "Weights", note, panels, columns, kind="small")


def draw_inputs(name: str, inputs: pd.DataFrame) -> Figure | None:
    """Heat map of the mean size of the weights from each input, each variant scaled by its largest."""
    names = list(dict.fromkeys(inputs["input"]))
    if not 0 < len(names) <= MOST_INPUTS:
        return None
    largest = inputs.groupby("variant")["mean_size"].transform("max")
    shown = inputs.drop(columns=["study"]).assign(
        share=inputs["mean_size"] / largest.where(largest > 0, 1.0),
        variant=inputs["variant"].map(lambda v: style_of(v).label),
    )
    chart = BASE.mark_rect().encode(
        x=alt.X("variant:N", sort=None, title=None, axis=alt.Axis(labelAngle=-60, ticks=False, labelLimit=120)),
        y=alt.Y("input:N", sort=None, title=None, axis=alt.Axis(ticks=False)),
        # A legend of a gradient would need an id, which counts up within a process.
        color=alt.Color("share:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1]), legend=None),
        tooltip=[
            alt.Tooltip("variant:N"),
            alt.Tooltip("input:N"),
            alt.Tooltip("mean_size:Q", format=".3f"),
            alt.Tooltip("zero_share:Q", format=".0%"),
        ],
    )
    size = {
        "title": "Size of the weights from each input",
        "width": CELL * shown["variant"].nunique(),
        "height": CELL * len(names),
    }
    note = (
        "Mean size of the first layer's weights from each input, as a share of the regulariser's largest. Dark inputs "
        "are hardly used; the table has the share of weights that are nearly zero."
    )
    columns = {
        "variant": "regulariser",
        "input": "input",
        "mean_size": "mean size of weights",
        "zero_share": "share nearly zero",
        "share": "of the largest",
    }
    return Figure(f"inputs-{name}", "Which inputs are used", note, [Panel(chart.properties(**size), shown)], columns)


def draw_first_layer(name: str, pictures: Sequence[Picture]) -> Figure | None:
    """What units of the first layer look at, regulariser by regulariser."""
    own = [picture for picture in pictures if picture.study == name and picture.shows in ("first_layer", "input_size")]
    note = (
        "Weights from each pixel into the same units, one training: white pulls a unit up, black down, grey is "
        "zero. The last picture is the mean size of the weights over all units and replicates. Each row has "
        "its own scale."
    )
    return Figure(f"first-layer-{name}", "What the first layer looks at", note, [], {}, pictures=own) if own else None
