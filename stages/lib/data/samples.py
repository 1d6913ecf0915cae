"""The rows that a study learns from, and the rows it is judged on.

They are two files, and no stage but `evaluate` and `reference` reads the second one. A file holds each row once,
however many replicates use it, and the few numbers by which each of them encodes it. Loading a file encodes its rows,
unless they are so many that they would fill the memory: then whoever uses rows encodes these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.cli import UserError
from stages.lib.core.files import add_prefix, pop_prefix, read_arrays, write_arrays

DEVELOPMENT, HELD_OUT = Path("data/development"), Path("data/held_out")

ENCODED_BYTES = 100_000_000  # of the rows of all replicates; more are not encoded in advance


class Samples:
    """What `Development` and `HeldOut` have in common: how the inputs of some rows are made of what is stored."""

    inputs: np.ndarray
    encoders: dict[str, np.ndarray]
    scale: float

    def take(self, rows: np.ndarray, replicates: Sequence[int]) -> np.ndarray:
        """What networks get: float32 [replicate, n, feature], of the rows [replicate, n] of these replicates."""
        if self.encoders:
            return encoder_of(self.encoders, replicates).transform(self.inputs[rows])
        return self.inputs[rows].astype(np.float32) * np.float32(self.scale)


@dataclass(frozen=True)
class Development(Samples):
    """Rows for training and validation.

    inputs: [row, feature], uint8 pixels or float32. Where each replicate encodes its rows by its own training rows, a
        row of the data set stands here once per replicate; or once, float64, where it is yet to be encoded.
    labels: [row] uint8, class numbers.
    identifiers: [row] int32, the row's number in the data set.
    training, validation: [replicate, n] int32, positions in `inputs`.
    features: names, one per column of `inputs`.
    scale: what the network multiplies `inputs` by: 1/255 for pixels, else 1.
    image: (height, width) where a row is an image, else empty.
    encoders: field of `Encoder` -> [replicate, feature], where rows are yet to be encoded; else empty.
    """

    inputs: np.ndarray
    labels: np.ndarray
    identifiers: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    features: tuple[str, ...]
    scale: float
    image: tuple[int, ...] = ()
    encoders: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOut(Samples):
    """Rows that no training, validation, scaling or choice has seen; fields as in `Development`.

    groups: [row], the number of the group that each row belongs to, by which errors are counted; empty without groups.
    """

    inputs: np.ndarray
    labels: np.ndarray
    identifiers: np.ndarray
    test: np.ndarray  # [replicate, n] int32, positions in `inputs`
    scale: float = 1.0
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    encoders: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoder:
    """Clips and standardises columns by a few numbers that were fitted on training rows, each one or [..., feature].

    input = (clip(value, low, high) - mean) / scale, where `fill` stands in for a missing value.
    """

    low: np.ndarray | float = -np.inf
    high: np.ndarray | float = np.inf
    mean: np.ndarray | float = 0.0
    scale: np.ndarray | float = 1.0
    fill: np.ndarray | float = 0.0

    def transform(self, columns: np.ndarray) -> np.ndarray:
        """Inputs float32 [..., row, feature] of columns float64 of that shape, NaN where a value is missing."""
        filled = np.where(np.isnan(columns), self.fill, columns)
        return ((filled.clip(self.low, self.high) - self.mean) / self.scale).astype(np.float32, order="C")


def encoder_of(encoders: dict[str, np.ndarray], replicates: Sequence[int]) -> Encoder:
    """One for the rows [replicate, row, feature] of some replicates."""
    return Encoder(**{name: numbers[list(replicates), None] for name, numbers in encoders.items()})


@dataclass(frozen=True)
class StoredRows:
    """Rows as they stand in a file, each once.

    columns: [row, feature], float64 before the encoding, or uint8 pixels, which are not encoded.
    labels, identifiers, scale, features, image, groups: as in `Development` and `HeldOut`.
    parts: `training`, `validation` or `test` -> [replicate, row] bool, the rows of each replicate.
    encoders: field of `Encoder` -> [replicate, feature]; empty where nothing is encoded.
    """

    columns: np.ndarray
    labels: np.ndarray
    identifiers: np.ndarray
    features: tuple[str, ...]
    scale: float
    image: tuple[int, ...]
    groups: np.ndarray
    parts: dict[str, np.ndarray]
    encoders: dict[str, np.ndarray]

    def encode(self, most: float) -> dict[str, Any]:
        """Inputs, labels, identifiers, encoders, and the positions of each part [replicate, n], as in `Development`.

        A replicate encodes the rows of its parts, one part after the other; without encoders all share the rows. Rows
        that would take more than `most` bytes are not encoded.
        """
        rows = {
            name: np.stack([np.flatnonzero(row) for row in part]).astype(np.int32) for name, part in self.parts.items()
        }
        joined, num_features = np.concatenate([*rows.values()], axis=1), self.columns.shape[1]
        if not self.encoders or joined.size * num_features * np.float32().nbytes > most:
            named = {name: getattr(self, name) for name in ("labels", "identifiers", "encoders")}
            return {"inputs": self.columns, **named, **rows}
        inputs = np.empty((joined.size, num_features), np.float32)
        for replicate, (chosen, part) in enumerate(zip(joined, np.split(inputs, len(joined)), strict=True)):
            part[:] = encoder_of(self.encoders, [replicate]).transform(self.columns[chosen])[0]
        places = np.arange(joined.size, dtype=np.int32).reshape(joined.shape)
        widths = np.cumsum([part.shape[1] for part in rows.values()])[:-1]
        positions = dict(zip(rows, np.split(places, widths, axis=1), strict=True))
        seen = joined.ravel()
        return {"inputs": inputs, "labels": self.labels[seen], "identifiers": self.identifiers[seen], **positions}


def stack_encoders(encoders: Sequence[Encoder], num_features: int) -> dict[str, np.ndarray]:
    """Field -> [replicate, feature]; empty without encoders."""
    names = vars(encoders[0]) if encoders else ()
    return {
        name: np.stack([np.broadcast_to(getattr(encoder, name), num_features) for encoder in encoders])
        for name in names
    }


class LeakError(UserError):
    """A held-out row is among the rows of the same replicate's development."""


