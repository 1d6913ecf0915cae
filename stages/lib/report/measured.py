"""What stands beside the studies: the calibration of the intervals, the searches, and the audit of claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import altair as alt
import pandas as pd

from stages.lib.claims.judging import ClaimResult, QuantityResult
from stages.lib.judge.comparison import SearchPoint
from stages.lib.judge.scores import SCORES
from stages.lib.report.figure import BASE, INK, MUTED, Figure, Panel
from stages.lib.report.styles import style_of

WIDTH, ROW, LABELS = 200, 17, 138
SETTINGS = {
    "none": "no signal",
    "table": "the table's signal",
    "twice": "twice the signal",
    "interaction": "interactions",
    "sparse": "few columns",
    "heavy_tailed": "heavy tails",
    "exchangeable": "arms that are equal",
}
METHODS = {"by_row": "this project's interval", "resampled_t": "corrected resampled t"}
AGAINST = {"baseline": "the baseline", "no_skill": "no skill"}
SEARCH_COLUMNS = {
    "variant": "search", "point": "point", "strengths": "strengths", "validation": "on validation rows",
    "held_out": "on held-out rows", "chosen": "replicates that chose it",
}  # fmt: skip


def draw_calibration(calibration: Mapping[str, Any]) -> Figure | None:
    """Coverage of the intervals on synthetic tables whose true differences are known."""
    confidence, rows = calibration.get("confidence", 0.95), []
    for setting, counts in list_settings(calibration):
        for against, score, arm, found in list_arms(counts):
            shares = [(METHODS[method], found[method]["coverage"]) for method in METHODS if method in found]
            compared, label = f"{SCORES[score].label}, from {against}", f"{SETTINGS.get(setting, setting)}: {arm}"
            rows += [(compared, label, method, *read_share(share)) for method, share in shares]
    if not rows:
        return None
    columns = {
        "score": "score",
        "setting": "setting: arm",
        "method": "interval",
        "value": "coverage",
        "low": "from",
        "high": "to",
        "tables": "tables",
    }
    table = pd.DataFrame(rows, columns=list(columns))
    scale = alt.Scale(domain=[min(0.8, float(table["low"].min())), 1], nice=False, clamp=True)
    panels = [
        draw_coverage(group, str(score), confidence, scale) for score, group in table.groupby("score", sort=False)
    ]
    legend = [(METHODS["by_row"], INK, "circle"), (METHODS["resampled_t"], MUTED, "ring")]
    note = (
        "How often the interval of a difference, from the baseline or from a guess without skill, holds the true "
        f"difference, counted on synthetic tables that resemble the Thoracic one. It should be {confidence:.0%}, the "
        "dashed line; more is too cautious, less is too sure."
    )
    return Figure("calibration", "How often the intervals are right", note, panels, columns, legend=legend)


def list_settings(calibration: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, counts) for name, counts in calibration.items() if isinstance(counts, Mapping)]


def list_arms(counts: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """What an arm is compared with, the score, the arm and its counts, of one setting."""
    for family, against in AGAINST.items():
        for score, arms in counts.get(family, {}).get("scores", {}).items():
            for arm, found in arms.items():
                yield against, score, arm.replace("_", " "), found


def read_share(share: Mapping[str, Any]) -> tuple[float, float, float, int]:
    return share["value"], share["low"], share["high"], share["of"]


def draw_coverage(rows: pd.DataFrame, score: str, confidence: float, scale: alt.Scale) -> Panel:
    x = alt.X("value:Q", title="coverage", scale=scale, axis=alt.Axis(values=[0.8, 0.9, 1], format="~%"))
    axis = alt.Axis(labelLimit=LABELS + 70, minExtent=LABELS, ticks=False, labelColor=INK)
    y = alt.Y("setting:N", sort=None, title=None, axis=axis)
    new, old = (BASE.transform_filter(f"datum.method == {name!r}") for name in METHODS.values())
    tooltip = [
        alt.Tooltip("setting:N"),
        alt.Tooltip("method:N"),
        *(alt.Tooltip(f"{field}:Q", format=".1%") for field in ("value", "low", "high")),
        alt.Tooltip("tables:Q"),
    ]
    chart = alt.layer(
        BASE.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.XDatum(confidence, scale=scale)),
        new.mark_rule(strokeWidth=2, color=INK).encode(x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q"), y=y),
        old.mark_point(size=40, color=MUTED).encode(x=x, y=y, tooltip=tooltip),
        new.mark_point(filled=True, size=45, opacity=1, color=INK).encode(x=x, y=y, tooltip=tooltip),
    )
    return Panel(chart.properties(width=WIDTH - 40, height=ROW * rows["setting"].nunique(), title=score), rows)


def tabulate_errors(calibration: Mapping[str, Any]) -> pd.DataFrame:
    """Share of the synthetic tables with any false finding, and the power for each arm that truly differs."""
    rows = []
    for setting, counts in list_settings(calibration):
        name = SETTINGS.get(setting, setting)
        for family, against in AGAINST.items():
            if error := counts.get(family, {}).get("family_wise_error", {}).get("by_row"):
                rows.append((f"any false difference from {against}", name, "", *read_share(error)))
        for against, score, arm, found in list_arms(counts):
            if found["true_difference"]:
                what = f"{arm}: {found['true_difference']:+.3f} in {SCORES[score].label}"
                rows.append((f"difference from {against} found", name, what, *read_share(found["by_row"]["found"])))
    return pd.DataFrame(rows, columns=["what", "setting", "true difference", "share of tables", "from", "to", "tables"])


def draw_searches(searches: Sequence[SearchPoint]) -> list[Figure]:
    """Every point of each search: what its validation rows promised, and what its held-out rows gave."""
    figures, table = [], pd.DataFrame([asdict(point) for point in searches])
    for (study, score), rows in table.groupby(["study", "score"], sort=False):
        shown, label = gather_points(rows), SCORES[str(score)].label
        panels = [
            draw_points(own, style_of(str(variant)).label, label)
            for variant, own in shown.groupby("variant", sort=False)
        ]
        note = (
            "Each circle is one mixture of strengths: its mean score on validation rows, by which mixtures are chosen, "
            "and on held-out rows, by which they are judged. Filled ones were chosen by some replicate."
        )
        title = f"{str(study).replace('_', ' ')}: {label} of every mixture"
        figures.append(Figure(f"search-{study}-{score}", title, note, panels, SEARCH_COLUMNS))
    return figures


def gather_points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a point, its strengths in words."""
    told = rows.assign(
        strengths=[f"{name} {value:g}" for name, value in zip(rows["regularizer"], rows["strength"], strict=True)]
    )
    keys = ["variant", "point", "validation", "held_out", "chosen"]
    return told.groupby(keys, sort=False)["strengths"].agg(", ".join).reset_index()[list(SEARCH_COLUMNS)]


