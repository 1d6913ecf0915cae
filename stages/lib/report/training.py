"""Learning curves and weights of the networks at their knobs, and scores at each strength of a path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

from stages.lib.judge.arms import TUNED
from stages.lib.judge.comparison import PathPoint, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.lanes.plan import Grid
from stages.lib.lanes.run import TrainedRun
from stages.lib.report import charts
from stages.lib.report.styles import style_of

NUM_EPOCHS, NUM_BINS = 16, 25  # points of a curve, bars of a histogram
LOW, HIGH = 0.1, 0.9  # the band holds the middle 80 % of the replicates
PARTS = {"training": "loss", "validation": "val_loss"}
QUANTILE = 0.998  # of the baseline's weights: where the histogram ends
WIDTH, PATH_WIDTH, HEIGHT, COLUMNS = 130, 122, 95, 6
KNOB, CHOSEN = "knob", "chosen by validation rows"
WIDEST = 0.1  # share of the bands of paths that may leave their panels


def at_knobs(run: TrainedRun) -> np.ndarray:
    """The lanes of point 0, [replicate]."""
    return Grid.of_lanes(len(run.replicate), int(run.replicate.max()) + 1).lanes_at(0)


def summarize_learning(run: TrainedRun) -> pd.DataFrame:
    """Mean and band of both losses, penalties included, at up to NUM_EPOCHS epochs.

    Epochs that fewer than half of the replicates reached are left out: early stopping would choose who is averaged.
    """
    lanes, history = at_knobs(run), run.history
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


def draw_learning(learning: pd.DataFrame) -> charts.Chart | None:
    """Training and validation loss of each variant at its knob, on one scale that the baseline and its kin need.

    None where every network has diverged.
    """
    if learning.empty:
        return None
    high = float(learning.groupby("variant")["mean"].max().quantile(0.8))
    scale = alt.Scale(domain=[float(learning["mean"].min()), high], clamp=True, nice=False, zero=False)
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickCount=4, grid=False), scale=alt.Scale(nice=False))
    y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".3~g"))
    dashes = alt.StrokeDash("part:N", title=None, scale=alt.Scale(domain=list(PARTS), range=[[4, 3], [1, 0]]))
    tooltip = charts.list_tooltips("part", numbers=("epoch", "mean", "low", "high"), number_format=".4~f")
    base = charts.ROWS.encode(color=colour_variants(learning))
    chart = alt.layer(
        base.mark_area(opacity=0.15).encode(
            x=x, y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q", detail="part:N"
        ),
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, strokeDash=dashes),
        base.mark_point(size=60, opacity=0).encode(x=x, y=y, tooltip=tooltip),
    )
    note = (
        "Loss in training, its penalties included, of the networks at their knobs: training rows dashed, validation "
        "rows solid. The band holds the middle 80 % of the replicates. A gap that grows is overfitting."
    )
    return facet_variants(chart, learning, title="Learning curves", note=note)


def facet_variants(chart: charts.Panel, rows: pd.DataFrame, *, title: str, note: str) -> charts.Chart:
    """A small panel for each variant, in the order of the rows."""
    labelled = rows.assign(variant=[style_of(variant).label for variant in rows["variant"]])
    order = alt.Facet("variant:N", sort=labelled["variant"].unique().tolist(), title=None)
    panels = charts.facet_chart(chart.properties(width=WIDTH, height=HEIGHT), order, columns=COLUMNS)
    return charts.finish_chart(panels, labelled, title=title, note=note)


def colour_variants(rows: pd.DataFrame) -> alt.Color:
    return alt.Color("variant:N", scale=charts.scale_colours(map(style_of, rows["variant"].unique())), legend=None)


def list_kernels(run: TrainedRun) -> Iterator[np.ndarray]:
    """The kernels [replicate, in, out] at the knobs, layer by layer."""
    lanes, layer = at_knobs(run), 1
    while f"kernel_{layer}" in run.weights:
        yield run.weights[f"kernel_{layer}"][lanes]
        layer += 1


def collect_weights(run: TrainedRun) -> np.ndarray:
    """All finite kernel weights in one row."""
    weights = np.concatenate([kernel.ravel() for kernel in list_kernels(run)])
    return weights[np.isfinite(weights)]


def find_limit(run: TrainedRun) -> float:
    """The size that all but a few of the weights stay below."""
    sizes = np.abs(collect_weights(run))
    return float(f"{np.quantile(sizes, QUANTILE):.2g}") if len(sizes) else 1.0


def summarize_weights(run: TrainedRun, *, limit: float) -> pd.DataFrame:
    """Share of the weights in each of NUM_BINS bins from -limit to limit; larger ones count in the last bins."""
    edges = np.linspace(-limit, limit, NUM_BINS + 1)
    weights = collect_weights(run)
    count, _ = np.histogram(np.clip(weights, -limit, limit), edges)
    centres = (edges[:-1] + edges[1:]) / 2
    return pd.DataFrame({"weight": centres + 0.0, "share": count / max(1, len(weights))})


def draw_histograms(runs: Mapping[str, TrainedRun], baseline: str) -> charts.Chart:
    """Histogram of all kernel weights of each variant, the baseline's outline before it."""
    limit = find_limit(runs[baseline])
    outline = summarize_weights(runs[baseline], limit=limit)["share"]
    tables = [summarize_weights(run, limit=limit).assign(variant=name, baseline=outline) for name, run in runs.items()]
    weights = pd.concat(tables, ignore_index=True)
    scale = alt.Scale(domain=[0, float(weights["share"].quantile(0.97)) or 1.0], clamp=True, nice=False)
    x = alt.X("weight:Q", title="weight", axis=alt.Axis(tickCount=3, grid=False), scale=alt.Scale(nice=False))
    y = alt.Y("share:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".0%"))
    tooltip = charts.list_tooltips(numbers=("weight", "share"))
    chart = alt.layer(
        charts.ROWS.mark_area(opacity=0.75).encode(x=x, y=y, color=colour_variants(weights), tooltip=tooltip),
        charts.ROWS.mark_line(color=charts.MUTED, strokeWidth=1).encode(x=x, y=alt.Y("baseline:Q", scale=scale)),
    )
    note = (
        "Share of the weights of all layers in each bin, at the knobs, all replicates together; the grey line is "
        f"{style_of(baseline).label}. The last bins hold what is larger. A bar that leaves the top stands for weights "
        "at zero."
    )
    return facet_variants(chart, weights, title="Weights", note=note)


# Scores at each strength of a path, the knob and what tuning chose marked ---------------------------------------------


def draw_paths(study: StudyResult, points: Sequence[PathPoint]) -> charts.Chart | None:
    """A panel for each path and score; None where nothing has a path."""
    if not points:
        return None
    panels, tables = [], []
    for score, table in pd.DataFrame(points).groupby("score", sort=False):
        for variant, own in table.groupby("variant", sort=False):
            tables.append(list_path(study, str(variant), own))
            panels.append(draw_path(study, str(variant), str(score), tables[-1], domain=choose_domain(table)))
    note = (
        "The line is the score on held-out rows at each strength, the band its interval: that of the score itself, "
        "which is wider than that of a difference. The dashed line is the baseline. A filled mark is the knob of "
        "params.yaml; a ring is a strength that some replicate chose on its validation rows. The widest bands are "
        "cut at the edge of their panel."
    )
    rows = pd.concat(tables, ignore_index=True)
    return charts.finish_chart(
        charts.join_panels(panels, columns=COLUMNS), rows, title="Scores at each strength", note=note
    )


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


def draw_path(study: StudyResult, variant: str, score: str, rows: pd.DataFrame, *, domain: list[float]) -> charts.Panel:
    style, label = style_of(variant), SCORES[score].label
    kind: Literal["log", "symlog"] = "log" if (rows["strength"] > 0).all() else "symlog"
    ends = sorted({float(rows["strength"].min()), float(rows["strength"].max())})
    axis = alt.Axis(values=ends, format="~g", grid=False)
    x = alt.X("strength:Q", title=None, scale=alt.Scale(type=kind, nice=False, domain=ends), axis=axis)
    scale = alt.Scale(domain=domain, nice=False, clamp=True, zero=False)
    y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format=".3~f"))
    tooltip = charts.list_tooltips("variant", "score", "mark", numbers=("strength", "mean", "ci_low", "ci_high"))
    base = charts.ROWS.transform_filter((alt.datum.score == label) & (alt.datum.variant == style.label))
    points = base.mark_point(filled=True, opacity=1, color=style.colour)
    chart = alt.layer(
        base.mark_area(color=style.colour, opacity=0.18).encode(
            x=x, y=alt.Y("ci_low:Q", scale=scale, title=None), y2="ci_high:Q"
        ),
        base.mark_rule(color=charts.MUTED, strokeDash=[3, 3]).encode(
            y=alt.datum(study.arms[study.baseline]["at_knob"].judged[score].value)
        ),
        base.mark_line(color=style.colour).encode(x=x, y=y),
        points.encode(
            x=x, y=y, size=alt.condition(alt.datum.mark == KNOB, alt.value(70), alt.value(16)), tooltip=tooltip
        ),
        base.transform_filter(alt.datum.mark == CHOSEN).mark_point(size=70, color=charts.INK).encode(x=x, y=y),
    )
    return chart.properties(width=PATH_WIDTH, height=HEIGHT, title=alt.Title(style.label, subtitle=label))
