"""The rows that a study learns from, and the rows it is judged on.

They are two files, and no stage but `evaluate` and `reference` reads the second one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stages.lib.core.cli import UserError
from stages.lib.core.files import read_arrays, write_arrays

DEVELOPMENT, HELD_OUT = Path("data/development"), Path("data/held_out")


@dataclass(frozen=True)
class Development:
    """Rows for training and validation.

    inputs: [row, feature], uint8 pixels or float32. Where each replicate encodes its rows by its own training rows, a
        row of the data set stands here once per replicate.
    labels: [row] uint8, class numbers.
    identifiers: [row] int32, the row's number in the data set.
    training, validation: [replicate, n] int32, positions in `inputs`.
    features: names, one per column of `inputs`.
    scale: what the network multiplies `inputs` by: 1/255 for pixels, else 1.
    image: (height, width) where a row is an image, else empty.
    """

    inputs: np.ndarray
    labels: np.ndarray
    identifiers: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    features: tuple[str, ...]
    scale: float
    image: tuple[int, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """Rows that no training, validation, scaling or choice has seen; fields as in `Development`.

    groups: [row], the number of the group that each row belongs to, by which errors are counted; empty without groups.
    """

    inputs: np.ndarray
    labels: np.ndarray
    identifiers: np.ndarray
    test: np.ndarray  # [replicate, n] int32, positions in `inputs`
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))


class LeakError(UserError):
    """A held-out row is among the rows of the same replicate's development."""


def check_no_leak(development: Development, held_out: HeldOut) -> None:
    """Raise LeakError where a replicate could have seen a row that it is judged on."""
    for replicate, test in enumerate(held_out.test):
        seen = np.concatenate([development.training[replicate], development.validation[replicate]])
        shared = np.intersect1d(development.identifiers[seen], held_out.identifiers[test])
        if shared.size:
            raise LeakError(
                f"replicate {replicate}: {shared.size} held-out rows are in the development file (the first is row "
                f"{shared[0]}), expected none: run the preprocess stage again"
            )


def find_development(task: str) -> Path:
    return DEVELOPMENT / task / "rows.npz"


def find_held_out(task: str) -> Path:
    return HELD_OUT / task / "rows.npz"


def save_samples(task: str, development: Development, held_out: HeldOut) -> None:
    write_arrays(find_development(task), vars(development) | {"image": np.array(development.image, int)})
    write_arrays(find_held_out(task), vars(held_out))


def load_development(task: str) -> Development:
    fields = read_arrays(find_development(task), written_by="preprocess")
    return Development(**fields | {"image": tuple(fields["image"].tolist())})


def load_held_out(task: str) -> HeldOut:
    return HeldOut(**read_arrays(find_held_out(task), written_by="preprocess"))
