"""Judge one table, of trained twins or simulated, as the stage `compare` does; workers find these functions by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from stages.lib.judge.arms import NO_SKILL, Arm, ArmKey
from stages.lib.judge.judge import Judge, find_best, judge_all, judge_networks
from stages.lib.judge.plans import BEST_SINGLE, ComparedSearch, ComparedVariant
from stages.lib.judge.predictions import Labels
from tools.calibrate.simulated import simulate_study
from tools.calibrate.training import KEPT, PlannedStudy, Predicted, load_predicted, name_file

NUM_WITH_SETS = 50  # simulated studies of a setting whose sets of the best are counted
SETS = ("equal_7/at_knob", "better_1/at_knob")  # arms whose place in the set is counted


def judge_twin(predicted: Predicted, study: PlannedStudy, *, sets: bool = False) -> pd.DataFrame:
    """Every arm against the baseline and against no skill, by both scores of the study: a row each.

    asked: whether a question is about it. own: half of the interval of the arm alone. in_best: whether an arm of SETS
    may be the best; None where that is not counted.
    """
    judge = make_judge(predicted, study)
    arms = [key for key in judge.arms if key != NO_SKILL]
    networks, _ = judge_networks(judge, arms)
    skills = judge_all(judge.compare_all(dict.fromkeys(arms, NO_SKILL)), judge.settings, seed=judge.plan.seed)
    best = {score: find_best(judge, score) if sets else [] for score in judge.scores}
    rows = []
    for against, differences in ((judge.plan.baseline, networks), (NO_SKILL.variant, skills)):
        for key, difference in differences.items():
            name = f"{key.variant}/{key.kind}"
            rows.append(
                {
                    "against": against,
                    "score": key.score,
                    "arm": name,
                    "difference": difference.value,
                    "low": difference.low,
                    "high": difference.high,
                    "verdict": difference.verdict,
                    "asked": difference.verdict != "not_asked",
                    "own": (difference.ci_high - difference.ci_low) / 2,
                    "in_best": ArmKey(key.variant, key.kind) in best[key.score] if sets and name in SETS else None,
                }
            )
    return pd.DataFrame(rows)


def make_judge(predicted: Predicted, study: PlannedStudy) -> Judge:
    """The judge of a study that compares these arms."""
    truth, test, training = predicted.label, predicted.test_numbers, predicted.training_numbers
    shares = truth[training].mean(axis=1, keepdims=True).astype(np.float32)
    labels = Labels(truth[training], truth[training], truth[test], test, training, shares)
    arms = {ArmKey(*name.split("/")): Arm(rows[..., None], rows[..., None]) for name, rows in predicted.arms.items()}
    names, baseline = dict.fromkeys(key.variant for key in arms if key.variant != BEST_SINGLE), study.study.baseline
    plan = replace(
        study.study,
        variants=tuple(ComparedVariant(name, baseline, "regularizers") for name in names),
        searches=(ComparedSearch(baseline, 0, (), (), (), BEST_SINGLE),),
    )
    return Judge(plan, study.statistics, labels, arms)


def judge_simulated(number: int, *, setting: str, study: PlannedStudy, seed: int) -> pd.DataFrame:
    """One simulated study."""
    predicted = simulate_study(setting, number, seed, study.study.protocol)
    return judge_twin(predicted, study, sets=number < NUM_WITH_SETS)


def judge_kept(number: int, *, setting: str, study: PlannedStudy, seed: int) -> pd.DataFrame:
    """One twin whose networks are trained."""
    return judge_twin(load_predicted(KEPT / name_file(setting, number, seed)), study)
