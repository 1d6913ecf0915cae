"""The arms of a study: what is judged. A variant at its knobs, a variant tuned, or a reference model.

A tuned arm takes, for each replicate, the point of its path or search that does best on the replicate's own validation
rows; the knob has no part in that. It is judged on held-out rows without any further training. An arm to the end is
tuned likewise, with the weights of the last epoch in the place of the best one's. So is the best single regulariser:
for each replicate, the variant of one regulariser and the point of it that do best on the validation rows. An averaged
arm takes the mean of the probabilities of several such points, which is less a matter of luck than the best of them.
An arm at its default takes the point that does best on average on the validation rows of the study's other data sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import NamedTuple

import numpy as np

from stages.lib.judge.plans import StudyPlan
from stages.lib.judge.predictions import Labels, Predictions, StudyPredictions
from stages.lib.judge.scores import SCORES, measure
from stages.lib.lanes.plan import Grid

AT_KNOB, TUNED, DEFAULT, TO_END = "at_knob", "tuned", "default", "to_end"
AVERAGED, REFERENCE = "averaged", "reference"


class ArmKey(NamedTuple):
    """Names an arm within a study."""

    variant: str  # or a reference model, or the best of the variants of one regulariser
    kind: str  # one of those above


NO_SKILL = ArmKey("no_skill", "")  # a guess that knows the class shares: no arm of the study, but compared with


Measured = dict[tuple[str, str], np.ndarray]  # (score, part of the rows) -> [replicate]
MeasureParts = Callable[..., Measured]  # `measure_parts` of a study


@dataclass(frozen=True)
class Arm:
    """test: probabilities [replicate, row, output] of held-out rows. strengths and mechanisms: name -> [replicate].

    A strength is NaN where a replicate does without the regulariser; an averaged arm has several of a replicate.
    measured: of training and of validation rows, whose probabilities are not kept.
    """

    test: np.ndarray
    measured: Measured = field(default_factory=dict)
    strengths: dict[str, np.ndarray] = field(default_factory=dict)
    mechanisms: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def is_guess(self) -> bool:
        """Whether it predicts the same for all held-out rows of a replicate, so that no row's features matter."""
        return bool((self.test == self.test[:, :1]).all())


def predict_no_skill(shares: np.ndarray, labels: Labels) -> Arm:
    """The arm without skill: the class shares [replicate, output] of each replicate, for every row."""
    return Arm(np.repeat(shares[:, None], labels.test.shape[1], axis=1))


def arm_at(predictions: Predictions, points: int | np.ndarray, measured: MeasureParts) -> Arm:
    """The arm at one point of strengths, or at point points[replicate] of each replicate."""
    lanes = predictions.grid.lanes_at(points)
    return Arm(
        predictions.test[lanes],
        measured(training=predictions.training[lanes], validation=predictions.validation[lanes]),
        strengths={name: strength[lanes] for name, strength in predictions.strengths.items()},
        mechanisms={name: values[lanes].astype(float) for name, values in predictions.mechanisms.items()},
    )


def measure_parts(labels: Labels, scores: Iterable[str], **parts: np.ndarray) -> Measured:
    """What an arm is measured by beside its held-out rows; parts: probabilities [replicate, row, output]."""
    pairs = product(scores, parts)
    return {(score, part): measure(score, getattr(labels, part), parts[part]) for score, part in pairs}


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
    """The point [replicate] with the best validation score of those that are tried; the first of equals."""
    return rate_tried(predictions, labels, select_by=select_by).argmax(axis=0)


def rate_tried(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """`rate_points` of the points that validation rows choose from; of the knob where it is alone."""
    rated = rate_points(predictions.grid, predictions.validation, labels.validation, select_by=select_by)
    return rated[: predictions.tried or None]


def rate_variants(plan: StudyPlan, predicted: StudyPredictions) -> dict[str, np.ndarray]:
    """How well each point of a path or a search does, [point], mean over replicates; of variants that have some."""
    rated = {}
    for compared in plan.variants:
        if (one := predicted.variants[compared.networks].average(compared.members)).tried:
            rated[compared.name] = rate_tried(one, predicted.labels, select_by=plan.select_by).mean(axis=1)
    return rated


def choose_defaults(rated: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, int]]:
    """Data set -> variant -> the point that does best on average over the other ones; rated: by `rate_variants`.

    Empty where there is no other data set.
    """
    others = {task: [ratings for other, ratings in rated.items() if other != task] for task in rated}
    return {
        task: {name: int(np.mean([one[name] for one in rest], axis=0).argmax()) for name in rated[task] if rest}
        for task, rest in others.items()
    }


