"""The figures of a study: one function each, which returns a chart of Altair's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

from stages.lib.judge.comparison import Kind, PathPoint, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.lanes.plan import Grid
from stages.lib.lanes.run import TrainedRun
from stages.lib.report import charts
from stages.lib.report.answers import rank_arms
from stages.lib.report.styles import NOTES, VERDICTS, name_arm, say, style_of

ROW, LABELS, FOREST_WIDTH = 17, 250, 230
WIDEST = 3  # times the typical end of an interval: what lies further out is cut, with an arrow
WIDTH, HEIGHT, COLUMNS = 150, 95, 6  # of small panels
NUM_EPOCHS, NUM_BINS = 16, 10  # points of a learning curve, and of a calibration
LOW, HIGH = 0.1, 0.9  # the band of a learning curve holds the middle 80 % of the replicates
PARTS = {"training": "loss", "validation": "val_loss"}
SIGNED = "datum.value ? format(datum.value, '+.3~f') : '0'"  # labels of an axis
SHORT = "format(datum.value, datum.value < 1e5 ? '.3~r' : '.3~s')"
OUTERMOST = 0.05  # share of the bands of paths that may leave their panels, on either side
SIZE = 250  # of a calibration
# One colour an arm, the baseline grey; and a dash, for those who cannot tell the colours.
COLOURS = ("#80868f", "#2f7ed8", "#c9690c", "#159a73", "#cf5590")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2])


# Forest plot: each arm's difference from its baseline, with interval and verdict --------------------------------------


def list_differences(study: StudyResult, score: str) -> pd.DataFrame:
    """A row for every arm that is compared with another, the best first; with the names of the records."""
    rows = [
        (score, *key, arm.baseline, arm.judged[score].value, found.value, found.low, found.high, found.verdict)
        for key, arm in rank_arms(study, score)
        if (found := arm.judged[score].difference)
    ]
    columns = ["score", "variant", "arm", "baseline", "value", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def draw_forest(rows: pd.DataFrame, score: str, margin: float, *, title: str, note: str) -> charts.Chart | None:
    """The rows of `list_differences` in words by one score, the largest gain on top; None without a row."""
    rows = rows.sort_values("difference", ascending=SCORES[score].sign < 0)
    if rows.empty:
        return None
    low, high = fit_axis(rows, margin)
    edge = (high - low) / 30  # where a mark would lie below an arrow
    label, better = SCORES[score].label, VERDICTS["better"].label
    direction = f"{better}: higher {label} →" if SCORES[score].greater_is_better else f"← {better}: lower {label}"
    scale = alt.Scale(domain=[low, high], nice=False, clamp=True)
    ticks = alt.Axis(tickCount=3, labelOverlap=True, labelSeparation=4, labelExpr=SIGNED)
    x = alt.X("difference:Q", title=direction, scale=scale, axis=ticks)
    y = alt.Y("arm:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS, labelPadding=8, labelColor=charts.INK))
    styles = [style for style in VERDICTS.values() if style.label in set(rows["verdict"])]
    shapes = alt.Scale(domain=[style.label for style in styles], range=[style.shape for style in styles])
    legend = alt.Legend(columns=2)
    shape = alt.Shape("verdict:N", scale=shapes, legend=legend)
    colour = alt.Color("verdict:N", scale=charts.scale_colours(styles), legend=legend)
    tooltip = [f"{name}:N" for name in rows if name in ("arm", "baseline", "verdict")]
    tooltip += ["value:Q", "difference:Q", "low:Q", "high:Q"]
    base = charts.ROWS.encode(y=y, color=colour)
    inside = base.transform_filter((alt.datum.difference > low + edge) & (alt.datum.difference < high - edge))
    chart = alt.layer(
        charts.ROWS.mark_rect(color=charts.GRID).encode(x=alt.datum(-margin, scale=scale), x2=alt.datum(margin)),
        charts.ROWS.mark_rule(strokeDash=[2, 2]).encode(x=alt.datum(0, scale=scale)),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        inside.mark_point(filled=True, size=55, opacity=1).encode(x=x, shape=shape, tooltip=tooltip),
        *mark_ends(base, scale, edge),
    )
    chart = chart.properties(width=FOREST_WIDTH, height=alt.Step(ROW))
    return charts.finish_chart(chart, rows, title=title, note=note)


def name_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `list_differences` that a question is about, in words."""
    rows = rows[rows["verdict"] != "not_asked"]
    return rows.drop(columns=["score", "variant"]).assign(
        arm=[name_arm(*key) for key in zip(rows["variant"], rows["arm"], strict=True)],
        baseline=[style_of(baseline).label for baseline in rows["baseline"]],
        verdict=[VERDICTS[verdict].label for verdict in rows["verdict"]],
    )