def check_no_leak(development: StoredRows, held_out: StoredRows) -> None:
    """Raise LeakError where a replicate could have seen a row that it is judged on."""
    for replicate, test in enumerate(held_out.parts["test"]):
        seen = development.parts["training"][replicate] | development.parts["validation"][replicate]
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


def save_rows(path: Path, stored: StoredRows) -> None:
    """Of [replicate, row] a bit each is kept."""
    fields = vars(stored) | {"image": np.array(stored.image, int)}
    parts, encoders = fields.pop("parts"), fields.pop("encoders")
    packed = {name: np.packbits(part, axis=1) for name, part in parts.items()}
    write_arrays(path, fields | add_prefix("in", packed) | add_prefix("encoder", encoders))


def load_rows(path: Path) -> StoredRows:
    fields = read_arrays(path, written_by="preprocess")
    packed, encoders = pop_prefix("in", fields), pop_prefix("encoder", fields)
    count = len(fields["labels"])
    parts = {name: np.unpackbits(part, axis=1, count=count).astype(bool) for name, part in packed.items()}
    return StoredRows(**fields | {"image": tuple(fields["image"].tolist())}, parts=parts, encoders=encoders)


def encode_development(stored: StoredRows, most: float = ENCODED_BYTES) -> Development:
    return Development(**stored.encode(most), features=stored.features, scale=stored.scale, image=stored.image)


def encode_held_out(stored: StoredRows, most: float = ENCODED_BYTES) -> HeldOut:
    rows = stored.encode(most)
    places = np.searchsorted(stored.identifiers, rows["identifiers"])
    groups = stored.groups[places] if stored.groups.size else stored.groups
    return HeldOut(**rows, scale=stored.scale, groups=groups)


def load_development(task: str, most: float = ENCODED_BYTES) -> Development:
    """The development rows of a task, encoded for each replicate where that takes at most so many bytes."""
    return encode_development(load_rows(find_development(task)), most)


def load_samples(task: str) -> tuple[Development, HeldOut]:
    """All rows of a task, as above; LeakError where a held-out row is among those for development."""
    development, held_out = load_rows(find_development(task)), load_rows(find_held_out(task))
    check_no_leak(development, held_out)
    encoded = encode_development(development)
    return encoded, encode_held_out(held_out, 0 if encoded.encoders else ENCODED_BYTES)
