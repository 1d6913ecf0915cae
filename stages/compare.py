"""Score every arm of every study on its held-out rows, and judge its difference from the baseline.

Reads   data/plan/{_studies,_statistics}.json, data/plan/<study>/_study.json, data/predictions/<study>/,
        data/reference/<study>/
Writes  metrics/metrics.json      study -> variant -> scores (means over replicates at the knobs) and verdicts
        metrics/comparison.json   study -> arms: scores, differences from baseline and no skill, verdicts
        metrics/paths.csv         both scores at each strength of each path, with its interval
        metrics/searches.csv      both scores at each point of each search
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.lock import prune_folders
from stages.lib.judge import predictions
from stages.lib.judge.arms import build_arms, build_search_arms
from stages.lib.judge.comparison import PathPoint, SearchPoint, StudyResult, save_comparison, save_paths, save_searches
from stages.lib.judge.judge import Judge
from stages.lib.judge.paths import trace_path
from stages.lib.judge.plans import (
    StatisticsPlan,
    StudyPlan,
    load_statistics_plan,
    load_study_plan,
    load_tasks,
)
from stages.lib.judge.predictions import (
    Labels,
    Predictions,
    ReferencePredictions,
    load_labels,
    load_predictions,
    load_reference,
)
from stages.lib.judge.searches import list_points
from stages.lib.judge.study_verdicts import judge_study


class Compared(NamedTuple):
    """The result of one study, and the points of its paths and of its searches."""

    result: StudyResult
    paths: list[PathPoint]
    searches: list[SearchPoint]


def run(
    plan: StudyPlan,
    settings: StatisticsPlan,
    labels: Labels,
    predicted: Mapping[str, Predictions],
    references: Mapping[str, ReferencePredictions],
) -> Compared:
    """Compare the arms of one study."""
    arms = build_arms(predicted, references, labels, select_by=plan.select_by)
    arms |= build_search_arms(predicted, plan.searches, labels, select_by=plan.select_by)
    return Compared(
        judge_study(Judge(plan, settings, labels, arms)),
        [point for variant, found in predicted.items() for point in trace_path(plan, settings, labels, variant, found)],
        [row for search in plan.searches for row in list_points(plan, labels, search, predicted[search.variant])],
    )


def compare_study(study: str) -> Compared:
    """`run` on what the earlier stages have left of a study."""
    plan = load_study_plan(study)
    predicted = {variant.name: load_predictions(study, variant.name) for variant in plan.variants}
    references = {name: load_reference(study, name) for name in plan.references}
    return run(plan, load_statistics_plan(), load_labels(study), predicted, references)


def main() -> None:
    parse_arguments(__doc__)
    found = {study: compare_study(study) for study in load_tasks()}
    for folder in (predictions.FOLDER, predictions.REFERENCE_FOLDER):
        prune_folders(folder, found)
    save_comparison({study: compared.result for study, compared in found.items()})
    save_paths([point for compared in found.values() for point in compared.paths])
    save_searches([row for compared in found.values() for row in compared.searches])


if __name__ == "__main__":
    run_main(main)
