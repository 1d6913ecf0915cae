"""Measure on synthetic twins how often the verdicts are right, and write metrics/calibration.json.

Twins of the Thoracic table are trained as the study `thoracic` of params.yaml is, and judged by the real statistics, at
three strengths of signal, under several risks, and where arms are equal by construction. Predictions are kept in
.dvc/tmp/calibration, so that a run which was stopped goes on from there, and a change of the statistics trains nothing.
Two of the kept twins are trained again each time, to see whether what is kept is out of date.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.core.files import write_json
from stages.lib.judge.arms import AT_KNOB, NO_SKILL, Arm, ArmKey
from stages.lib.judge.designs import compare_replicates
from stages.lib.judge.judge import ComparisonKey, Judge, judge_all
from stages.lib.judge.predictions import Labels
from tools.calibrate.training import KEPT, PlannedStudy, Predicted, load_predicted, name_file, plan_study, train_missing
from tools.calibrate.twins import EXCHANGEABLE, SETTINGS

OUTPUT = Path("metrics/calibration.json")
DECISIVE = ("none", "table", "twice")  # with all twins; the other settings with a quarter of them
METHODS = ("by_row", "resampled_t")  # this project's, and the former one


# Judging one twin ----------------------------------------------------------------------------------------------------


def judge_twin(predicted: Predicted, study: PlannedStudy) -> pd.DataFrame:
    """Every arm against its baseline and against no skill, by both scores of the study: a row each."""
    truth, test, training = predicted.label, predicted.test_numbers, predicted.training_numbers
    shares = truth[training].mean(axis=1, keepdims=True).astype(np.float32)
    labels = Labels(truth[training], truth[training], truth[test], test, training, shares)
    arms = {ArmKey(name, AT_KNOB): Arm(rows[..., None], rows[..., None]) for name, rows in predicted.arms.items()}
    judge = Judge(study.study, study.statistics, labels, arms)
    against = {ArmKey(name, AT_KNOB): ArmKey(other, AT_KNOB) for name, other in predicted.baselines.items()}
    return pd.DataFrame([*judge_pairs(judge, against), *judge_pairs(judge, dict.fromkeys(arms, NO_SKILL))])


def judge_pairs(judge: Judge, pairs: Mapping[ArmKey, ArmKey]) -> Iterator[dict[str, Any]]:
    """A family of comparisons by both methods.

    by_row: as the stage `compare` does. resampled_t: a corrected resampled t, adjusted over the arms by Bonferroni.
    """
    differences = judge_all(judge.compare_all(pairs), judge.settings, seed=judge.plan.seed)
    ratio = judge.plan.protocol.test_train_ratio
    for score in judge.scores:
        former = [
            compare_replicates(judge.measure(score, key), judge.measure(score, other), test_train_ratio=ratio)
            for key, other in pairs.items()
        ]
        adjusted = [min(1.0, len(former) * estimate.p_value) for estimate in former]
        for (key, other), estimate, p in zip(pairs.items(), former, adjusted, strict=True):
            difference = differences[ComparisonKey(*key, score)]
            yield {
                "against": other.variant,
                "score": score,
                "arm": key.variant,
                "difference": difference.value,
                "verdict": difference.verdict,
                "by_row_width": (difference.ci_high - difference.ci_low) / 2,
                "by_row_p": difference.p_adjusted,
                "resampled_t_width": estimate.half_width(1 - judge.settings.confidence),
                "resampled_t_p": p,
            }


# Counting over many twins --------------------------------------------------------------------------------------------


def count_setting(
    setting: str, twins: Sequence[pd.DataFrame], *, alpha: float, margins: Mapping[Any, float]
) -> dict[str, object]:
    """All counts of one setting: what arms are compared with -> score -> arm, and the family-wise errors."""
    findings = pd.concat(twins, keys=range(len(twins)), names=["twin"])
    columns = findings[["against", "score", "arm"]].itertuples(index=False)
    findings["null"] = [is_null(setting, *names) for names in columns]
    is_skill = findings.against == NO_SKILL.variant
    result: dict[str, object] = {"tables": len(twins)}
    for family, members in (("baseline", findings[~is_skill]), (NO_SKILL.variant, findings[is_skill])):
        scores: dict[Any, dict[Any, object]] = {}
        for (score, arm), cases in members.groupby(["score", "arm"], sort=False):
            scores.setdefault(score, {})[arm] = count_arm(cases, margins[score], alpha)
        result[family] = {"family_wise_error": count_errors(members[members.null], alpha), "scores": scores}
    return result


def is_null(setting: str, against: str, score: str, arm: str) -> bool:
    """Whether an arm and what it is compared with are equal by construction."""
    if setting == EXCHANGEABLE:
        return against != NO_SKILL.variant
    if against != NO_SKILL.variant and arm == "other_seeds":
        return True
    return setting == "none" and score == "auc"  # nothing can be learned, so any ranking is as good as any other


def count_arm(cases: pd.DataFrame, margin: float, alpha: float) -> dict[str, object]:
    """One arm by one score, in every twin. The true difference is 0 where that is known, else the mean.

    found: the share of twins with a finding, which is power or error.
    """
    truth = 0.0 if cases.null.all() else float(cases.difference.mean())
    counts: dict[str, object] = {
        "true_difference": truth,
        "spread": float(cases.difference.std()),
        "wrong_equivalent": count_share((cases.verdict == "equivalent") & (abs(truth) >= margin)),
    }
    for method in METHODS:
        width = cases[f"{method}_width"]
        counts[method] = {
            "half_width": float(width.mean()),
            "coverage": count_share((cases.difference - truth).abs() <= width),
            "found": count_share(cases[f"{method}_p"] < alpha),
        }
    return counts


def count_errors(nulls: pd.DataFrame, alpha: float) -> dict[str, object]:
    """Share of the twins with a finding among comparisons without a difference."""
    if nulls.empty:
        return {"true_nulls": 0}
    found = {method: (nulls[f"{method}_p"] < alpha).groupby("twin").any() for method in METHODS}
    return {"true_nulls": len(nulls.loc[0])} | {method: count_share(cases) for method, cases in found.items()}


def count_share(cases: pd.Series) -> dict[str, float]:
    """A counted share, with its exact binomial interval at 95 % (Clopper and Pearson 1934)."""
    count, total = int(cases.sum()), len(cases)
    low, high = stats.binomtest(count, total).proportion_ci(method="exact")
    return {"value": count / total, "low": float(low), "high": float(high), "count": count, "of": total}


# The command ---------------------------------------------------------------------------------------------------------


def calibrate(settings: Sequence[str], num_twins: int, *, seed: int, jobs: int) -> dict[str, object]:
    """What metrics/calibration.json holds: setting -> counts."""
    study = plan_study()
    counts = {setting: num_twins if setting in DECISIVE else -(-num_twins // 4) for setting in settings}
    train_missing(counts, study, seed=seed, jobs=jobs)
    result: dict[str, object] = {"seed": seed, "confidence": study.statistics.confidence}
    for setting, number in counts.items():
        twins = [judge_twin(load_predicted(KEPT / name_file(setting, twin, seed)), study) for twin in range(number)]
        margins = study.statistics.equivalence
        result[setting] = count_setting(setting, twins, alpha=1 - study.statistics.confidence, margins=margins)
    return result


def round_numbers(value: object) -> object:
    """The same with four digits."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.4g}"))


def main() -> None:
    parser = make_parser("tools.calibrate", __doc__)
    parser.add_argument("--tables", type=int, default=200, help="twins of each decisive setting (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the twins; another seed is another calibration")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: the cores, %(default)s)")
    names = [*SETTINGS, EXCHANGEABLE]
    parser.add_argument("--settings", nargs="+", choices=names, default=names, metavar="SETTING", help=", ".join(names))
    parser.add_argument("--output", type=Path, help=f"file to write (default, for all that is measured: {OUTPUT})")
    options = parser.parse_args()
    is_part = options.tables < parser.get_default("tables") or options.settings != names
    if is_part and options.output is None:
        raise UserError(
            f"a part of a calibration would replace {OUTPUT}, expected a file of its own: add --output FILE"
        )
    if options.tables < 5 or options.jobs < 1:  # a quarter of five is two, and a single twin has no spread
        raise UserError("--tables and --jobs are counts, expected at least 5 tables and 1 job: change them")
    result = calibrate(options.settings, options.tables, seed=options.seed, jobs=options.jobs)
    output = options.output or OUTPUT
    write_json(output, round_numbers(result))
    print(f"Written: {output}")


if __name__ == "__main__":
    run_main(main)
