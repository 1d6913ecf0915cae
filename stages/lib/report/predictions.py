"""How the arms that matter predict held-out rows: ROC, precision-recall, reliability, confusion; surest mistakes.

Probabilities are [replicate, row, output], labels [replicate, row]; one output is the probability of class 1.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from stages.lib.judge.predictions import Labels, Mistakes
from stages.lib.report import charts
from stages.lib.report.styles import style_of

GRID = np.linspace(0, 1, 26)
NUM_BINS = 10
SIZE, CELL = 250, 24
MOST_MATRICES = 2  # the first of the arms that matter: the baseline, and the best
# One colour an arm, the baseline grey; and a dash, for those who cannot tell the colours.
COLOURS = ("#80868f", "#2f7ed8", "#c9690c", "#159a73", "#cf5590")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2])
ROC, RECALL, CALIBRATION = "ROC", "Precision and recall", "Calibration"
AXES = {
    ROC: ("share of false alarms", "share of cases found"),
    RECALL: ("share of cases found", "share of alarms that are right"),
}


def summarize_curves(labels: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """ROC and precision-recall curves of a two-class arm, averaged over replicates at equal x (vertically)."""
    roc, recall = [], []
    for label, score in zip(labels, probability[..., 0], strict=True):
        false, true, _ = roc_curve(label, score)
        roc.append(np.interp(GRID, false, true))
        precision, share, _ = precision_recall_curve(label, score)
        recall.append(precision[::-1][np.searchsorted(share[::-1], GRID)])  # at the first threshold that finds so many
    curves = [
        pd.DataFrame({"panel": panel, "x": GRID, "y": np.mean(values, axis=0)})
        for panel, values in ((ROC, roc), (RECALL, recall))
    ]
    return pd.concat(curves, ignore_index=True)


def summarize_reliability(labels: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Predicted probability (x) and observed share (y) in NUM_BINS bins of as many rows, all replicates together.

    Of two classes that is the probability of class 1, of more that of the predicted class.
    """
    if probability.shape[-1] == 1:
        predicted, happened = probability[..., 0].ravel(), labels.ravel() == 1
    else:
        predicted, happened = probability.max(axis=-1).ravel(), (probability.argmax(axis=-1) == labels).ravel()
    order = np.argsort(predicted, kind="stable")
    bins = [part for part in np.array_split(order, NUM_BINS) if len(part)]
    means = {"x": [predicted[part].mean(dtype=float) for part in bins], "y": [happened[part].mean() for part in bins]}
    return pd.DataFrame({"panel": CALIBRATION, **means, "rows": [len(part) for part in bins]})


