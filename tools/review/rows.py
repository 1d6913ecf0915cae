"""What each held-out row adds to the scores of changed arms: the evidence that `compare` has, at both sides.

git keeps the scores of replicates alone. Predictions of single rows are outputs that DVC keeps. Where those of both
sides can be had, their arms are built and measured as `compare` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.lib.core import records as plan_files
from stages.lib.judge import predictions
from stages.lib.judge.arms import REFERENCE, Arm, ArmKey, build_arms, build_search_arms
from stages.lib.judge.comparison import ArmResult
from stages.lib.judge.designs import Design, Estimate, compare
from stages.lib.judge.judge import ComparisonKey, Judge
from stages.lib.judge.plans import BEST_SINGLE, StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels, Predictions, ReferencePredictions
from tools.review import outputs
from tools.review.outputs import UNUSABLE, Outputs, UnavailableError
from tools.review.pairs import Pair
from tools.review.record import Key
from tools.review.sides import Side

ByRow = dict[ComparisonKey, Estimate]  # lacks scores to which no row adds
SAME = ("test", "test_numbers", "training_numbers")  # fields of Labels that pair two sides row by row
Reason = outputs.Reason | Literal["other_results", "unpaired", "other_rows", "few_repeats"]


@dataclass(frozen=True)
class Basis:
    """On what the differences of a study are judged: by row, or by replicate for a reason.

    other_results: the predictions are not those that comparison.json tells of. unpaired: protocol, data or seed differ.
    other_rows: other rows are held out or trained on, though those are the same. few_repeats: fewer than the influence
    of rows needs. The other reasons are those of `UnavailableError`.
    side: the name of the side that is to blame; empty where it is both.
    """

    by_row: bool
    reason: Reason | None = None
    side: str = ""


class RowsUnknownError(Exception):
    """The rows of a study cannot be used."""

    def __init__(self, reason: Reason, side: str = ""):
        super().__init__(reason)
        self.basis = Basis(by_row=False, reason=reason, side=side)


@dataclass(frozen=True)
class SideRows:
    """The rows of a study at one side.

    contributions: of each row to each score that moved, [replicate, row]; none where it is not known what a row adds.
    guesses: the arms that give all rows of a replicate the same answer.
    """

    labels: Labels
    design: Design
    contributions: dict[ComparisonKey, np.ndarray]
    guesses: set[ArmKey]


def compare_rows(pairs: Mapping[Key, Pair], *, base: Side, head: Side, settings: StatisticsPlan) -> ByRow:
    """Head less base of some arms of one study, paired by replicate and row; RowsUnknownError where it cannot be."""
    if not all(pair.head_study.is_judged_on_the_same_rows(pair.base_study) for pair in pairs.values()):
        raise RowsUnknownError("unpaired")
    before = load_side(base, {key: (pair.base, pair.moved_scores) for key, pair in pairs.items()}, settings)
    after = load_side(head, {key: (pair.head, pair.moved_scores) for key, pair in pairs.items()}, settings)
    if not all(np.array_equal(getattr(before.labels, part), getattr(after.labels, part)) for part in SAME):
        raise RowsUnknownError("other_rows")
    guesses = before.guesses | after.guesses
    try:
        return {
            key: compare(rows, before.contributions[key], after.design, alone=ArmKey(*key[:2]) in guesses)
            for key, rows in after.contributions.items()
        }
    except UNUSABLE:
        raise RowsUnknownError("damaged", head.name) from None


def load_side(side: Side, arms: Mapping[Key, tuple[ArmResult, list[str]]], settings: StatisticsPlan) -> SideRows:
    """The rows of some arms of one study at one side; arms: what is known of each, and the scores that are needed."""
    try:
        study = StudyOutputs(side.outputs, next(iter(arms)).study, settings)
        design = study.judge({}).design
        if design is None:
            raise RowsUnknownError("few_repeats")
        measured = [(key, rows, is_guess) for key, rows, is_guess in measure_rows(study, arms) if rows is not None]
    except UnavailableError as error:
        raise RowsUnknownError(error.reason, side.name) from None
    except UNUSABLE:
        raise RowsUnknownError("damaged", side.name) from None
    results = {
        ComparisonKey(*key[1:], score): result.judged[score]
        for key, (result, scores) in arms.items()
        for score in scores
    }
    if not all(is_mean_of(rows, results[key].replicates) for key, rows, _ in measured):
        raise RowsUnknownError("other_results", side.name)
    guesses = {ArmKey(*key[:2]) for key, _, is_guess in measured if is_guess}
    return SideRows(study.labels, design, {key: rows for key, rows, _ in measured}, guesses)


def measure_rows(
    study: StudyOutputs, arms: Mapping[Key, tuple[ArmResult, list[str]]]
) -> Iterator[tuple[ComparisonKey, np.ndarray | None, bool]]:
    """What each row adds to the scores of each arm, and whether the arm is a guess; one variant is held at a time."""
    variants = dict.fromkeys((key.variant, key.kind == REFERENCE) for key in arms)
    for variant, is_reference in variants:
        judge = study.judge(study.load_arms(variant, is_reference=is_reference))
        for key, (_, scores) in arms.items():
            if (key.variant, key.kind == REFERENCE) == (variant, is_reference):
                arm = ArmKey(*key[1:])
                for score in scores:
                    yield ComparisonKey(*arm, score), judge.contributions(score, arm), judge.arms[arm].is_guess


def is_mean_of(contributions: np.ndarray, replicates: list[float]) -> bool:
    """Whether these rows gave these scores, which are kept with seven digits."""
    means = contributions.mean(axis=1)
    return len(means) == len(replicates) and np.allclose(means, replicates, rtol=1e-6, atol=1e-9)


class StudyOutputs:
    """The plan of a study, the labels of its rows, and its predictions, as one side's last run left them."""

    def __init__(self, files: Outputs, study: str, settings: StatisticsPlan):
        self.files, self.study, self.settings = files, study, settings
        plan = files.read(plan_files.FOLDER, f"{study}/_study.json")
        self.plan = plan_files.from_json(StudyPlan, plan.decode())
        self.labels = Labels(**files.read_arrays(predictions.FOLDER / study, "_labels.npz"))

    def judge(self, arms: Mapping[ArmKey, Arm]) -> Judge:
        return Judge(self.plan, self.settings, self.labels, arms)

    def load_arms(self, variant: str, *, is_reference: bool) -> dict[ArmKey, Arm]:
        """The arms of a variant or of a reference model."""
        if is_reference:
            fields = self.files.read_arrays(predictions.REFERENCE_FOLDER / self.study, f"{variant}.npz")
            return self.build({}, {variant: ReferencePredictions(**fields)})
        searches = [
            search
            for search in self.plan.searches
            if variant in (search.variant, search.best_single, search.best_singles)
        ]
        names = searches[0].singles if variant.startswith(BEST_SINGLE) and searches else (variant,)
        found = {name: self.load_predictions(name) for name in names}
        added = build_search_arms(found, searches, self.labels, select_by=self.plan.select_by)
        return added if variant not in found else self.build(found, {}) | added

    def load_predictions(self, variant: str) -> Predictions:
        fields = self.files.read_arrays(predictions.FOLDER / self.study, f"{variant}.npz")
        return predictions.parse_predictions(fields)

    def build(
        self, predicted: Mapping[str, Predictions], references: Mapping[str, ReferencePredictions]
    ) -> dict[ArmKey, Arm]:
        return build_arms(predicted, references, self.labels, select_by=self.plan.select_by)
