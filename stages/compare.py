"""Score every arm of a study on its held-out rows, and judge its difference from the baseline.

Reads   data/plan/{_statistics,<study>/_study}.json, data/checks/<study>.json, data/predictions/<study>/,
        data/reference/<study>/
Writes  data/points/<study>/comparison.json  task -> arms: scores, differences from baseline and no skill, verdicts
        metrics/comparison/<study>.json   the same, of several data sets a summary
        data/points/<study>/paths.csv     both scores at each strength of each path, with its interval
        data/points/<study>/searches.csv  both scores at each point of each search
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.records import round_number
from stages.lib.data.checks import Check, load_checks
from stages.lib.judge.arms import (
    ArmKey,
    arm_at,
    build_arms,
    choose_defaults,
    choose_points,
    measure_lanes,
    measure_parts,
    rate_variants,
)
from stages.lib.judge.comparison import PathPoint, SearchPoint, StudyResult, save_comparison, save_points
from stages.lib.judge.equal_cost import compare_costs
from stages.lib.judge.findings import check_result
from stages.lib.judge.judge import Judge, judge_study
from stages.lib.judge.plans import ComparedSearch, StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plans
from stages.lib.judge.predictions import Predictions, StudyPredictions, load_study_predictions


class Outcome(NamedTuple):
    """The result of a study, and the points of its paths and of its searches."""

    result: StudyResult
    paths: list[PathPoint]
    searches: list[SearchPoint]


def run(
    plan: StudyPlan,
    settings: StatisticsPlan,
    predicted: StudyPredictions,
    checks: Sequence[Check] = (),
    *,
    defaults: Mapping[str, int] | None = None,
) -> Outcome:
    """Compare the arms of one task; checks: what was found in its data set. defaults: as for `build_arms`."""
    arms, variants = build_arms(plan, predicted, defaults), predicted.variants
    judge = Judge(plan, settings, predicted.labels, arms)
    paths = [point for name, one in variants.items() for point in list_path_points(judge, name, one.average(1))]
    result = judge_study(judge)
    return Outcome(
        replace(result, checks=[*checks, *check_result(judge, result)], equal_cost=compare_costs(judge, predicted)),
        paths,
        [
            point
            for search in plan.searches
            for point in list_search_points(judge, search, variants[search.variant].average(1))
        ],
    )


def list_search_points(judge: Judge, search: ComparedSearch, predictions: Predictions) -> list[SearchPoint]:
    """Both scores of every point of a search, one row for each of its regularisers."""
    predictions = predictions.average(1)
    plan, labels, grid = judge.plan, judge.labels, predictions.grid
    best = choose_points(predictions, labels, select_by=plan.select_by)
    chosen = np.bincount(best, minlength=grid.num_points) / grid.num_replicates
    rows = []
    for score in judge.scores:
        validation, held_out = (
            grid.by_point(measure_lanes(score, grid, truth, predicted)).mean(axis=1)
            for truth, predicted in ((labels.validation, predictions.validation), (labels.test, predictions.test))
        )
        for name in search.varied:
            columns = zip(grid.by_point(predictions.strengths[name])[:, 0], validation, held_out, chosen, strict=True)
            for point, numbers in enumerate(columns):
                strength, *means = map(round_number, numbers)
                rows.append(SearchPoint(plan.task, search.variant, point, name, strength, score, *means))
    return rows


def list_path_points(judge: Judge, variant: str, predictions: Predictions) -> list[PathPoint]:
    """A variant's path, score by score, the smallest strength first; empty where it has none.

    An interval is that of the score itself, not of a difference.
    """
    varied = [name for name, values in predictions.strengths.items() if len(set(values)) > 1]
    if not predictions.tried or not varied or variant in (search.variant for search in judge.plan.searches):
        return []
    measured, points = partial(measure_parts, judge.labels, judge.scores), range(predictions.grid.num_points)
    arms = {ArmKey(variant, str(point)): arm_at(predictions, point, measured) for point in points}
    of_path = Judge(judge.plan, judge.settings, judge.labels, arms)
    of_path.design = judge.design  # the same for all arms; it takes long to build
    found = []
    for score in judge.scores:
        for key, arm in sorted(arms.items(), key=lambda item: item[1].strengths[varied[0]][0]):
            estimate = of_path.estimate(score, key)
            interval = estimate.interval(judge.settings.confidence)
            numbers = (arm.strengths[varied[0]][0], estimate.value, *interval, of_path.gap(score, key, "training"))
            found.append(PathPoint(judge.plan.task, score, variant, *map(round_number, numbers)))
    return found


def compare_study(study: str) -> dict[str, Outcome]:
    """`run` on what the earlier stages have left of each task of a study."""
    plans, settings, checks = load_study_plans(study), load_statistics_plan(), load_checks(study)
    predicted = {task: load_study_predictions(plan) for task, plan in plans.items()}
    defaults = choose_defaults({task: rate_variants(plan, predicted[task]) for task, plan in plans.items()})
    given = {task: (plan, settings, predicted[task], checks[task]) for task, plan in plans.items()}
    return {task: run(*inputs, defaults=defaults[task]) for task, inputs in given.items()}


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    with threadpool_limits(limits=1):  # products are small: two threads take three times as long, waiting
        outcomes = compare_study(study)
    save_comparison(study, {task: outcome.result for task, outcome in outcomes.items()})
    paths = [point for outcome in outcomes.values() for point in outcome.paths]
    searches = [point for outcome in outcomes.values() for point in outcome.searches]
    save_points(study, paths, searches)


if __name__ == "__main__":
    run_main(main)
