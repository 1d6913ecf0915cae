"""The arms of a study: what is judged. A variant at its knobs, a variant tuned, or a reference model.

A tuned arm takes, for each replicate, the point of strengths that does best on the replicate's own validation rows. It
is judged on held-out rows without any further training. So is the best single regulariser: for each replicate, the
variant of one regulariser and the point of it that do best on the validation rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stages.lib.predictions import Labels, Predictions, ReferencePredictions
from stages.lib.scores import SCORES, measure
from stages.lib.studies.plans import ComparedSearch

AT_KNOB, TUNED, REFERENCE = "at_knob", "tuned", "reference"


class ArmKey(NamedTuple):
    """Names an arm within a study."""

    variant: str  # or a reference model, or the best of the variants of one regulariser
    kind: str  # AT_KNOB, TUNED or REFERENCE


@dataclass(frozen=True)
class Arm:
    """Probabilities [replicate, row, output]; strengths and mechanisms: name -> [replicate].

    A strength is NaN in a replicate that does without the regulariser. validation: empty where it is not kept.
    """

    training: np.ndarray
    test: np.ndarray
    strengths: dict[str, np.ndarray] = field(default_factory=dict)
    mechanisms: dict[str, np.ndarray] = field(default_factory=dict)
    validation: np.ndarray = field(default_factory=lambda: np.empty(0))


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


def rate_points(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """How well each point does on validation rows, [point, replicate]; greater is better, whatever the score."""
    grid, sign = predictions.grid, 1 if SCORES[select_by].greater_is_better else -1
    score = measure(select_by, grid.over_points(labels.validation), predictions.validation)
    return sign * grid.by_point(score)


def choose_points(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """The point [replicate] with the best validation score; the first of equals, so the knobs win ties."""
    return rate_points(predictions, labels, select_by=select_by).argmax(axis=0)


def choose_singles(
    predictions: Mapping[str, Predictions], singles: Sequence[str], labels: Labels, *, select_by: str
) -> np.ndarray:
    """Which of the variants [replicate] has the point with the best validation score; the first of equals."""
    rated = [rate_points(predictions[name], labels, select_by=select_by).max(axis=0) for name in singles]
    return np.stack(rated).argmax(axis=0)


def build_best_singles(
    predictions: Mapping[str, Predictions], searches: Sequence[ComparedSearch], labels: Labels, *, select_by: str
) -> dict[ArmKey, Arm]:
    """The best single regulariser that each search is compared with, as a tuned arm."""
    arms = {}
    for search in searches:
        key = ArmKey(search.best_single, TUNED)
        if search.singles and key not in arms:
            chosen = choose_singles(predictions, search.singles, labels, select_by=select_by)
            tuned = [
                arm_at(predictions[name], choose_points(predictions[name], labels, select_by=select_by))
                for name in search.singles
            ]
            arms[key] = mix_arms(tuned, chosen)
    return arms


def mix_arms(arms: Sequence[Arm], chosen: np.ndarray) -> Arm:
    """The arm whose replicate r is that of arms[chosen[r]]."""
    places = np.arange(len(chosen))

    def pick(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(parts)[chosen, places]

    nothing = np.full(len(chosen), np.nan)
    names = dict.fromkeys(name for arm in arms for name in arm.strengths)
    found = {name: pick([arm.strengths.get(name, nothing) for arm in arms]) for name in names}
    return Arm(
        training=pick([arm.training for arm in arms]),
        test=pick([arm.test for arm in arms]),
        strengths={name: strength for name, strength in found.items() if not np.isnan(strength).all()},
        mechanisms={name: pick([arm.mechanisms[name] for arm in arms]) for name in arms[0].mechanisms},
        validation=pick([arm.validation for arm in arms]),
    )


def build_arms(
    predictions: Mapping[str, Predictions],
    references: Mapping[str, ReferencePredictions],
    labels: Labels,
    *,
    select_by: str,
) -> dict[ArmKey, Arm]:
    """Every arm of a study; reference models are variants with a single arm."""
    arms = {}
    for variant, predicted in predictions.items():
        arms[ArmKey(variant, AT_KNOB)] = arm_at(predicted, 0)
        if predicted.grid.num_points > 1:
            points = choose_points(predicted, labels, select_by=select_by)
            arms[ArmKey(variant, TUNED)] = arm_at(predicted, points)
    for name, reference in references.items():
        arms[ArmKey(name, REFERENCE)] = Arm(reference.training, reference.test, {"strength": reference.strength})
    return arms
