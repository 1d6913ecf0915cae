"""The arms of a study: what is judged. A variant at its knobs, a variant tuned, or a reference model.

A tuned arm takes, for each replicate, the point of strengths that does best on the replicate's own validation rows. It
is judged on held-out rows without any further training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stages.lib.predictions import Labels, Predictions, ReferencePredictions
from stages.lib.scores import SCORES, measure

AT_KNOB, TUNED, REFERENCE = "at_knob", "tuned", "reference"


class ArmKey(NamedTuple):
    """Names an arm within a study."""

    variant: str  # or a reference model
    kind: str  # AT_KNOB, TUNED or REFERENCE


@dataclass(frozen=True)
class Arm:
    """Probabilities [replicate, row, output]; strengths and mechanisms: name -> [replicate]."""

    training: np.ndarray
    test: np.ndarray
    strengths: dict[str, np.ndarray] = field(default_factory=dict)
    mechanisms: dict[str, np.ndarray] = field(default_factory=dict)


def arm_at(predictions: Predictions, points: int | np.ndarray) -> Arm:
    """The arm at one point of strengths, or at point points[replicate] of each replicate; point 0 holds the knobs."""
    lanes = predictions.grid.lanes_at(points)
    return Arm(
        training=predictions.training[lanes],
        test=predictions.test[lanes],
        strengths={name: strength[lanes] for name, strength in predictions.strengths.items()},
        mechanisms={name: values[lanes].astype(float) for name, values in predictions.mechanisms.items()},
    )


def choose_points(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """The point [replicate] with the best validation score; the first of equals, so the knobs win ties."""
    grid, sign = predictions.grid, 1 if SCORES[select_by].greater_is_better else -1
    score = measure(select_by, grid.over_points(labels.validation), predictions.validation)
    return (sign * grid.by_point(score)).argmax(axis=0)


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