def mark_ends(base: alt.Chart, scale: alt.Scale, pad: float) -> Iterator[alt.Chart]:
    """At the ends of the axis: an arrow where an interval goes on, and the number of a difference there or outside."""
    (low, high), found = scale.domain, alt.datum
    for shape, end, goes_on, lies_outside in (
        ("triangle-left", low, found.low < low, found.difference <= low + pad),
        ("triangle-right", high, found.high > high, found.difference >= high - pad),
    ):
        at_end = base.encode(x=alt.datum(end, scale=scale))
        yield at_end.transform_filter(goes_on).mark_point(shape=shape, filled=True, size=40, opacity=1)
        number = at_end.transform_filter(lies_outside).encode(text=alt.Text("difference:Q", format="+.3f"))
        align: Literal["left", "right"] = "left" if end == low else "right"
        dx = 10 if end == low else -10
        yield number.mark_text(align=align, dx=dx, stroke=charts.PAGE, strokeWidth=6)  # the line ends before it
        yield number.mark_text(align=align, dx=dx).encode(color=alt.value(charts.INK))


def fit_axis(rows: pd.DataFrame, margin: float) -> tuple[float, float]:
    """An axis that holds what does not matter and the intervals, as far as they leave room for the others."""
    widest = WIDEST * float(rows[["low", "high"]].abs().max(axis=1).median())
    low = min(-margin, rows["low"].clip(lower=-widest).min())
    high = max(margin, rows["high"].clip(upper=widest).max())
    pad = 0.04 * (high - low) or 1.0
    return float(low - pad), float(high + pad)


# Scores at each strength of a path, the knob and what tuning chose marked ---------------------------------------------


