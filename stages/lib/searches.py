"""Searches: their best points against the best single regulariser, what these consist of, and every point."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.lib.arms import TUNED, ArmKey, choose_points
from stages.lib.comparison import Difference, SearchPoint, SearchResult, Use
from stages.lib.judge import Compared, Judge
from stages.lib.predictions import Labels, Predictions
from stages.lib.scores import measure
from stages.lib.studies.plans import ComparedSearch, StudyPlan
from stages.lib.values import round_number

AGAINST_BEST_SINGLE = "against_best_single"  # in place of the kind of arm: tuned, against another than its baseline

Key = tuple[str, str, str]  # variant, kind of arm, score


def compare_searches(judge: Judge) -> dict[Key, Compared]:
    """The best points of each search against the best single regulariser, by both scores."""
    return {
        (*name_question(search), score): judge.compare(score, *name_arms(search))
        for search in judge.plan.searches
        if search.singles
        for score in judge.scores
    }


def name_question(search: ComparedSearch) -> tuple[str, str]:
    """What the question of a search stands under among the comparisons of arms."""
    return search.variant, AGAINST_BEST_SINGLE


def name_arms(search: ComparedSearch) -> tuple[ArmKey, ArmKey]:
    """The arm of the best points, and that of the best single regulariser."""
    return ArmKey(search.variant, TUNED), ArmKey(search.best_single, TUNED)


def describe_search(judge: Judge, search: ComparedSearch, differences: Mapping[Key, Difference]) -> SearchResult:
    """What a search found."""
    tuned, single = name_arms(search)
    best = judge.arms[tuned].strengths
    off = {name: 0.0 for name in search.varied if name not in search.always_on}
    return SearchResult(
        num_points=search.num_points,
        uses=describe_uses({name: np.where(best[name] == off.get(name), np.nan, best[name]) for name in search.varied}),
        best_single=search.best_single if search.singles else "",
        singles=describe_uses(judge.arms[single].strengths if search.singles else {}),
        against_best_single={key[2]: found for key, found in differences.items() if key[:2] == name_question(search)},
    )


def describe_uses(strengths: Mapping[str, np.ndarray]) -> dict[str, Use]:
    """Regulariser -> how it is used, from its strengths [replicate], NaN where it is not; without those never used."""
    used = {name: found[~np.isnan(found)] for name, found in strengths.items()}
    return {
        name: Use(
            share=round_number(len(found) / len(strengths[name])),
            low=round_number(found.min()),
            high=round_number(found.max()),
        )
        for name, found in used.items()
        if len(found)
    }


def list_points(plan: StudyPlan, labels: Labels, search: ComparedSearch, predictions: Predictions) -> list[SearchPoint]:
    """Both scores of every point of a search, one row for each of its regularisers."""
    grid = predictions.grid
    best = choose_points(predictions, labels, select_by=plan.select_by)
    chosen = np.bincount(best, minlength=grid.num_points) / grid.num_replicates
    rows = []
    for score in plan.scores.values():
        validation, held_out = (
            grid.by_point(measure(score, grid.over_points(truth), predicted)).mean(axis=1)
            for truth, predicted in ((labels.validation, predictions.validation), (labels.test, predictions.test))
        )
        for name in search.varied:
            strengths = grid.by_point(predictions.strengths[name])[:, 0]
            columns = zip(strengths, validation, held_out, chosen, strict=True)
            for point, (strength, *means, share) in enumerate(columns):
                numbers = [round_number(value) for value in (strength, *means, share)]
                rows.append(SearchPoint(plan.study, search.variant, point, name, numbers[0], score, *numbers[1:]))
    return rows
