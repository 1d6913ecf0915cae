"""Score every arm of a study on its held-out rows, and judge its difference from the baseline.

Reads   data/plan/{_statistics,<study>/_study}.json, data/checks/<study>.json, data/predictions/<study>/,
        data/reference/<study>/
Writes  metrics/comparison/<study>.json   task -> arms: scores, differences from baseline and no skill, verdicts
        data/points/<study>/paths.csv     both scores at each strength of each path, with its interval
        data/points/<study>/searches.csv  both scores at each point of each search
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.records import split_task
from stages.lib.data.checks import Check, load_checks
from stages.lib.judge.arms import AT_KNOB, REFERENCE, TUNED, ArmKey
from stages.lib.judge.comparison import POINTS, PathPoint, SearchPoint, StudyResult, save_comparison, save_points
from stages.lib.judge.judge import Judge, judge_study, list_path_points, list_search_points
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plans
from stages.lib.judge.predictions import (
    Labels,
    Predictions,
    ReferencePredictions,
    load_labels,
    load_predictions,
    load_reference,
)
from stages.lib.judge.scores import SCORES, measure

OVERFITS = 0.5  # training loss at the end, as a share of that on held-out rows, under which a network has overfitted
OFTEN = 0.5  # share of replicates that choose the end of a path


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
    judge = Judge.of_predictions(plan, settings, labels, predicted, references, at_end)
    result = judge_study(judge)
    return Outcome(
        replace(result, checks=[*checks, *check_result(judge, result, predicted)]),
        [point for variant in predicted for point in list_path_points(judge, variant, predicted[variant])],
        [point for search in plan.searches for point in list_search_points(judge, search, predicted[search.variant])],
    )


def check_result(judge: Judge, result: StudyResult, predicted: Mapping[str, Predictions]) -> Iterator[Check]:
    """Findings in a study's result; predicted: its variants' networks at all strengths."""
    score = result.scores["probabilities"]
    at_end = result.arms[result.baseline].get("to_end")
    if at_end and (loss := at_end.judged[score].value) > 0:
        share = 1 + at_end.scores["gap"] / loss
        if share > OVERFITS:
            yield Check("no_overfitting", (), share)
    networks = [arm for key, arm in result.list_arms() if key.kind != REFERENCE]
    if not any(judged.skill.verdict == "better" for arm in networks for judged in arm.judged.values()):
        yield Check("no_skill")
    elif ends := tuple(find_ends(judge, predicted)):
        yield Check("path_ends", ends)
    if is_thinned(judge):
        yield Check("thinned", (), judge.plan.protocol.training or 0)
    if score in result.reach:
        yield Check("reach", (score,), result.reach[score].detectable)


def is_thinned(judge: Judge) -> bool:
    """Whether cross-validation trains on fewer rows than the table has."""
    protocol, num_held_out = judge.plan.protocol, judge.labels.test.shape[1]
    training = getattr(protocol, "training", None)  # a protocol of one's own may know no such number
    if protocol.fixed_test or not training:
        return False
    return training < (1 - protocol.validation) * num_held_out / protocol.test_train_ratio - 1


def find_ends(judge: Judge, predicted: Mapping[str, Predictions]) -> Iterator[str]:
    """Variants whose best strength is mostly an end of their path, and does better there than the baseline.

    At the weak end a regulariser has no effect, and is no better than the baseline.
    """
    plan = judge.plan
    searched = {search.variant for search in plan.searches}
    baseline = rate_validation(judge, ArmKey(plan.baseline, AT_KNOB))
    for variant, one in predicted.items():
        key = ArmKey(variant, TUNED)
        if variant in searched or key not in judge.arms:
            continue
        gained = SCORES[plan.select_by].sign * (rate_validation(judge, key) - baseline)
        for name, chosen in judge.arms[key].strengths.items():
            tried = one.strengths[name]
            ends = {tried.min(), tried.max()}
            is_mostly = any((chosen == end).mean() > OFTEN for end in ends)
            if len(ends) == 2 and is_mostly and gained > judge.settings.equivalence[plan.select_by]:
                yield variant


def rate_validation(judge: Judge, key: ArmKey) -> float:
    """The score of an arm that chooses strengths, on validation rows."""
    return float(measure(judge.plan.select_by, judge.labels.validation, judge.arms[key].validation).mean())


def compare_task(plan: StudyPlan) -> Outcome:
    """`run` on what the earlier stages have left of a task."""
    task = plan.task
    predicted = {variant.name: load_predictions(task, variant.name) for variant in plan.variants}
    names = [variant.name for variant in plan.variants if plan.stopped]
    at_end = {name: load_predictions(task, name, at_end=True) for name in names}
    references = {name: load_reference(task, name) for name in plan.references}
    checks = load_checks(split_task(task)[0])[task]
    return run(plan, load_statistics_plan(), load_labels(task), predicted, references, at_end, checks)


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
