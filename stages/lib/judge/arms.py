"""The arms of a study: what is judged. A variant at its knobs, a variant tuned, or a reference model.

A tuned arm takes, for each replicate, the point of strengths that does best on the replicate's own validation rows. It
is judged on held-out rows without any further training. So is the best single regulariser: for each replicate, the
variant of one regulariser and the point of it that do best on the validation rows. An averaged arm takes the mean of
the probabilities of several such points, which is less a matter of luck than the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stages.lib.judge.plans import ComparedSearch
from stages.lib.judge.predictions import Labels, Predictions, ReferencePredictions
from stages.lib.judge.scores import SCORES, measure
from stages.lib.lanes.grid import Grid

AT_KNOB, TUNED, AVERAGED, REFERENCE = "at_knob", "tuned", "averaged", "reference"


class ArmKey(NamedTuple):
    """Names an arm within a study."""

    variant: str  # or a reference model, or the best of the variants of one regulariser
    kind: str  # AT_KNOB, TUNED, AVERAGED or REFERENCE


NO_SKILL = ArmKey("no_skill", "")  # a guess that knows the class shares: no arm of the study, but compared with


@dataclass(frozen=True)
class Arm:
    """Probabilities [replicate, row, output]; strengths and mechanisms: name -> [replicate].

    A strength is NaN in a replicate that does without the regulariser; an averaged arm has several of a replicate.
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


def rate_points(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """How well each point does on validation rows, [point, replicate]; greater is better, whatever the score."""
    grid = predictions.grid
    score = measure(select_by, grid.over_points(labels.validation), predictions.validation)
    return SCORES[select_by].sign * grid.by_point(score)


def choose_points(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """The point [replicate] with the best validation score; the first of equals, so the knobs win ties."""
    return rate_points(predictions, labels, select_by=select_by).argmax(axis=0)


def build_search_arms(
    predictions: Mapping[str, Predictions], searches: Sequence[ComparedSearch], labels: Labels, *, select_by: str
) -> dict[ArmKey, Arm]:
    """The arms that searches add to those of variants, as far as the predictions are there.

    The best points of a search, averaged, where it says so; the best single regulariser, tuned and averaged likewise.
    """
    arms = {}
    for search in searches:
        singles = [predictions[name] for name in search.singles if name in predictions]
        singles = singles if len(singles) == len(search.singles) else []
        found = [predictions[search.variant]] if search.variant in predictions else []
        if singles:
            arms[ArmKey(search.best_single, TUNED)] = choose_best(singles, labels, select_by=select_by)
        for name, members in ((search.best_singles, singles), (search.variant, found)):
            if search.average and members:
                arms[ArmKey(name, AVERAGED)] = average_best(members, labels, select_by=select_by, count=search.average)
    return arms


def choose_best(predictions: Sequence[Predictions], labels: Labels, *, select_by: str) -> Arm:
    """The best point of several variants on each replicate's validation rows; the first of equals."""
    rated = [rate_points(found, labels, select_by=select_by) for found in predictions]
    chosen = np.stack([points.max(axis=0) for points in rated]).argmax(axis=0)
    tuned = [arm_at(found, points.argmax(axis=0)) for found, points in zip(predictions, rated, strict=True)]
    return mix_arms(tuned, chosen)


def average_best(predictions: Sequence[Predictions], labels: Labels, *, select_by: str, count: int) -> Arm:
    """The mean probabilities of the `count` best points of several variants on each replicate's validation rows."""
    rated = np.concatenate([rate_points(found, labels, select_by=select_by) for found in predictions])
    best = np.argsort(-rated, axis=0, kind="stable")[:count]
    weight = np.zeros(rated.shape)
    np.put_along_axis(weight, best, 1 / len(best), axis=0)
    sizes = np.cumsum([found.grid.num_points for found in predictions])[:-1]
    weights = np.split(weight, sizes)  # of each variant, [point, replicate]

    def average(name: str) -> np.ndarray:
        return sum_weighted([getattr(found, name) for found in predictions], weights).astype(np.float32)

    strengths: dict[str, list[np.ndarray]] = {}
    for found, share in zip(predictions, weights, strict=True):
        for name, values in found.strengths.items():
            strengths.setdefault(name, []).append(values[share.ravel() > 0])
    return Arm(
        training=average("training"),
        test=average("test"),
        strengths={name: np.concatenate(values) for name, values in strengths.items() if np.concatenate(values).size},
        mechanisms={
            name: sum_weighted([found.mechanisms[name] for found in predictions], weights)
            for name in predictions[0].mechanisms
        },
        validation=average("validation"),
    )


def sum_weighted(values: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """The sum over points [replicate, ...] of values [lane, ...] times weights [point, replicate], of all variants."""
    total = np.zeros((weights[0].shape[1], *values[0].shape[1:]))
    for lanes, shares in zip(values, weights, strict=True):
        for point, share in zip(Grid(*shares.shape).by_point(lanes), shares, strict=True):
            used = share > 0  # what is not may be NaN
            total[used] += share[used].reshape(-1, *[1] * (point.ndim - 1)) * point[used]
    return total


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