def build_arms(
    plan: StudyPlan, predicted: StudyPredictions, defaults: Mapping[str, int] | None = None
) -> dict[ArmKey, Arm]:
    """Every arm of a study; reference models are variants with a single arm.

    defaults: variant -> the point that other data sets choose.

    A search adds its best points, averaged, where it says so; the best single regulariser, tuned and averaged likewise,
    if all its variants are among the predictions. One variant is looked at after another, see `StoredPredictions`.
    """
    labels, rated, arms, tuned = predicted.labels, {}, dict[ArmKey, Arm](), dict[ArmKey, Arm]()
    measured = partial(measure_parts, labels, {*plan.scores.values(), plan.select_by})
    for compared in plan.variants:
        if compared.networks not in predicted.variants:
            continue
        variant, one = compared.name, predicted.variants[compared.networks].average(compared.members)
        rated[variant] = rate_tried(one, labels, select_by=plan.select_by)
        arms[ArmKey(variant, AT_KNOB)] = arm_at(one, one.knob, measured)
        if variant in (defaults or {}):
            arms[ArmKey(variant, DEFAULT)] = arm_at(one, (defaults or {})[variant], measured)
        if one.tried:
            tuned[ArmKey(variant, TUNED)] = arm_at(one, rated[variant].argmax(axis=0), measured)
    for name, reference in predicted.references.items():
        own = measured(training=reference.training)
        arms[ArmKey(name, REFERENCE)] = Arm(reference.test, own, {"strength": reference.strength})
    arms |= tuned
    for variant, one in predicted.at_end.items():
        chosen = choose_points(one, labels, select_by=plan.select_by)
        arms[ArmKey(variant, TO_END)] = arm_at(one, chosen, measured)
    for search in plan.searches:
        for key, members, count in (
            (ArmKey(search.best_single, TUNED), search.singles, 1),
            (ArmKey(search.best_singles, AVERAGED), search.singles, search.average),
            (ArmKey(search.variant, AVERAGED), (search.variant,), search.average),
        ):
            if members and count and rated.keys() >= set(members):
                best = find_best_points([rated[member] for member in members], count)
                rivals = (predicted.variants[member].average(1) for member in members)
                arms[key] = average_points(rivals, best, count, measured)
    return arms


def find_best_points(rated: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Which of each variant's points are among the best of all variants, [point, replicate]; the first of equals.

    rated: of each variant, by `rate_points`.
    """
    order = np.argsort(-np.concatenate(rated), axis=0, kind="stable")
    place = np.argsort(order, axis=0)
    return np.split(place < count, np.cumsum([len(points) for points in rated])[:-1])


def average_points(
    predictions: Iterable[Predictions], chosen: Sequence[np.ndarray], count: int, measured: MeasureParts
) -> Arm:
    """The mean probabilities at the chosen points of several variants, `count` for each replicate.

    chosen: of each variant, by `find_best_points`. Strengths are those of all chosen points, [point].
    """
    sums, strengths = dict[str, np.ndarray](), list[tuple[int, dict[str, np.ndarray]]]()
    for one, points in zip(predictions, chosen, strict=True):
        lanes, (_, num_replicates) = np.flatnonzero(points), points.shape
        strengths.append((len(lanes), {name: values[lanes] for name, values in one.strengths.items()}))
        averaged = {"training": one.training, "validation": one.validation, "test": one.test} | one.mechanisms
        for name, values in averaged.items():
            total = sums.setdefault(name, np.zeros((num_replicates, *values.shape[1:])))
            np.add.at(total, lanes % num_replicates, values[lanes].astype(np.float64) * (1 / count))
    training, validation, test = (sums.pop(part).astype(np.float32) for part in ("training", "validation", "test"))
    names = dict.fromkeys(name for number, of_lanes in strengths if number for name in of_lanes)
    named = {
        name: np.concatenate([of_lanes.get(name, np.full(number, np.nan)) for number, of_lanes in strengths])
        for name in names
    }
    return Arm(test, measured(training=training, validation=validation), strengths=named, mechanisms=sums)
