"""Measure on synthetic tables how often the verdicts are right, and write metrics/calibration.json.

Twins of the Thoracic table are trained as the study `thoracic` of params.yaml is, and judged by the real statistics,
under several risks. Constants of the method were chosen on some; the others had no part in any choice. Predictions of
twins are kept in .dvc/tmp/calibration, so that a run which was stopped goes on from there, and a change of the
statistics trains nothing. Two of the kept twins are trained again each time, to see if what is kept is out of date.
Beside them stand simulated studies with as many arms as real ones, simulated tables with several rows of each patient,
and simulated effects on several tables. At the end, `frontier` says what other ways of judging would give.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.core.files import write_json
from stages.lib.judge.arms import NO_SKILL
from stages.lib.lanes.runtime import configure
from tools.calibrate.simulated import SIMULATED, WORLDS, judge_repeated, judge_simulated, simulate_tables
from tools.calibrate.training import AS_USED, judge_kept, plan_study, train_missing
from tools.calibrate.twins import CHOSEN_ON, SETTINGS

OUTPUT = Path("metrics/calibration.json")
JUDGES = dict.fromkeys(SETTINGS, judge_kept) | dict.fromkeys(SIMULATED, judge_simulated) | {"repeated": judge_repeated}
PER_TABLE = dict.fromkeys(SIMULATED, 4) | {"repeated": 7, "over_tables": 40}  # simulations for each twin of a setting
POOLED = {
    "chosen_on": CHOSEN_ON,
    "unused_risks": tuple(setting for setting in SETTINGS if setting not in CHOSEN_ON),
    "simulated": tuple(SIMULATED),
}


# Counting over many twins --------------------------------------------------------------------------------------------


def prepare(setting: str, twins: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The findings of a setting, with what is true: 0 where that is known, else the mean over twins.

    kind: of arms that are counted together, since they are alike.
    """
    findings = pd.concat(twins, keys=[f"{setting} {number}" for number in range(len(twins))], names=["twin"])
    names = findings[["against", "score", "arm"]]
    findings["null"] = [is_null(setting, *each) for each in names.itertuples(index=False)]
    means = findings.groupby(["against", "score", "arm"]).difference.transform("mean")
    findings["truth"] = means.where(~findings.null, 0.0)
    findings["missed"] = (findings.difference - findings.truth).abs()
    findings["is_right"] = findings.truth.between(findings.low, findings.high)
    findings["is_found"] = findings.verdict.isin(["better", "worse"])
    findings["is_best"] = findings.null if setting == "equal" else ~findings.null
    findings["kind"] = findings["arm"].str.replace(r"(_\d+)?/at_knob$", "", regex=True).str.replace("/", "_")
    return findings


def is_null(setting: str, against: str, score: str, arm: str) -> bool:
    """Whether an arm and what it is compared with are equal by construction."""
    if setting == "none" and score == "auc":  # nothing can be learned, so any ranking is as good as any other
        return True
    return against != NO_SKILL.variant and arm.startswith(("other_seeds", "equal_"))


def count_findings(findings: pd.DataFrame) -> dict[str, Any]:
    """Of the method in use: what arms are compared with -> what holds of a whole study, and score -> arm -> counts."""
    findings = findings[findings.method == AS_USED]
    is_skill = findings.against == NO_SKILL.variant
    result: dict[str, Any] = {"tables": findings.index.get_level_values("twin").nunique()}
    result |= {"baseline": count_family(findings[~is_skill]), NO_SKILL.variant: count_family(findings[is_skill])}
    sets = findings[findings.in_best.notna() & ~is_skill & findings.is_best]
    if len(sets):
        result["best_set"] = {score: count_share(each.in_best.astype(bool)) for score, each in sets.groupby("score")}
    return result


def count_family(members: pd.DataFrame) -> dict[str, Any]:
    """The arms; shares of the twins: with a finding among differences that are none, with all shown intervals right."""
    asked = members[members.asked]
    scores: dict[str, dict[str, Any]] = {}
    for score, by_score in members.groupby("score", sort=False):
        scores[str(score)] = {str(kind): count_arm(cases) for kind, cases in by_score.groupby("kind", sort=False)}
    counts: dict[str, Any] = {"scores": scores}
    if asked.null.any():
        counts["family_wise_error"] = {"by_row": count_share(asked[asked.null].is_found.groupby("twin").any())}
    if len(asked):
        counts["all_intervals"] = count_share(asked.is_right.groupby("twin").all())
    return counts


def count_arm(cases: pd.DataFrame) -> dict[str, Any]:
    """One arm by one score, in every twin. The true difference is 0 where that is known, else the mean.

    found: the share of twins with a finding, which is power or error; of arms that a question is about. width: median
    half-width of the arm's own interval, as a multiple of half the interval that the true spread would give.
    """
    spread = float((cases.difference - cases.truth).std())
    found = {"found": count_share(cases.is_found)} if cases.asked.any() else {}
    return {
        "true_difference": float(cases.truth.mean()),
        "spread": spread,
        "width": float(cases.own.median() / (stats.norm.ppf(0.975) * spread)) if spread else 0.0,
        "by_row": {"half_width": float(cases.own.mean()), "coverage": count_share(cases.missed <= cases.own), **found},
        "together": {"half_width": float((cases.high - cases.low).mean() / 2), "coverage": count_share(cases.is_right)},
    }