def draw_paths(study: StudyResult, score: str, points: Sequence[PathPoint]) -> charts.Chart | None:
    """A panel for each path, by one score; None where nothing has a path."""
    table = pd.DataFrame([point for point in points if point.score == score])
    if table.empty:
        return None
    label, places = SCORES[score].label, list(zip(table["variant"], table["strength"], strict=True))
    baselines = [study.arms[study.arms[variant]["at_knob"].baseline]["at_knob"] for variant in table["variant"]]
    rows = pd.DataFrame(
        {
            "variant": [style_of(variant).label for variant in table["variant"]],
            "strength": table["strength"],
            "mean": table["mean"],
            "low": table["ci_low"],
            "high": table["ci_high"],
            "knob": [strength in list_strengths(study, variant, "at_knob") for variant, strength in places],
            "chosen": [strength in list_strengths(study, variant, "tuned") for variant, strength in places],
            "baseline": [arm.judged[score].value for arm in baselines],
        }
    )
    scale = scale_bands(rows)
    x = alt.X("strength:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True, labelSeparation=5, format="~g"))
    y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".3~f"))
    tooltip = ["variant:N", "knob:N", "chosen:N", "strength:Q", "mean:Q", "low:Q", "high:Q"]
    size = alt.condition(alt.datum.knob, alt.value(70), alt.value(16))
    base = charts.ROWS.encode(x=x, color=colour_variants(table["variant"]))
    chart = alt.layer(
        base.mark_area(opacity=0.18, clip=True).encode(y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q"),
        charts.ROWS.mark_rule(strokeDash=[3, 3]).encode(y=alt.Y("mean(baseline):Q", scale=scale)),
        base.mark_line(clip=True).encode(y=y),
        base.mark_point(filled=True, opacity=1, clip=True).encode(y=y, size=size, tooltip=tooltip),
        base.transform_filter(alt.datum.chosen).mark_point(size=70, clip=True).encode(y=y, color=alt.value(charts.INK)),
    )
    note = say("paths", NOTES, score=label)
    return facet_variants(chart, rows, title=f"Each strength, by {label}", note=note)


def scale_bands(rows: pd.DataFrame) -> alt.Scale:
    """One scale for all panels, that of the baseline and of all but the outermost bands."""
    low = min(rows["baseline"].min(), rows["low"].quantile(OUTERMOST))
    high = max(rows["baseline"].max(), rows["high"].quantile(1 - OUTERMOST))
    pad = 0.1 * (high - low) or 0.01  # room for a mark
    return alt.Scale(domain=[float(low - pad), float(high + pad)], nice=False, zero=False)


def list_strengths(study: StudyResult, variant: str, kind: Kind) -> list[float]:
    """The strengths that replicates of an arm use; none where there is no such arm."""
    arm = study.arms[variant].get(kind)
    return next(iter(arm.strengths.values())) if arm else []


def facet_variants(
    chart: charts.Chart, rows: pd.DataFrame, *, title: str, note: str, y: Literal["shared", "independent"] = "shared"
) -> charts.Chart:
    """A small panel for each variant, in the order of the rows; y: whether they share that scale."""
    variants = rows["variant"].unique().tolist()
    panels = chart.properties(width=WIDTH, height=HEIGHT).facet(
        alt.Facet("variant:N", sort=variants, title=None), columns=min(COLUMNS, len(variants))
    )
    return charts.finish_chart(panels.resolve_scale(x="independent", y=y), rows, title=title, note=note)


def colour_variants(variants: pd.Series) -> alt.Color:
    return alt.Color("variant:N", scale=charts.scale_colours(map(style_of, variants.unique())), legend=None)


# Learning curves of the networks at their knobs -----------------------------------------------------------------------


def summarize_learning(run: TrainedRun) -> pd.DataFrame:
    """Mean and band of both losses, penalties included, at up to NUM_EPOCHS epochs.

    Epochs that fewer than half of the replicates reached are left out: early stopping would choose who is averaged.
    """
    lanes, history = Grid.of_lanes(len(run.replicate), int(run.replicate.max()) + 1).lanes_at(0), run.history
    history = history[history["lane"].isin(lanes)]
    shown = np.unique(np.linspace(1, history["epoch"].max(), NUM_EPOCHS).round().astype(int))
    history = history[history["epoch"].isin(shown)].replace([np.inf, -np.inf], np.nan)
    parts = []
    for part, column in PARTS.items():
        groups = history.groupby("epoch")[column]
        table = pd.DataFrame({"mean": groups.mean(), "low": groups.quantile(LOW), "high": groups.quantile(HIGH)})
        parts.append(table[groups.count() * 2 >= len(lanes)].reset_index().assign(part=part))
    return pd.concat(parts, ignore_index=True)


def tabulate_learning(runs: Mapping[str, TrainedRun]) -> pd.DataFrame:
    """The learning curves of all variants, the form in which `dvc plots` can show them."""
    tables = [summarize_learning(run).assign(variant=variant) for variant, run in runs.items()]
    return pd.concat(tables, ignore_index=True)[["variant", "part", "epoch", "mean", "low", "high"]]


def draw_learning(learning: pd.DataFrame, *, baseline: str, same_loss: bool) -> charts.Chart | None:
    """Training and validation loss of each variant at its knob; None where no curve has two points.

    One loss has one scale, which the baseline and its kin need; several losses have one each.
    """
    if learning["epoch"].nunique() < 2:
        return None
    highest = learning.groupby("variant")["mean"].max()
    high = float(max(highest.quantile(0.8), highest.get(baseline, 0.0)))
    domain = [min(0.0, float(learning["mean"].min())), high] if same_loss else alt.Undefined
    scale = alt.Scale(domain=domain, nice=not same_loss)
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=4, grid=False), scale=alt.Scale(nice=False))
    axis = alt.Axis(tickCount=3, labelExpr=SHORT, labelFlush=6)  # labels at the ends stay inside, so panels are in line
    y = alt.Y("mean:Q", title=None, scale=scale, axis=axis)
    dashes = alt.StrokeDash("part:N", title=None, scale=alt.Scale(domain=list(PARTS), range=[[4, 3], [1, 0]]))
    tooltip = ["part:N", "epoch:Q", "mean:Q", "low:Q", "high:Q"]
    base = charts.ROWS.encode(x=x, color=colour_variants(learning["variant"]))
    chart = alt.layer(
        base.mark_area(opacity=0.15, clip=True).encode(
            y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q", detail="part:N"
        ),
        base.mark_line(strokeWidth=1.8, clip=True).encode(y=y, strokeDash=dashes),
        base.mark_point(size=60, opacity=0, clip=True).encode(y=y, tooltip=tooltip),
    )
    note = say("learning", NOTES)
    labelled = learning.assign(variant=[style_of(variant).label for variant in learning["variant"]])
    return facet_variants(
        chart, labelled, title="Learning curves", note=note, y="shared" if same_loss else "independent"
    )


