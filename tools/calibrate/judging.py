"""The verdicts of the stage `compare` on the arms of one twin, and the former method beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.judge import statistics
from stages.lib.judge.arms import AT_KNOB, Arm, ArmKey
from stages.lib.judge.comparison import Difference
from stages.lib.judge.judge import NO_SKILL, Compared, Judge
from stages.lib.judge.plans import ComparedVariant, Question, StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels
from stages.lib.judge.study_verdicts import compare_all, judge_family

SCORES: dict[Question, str] = {"discrimination": "auc", "probabilities": "log_loss"}
REPEATS = 10


@dataclass(frozen=True)
class Predicted:
    """The arms of one twin.

    label: [row]. test_numbers, training_numbers: [replicate, row], row numbers.
    arms: name -> probability of class 1 of the held-out rows, [replicate, row].
    baselines: arm -> the arm that it is compared with.
    """

    label: np.ndarray
    test_numbers: np.ndarray
    training_numbers: np.ndarray
    arms: dict[str, np.ndarray]
    baselines: dict[str, str]


@dataclass(frozen=True)
class Finding:
    """One arm against its baseline, or against no skill, by one score: the project's method and the former one."""

    difference: float
    half_width: float  # of the interval at the confidence of params.yaml
    p_adjusted: float
    verdict: str
    resampled_half_width: float  # of the corrected resampled t
    holm_p_adjusted: float  # Holm's, over the arms, each score by itself


Key = tuple[str, str, str]  # baseline or no_skill, score, arm


def judge_twin(predicted: Predicted, settings: StatisticsPlan) -> dict[Key, Finding]:
    """Every arm against its baseline and against no skill, by both scores."""
    judge = make_judge(predicted, settings)
    arms = [ArmKey(name, AT_KNOB) for name in predicted.arms]
    against = {ArmKey(name, AT_KNOB): ArmKey(other, AT_KNOB) for name, other in predicted.baselines.items()}
    found: dict[Key, Finding] = {}
    for pairs in (against, dict.fromkeys(arms, NO_SKILL)):
        compared = compare_all(judge, pairs, references=False)
        old, differences = compare_as_before(judge, pairs), judge_family(judge, compared)
        for key, difference in differences.items():
            other = pairs[ArmKey(key[0], key[1])].variant
            found[other, key[2], key[0]] = describe(compared[key], difference, *old[key])
    return found


def make_judge(predicted: Predicted, settings: StatisticsPlan) -> Judge:
    """The judge of `compare` for one twin."""
    truth, folds = predicted.label, len(predicted.test_numbers) // REPEATS
    shares = truth[predicted.training_numbers].mean(axis=1, keepdims=True).astype(np.float32)
    labels = Labels(
        training=truth[predicted.training_numbers],
        validation=truth[predicted.training_numbers],
        test=truth[predicted.test_numbers],
        test_numbers=predicted.test_numbers,
        training_numbers=predicted.training_numbers,
        shares=shares,
    )
    plan = StudyPlan(
        study="twin",
        dataset="twin",
        features="encoded",
        outputs=1,
        baseline=next(iter(predicted.arms)),
        scores=SCORES,
        select_by="log_loss",
        protocol=RepeatedStratifiedKFold(folds=folds, repeats=REPEATS, validation=0.2),
        seed=3,
        variants=tuple(
            ComparedVariant(name, predicted.baselines.get(name, name), "regularizers") for name in predicted.arms
        ),
        references=(),
    )
    arms = {
        ArmKey(name, AT_KNOB): Arm(training=probability[..., None], test=probability[..., None])
        for name, probability in predicted.arms.items()
    }
    return Judge(plan, settings, labels, arms)


def compare_as_before(
    judge: Judge, pairs: Mapping[ArmKey, ArmKey]
) -> dict[tuple[str, str, str], tuple[statistics.Comparison, float]]:
    """The corrected resampled t, and Holm over the arms of each score."""
    ratio = judge.plan.protocol.test_train_ratio
    found: dict[tuple[str, str, str], tuple[statistics.Comparison, float]] = {}
    for score in judge.scores:
        comparisons = {
            (*key, score): statistics.compare_replicates(
                judge.measure(score, key), judge.measure(score, other), test_train_ratio=ratio, alpha=judge.alpha
            )
            for key, other in pairs.items()
        }
        adjusted = statistics.holm([comparison.p_value for comparison in comparisons.values()])
        found |= {key: (comparisons[key], p) for key, p in zip(comparisons, adjusted, strict=True)}
    return found


def describe(compared: Compared, difference: Difference, old: statistics.Comparison, old_p: float) -> Finding:
    comparison, _ = compared
    return Finding(
        difference=comparison.difference,
        half_width=(comparison.ci_high - comparison.ci_low) / 2,
        p_adjusted=difference.p_adjusted,
        verdict=difference.verdict,
        resampled_half_width=(old.ci_high - old.ci_low) / 2,
        holm_p_adjusted=old_p,
    )