def draw_points(rows: pd.DataFrame, title: str, label: str) -> Panel:
    scale = alt.Scale(zero=False)
    x = alt.X("validation:Q", title=f"{label} on validation rows", scale=scale, axis=alt.Axis(tickCount=5, grid=False))
    y = alt.Y("held_out:Q", title=f"{label} on held-out rows", scale=scale, axis=alt.Axis(tickCount=5))
    tooltip = [
        alt.Tooltip("strengths:N"),
        alt.Tooltip("validation:Q", format=".4f"),
        alt.Tooltip("held_out:Q", format=".4f"),
        alt.Tooltip("chosen:Q"),
    ]
    chart = alt.layer(
        BASE.transform_filter("datum.chosen <= 0").mark_point(size=30, color=MUTED).encode(x=x, y=y, tooltip=tooltip),
        BASE.transform_filter("datum.chosen > 0")
        .mark_point(filled=True, size=70, opacity=1, color="#2f7ed8")
        .encode(x=x, y=y, tooltip=tooltip),
    )
    return Panel(chart.properties(width=270, height=230, title=title), rows.assign(variant=title))


def tabulate_audit(audit: Sequence[ClaimResult]) -> dict[str, pd.DataFrame]:
    """What was claimed, and what each of the quantities that decide on it says."""
    rows = [
        {
            "id": result.id,
            "claim": result.claim,
            "verdict": result.verdict,
            "what decides": "; ".join(map(tell_quantity, result.quantities)) or f"missing: {result.missing}",
            "measured on": "; ".join(dict.fromkeys(", ".join(quantity.sources) for quantity in result.quantities)),
        }
        for result in audit
    ]
    return {"claims": pd.DataFrame(rows)}


def tell_quantity(quantity: QuantityResult) -> str:
    """`label: value (low to high), verdict`."""
    return f"{quantity.label}: {quantity.value:.4g} ({quantity.low:.4g} to {quantity.high:.4g}), {quantity.verdict}"


def fill_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Empty cells where there is no number."""
    return table.astype(object).where(lambda cells: cells.notna(), "")
