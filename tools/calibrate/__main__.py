"""Measure on synthetic tables how often the verdicts are right, and write metrics/calibration.json.

Twins of the Thoracic table are trained as the study `thoracic` of params.yaml is, and judged by the real statistics,
under several risks. Constants of the method were chosen on some; the others had no part in any choice. Predictions of
twins are kept in .dvc/tmp/calibration, so that a run which was stopped goes on from there, and a change of the
statistics trains nothing. Two of the kept twins are trained again each time, to see if what is kept is out of date.
Beside them stand simulated studies with as many arms as real ones, simulated tables with several rows of each patient,
and simulated effects on twelve tables.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.core.files import write_json
from stages.lib.judge.arms import NO_SKILL
from stages.lib.lanes.runtime import configure
from tools.calibrate.simulated import SIMULATED, judge_repeated, judge_simulated, simulate_tables
from tools.calibrate.training import judge_kept, plan_study, train_missing
from tools.calibrate.twins import CHOSEN_ON, SETTINGS

OUTPUT = Path("metrics/calibration.json")
MEASURED = ("none", "table", "steps", "bumps", "centres", "small")  # settings that a run measures unless told others
JUDGES = dict.fromkeys(SETTINGS, judge_kept) | dict.fromkeys(SIMULATED, judge_simulated) | {"repeated": judge_repeated}
NARROWER = (0.95, 0.9, 0.8, 0.7)  # shares of their width, at which the coverage of intervals is counted as well
PER_TABLE = dict.fromkeys(SIMULATED, 4) | {"repeated": 7, "over_tables": 50}  # simulations for each twin of a setting


# Counting over many twins --------------------------------------------------------------------------------------------


def prepare(setting: str, twins: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The findings of a setting, with what is true: 0 where that is known, else the mean over twins.

    kind: of arms that are counted together, since they are alike.
    """
    keys = [f"{setting} {number}" for number in range(len(twins))]
    findings = pd.concat(twins, keys=keys, names=["twin"])
    names = findings[["against", "score", "arm"]]
    findings["null"] = [is_null(setting, *each) for each in names.itertuples(index=False)]
    means = findings.groupby(["against", "score", "arm"]).difference.transform("mean")
    findings["truth"] = means.where(~findings.null, 0.0)
    findings["kind"] = findings["arm"].str.replace(r"(_\d+)?/at_knob$", "", regex=True).str.replace("/", "_")
    findings["is_best"] = findings.null if setting == "equal" else ~findings.null
    return findings


def count_findings(findings: pd.DataFrame, *, margins: Mapping[Any, float]) -> dict[str, object]:
    """What arms are compared with -> score -> arm, and what holds of a whole study."""
    result: dict[str, object] = {"tables": findings.index.get_level_values("twin").nunique()}
    is_skill = findings.against == NO_SKILL.variant
    for family, members in (("baseline", findings[~is_skill]), (NO_SKILL.variant, findings[is_skill])):
        scores: dict[Any, dict[Any, object]] = {}
        for (score, kind), cases in members.groupby(["score", "kind"], sort=False):
            scores.setdefault(score, {})[kind] = count_arm(cases, margins[score])
        result[family] = {**count_study(members[members.asked]), "scores": scores}
    sets = findings[findings.in_best.notna() & ~is_skill & findings.is_best]
    if len(sets):
        result["best_set"] = {score: count_share(each.in_best.astype(bool)) for score, each in sets.groupby("score")}
    return result


def is_null(setting: str, against: str, score: str, arm: str) -> bool:
    """Whether an arm and what it is compared with are equal by construction."""
    if setting == "none" and score == "auc":  # nothing can be learned, so any ranking is as good as any other
        return True
    return against != NO_SKILL.variant and arm.startswith(("other_seeds", "equal_"))


def count_arm(cases: pd.DataFrame, margin: float) -> dict[str, object]:
    """One arm by one score, in every twin. The true difference is 0 where that is known, else the mean.

    found: the share of twins with a finding, which is power or error; of arms that a question is about. width: median
    half-width of the arm's own interval, as a multiple of half the interval that the true spread would give. narrower:
    share of the width -> share of the twins in which so much of the arm's own interval would hold the truth.
    """
    missed = (cases.difference - cases.truth).abs()
    truth, spread = float(cases.truth.mean()), float((cases.difference - cases.truth).std())
    half, is_large = (cases.high - cases.low) / 2, cases.truth.abs() >= margin
    found = {"found": count_share(cases.verdict.isin(["better", "worse"]))} if cases.asked.any() else {}
    return {
        "true_difference": truth,
        "spread": spread,
        "width": float(cases.own.median() / (stats.norm.ppf(0.975) * spread)) if spread else 0.0,
        "wrong_equivalent": count_share((cases.verdict == "equivalent") & is_large),
        "by_row": {
            "half_width": float(cases.own.mean()),
            "coverage": count_share(missed <= cases.own),
            "narrower": {f"{share:g}": float((missed <= share * cases.own).mean()) for share in NARROWER},
            **found,
        },
        "together": {
            "half_width": float(half.mean()),
            "coverage": count_share((cases.low <= cases.truth) & (cases.truth <= cases.high)),
        },
    }


