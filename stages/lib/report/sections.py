"""The table of what a report shows: a section is one entry, and stands where its data are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from stages.lib.claims.judging import ClaimResult
from stages.lib.judge.comparison import Comparison, PathPoint, SearchPoint
from stages.lib.report import forest, paths, prediction_quality, training
from stages.lib.report.answers import is_survey, order_studies
from stages.lib.report.figure import Figure
from stages.lib.report.series import Facts, Picture, Tables


@dataclass(frozen=True)
class Results:
    """All that a report reads. bench, calibration: what `make bench` and `make calibrate` have measured."""

    comparison: Comparison
    paths: Sequence[PathPoint]
    tables: Tables
    pictures: Sequence[Picture]
    facts: Facts
    bench: dict[str, Any]
    calibration: dict[str, Any]
    audit: Sequence[ClaimResult] = ()
    searches: Sequence[SearchPoint] = ()

    def of(self, table: str, study: str) -> pd.DataFrame:
        rows = self.tables[table]
        return rows[rows["study"] == study]


class StudySection(NamedTuple):
    """draw: figures of one study; None and empty ones are left out."""

    key: str
    draw: Callable[[Results, str], Sequence[Figure | None]]


STUDY_SECTIONS: tuple[StudySection, ...] = (
    StudySection("forest", lambda found, name: [draw_study_forest(found, name)]),
    StudySection("paths", lambda found, name: paths.draw_paths(name, found.comparison[name], found.paths)),
    StudySection("learning", lambda found, name: [training.draw_learning(name, found.of("learning", name))]),
    StudySection("curves", lambda found, name: [draw_study_curves(found, name)]),
    StudySection(
        "confusion", lambda found, name: [prediction_quality.draw_confusion(name, found.of("confusion", name))]
    ),
    StudySection("mistakes", lambda found, name: [prediction_quality.draw_mistakes(name, found.pictures)]),
    StudySection("weights", lambda found, name: [training.draw_weights(name, found.of("weights", name))]),
    StudySection("inputs", lambda found, name: [training.draw_inputs(name, found.of("inputs", name))]),
    StudySection("first_layer", lambda found, name: [training.draw_first_layer(name, found.pictures)]),
)


def draw_study_forest(found: Results, name: str) -> Figure:
    return forest.draw_forest(name, found.comparison[name], found.facts.equivalence, found.facts.confidence)


def draw_study_curves(found: Results, name: str) -> Figure | None:
    facts = found.facts.studies[name]
    return prediction_quality.draw_curves(name, found.of("curves", name), found.of("reliability", name), facts)


def draw_study(found: Results, name: str) -> list[Figure]:
    """The figures of a study, in the order of STUDY_SECTIONS."""
    return [figure for section in STUDY_SECTIONS for figure in section.draw(found, name) if figure is not None]


def draw_answer(found: Results) -> Figure:
    """The figure of the first screen: every study that compares many regularisers."""
    surveys = [name for name in order_studies(found.comparison) if is_survey(found.comparison[name])]
    chosen = surveys or list(found.comparison)
    titles = {name: found.facts.studies[name].describe(found.comparison[name].protocol.fixed_test) for name in chosen}
    studies = {name: found.comparison[name] for name in chosen}
    return forest.draw_answer(studies, titles, found.facts.equivalence, found.facts.confidence)
