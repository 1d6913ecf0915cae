"""The arms of a study: what a variant's networks answer at one strength per replicate.

A variant answers *at the knob*; one with a path also *tuned*: each replicate takes the strength that does best on its
own validation rows, and is judged on its held-out rows with no further training.
"""

from dataclasses import dataclass

import numpy as np

from stages.lib import scores
from stages.lib.predictions import Labels, Predictions, ReferencePredictions

HISTORY = ("epochs_run", "best_epoch", "stopped_early", "diverged")
WEIGHTS = ("zero_share", "near_zero_share", "kernel_norm", "bound_share")


@dataclass(frozen=True)
class Arm:
    """Probabilities [replicate, row, output]; strength [replicate]; mechanisms: name -> [replicate]."""

    strength: np.ndarray
    training: np.ndarray
    test: np.ndarray
    mechanisms: dict[str, np.ndarray]


def registry(outputs: int) -> dict[str, scores.Score]:
    """The scores of a network with so many outputs."""
    return scores.BINARY if outputs == 1 else scores.MULTICLASS


def squeeze(probability: np.ndarray) -> np.ndarray:
    """[replicate, row, output] as lib/scores.py takes it: one output loses its axis."""
    return probability[..., 0] if probability.shape[-1] == 1 else probability


def measure(name: str, label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """A score [replicate] of labels [replicate, row] and probabilities [replicate, row, output]."""
    return registry(probability.shape[-1])[name].function(label, squeeze(probability))


def contributions(name: str, label: np.ndarray, probability: np.ndarray, *, fixed_test: bool) -> np.ndarray:
    """What the statistics compare: scores [replicate], or [seed, row] where all seeds share the rows of a mean."""
    by_row = registry(probability.shape[-1])[name].by_row
    if fixed_test and by_row is not None:
        return by_row(label, squeeze(probability))
    return measure(name, label, probability)


def arm_at(predictions: Predictions, choice: np.ndarray) -> Arm:
    """The arm that takes strength number choice[replicate] of the path; number 0 is the knob."""
    lanes = choice * len(choice) + np.arange(len(choice))
    return Arm(
        strength=predictions.strength[lanes],
        training=predictions.training[lanes],
        test=predictions.test[lanes],
        mechanisms={name: getattr(predictions, name)[lanes].astype(float) for name in HISTORY + WEIGHTS},
    )


def arm_of_reference(predictions: ReferencePredictions) -> Arm:
    return Arm(predictions.strength, predictions.training, predictions.test, mechanisms={})


def num_strengths(predictions: Predictions, labels: Labels) -> int:
    return len(predictions.strength) // len(labels.test)


def choose_strength(predictions: Predictions, labels: Labels, *, select_by: str) -> np.ndarray:
    """Number [replicate] of the strength with the best validation score; of equals the first, so the knob wins ties."""
    sign = 1 if registry(predictions.test.shape[-1])[select_by].greater_is_better else -1
    repeats = num_strengths(predictions, labels)
    label = np.tile(labels.validation, (repeats, 1))
    score = sign * measure(select_by, label, predictions.validation).reshape(repeats, -1)
    return score.argmax(axis=0)