def count_study(asked: pd.DataFrame) -> dict[str, object]:
    """Share of the twins with a finding among differences that are none, and with all shown intervals right."""
    if asked.empty:
        return {}
    nulls = asked[asked.null]
    right = (asked.low <= asked.truth) & (asked.truth <= asked.high)
    error: dict[str, object] = {"true_nulls": round(len(nulls) / asked.index.get_level_values("twin").nunique())}
    if len(nulls):
        error["by_row"] = count_share(nulls.verdict.isin(["better", "worse"]).groupby("twin").any())
    return {"family_wise_error": error, "all_intervals": count_share(right.groupby("twin").all())}


def count_share(cases: pd.Series) -> dict[str, float]:
    """A counted share, with its exact binomial interval at 95 % (Clopper and Pearson 1934)."""
    count, total = int(cases.sum()), len(cases)
    low, high = stats.binomtest(count, total).proportion_ci(method="exact")
    return {"value": count / total, "low": float(low), "high": float(high), "count": count, "of": total}


# The command ---------------------------------------------------------------------------------------------------------


def calibrate(settings: Sequence[str], num_twins: int, *, seed: int, jobs: int) -> dict[str, object]:
    """What metrics/calibration.json holds: setting -> counts."""
    study = plan_study()
    margins, confidence = study.statistics.equivalence, study.statistics.confidence
    result: dict[str, object] = {"seed": seed, "confidence": confidence}
    findings: dict[str, pd.DataFrame] = {}
    numbers = {setting: num_twins * PER_TABLE.get(setting, 1) for setting in settings}
    trained = {setting: number for setting, number in numbers.items() if setting in SETTINGS}
    train_missing(trained, study, seed=seed, jobs=jobs)
    with multiprocessing.get_context("spawn").Pool(jobs, configure) as pool:
        for setting, number in numbers.items():
            if setting == "over_tables":
                tables = pd.DataFrame(simulate_tables(number, seed, confidence=confidence))
                result[setting] = {name: count_share(tables[name]) for name in tables}
                continue
            work = partial(JUDGES[setting], setting=setting, study=study, seed=seed)
            findings[setting] = prepare(setting, list(pool.imap(work, range(number))))
            shaped = {"chosen_on": setting in CHOSEN_ON}
            result[setting] = shaped | count_findings(findings[setting], margins=margins)
    for name, members in {"unused_risks": [*SETTINGS], "simulated": [*SIMULATED]}.items():
        pooled = [findings[setting] for setting in members if setting in findings and setting not in CHOSEN_ON]
        if pooled:
            result[name] = count_findings(pd.concat(pooled), margins=margins)
    return result


def main() -> None:
    parser = make_parser("tools.calibrate", __doc__)
    parser.add_argument("--tables", type=int, default=30, help="twins of each setting (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the twins; another seed is another calibration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores, %(default)s)")
    names, usual = ([*first, *PER_TABLE] for first in (SETTINGS, MEASURED))
    parser.add_argument("--settings", nargs="+", choices=names, default=usual, metavar="SETTING", help=", ".join(names))
    parser.add_argument("--output", type=Path, help=f"file to write (default, for all that is measured: {OUTPUT})")
    options = parser.parse_args()
    is_part = options.tables < parser.get_default("tables") or options.settings != usual
    if is_part and options.output is None:
        raise UserError(
            f"a part of a calibration would replace {OUTPUT}, expected a file of its own: add --output FILE"
        )
    if options.tables < 5 or options.jobs < 1:  # a single twin has no spread
        raise UserError("--tables and --jobs are counts, expected at least 5 tables and 1 job: change them")
    result = calibrate(options.settings, options.tables, seed=options.seed, jobs=options.jobs)
    output = options.output or OUTPUT
    four_digits = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.4g}"))
    write_json(output, four_digits)
    print(f"Written: {output}")


if __name__ == "__main__":
    run_main(main)
