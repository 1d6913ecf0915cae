"""The verdicts of the stage `compare` on the arms of one twin, and the former method beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.judge.arms import AT_KNOB, NO_SKILL, Arm, ArmKey
from stages.lib.judge.comparison import Difference
from stages.lib.judge.designs import Estimate, compare_replicates
from stages.lib.judge.judge import ComparisonKey, Judge
from stages.lib.judge.plans import ComparedVariant, Question, StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels
from stages.lib.judge.verdicts import holm

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
        compared = judge.compare_all(pairs)
        old = compare_as_before(judge, pairs)
        for key, judged in judge.judge_family(compared).items():
            other = pairs[ArmKey(key.variant, key.kind)].variant
            found[other, key.score, key.variant] = describe(
                compared[key], judged, *old[key], alpha=1 - settings.confidence
            )
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


def compare_as_before(judge: Judge, pairs: Mapping[ArmKey, ArmKey]) -> dict[ComparisonKey, tuple[Estimate, float]]:
    """The corrected resampled t, and Holm over the arms of each score."""
    ratio = judge.plan.protocol.test_train_ratio
    judged: dict[ComparisonKey, tuple[Estimate, float]] = {}
    for score in judge.scores:
        estimates = {
            ComparisonKey(*key, score): compare_replicates(
                judge.measure(score, key), judge.measure(score, other), test_train_ratio=ratio
            )
            for key, other in pairs.items()
        }
        adjusted = holm([estimate.p_value for estimate in estimates.values()])
        judged |= {key: (estimates[key], p) for key, p in zip(estimates, adjusted, strict=True)}
    return judged


def describe(difference: Estimate, judged: Difference, old: Estimate, old_p: float, *, alpha: float) -> Finding:
    return Finding(
        difference=difference.value,
        half_width=difference.half_width(alpha),
        p_adjusted=judged.p_adjusted,
        verdict=judged.verdict,
        resampled_half_width=old.half_width(alpha),
        holm_p_adjusted=old_p,
    )
