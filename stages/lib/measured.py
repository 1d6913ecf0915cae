"""What stands beside the studies: the calibration of the intervals, the audit of claims, and what ran."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from stages.lib.claims.judging import ClaimResult, QuantityResult
from stages.lib.judge.scores import SCORES
from stages.lib.report import charts
from stages.lib.report.page import Part, Row
from stages.lib.report.styles import SHORT_ARMS, WORDS, name_arm, say, show_number, style_of
from stages.lib.versions import find_versions

TEMPLATE = "measured.jinja"  # has the words
WIDTH, ROW, LABELS = 160, 17, 190
SETTINGS: dict[str, str] = WORDS["calibration"]
OVER_TABLES: dict[str, str] = WORDS["calibration_over_tables"]  # what is counted -> its column
AGAINST = {"baseline": "the baseline", "no_skill": "the class-prior baseline"}


def draw_calibration(calibration: Mapping[str, Any]) -> charts.Chart:
    """Coverage of the intervals on synthetic tables whose true differences are known; a panel by what is compared."""
    confidence = calibration["confidence"]
    rows = [
        {"panel": f"{label}, from {against}", "setting": setting, "arm": arm, **read_share(count["by_row"]["coverage"])}
        for setting, against, label, arm, count in list_arms(calibration)
    ]
    table = pd.DataFrame(rows)
    scale = alt.Scale(domain=[min(0.8, float(table["low"].min())), 1], nice=False, clamp=True)
    x = alt.X("value:Q", title="coverage", scale=scale, axis=alt.Axis(values=[0.8, 0.9, 1], labelExpr=charts.PERCENT))
    y = alt.Y("setting:N", sort=None, title=None, axis=alt.Axis(labelLimit=LABELS, labelColor=charts.INK))
    tooltip = ["setting:N", "arm:N", "value:Q", "low:Q", "high:Q", "tables:Q"]
    base = charts.ROWS.encode(y=y)
    panel = alt.layer(
        charts.ROWS.mark_rule(strokeDash=[3, 3]).encode(x=alt.datum(confidence, scale=scale)),
        base.mark_rule(strokeWidth=2, opacity=0.2, color=charts.INK).encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=45, opacity=0.5, color=charts.INK).encode(x=x, tooltip=tooltip),
    ).properties(width=WIDTH, height=alt.Step(ROW))
    facet = alt.Facet("panel:N", sort=table["panel"].unique().tolist(), title=None)
    chart = panel.facet(facet, columns=2).resolve_axis(x="independent")
    note = say("coverage", TEMPLATE, confidence=confidence)
    return charts.finish_chart(chart, table, title="How often the intervals are right", note=note)


def list_families(calibration: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """What was simulated, in words, what its arms are compared with, and what was counted."""
    for name, counts in calibration.items():
        for family, against in AGAINST.items():
            if isinstance(counts, Mapping) and family in counts:
                yield SETTINGS.get(name, name), against, counts[family]


def list_arms(calibration: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, Mapping[str, Any]]]:
    """The same of each score and arm."""
    for setting, against, counts in list_families(calibration):
        for score, arms in counts.get("scores", {}).items():
            for arm, count in arms.items():
                yield setting, against, SCORES[score].label, name_simulated(arm), count


def name_simulated(arm: str) -> str:
    """`L2 penalty (tuned)` of `l2_tuned`."""
    kind = next((kind for kind in SHORT_ARMS if arm.endswith(f"_{kind}")), "")
    variant = arm.removesuffix(f"_{kind}")
    return name_arm(variant, kind) if kind else style_of(variant).label


def read_share(share: Mapping[str, Any]) -> Row:
    return {"value": share["value"], "low": share["low"], "high": share["high"], "tables": share["of"]}


def tabulate_errors(calibration: Mapping[str, Any]) -> list[Row]:
    """Share of the synthetic tables with any false finding, and the power for each arm that truly differs."""
    rows: list[Row] = []
    for setting, against, counts in list_families(calibration):
        if error := counts.get("family_wise_error", {}).get("by_row"):
            what = f"any false difference from {against}"
            rows.append({"what": what, "setting": setting, "true difference": "none", **read_share(error)})
    for setting, against, label, arm, count in list_arms(calibration):
        if (truth := count["true_difference"]) and (share := count["by_row"].get("found")):
            what, true = f"difference from {against} found", f"{arm}: {truth:+z.3f} in {label}"
            rows.append({"what": what, "setting": setting, "true difference": true, **read_share(share)})
    return rows


def tabulate_tables(calibration: Mapping[str, Any]) -> list[Row]:
    """Of simulated studies of several tables: shares in per cent, a row for each kind and number of tables."""
    return [
        {"effects": SETTINGS[world], "tables": number}
        | {column: f"{100 * counts[name]['value']:.1f} %" for name, column in OVER_TABLES.items()}
        for world, sizes in calibration.get("over_tables", {}).items()
        for number, counts in sizes.items()
    ]


def tabulate_claims(audit: Sequence[ClaimResult]) -> list[Row]:
    """What was claimed, and what each of the quantities that decide on it says; or what is missing."""
    rows: list[Row] = []
    for result in audit:
        decides = [*map(tell_quantity, result.quantities)] or [f"missing: {result.missing}"]
        lines = filter(None, (result.claim, result.depends_on, *decides))
        measured_on = "; ".join(dict.fromkeys(", ".join(quantity.sources) for quantity in result.quantities))
        row = {"id": result.id, "verdict": result.verdict, "claim, and what decides on it": "\n".join(lines)}
        rows.append(row | {"measured on": measured_on})
    return rows


def tell_quantity(quantity: QuantityResult) -> str:
    """`label: value (low to high), verdict.`: a line of the page."""
    value, low, high = map(show_number, (quantity.value, quantity.low, quantity.high))
    return f"{quantity.label}: {value} ({low} to {high}), {quantity.verdict}."


def list_measured(audit: Sequence[ClaimResult], calibration: Mapping[str, Any]) -> list[Part]:
    """What there is beside the studies; a project without claims has no audit."""
    errors = {"errors and power: in which share of the tables a difference is found": tabulate_errors(calibration)}
    errors["over several tables: share of simulated studies"] = tabulate_tables(calibration)
    figures = [charts.make_figure("calibration", draw_calibration(calibration))]
    versions: list[Row] = [{"library": name, "version": version} for name, version in find_versions().items()]
    claims = {"claims": tabulate_claims(audit)}
    short: list[Row] = [{"id": one.id, "verdict": one.verdict, "claim": one.claim} for one in audit]
    parts = [
        Part("audit", "The tutorial's claims", say("audit", TEMPLATE), claims, short=short),
        Part("calibration", "Are the intervals right?", say("calibration", TEMPLATE), errors, figures),
        Part(
            "run",
            "What ran",
            say("run", TEMPLATE, machine=platform.machine()),
            {"versions": versions},
            short=[find_versions()],
        ),
    ]
    return parts if audit else parts[1:]
