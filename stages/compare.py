"""Score every arm of a study on its held-out rows, and judge its difference from the baseline.

Reads   data/plan/_statistics.json, data/plan/<study>/_study.json, data/predictions/<study>/, data/reference/<study>/
Writes  metrics/comparison/<study>.json   task -> arms: scores, differences from baseline and no skill, verdicts
        data/points/<study>/paths.csv     both scores at each strength of each path, with its interval
        data/points/<study>/searches.csv  both scores at each point of each search
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.judge.arms import build_arms, build_search_arms
from stages.lib.judge.comparison import POINTS, PathPoint, SearchPoint, StudyResult, save_comparison, save_points
from stages.lib.judge.judge import Judge, judge_study, list_path_points, list_search_points
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, list_tasks, load_statistics_plan, load_study_plan
from stages.lib.judge.predictions import (
    Labels,
    Predictions,
    ReferencePredictions,
    load_labels,
    load_predictions,
    load_reference,
)


class Outcome(NamedTuple):
    """The result of a study, and the points of its paths and of its searches."""

    result: StudyResult
    paths: list[PathPoint]
    searches: list[SearchPoint]


def run(
    plan: StudyPlan,
    settings: StatisticsPlan,
    labels: Labels,
    predicted: Mapping[str, Predictions],
    references: Mapping[str, ReferencePredictions],
    at_end: Mapping[str, Predictions] | None = None,
) -> Outcome:
    """Compare the arms of one task."""
    arms = build_arms(predicted, references, labels, select_by=plan.select_by, at_end=at_end)
    arms |= build_search_arms(predicted, plan.searches, labels, select_by=plan.select_by)
    judge = Judge(plan, settings, labels, arms)
    return Outcome(
        judge_study(judge),
        [point for variant in predicted for point in list_path_points(judge, variant, predicted[variant])],
        [point for search in plan.searches for point in list_search_points(judge, search, predicted[search.variant])],
    )


def compare_task(task: str) -> Outcome:
    """`run` on what the earlier stages have left of a task."""
    plan = load_study_plan(task)
    predicted = {variant.name: load_predictions(task, variant.name) for variant in plan.variants}
    names = [variant.name for variant in plan.variants if plan.stopped]
    at_end = {name: load_predictions(task, name, at_end=True) for name in names}
    references = {name: load_reference(task, name) for name in plan.references}
    return run(plan, load_statistics_plan(), load_labels(task), predicted, references, at_end)


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    with threadpool_limits(limits=1):  # products are small: two threads take three times as long, waiting
        outcomes = {task: compare_task(task) for task in list_tasks(study)}
    save_comparison(study, {task: outcome.result for task, outcome in outcomes.items()})
    paths = [point for outcome in outcomes.values() for point in outcome.paths]
    searches = [point for outcome in outcomes.values() for point in outcome.searches]
    save_points(POINTS / study, paths, searches)


if __name__ == "__main__":
    run_main(main)
