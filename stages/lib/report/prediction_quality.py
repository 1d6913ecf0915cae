"""How the arms that matter predict: ROC, precision-recall, reliability, confusion, and their surest mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from stages.lib.report.figure import BASE, MUTED, Figure, Panel
from stages.lib.report.series import Picture, StudyFacts
from stages.lib.report.styles import name_arm

SIZE, CELL = 250, 24
MOST_MATRICES = 3  # the first of the arms that matter: the baseline, the best by each score
# One colour an arm, the baseline grey; and a dash, for those who cannot tell the colours.
COLOURS = ("#80868f", "#2f7ed8", "#c9690c", "#159a73", "#cf5590")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2])
CURVES = {
    "roc": ("ROC", "share of false alarms", "share of cases found"),
    "precision_recall": ("Precision and recall", "share of cases found", "share of alarms that are right"),
}


def label_arms(table: pd.DataFrame) -> pd.DataFrame:
    labels = [name_arm(*key) for key in zip(table["variant"], table["arm"], strict=True)]
    return table.drop(columns=["study", "variant"]).assign(arm=labels)


def style_lines(rows: pd.DataFrame) -> tuple[list[str], alt.Color, alt.StrokeDash]:
    names = list(dict.fromkeys(rows["arm"]))
    colour = alt.Color("arm:N", scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])), legend=None)
    return (
        names,
        colour,
        alt.StrokeDash("arm:N", scale=alt.Scale(domain=names, range=list(DASHES[: len(names)])), legend=None),
    )


def draw_curves(name: str, curves: pd.DataFrame, reliability: pd.DataFrame, facts: StudyFacts) -> Figure | None:
    """ROC, precision-recall and reliability beside each other; without the first two where there are more classes."""
    if reliability.empty:
        return None
    panels = []
    for curve, (title, x, y) in CURVES.items():
        rows = label_arms(curves[curves["curve"] == curve]).drop(columns=["curve"]).assign(chart=title)
        if not rows.empty:
            panels.append(draw_lines(rows, x, y, title=title, diagonal=curve == "roc"))
    rows = label_arms(reliability).rename(columns={"predicted": "x", "observed": "y"}).assign(chart="Calibration")
    what = f"“{facts.class_names[1]}”" if len(facts.class_names) == 2 else "the predicted class"
    x, y = f"predicted probability of {what}", "share that came true"
    highest = min(1.0, 1.1 * float(rows[["x", "y"]].max().max()))
    panels.append(draw_lines(rows, x, y, title="Calibration", diagonal=True, highest=highest))
    names, _, _ = style_lines(rows)
    legend = [(label, colour, "line") for label, colour in zip(names, COLOURS, strict=False)]
    note = (
        "Held-out rows, mean over replicates. In ROC, above the dotted line is better than chance. In the calibration, "
        "on the line is right, and below it what is predicted comes true less often than it says; each point holds as "
        "many rows as the next."
    )
    columns = {"chart": "chart", "arm": "arm", "x": "x", "y": "y", "rows": "rows"}
    return Figure(f"curves-{name}", "Predictions of the arms that matter", note, panels, columns, legend=legend)


def draw_lines(
    rows: pd.DataFrame, x_title: str, y_title: str, *, title: str, diagonal: bool, highest: float = 0.0
) -> Panel:
    _, colour, dash = style_lines(rows)
    scale = alt.Scale(domain=[0, highest or 1], nice=False)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=5, format="~%"))
    y = alt.Y("y:Q", title=y_title, scale=scale, axis=alt.Axis(tickCount=5, format="~%"))
    tooltip = [alt.Tooltip("arm:N"), *(alt.Tooltip(f"{field}:Q", format=".3f") for field in ("x", "y"))]
    layers = [
        BASE.mark_line(strokeWidth=1.8, point={"filled": True, "size": 22} if highest else False).encode(
            x=x, y=y, color=colour, strokeDash=dash, tooltip=tooltip
        )
    ]
    if diagonal:
        layers.insert(
            0,
            BASE.mark_rule(color=MUTED, strokeDash=[2, 3]).encode(
                x=alt.datum(0), y=alt.datum(0), x2=alt.datum(highest or 1), y2=alt.datum(highest or 1)
            ),
        )
    return Panel(alt.layer(*layers).properties(width=SIZE, height=SIZE, title=title), rows)


def draw_confusion(name: str, confusion: pd.DataFrame) -> Figure | None:
    """A matrix for each of the arms that matter."""
    if confusion.empty:
        return None
    shown = label_arms(confusion)
    names = list(dict.fromkeys(shown["actual"]))
    panels = []
    for arm, rows in list(shown.groupby("arm", sort=False))[:MOST_MATRICES]:
        x = alt.X("predicted:N", sort=names, title="predicted", axis=alt.Axis(labelAngle=-50, ticks=False))
        y = alt.Y("actual:N", sort=names, title="actual", axis=alt.Axis(ticks=False))
        colour = alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None)
        cells = BASE.mark_rect().encode(
            x=x,
            y=y,
            color=colour,
            tooltip=[alt.Tooltip("actual:N"), alt.Tooltip("predicted:N"), alt.Tooltip("share:Q", format=".1%")],
        )
        text = BASE.transform_filter("datum.share >= 0.005").mark_text(fontSize=9).encode(
            x=x, y=y, text=alt.Text("share:Q", format=".0%"),
            color=alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value("#1c2128")),
        )  # fmt: skip
        size = max(CELL, 120 // len(names)) * len(names)
        panels.append(Panel(alt.layer(cells, text).properties(width=size, height=size, title=str(arm)), rows))
    note = "Share of the held-out rows of each actual class that is predicted as each class, all replicates together."
    columns = {"arm": "arm", "actual": "actual", "predicted": "predicted", "share": "share"}
    return Figure(f"confusion-{name}", "Confusion", note, panels, columns)


def draw_mistakes(name: str, pictures: Sequence[Picture]) -> Figure | None:
    own = [picture for picture in pictures if picture.study == name and picture.shows == "mistake"]
    note = (
        "Held-out images that the networks of a variant at its knob, their probabilities averaged, are most surely "
        "wrong about: what they say, how sure they are, and what the label says."
    )
    return Figure(f"mistakes-{name}", "The surest mistakes", note, [], {}, pictures=own) if own else None
