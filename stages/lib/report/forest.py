"""Forest plots: each arm's difference from its baseline, with interval, the margin that does not matter, verdict."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from stages.lib.judge.arms import REFERENCE, ArmKey
from stages.lib.judge.comparison import ArmResult, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.answers import is_used, rank_arms
from stages.lib.report.figure import BASE, GRID, INK, MUTED, Figure, Panel
from stages.lib.report.styles import VERDICTS, name_arm, style_of

ROW, WIDTH, LABELS = 17, 340, 138  # WIDTH holds the labels
COLUMNS = {
    "score": "score", "arm": "arm", "baseline": "compared with", "value": "value", "difference": "difference",
    "low": "interval from", "high": "to", "verdict": "verdict",
    "margin_low": "does not matter from", "margin_high": "up to",
}  # fmt: skip
LEGEND = [(style.label, style.colour, style.shape) for style in VERDICTS.values()]
WIDEST = 6  # times the typical difference: what lies further out is drawn at the edge, with its number


def read_forest(confidence: float) -> str:
    """How a forest plot is read."""
    return (
        "Each mark is the difference from the arm's baseline, mostly the same network without the regulariser; right "
        f"is better. The line is the {100 * confidence:g} % interval of that difference; in the shaded band "
        "differences are too small to matter."
    )


WHY_UNDECIDED = (
    "Why can a line that misses 0 be undecided, and a larger difference less sure than a smaller one?",
    "A line is the interval of one difference alone. The verdict takes all arms and both scores of a study together, "
    "since among so many some look better by chance. And a large difference with a long line is less sure than a small "
    "one with a short line: its networks differ more from one training to the next.",
)


def draw_forest(name: str, study: StudyResult, margins: Mapping[str, float], confidence: float) -> Figure:
    """Every arm of a study, by both scores, reference models included."""
    panels = []
    for score in study.scores.values():
        rows = list_rows(study, score, rank_arms(study, score), margins[score])
        panels.append(draw_panel(score, rows, title=SCORES[score].label, labels=LABELS + 24))
    title, note = "Every arm against its baseline", read_forest(confidence)
    return Figure(f"forest-{name}", title, note, panels, COLUMNS, legend=LEGEND, more=WHY_UNDECIDED)


def draw_answer(
    studies: Mapping[str, StudyResult], titles: Mapping[str, str], margins: Mapping[str, float], confidence: float
) -> Figure:
    """Each regulariser once, as one would use it: tuned where it has a path, else at its knob."""
    panels = []
    for question in ("discrimination", "probabilities"):
        for name, study in studies.items():
            score = study.scores[question]
            used = [entry for entry in rank_arms(study, score) if is_used(study, entry[0])]
            rows = list_rows(
                study, score, [e for e in used if e[1].group == "regularizers"], margins[score], short=True
            )
            panels.append(draw_panel(score, rows, title=f"{titles[name]}: {SCORES[score].label}"))
    title, note = "What each regulariser does, on data that the network has not seen", read_forest(confidence)
    return Figure("answer", title, note, panels, COLUMNS, legend=LEGEND, more=WHY_UNDECIDED)


def list_rows(
    study: StudyResult, score: str, arms: list[tuple[ArmKey, ArmResult]], margin: float, *, short: bool = False
) -> pd.DataFrame:
    """A row for every arm that is compared with another."""
    rows = []
    for key, arm in arms:
        if found := arm.judged[score].difference:
            label = style_of(key.variant).label if short or key.kind == REFERENCE else name_arm(*key)
            numbers = (arm.judged[score].value, found.value, found.ci_low, found.ci_high)
            baseline = style_of(arm.baseline).label
            rows.append((SCORES[score].label, label, baseline, *numbers, found.verdict, -margin, margin))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw_panel(score: str, rows: pd.DataFrame, *, title: str, labels: int = LABELS) -> Panel:
    """One score; right is better, so the axis of a score that should be small is turned."""
    kind, names, (low, high) = SCORES[score], list(VERDICTS), choose_domain(rows)
    scale = alt.Scale(domain=[low, high], reverse=not kind.greater_is_better, nice=False, clamp=True)
    x = alt.X("difference:Q", title="difference, better →", scale=scale, axis=alt.Axis(tickCount=4, format="+.3~f"))
    y = alt.Y(
        "arm:N",
        sort=None,
        title=None,
        axis=alt.Axis(labelLimit=labels, minExtent=labels, labelPadding=8, ticks=False, labelColor=INK),
    )
    colour, shape = (
        kind_of("verdict:N", scale=alt.Scale(domain=names, range=[VERDICTS[name][part] for name in names]), legend=None)
        for kind_of, part in ((alt.Color, 1), (alt.Shape, 2))
    )
    tooltip = [
        alt.Tooltip("arm:N"), alt.Tooltip("verdict:N"), alt.Tooltip("value:Q", title=kind.label, format=".4f"),
        *(alt.Tooltip(f"{field}:Q", title=COLUMNS[field], format="+.4f") for field in ("difference", "low", "high")),
    ]  # fmt: skip
    chart = alt.layer(
        BASE.mark_rect(color=GRID).encode(x=alt.X("margin_low:Q"), x2=alt.X2("margin_high:Q"), y=y),
        BASE.mark_rule(color=MUTED, strokeDash=[2, 2]).encode(x=alt.datum(0)),
        BASE.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y, color=colour, tooltip=tooltip),
        *(layer.encode(x=x, y=y) for layer in draw_numbers(low, high, turned=not kind.greater_is_better)),
        BASE.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    )
    return Panel(chart.properties(width=WIDTH - labels, height=ROW * max(1, len(rows)), title=title), rows)


def draw_numbers(low: float, high: float, *, turned: bool) -> list[alt.Chart]:
    """The numbers of the differences outside the axis, beside their marks at its ends."""
    text = alt.Text("difference:Q", format="+.3f")
    left, right = BASE.mark_text(dx=8, align="left"), BASE.mark_text(dx=-8, align="right")
    return [
        chart.transform_filter(test).encode(text=text)
        for chart, test in (
            (right if turned else left, f"datum.difference < {low}"),
            (left if turned else right, f"datum.difference > {high}"),
        )
    ]


def choose_domain(rows: pd.DataFrame) -> list[float]:
    """An axis that holds 0, every difference, and intervals as far as they leave room for the others."""
    if rows.empty:
        return [-1.0, 1.0]
    reach = WIDEST * float(rows["difference"].abs().median())
    low = min(0.0, rows["low"].clip(lower=-reach).min())
    high = max(0.0, rows["high"].clip(upper=reach).max())
    pad = 0.04 * (high - low) or 1.0
    return [float(low - pad), float(high + pad)]