# Calibration of the predictions ---------------------------------------------------------------------------------------


def summarize_reliability(labels: np.ndarray, probability: np.ndarray) -> pd.DataFrame:
    """Predicted probability and observed share in NUM_BINS bins of as many rows, all replicates together.

    probability: [replicate, row, output], labels: [replicate, row]. Of two classes, one output, that of class 1 is
    meant, of more that of the predicted class.
    """
    if probability.shape[-1] == 1:
        predicted, happened = probability[..., 0].ravel(), labels.ravel() == 1
    else:
        predicted, happened = probability.max(axis=-1).ravel(), (probability.argmax(axis=-1) == labels).ravel()
    order = np.argsort(predicted, kind="stable")
    bins = [part for part in np.array_split(order, NUM_BINS) if len(part)]
    means = {
        part: [values[rows].mean(dtype=float) for rows in bins]
        for part, values in (("predicted", predicted), ("observed", happened))
    }
    return pd.DataFrame({**means, "rows": [len(part) for part in bins]})


def draw_reliability(probabilities: Mapping[str, np.ndarray], labels: np.ndarray, meant: str) -> charts.Chart:
    """Whether what arms predict comes true as often as they say; meant: the class whose probability that is."""
    tables = [summarize_reliability(labels, predicted).assign(arm=arm) for arm, predicted in probabilities.items()]
    rows, arms = pd.concat(tables, ignore_index=True), list(probabilities)
    highest = min(1.0, 1.1 * float(rows[["predicted", "observed"]].max().max()))
    scale, axis = alt.Scale(domain=[0, highest], nice=False), alt.Axis(tickCount=5, labelExpr=charts.PERCENT, grid=True)
    x = alt.X("predicted:Q", title=f"predicted probability of {meant}", scale=scale, axis=axis)
    y = alt.Y("observed:Q", title="share that came true", scale=scale, axis=axis)
    legend = alt.Legend(columns=1, labelLimit=240, symbolType="stroke")
    colours = alt.Scale(domain=arms, range=list(COLOURS[: len(arms)]))
    dashes = alt.Scale(domain=arms, range=list(DASHES[: len(arms)]))
    lines = charts.ROWS.mark_line(strokeWidth=1.8, point={"filled": True, "size": 22}).encode(
        x=x,
        y=y,
        color=alt.Color("arm:N", title=None, scale=colours, legend=legend),
        strokeDash=alt.StrokeDash("arm:N", title=None, scale=dashes),
        tooltip=["arm:N", "predicted:Q", "observed:Q", "rows:Q"],
    )
    ends = {"x": alt.datum(0), "y": alt.datum(0), "x2": alt.datum(highest), "y2": alt.datum(highest)}
    diagonal = charts.ROWS.mark_rule(strokeDash=[2, 3]).encode(**ends)
    chart = alt.layer(diagonal, lines).properties(width=SIZE, height=SIZE)
    note = say("reliability", NOTES)
    return charts.finish_chart(chart, rows, title="Are the probabilities right?", note=note)
