"""Paths of strengths: both scores at every point of a variant's path."""

from __future__ import annotations

from stages.lib.judge.arms import ArmKey, arm_at
from stages.lib.judge.comparison import PathPoint, round_all
from stages.lib.judge.judge import Judge
from stages.lib.judge.plans import StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels, Predictions


def trace_path(
    plan: StudyPlan, settings: StatisticsPlan, labels: Labels, variant: str, predictions: Predictions
) -> list[PathPoint]:
    """A variant's path, score by score, the smallest strength first; empty where it has none.

    An interval is that of the score itself, not of a difference.
    """
    varied = [name for name, values in predictions.strengths.items() if len(set(values)) > 1]
    if not varied or variant in (search.variant for search in plan.searches):
        return []
    keys = {ArmKey(variant, str(point)): arm_at(predictions, point) for point in range(predictions.grid.num_points)}
    judge = Judge(plan, settings, labels, keys)
    points = []
    for score in judge.scores:
        for key, arm in keys.items():
            estimate = judge.estimate(score, key)
            low, high = estimate.interval(settings.confidence)
            strength = float(arm.strengths[varied[0]][0])
            numbers = {"strength": strength, "mean": estimate.value, "ci_low": low, "ci_high": high}
            points.append(PathPoint(plan.task, score, variant, **round_all(numbers | {"gap": judge.gap(score, key)})))
    return sorted(points, key=lambda point: (judge.scores.index(point.score), point.strength))
