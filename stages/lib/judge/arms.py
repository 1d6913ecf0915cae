"""The arms of a study: what is judged. A variant at its knobs, a variant tuned, or a reference model.

A tuned arm takes, for each replicate, the point of strengths that does best on the replicate's own validation rows. It
is judged on held-out rows without any further training. An arm to the end is tuned likewise, with the weights of the
last epoch in the place of the best one's. So is the best single regulariser: for each replicate, the
variant of one regulariser and the point of it that do best on the validation rows. An averaged arm takes the mean of
the probabilities of several such points, which is less a matter of luck than the best of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stages.lib.judge.plans import StudyPlan
from stages.lib.judge.predictions import Labels, Predictions, StudyPredictions
from stages.lib.judge.scores import SCORES, measure
from stages.lib.lanes.plan import Grid

AT_KNOB, TUNED, TO_END, AVERAGED, REFERENCE = "at_knob", "tuned", "to_end", "averaged", "reference"


class ArmKey(NamedTuple):
    """Names an arm within a study."""

    variant: str  # or a reference model, or the best of the variants of one regulariser
    kind: str  # one of those above


NO_SKILL = ArmKey("no_skill", "")  # a guess that knows the class shares: no arm of the study, but compared with


@dataclass(frozen=True)
class Arm:
    """Probabilities [replicate, row, output]; strengths and mechanisms: name -> [replicate].

    A strength is NaN where a replicate does without the regulariser; an averaged arm has several of a replicate.
    validation: empty where it is not kept.
    """

    training: np.ndarray
    test: np.ndarray
    strengths: dict[str, np.ndarray] = field(default_factory=dict)
    mechanisms: dict[str, np.ndarray] = field(default_factory=dict)
    validation: np.ndarray = field(default_factory=lambda: np.empty(0))

    @cached_property
    def is_guess(self) -> bool:
        """Whether it predicts the same for all held-out rows of a replicate, so that no row's features matter."""
        return bool((self.test == self.test[:, :1]).all())


def predict_no_skill(shares: np.ndarray, labels: Labels) -> Arm:
    """The arm without skill: the class shares [replicate, output] of each replicate, for every row."""
    training, test = (np.repeat(shares[:, None], part.shape[1], axis=1) for part in (labels.training, labels.test))
    return Arm(training=training, test=test)


def arm_at(predictions: Predictions, points: int | np.ndarray) -> Arm:
    """The arm at one point of strengths, or at point points[replicate] of each replicate; point 0 holds the knobs."""
    lanes = predictions.grid.lanes_at(points)
    return Arm(
        training=predictions.training[lanes],
        test=predictions.test[lanes],
        strengths={name: strength[lanes] for name, strength in predictions.strengths.items()},
        mechanisms={name: values[lanes].astype(float) for name, values in predictions.mechanisms.items()},
        validation=predictions.validation[lanes],
    )


def measure_lanes(score: str, grid: Grid, labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """A score [lane] of classes [replicate, row] and probabilities [lane, row, output], one point after another.

    All lanes at once would take several times the memory of the probabilities.
    """
    return np.concatenate([measure(score, labels, at_point) for at_point in grid.by_point(probability)])


def rate_points(grid: Grid, validation: np.ndarray, labels: np.ndarray, *, select_by: str) -> np.ndarray:
    """How well each point does, [point, replicate]; greater is better, whatever the score.

    validation, labels: of validation rows, probabilities [lane, row, output] and classes [replicate, row].
    """
    return SCORES[select_by].sign * grid.by_point(measure_lanes(select_by, grid, labels, validation))


def choose_points(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """The point [replicate] with the best validation score; the first of equals, so the knobs win ties."""
    return rate_points(predictions.grid, predictions.validation, labels.validation, select_by=select_by).argmax(axis=0)


def build_arms(plan: StudyPlan, predicted: StudyPredictions) -> dict[ArmKey, Arm]:
    """Every arm of a study; reference models are variants with a single arm.

    A search adds its best points, averaged, where it says so; the best single regulariser, tuned and averaged likewise,
    if all its variants are among the predictions.
    """
    predictions = predicted.variants
    arms = {ArmKey(variant, AT_KNOB): arm_at(one, 0) for variant, one in predictions.items()}
    for name, reference in predicted.references.items():
        arms[ArmKey(name, REFERENCE)] = Arm(reference.training, reference.test, {"strength": reference.strength})
    chosen = [(ArmKey(variant, TUNED), [one], 1) for variant, one in predictions.items() if one.grid.num_points > 1]
    chosen += [(ArmKey(variant, TO_END), [one], 1) for variant, one in predicted.at_end.items()]
    for search in plan.searches:
        for key, members, count in (
            (ArmKey(search.best_single, TUNED), search.singles, 1),
            (ArmKey(search.best_singles, AVERAGED), search.singles, search.average),
            (ArmKey(search.variant, AVERAGED), (search.variant,), search.average),
        ):
            if members and count and predictions.keys() >= set(members):
                chosen.append((key, [predictions[member] for member in members], count))
    for key, rivals, count in chosen:
        arms[key] = average_best(rivals, predicted.labels, select_by=plan.select_by, count=count)
    return arms


def average_best(predictions: Sequence[Predictions], labels: Labels, *, select_by: str, count: int) -> Arm:
    """The mean probabilities of the `count` best points of several variants on each replicate's validation rows.

    Strengths are those of the points, [place * replicate].
    """
    best = find_best_lanes(predictions, labels, select_by=select_by, count=count)

    def pick(parts: Sequence[np.ndarray]) -> np.ndarray:
        """[lane, ...] of each variant as [place, replicate, ...] of the best points, float64."""
        return np.array([[parts[variant][lane] for variant, lane in row] for row in best], np.float64)

    def average(parts: Sequence[np.ndarray]) -> np.ndarray:
        return (pick(parts) * (1 / len(best))).sum(axis=0)

    names = dict.fromkeys(name for one in predictions for name in one.strengths)
    strengths = {
        name: pick([one.strengths.get(name, np.full(len(one.replicate), np.nan)) for one in predictions]).ravel()
        for name in names
    }

    def average_rows(part: str) -> np.ndarray:
        return average([getattr(one, part) for one in predictions]).astype(np.float32)

    return Arm(
        training=average_rows("training"),
        test=average_rows("test"),
        strengths={name: values for name, values in strengths.items() if not np.isnan(values).all()},
        mechanisms={name: average([one.mechanisms[name] for one in predictions]) for name in predictions[0].mechanisms},
        validation=average_rows("validation"),
    )


def find_best_lanes(
    predictions: Sequence[Predictions], labels: Labels, *, select_by: str, count: int
) -> list[list[tuple[int, int]]]:
    """[place][replicate]: the variant and its lane at the best points on validation rows, the first of equals.

    Places are in the order of the variants and of their points.
    """
    rated = np.concatenate(
        [rate_points(one.grid, one.validation, labels.validation, select_by=select_by) for one in predictions]
    )
    best = np.sort(np.argsort(-rated, axis=0, kind="stable")[:count], axis=0)  # [place, replicate]
    points = [(variant, point) for variant, one in enumerate(predictions) for point in range(one.grid.num_points)]
    lanes = [(variant, predictions[variant].grid.lanes_at(point)) for variant, point in points]
    return [[(lanes[number][0], lanes[number][1][replicate]) for replicate, number in enumerate(row)] for row in best]