def keep_common(findings: pd.DataFrame) -> pd.DataFrame:
    """The findings of twins that every method has judged, so that methods differ by nothing else."""
    num_methods = findings.groupby("twin").method.nunique()
    return findings[findings.index.get_level_values("twin").isin(num_methods.index[num_methods == num_methods.max()])]


def count_method(findings: pd.DataFrame) -> dict[str, Any]:
    """What a method is chosen by: the arm whose intervals hold the truth least often, false findings, widths."""
    counts = count_family(findings)
    arms = {f"{arm}, {score}": each for score, arms in counts["scores"].items() for arm, each in arms.items()}
    lowest = min(arms, key=lambda name: arms[name]["by_row"]["coverage"]["value"])
    return {
        "lowest_coverage": {"arm": lowest, **arms[lowest]["by_row"]["coverage"]},
        "family_wise_error": counts["family_wise_error"]["by_row"],
        "all_intervals": counts["all_intervals"],
        "width": {name: each["width"] for name, each in arms.items()},
    }


def count_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Number of tables, or any -> what is counted -> its share of the simulated studies that say something of it."""
    counts: dict[str, dict[str, Any]] = {}
    studies = pd.DataFrame(rows)
    for number, each in [*studies.groupby("tables"), ("any", studies)]:
        counts[str(number)] = {str(name): count_share(each[name].dropna()) for name in each.columns.drop("tables")}
    return counts


def count_share(cases: pd.Series) -> dict[str, float]:
    """A counted share, with its exact binomial interval at 95 % (Clopper and Pearson 1934)."""
    count, total = int(cases.sum()), len(cases)
    low, high = stats.binomtest(count, total).proportion_ci(method="exact")
    return {"value": count / total, "low": float(low), "high": float(high), "count": count, "of": total}


# The command ---------------------------------------------------------------------------------------------------------


def calibrate(settings: Sequence[str], num_twins: int, *, seed: int, jobs: int) -> dict[str, Any]:
    """What metrics/calibration.json holds: setting -> counts, and the same of settings that are pooled."""
    study = plan_study()
    numbers = {setting: num_twins * PER_TABLE.get(setting, 1) for setting in settings}
    trained = {setting: number for setting, number in numbers.items() if setting in SETTINGS}
    train_missing(trained, study, seed=seed, jobs=jobs)
    findings: dict[str, pd.DataFrame] = {}
    tables: dict[str, list[Any]] = {}
    with multiprocessing.get_context("spawn").Pool(jobs, configure) as pool:
        for setting in [setting for setting in settings if setting in JUDGES]:
            work = partial(JUDGES[setting], setting=setting, study=study, seed=seed)
            findings[setting] = prepare(setting, list(pool.imap(work, range(numbers[setting]))))
        for world in WORLDS if "over_tables" in settings else ():
            simulate = partial(simulate_tables, world=world, seed=seed, confidence=study.statistics.confidence)
            tables[world] = list(pool.imap(simulate, range(numbers["over_tables"]), chunksize=10))
    result: dict[str, Any] = {"seed": seed, "confidence": study.statistics.confidence, "frontier": {}}
    for setting, each in findings.items():
        result[setting] = {"chosen_on": setting in CHOSEN_ON} | count_findings(each)
    if tables:
        result["over_tables"] = {world: count_tables(list(chain(*each))) for world, each in tables.items()}
    for name, members in POOLED.items():
        if parts := [findings[setting] for setting in members if setting in findings]:
            pooled = pd.concat(parts)
            result |= {name: count_findings(pooled)} if name != "chosen_on" else {}
            methods = keep_common(pooled[pooled.against != NO_SKILL.variant]).groupby("method", sort=False)
            result["frontier"][name] = {method: count_method(each) for method, each in methods}
    return result


def main() -> None:
    parser = make_parser("tools.calibrate", __doc__)
    parser.add_argument("--tables", type=int, default=30, help="twins of each setting (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the twins; another seed is another calibration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores, %(default)s)")
    names = [*SETTINGS, *PER_TABLE]
    parser.add_argument("--settings", nargs="+", choices=names, default=names, metavar="SETTING", help=", ".join(names))
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write (default: %(default)s)")
    options = parser.parse_args()
    if options.tables < 5 or options.jobs < 1:  # a single twin has no spread
        raise UserError("--tables and --jobs are counts, expected at least 5 tables and 1 job: change them")
    result = calibrate(options.settings, options.tables, seed=options.seed, jobs=options.jobs)
    write_json(options.output, json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.4g}")))
    print(f"Written: {options.output}")


if __name__ == "__main__":
    run_main(main)
