"""Families of arms: each arm against the study's baseline, with p-values adjusted over the family.

The networks of a study are one family, its reference models another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.lib import statistics
from stages.lib.arms import AT_KNOB, REFERENCE, TUNED, Arm, ArmKey, arm_at
from stages.lib.comparison import ArmResult, Difference, PathPoint, StudyResult, round_all, round_number
from stages.lib.predictions import Labels, Predictions
from stages.lib.scores import SCORES, list_scores, measure, no_skill, squeeze
from stages.lib.studies.plans import StatisticsPlan, StudyPlan

FAMILIES = ((AT_KNOB, TUNED), (REFERENCE,))  # kinds of arms


@dataclass(frozen=True)
class Judge:
    """What is needed to judge the arms of a study."""

    plan: StudyPlan
    settings: StatisticsPlan
    labels: Labels

    @property
    def alpha(self) -> float:
        return 1 - self.settings.confidence

    @property
    def test_train_ratio(self) -> float:
        return self.plan.protocol.test_train_ratio

    def contributions(self, arm: Arm) -> np.ndarray:
        """The primary score as the statistics take it: [replicate], or [seed, row] where all seeds share the rows."""
        by_row = SCORES[self.plan.primary].by_row
        if self.plan.protocol.fixed_test and by_row is not None:
            return by_row(self.labels.test, squeeze(arm.test))
        return measure(self.plan.primary, self.labels.test, arm.test)

    def gap(self, arm: Arm) -> float:
        """The primary score on training rows less that on held-out rows."""
        training = measure(self.plan.primary, self.labels.training, arm.training)
        return float(training.mean() - measure(self.plan.primary, self.labels.test, arm.test).mean())


def judge_study(judge: Judge, arms: Mapping[ArmKey, Arm]) -> StudyResult:
    """Judge every arm of a study."""
    plan = judge.plan
    baseline = arms[ArmKey(plan.baseline, AT_KNOB)]
    differences: dict[ArmKey, Difference] = {}
    for kinds in FAMILIES:
        members = {key: arm for key, arm in arms.items() if key.kind in kinds and arm is not baseline}
        differences |= compare_family(judge, members, baseline)
    found: dict[str, dict] = {plan.baseline: {}}  # the baseline comes first
    for key, arm in arms.items():
        found.setdefault(key.variant, {})[key.kind] = describe_arm(judge, arm, differences.get(key))
    ignorant = {
        name: float(no_skill(name, judge.labels.test, outputs=plan.outputs).mean())
        for name in list_scores(plan.outputs)
    }
    return StudyResult(
        dataset=plan.dataset,
        features=plan.features,
        protocol=plan.protocol,
        seed=plan.seed,
        primary=plan.primary,
        baseline=plan.baseline,
        no_skill=round_all(ignorant | {"gap": 0.0}),
        arms=found,
    )


def compare_family(judge: Judge, members: Mapping[ArmKey, Arm], baseline: Arm) -> dict[ArmKey, Difference]:
    """The difference of each member from the baseline."""
    against, primary = judge.contributions(baseline), judge.plan.primary
    found = {
        key: statistics.compare(
            judge.contributions(arm), against, test_train_ratio=judge.test_train_ratio, alpha=judge.alpha
        )
        for key, arm in members.items()
    }
    adjusted = statistics.adjust([comparison.p_value for comparison in found.values()])
    return {
        key: describe_difference(
            comparison,
            p_adjusted,
            margin=judge.settings.equivalence[primary],
            greater_is_better=SCORES[primary].greater_is_better,
            alpha=judge.alpha,
        )
        for (key, comparison), p_adjusted in zip(found.items(), adjusted, strict=True)
    }


def describe_difference(
    comparison: statistics.Comparison, p_adjusted: float, *, margin: float, greater_is_better: bool, alpha: float
) -> Difference:
    """A comparison with its verdict, rounded as it is kept."""
    verdict = statistics.verdict(
        comparison, p_adjusted, margin=margin, greater_is_better=greater_is_better, alpha=alpha
    )
    numbers = {
        "value": comparison.difference,
        "ci_low": comparison.ci_low,
        "ci_high": comparison.ci_high,
        "equivalence_low": comparison.equivalence_low,
        "equivalence_high": comparison.equivalence_high,
        "p_value": comparison.p_value,
        "p_adjusted": p_adjusted,
    }
    return Difference(**round_all(numbers), verdict=verdict)


def describe_arm(judge: Judge, arm: Arm, difference: Difference | None) -> ArmResult:
    """An arm by itself, and its difference from the baseline."""
    replicates = measure(judge.plan.primary, judge.labels.test, arm.test)
    scores = {
        name: float(measure(name, judge.labels.test, arm.test).mean()) for name in list_scores(judge.plan.outputs)
    }
    return ArmResult(
        value=round_number(replicates.mean()),
        replicates=[round_number(value) for value in replicates],
        difference=difference,
        strengths={name: sorted({round_number(value) for value in found}) for name, found in arm.strengths.items()},
        scores=round_all(scores | {"gap": judge.gap(arm)}),
        mechanisms=round_all({name: finite_mean(values) for name, values in arm.mechanisms.items()}),
    )


def trace_path(judge: Judge, variant: str, predictions: Predictions) -> list[PathPoint]:
    """The primary score at every point of a variant's path, the smallest strength first; empty without a path."""
    varied = [name for name, values in predictions.strengths.items() if len(set(values)) > 1]
    if not varied:
        return []
    arms = [arm_at(predictions, point) for point in range(predictions.grid.num_points)]
    points = [trace_point(judge, variant, arm, strength=float(arm.strengths[varied[0]][0])) for arm in arms]
    return sorted(points, key=lambda point: point.strength)


def trace_point(judge: Judge, variant: str, arm: Arm, *, strength: float) -> PathPoint:
    estimate = statistics.estimate_mean(judge.contributions(arm), test_train_ratio=judge.test_train_ratio)
    low, high = estimate.interval(judge.settings.confidence)
    numbers = {"strength": strength, "mean": estimate.value, "ci_low": low, "ci_high": high, "gap": judge.gap(arm)}
    return PathPoint(judge.plan.study, variant, **round_all(numbers))


def finite_mean(values: np.ndarray) -> float:
    """The mean of the finite values; 0 where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else 0.0