def summarize_confusion(labels: np.ndarray, probability: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Share of the rows of each actual class that is predicted as each class, all replicates together."""
    predictions, numbers = probability.argmax(axis=-1).ravel(), np.arange(len(names))
    shares = confusion_matrix(labels.ravel(), predictions, labels=numbers, normalize="true")
    actual, predicted = np.meshgrid(names, names, indexing="ij")
    return pd.DataFrame({"actual": actual.ravel(), "predicted": predicted.ravel(), "share": shares.ravel()})


def draw_predictions(probabilities: Mapping[str, np.ndarray], labels: Labels, names: Sequence[str]) -> charts.Chart:
    """ROC and precision-recall of two classes, reliability, and confusion of more; probabilities: arm -> test rows."""
    tables = list(summarize_arms(probabilities, labels.test, names))
    rows = pd.concat(tables, ignore_index=True)
    arms = list(probabilities)
    panels = [draw_lines(panel, arms, *AXES[panel]) for panel in AXES if (rows["panel"] == panel).any()]
    what = f"“{names[1]}”" if len(names) == 2 else "the predicted class"
    points = rows[rows["panel"] == CALIBRATION][["x", "y"]]
    highest = min(1.0, 1.1 * float(points.max().max()))
    title = f"predicted probability of {what}"
    panels.append(draw_lines(CALIBRATION, arms, title, "share that came true", highest=highest))
    panels += [draw_confusion(arm, names) for arm in (arms[:MOST_MATRICES] if len(names) > 2 else ())]
    note = (
        "Held-out rows, mean over replicates. In ROC, above the dotted line is more than chance. In the calibration, "
        "on the line is right, and below it what is predicted comes true less often than it says; each point holds as "
        "many rows as the next."
    )
    if len(names) > 2:
        note += (
            " A matrix has the share of the rows of each actual class that is predicted as each class; empty is 0 %."
        )
    title = "Predictions of the arms that matter"
    return charts.finish_chart(charts.join_panels(panels, columns=3), rows, title=title, note=note)


def summarize_arms(
    probabilities: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str]
) -> Iterator[pd.DataFrame]:
    for place, (arm, probability) in enumerate(probabilities.items()):
        if probability.shape[-1] == 1:
            yield summarize_curves(labels, probability).assign(arm=arm)
        yield summarize_reliability(labels, probability).assign(arm=arm)
        if len(names) > 2 and place < MOST_MATRICES:
            yield summarize_confusion(labels, probability, names).assign(arm=arm, panel="Confusion")


def draw_lines(panel: str, arms: Sequence[str], x_title: str, y_title: str, *, highest: float = 1.0) -> charts.Panel:
    """A curve for each arm; a diagonal where x and y are of one kind."""
    scale = alt.Scale(domain=[0, highest], nice=False)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=5, format="~%", grid=True))
    y = alt.Y("y:Q", title=y_title, scale=scale, axis=alt.Axis(tickCount=5, format="~%", grid=True))
    colours, dashes = list(COLOURS[: len(arms)]), list(DASHES[: len(arms)])
    colour = alt.Color(
        "arm:N",
        title=None,
        scale=alt.Scale(domain=list(arms), range=colours),
        legend=alt.Legend(columns=1, labelLimit=240, symbolType="stroke"),
    )
    dash = alt.StrokeDash("arm:N", title=None, scale=alt.Scale(domain=list(arms), range=dashes))
    points = {"filled": True, "size": 22} if panel == CALIBRATION else False
    base = charts.ROWS.transform_filter(alt.datum.panel == panel)
    lines = base.mark_line(strokeWidth=1.8, point=points).encode(
        x=x, y=y, color=colour, strokeDash=dash, tooltip=charts.list_tooltips("arm", numbers=("x", "y"))
    )
    ends = {"x": alt.datum(0), "y": alt.datum(0), "x2": alt.datum(highest), "y2": alt.datum(highest)}
    diagonal = [] if panel == RECALL else [base.mark_rule(color=charts.MUTED, strokeDash=[2, 3]).encode(**ends)]
    return alt.layer(*diagonal, lines).properties(width=SIZE, height=SIZE, title=panel)


def draw_confusion(arm: str, names: Sequence[str]) -> charts.Panel:
    """The matrix of one arm."""
    encoding = {
        "x": alt.X("predicted:N", sort=list(names), title="predicted", axis=alt.Axis(labelAngle=-50)),
        "y": alt.Y("actual:N", sort=list(names), title="actual"),
    }
    base = charts.ROWS.transform_filter((alt.datum.panel == "Confusion") & (alt.datum.arm == arm))
    cells = base.mark_rect().encode(
        **encoding,
        # A legend of a gradient would need an id, which counts up within a process.
        color=alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None),
        tooltip=charts.list_tooltips("actual", "predicted", numbers=("share",)),
    )
    numbers = base.transform_filter(alt.datum.share >= 0.005).mark_text(fontSize=9).encode(
        **encoding,
        text=alt.Text("share:Q", format=".0%"),
        color=alt.condition(alt.datum.share > 0.5, alt.value("#ffffff"), alt.value("#1c2128")),
    )  # fmt: skip
    size = max(CELL, 120 // len(names)) * len(names)
    chart = alt.layer(cells, numbers).resolve_scale(color="independent")
    return chart.properties(width=size, height=size, title=arm)


# Surest mistakes -----------------------------------------------------------------------------------------------------

PICTURE, WIDTH, LINES = 84, 98, 40
SIGNATURE, BITS, GREY = b"\x89PNG\r\n\x1a\n", 4, 0


def draw_mistakes(
    mistakes: Mistakes, variants: Sequence[str], image: tuple[int, ...], names: Sequence[str]
) -> charts.Chart | None:
    """The held-out images that the networks of each variant at its knob, averaged, were most surely wrong about."""
    rows = [
        {
            "number": int(mistakes.number[place]),
            "variant": style_of(variant).label,
            "predicted": f"{names[mistakes.predicted[place]]} {mistakes.confidence[place]:.0%}",
            "label": f"is {names[mistakes.label[place]]}",
            "picture": encode_png(mistakes.inputs[place].reshape(image) * mistakes.scale),
        }
        for variant in variants
        for place in np.flatnonzero(np.array(mistakes.variant) == variant)
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows).assign(place=range(len(rows)))
    middle, texts = alt.value(WIDTH / 2), ("variant", "predicted", "label")
    chart = alt.layer(
        charts.ROWS.mark_image(width=PICTURE, height=PICTURE).encode(
            x=middle, y=alt.value(PICTURE / 2), url="picture:N"
        ),
        *(
            charts.ROWS.mark_text(limit=WIDTH, color=charts.INK if field == "variant" else charts.MUTED).encode(
                x=middle, y=alt.value(PICTURE + 10 + 13 * line), text=f"{field}:N"
            )
            for line, field in enumerate(texts)
        ),
    )
    note = (
        "Held-out images that the networks of a variant at its knob, their probabilities averaged, are most surely "
        "wrong about: what they say, how sure they are, and what the label says."
    )
    panel = chart.properties(width=WIDTH, height=PICTURE + LINES)
    unnamed = alt.Header(labelExpr="''", labelFontSize=1, labelPadding=0)
    pictures = charts.facet_chart(panel, alt.Facet("place:O", header=unnamed), columns=8)
    return charts.finish_chart(pictures, table, title="The surest mistakes", note=note)


def encode_png(levels: np.ndarray) -> str:
    """A grey image as the address of a PNG (W3C, Portable Network Graphics); levels: [row, column], 0 black, 1 white.

    16 levels, not compressed: a library's compressed bytes differ between versions of zlib.
    """
    height, width = levels.shape
    nibbles = np.clip(np.rint(levels * 15), 0, 15).astype(np.uint8)
    nibbles = np.pad(nibbles, ((0, 0), (0, width % 2)))
    packed = nibbles[:, ::2] << BITS | nibbles[:, 1::2]
    lines = b"".join(b"\0" + row.tobytes() for row in packed)  # each line says: no filter
    header = struct.pack(">IIBBBBB", width, height, BITS, GREY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, level=0)), (b"IEND", b""))
    content = SIGNATURE + b"".join(encode_chunk(*entry) for entry in chunks)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def encode_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
