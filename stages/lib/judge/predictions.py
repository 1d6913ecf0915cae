"""Predictions of a study's models, row by row: kept so that a new score or test needs no training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.files import add_prefix, pop_prefix, read_arrays, write_arrays
from stages.lib.judge.plans import StudyPlan
from stages.lib.lanes.plan import Grid

FOLDER, REFERENCE_FOLDER = Path("data/predictions"), Path("data/reference")
NUM_TRAINING_ROWS = 2000  # the first of each replicate's, enough to see the gap to held-out rows


@dataclass(frozen=True)
class Labels:
    """Class numbers [replicate, row] of the rows that are predicted.

    test_numbers, training_numbers: [replicate, row], numbers in the data set of all test and of all training rows.
    test_groups: [replicate, row], numbers of the groups of test rows; empty where each row is by itself.
    shares: [replicate, output], `class_shares` of all training rows: what predictions without skill are.
    """

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    test_numbers: np.ndarray
    training_numbers: np.ndarray
    shares: np.ndarray
    test_groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True)
class Predictions:
    """One variant. Probabilities are [lane, row, output] float32, rows as in `Labels`; other arrays are [lane].

    A lane whose weights are not finite predicts the shares of the classes among its training rows.
    strengths: regulariser -> its strength. mechanisms: what the regularisers did to the weights, and how the training
    went; see `evaluate` and `TrainedRun`. knob, tried: as in `RunPlan`. member: counted from 0; empty where each
    replicate and point has one.
    """

    replicate: np.ndarray
    strengths: dict[str, np.ndarray]
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mechanisms: dict[str, np.ndarray]
    knob: int = 0
    tried: int = 0
    member: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    @property
    def grid(self) -> Grid:
        """Replicates are numbered from 0."""
        num_members = int(self.member.max(initial=0)) + 1
        return Grid.of_lanes(len(self.replicate), int(self.replicate.max()) + 1, num_members)

    def average(self, num_members: int | None = None) -> Predictions:
        """The first members, or all, as one: the means of their probabilities and of their mechanisms."""
        grid = self.grid
        if grid.num_members == 1:
            return self
        return replace(
            self,
            member=np.zeros(0, int),
            replicate=grid.average_members(self.replicate, 1),
            strengths={name: grid.average_members(values, 1) for name, values in self.strengths.items()},
            mechanisms={name: grid.average_members(values, num_members) for name, values in self.mechanisms.items()},
            training=grid.average_members(self.training, num_members),
            validation=grid.average_members(self.validation, num_members),
            test=grid.average_members(self.test, num_members),
        )


@dataclass(frozen=True)
class ReferencePredictions:
    """One reference model. Probabilities are [replicate, row, output] float32, rows as in `Labels`.

    strength: [replicate], the one with the best validation score.
    """

    strength: np.ndarray
    training: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class StudyPredictions:
    """What has been predicted of a task, by the names of variants and of reference models.

    at_end: by the weights of the last epoch, where those of `variants` are of the best one: of all lanes, or of the one
        of each replicate that is chosen.
    """

    labels: Labels
    variants: Mapping[str, Predictions]
    references: Mapping[str, ReferencePredictions] = field(default_factory=dict)
    at_end: Mapping[str, Predictions] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredPredictions(Mapping[str, Predictions]):
    """Predictions by name, read each time that one is asked for: those of a large table do not fit into memory at once.

    read: a file's members.
    """

    paths: Mapping[str, Path]
    read: Callable[[Path], dict[str, Any]]

    def __getitem__(self, name: str) -> Predictions:
        fields = self.read(self.paths[name])
        strengths, mechanisms = pop_prefix("strength", fields), pop_prefix("mechanism", fields)
        return Predictions(**fields, strengths=strengths, mechanisms=mechanisms)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def class_shares(labels: np.ndarray, outputs: int) -> np.ndarray:
    """Share of each class among the rows of labels [replicate, row]; [replicate, output], one output is class 1."""
    classes = [1] if outputs == 1 else range(outputs)
    return np.stack([(labels == number).mean(axis=1) for number in classes], axis=1)


def save_labels(task: str, labels: Labels) -> None:
    """A name that starts with _ cannot be a variant's."""
    write_arrays(FOLDER / task / "_labels.npz", vars(labels))


def save_predictions(predicted: Predictions, folder: Path, variant: str) -> None:
    """variant: and `-end`, of the last epoch's weights where a study judges both."""
    fields = dict(vars(predicted))
    fields |= add_prefix("strength", fields.pop("strengths")) | add_prefix("mechanism", fields.pop("mechanisms"))
    write_arrays(folder / f"{variant}.npz", fields)


def save_references(study: str, references: Mapping[str, ReferencePredictions]) -> None:
    """Write the whole folder of a study, empty where it has no reference model."""
    (REFERENCE_FOLDER / study).mkdir(parents=True, exist_ok=True)
    for name, predicted in references.items():
        write_arrays(REFERENCE_FOLDER / study / f"{name}.npz", vars(predicted))


def read_output(path: Path) -> dict[str, Any]:
    return read_arrays(path, written_by="reference" if REFERENCE_FOLDER in path.parents else "evaluate")


def load_study_predictions(
    plan: StudyPlan, names: Collection[str] | None = None, *, read: Callable[[Path], dict[str, Any]] = read_output
) -> StudyPredictions:
    """The predictions of a task, of all its variants and reference models or of these; read: a file's members."""
    folder, references = FOLDER / plan.task, REFERENCE_FOLDER / plan.task
    variants = [variant.name for variant in plan.variants if names is None or variant.name in names]
    models = [name for name in plan.references if names is None or name in names]
    return StudyPredictions(
        labels=Labels(**read(folder / "_labels.npz")),
        variants=StoredPredictions({name: folder / f"{name}.npz" for name in variants}, read),
        references={name: ReferencePredictions(**read(references / f"{name}.npz")) for name in models},
        at_end=StoredPredictions({name: folder / f"{name}-end.npz" for name in variants if plan.stopped}, read),
    )
