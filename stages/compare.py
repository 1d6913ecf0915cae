"""Score every arm of a study on its held-out rows, and judge its difference from the baseline.

Reads   data/plan/{_statistics,<study>/_study}.json, data/checks/<study>.json, data/predictions/<study>/,
        data/reference/<study>/
Writes  metrics/comparison/<study>.json   task -> arms: scores, differences from baseline and no skill, verdicts
        data/points/<study>/paths.csv     both scores at each strength of each path, with its interval
        data/points/<study>/searches.csv  both scores at each point of each search
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.records import split_task
from stages.lib.data.checks import Check, load_checks
from stages.lib.judge import predictions as stored
from stages.lib.judge.arms import build_arms
from stages.lib.judge.comparison import POINTS, PathPoint, SearchPoint, StudyResult, save_comparison, save_points
from stages.lib.judge.findings import check_result
from stages.lib.judge.judge import Judge, judge_study, list_path_points, list_search_points
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plans
from stages.lib.judge.predictions import Labels, Predictions, ReferencePredictions


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
    checks: Sequence[Check] = (),
) -> Outcome:
    """Compare the arms of one task; checks: what was found in its data set."""
    judge = Judge(plan, settings, labels, build_arms(plan, labels, predicted, references, at_end))
    result = judge_study(judge)
    return Outcome(
        replace(result, checks=[*checks, *check_result(judge, result, predicted)]),
        [point for variant in predicted for point in list_path_points(judge, variant, predicted[variant])],
        [point for search in plan.searches for point in list_search_points(judge, search, predicted[search.variant])],
    )


def compare_task(plan: StudyPlan) -> Outcome:
    """`run` on what the earlier stages have left of a task."""
    task = plan.task
    predicted = {variant.name: stored.load_predictions(task, variant.name) for variant in plan.variants}
    names = [variant.name for variant in plan.variants if plan.stopped]
    at_end = {name: stored.load_predictions(task, name, at_end=True) for name in names}
    references = {name: stored.load_reference(task, name) for name in plan.references}
    checks = load_checks(split_task(task)[0])[task]
    return run(plan, load_statistics_plan(), stored.load_labels(task), predicted, references, at_end, checks)


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    with threadpool_limits(limits=1):  # products are small: two threads take three times as long, waiting
        outcomes = {task: compare_task(plan) for task, plan in load_study_plans(study).items()}
    save_comparison(study, {task: outcome.result for task, outcome in outcomes.items()})
    paths = [point for outcome in outcomes.values() for point in outcome.paths]
    searches = [point for outcome in outcomes.values() for point in outcome.searches]
    save_points(POINTS / study, paths, searches)


if __name__ == "__main__":
    run_main(main)
