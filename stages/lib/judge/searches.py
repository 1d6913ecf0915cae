"""Searches: their best points against the best single regulariser, what these consist of, and every point."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.lib.core.values import round_number
from stages.lib.judge.arms import AVERAGED, TUNED, ArmKey, choose_points
from stages.lib.judge.comparison import Difference, SearchPoint, SearchResult, Use
from stages.lib.judge.judge import Compared, Judge
from stages.lib.judge.plans import ComparedSearch, StudyPlan
from stages.lib.judge.predictions import Labels, Predictions
from stages.lib.judge.scores import measure

QUESTIONS = {TUNED: "against_best_single", AVERAGED: "averaged_against_best_single"}  # in place of the kind of arm

Key = tuple[str, str, str]  # variant, kind of arm, score


def compare_searches(judge: Judge) -> dict[Key, Compared]:
    """The best points of each search against the best single regulariser, tuned and averaged, by both scores."""
    return {
        (search.variant, QUESTIONS[kind], score): judge.compare(score, *arms)
        for search in judge.plan.searches
        for kind, rival in ((TUNED, search.best_single), (AVERAGED, search.best_singles))
        if judge.arms.keys() >= set(arms := (ArmKey(search.variant, kind), ArmKey(rival, kind)))
        for score in judge.scores
    }


def describe_search(judge: Judge, search: ComparedSearch, differences: Mapping[Key, Difference]) -> SearchResult:
    """What a search found."""
    best = judge.arms[ArmKey(search.variant, TUNED)].strengths
    single = judge.arms[ArmKey(search.best_single, TUNED)].strengths if search.singles else {}
    off = {name: 0.0 for name in search.varied if name not in search.always_on}
    return SearchResult(
        num_points=search.num_points,
        uses=describe_uses({name: np.where(best[name] == off.get(name), np.nan, best[name]) for name in search.varied}),
        best_single=search.best_single if search.singles else "",
        singles=describe_uses(single),
        average=search.average,
        best_singles=search.best_singles if search.singles else "",
        **{
            question: {key[2]: found for key, found in differences.items() if key[:2] == (search.variant, question)}
            for question in QUESTIONS.values()
        },
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
                rows.append(SearchPoint(plan.task, search.variant, point, name, numbers[0], score, *numbers[1:]))
    return rows
