"""What a kind of data set provides: its facts, its rows and how they are encoded, its raw files and their sources."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from stages.lib.core.cli import UserError
from stages.lib.core.fields import Strict
from stages.lib.data.samples import Encoder

Read = Callable[[str], bytes]  # name of a file -> its content

NUM_SHOWN = 3  # examples shown for each fault


class DataError(UserError, ValueError):
    """The data are not what their declaration or their format says; the message has one line per fault."""

    def __init__(self, text: str, *faults: str):
        super().__init__("\n  ".join([text, *faults]))


def list_examples(examples: Sequence[str], most: int = NUM_SHOWN) -> str:
    """The first examples of a fault, and the number of the others."""
    more = [f"{len(examples) - most} more"] if len(examples) > most else []
    return ", ".join([*examples[:most], *more])


class Units(NamedTuple):
    """What a split moves as a whole, rows or groups of rows: how many there are, how many hold the rarest class."""

    noun: str
    number: int
    rarest: int


class Facts(NamedTuple):
    """Counts and shape of a data set, on which protocols, studies and what is written of them depend.

    class_counts: number of rows of each class [class], test rows of the data set's own not counted.
    num_own_test: number of test rows that the data set itself sets apart.
    image: (height, width) where a row is an image, else empty.
    title, unit, class_names: of the data set, its rows and its classes; classes without names go by number.
    num_columns: number of inputs of a row that is no image, where it is known.
    num_groups: number of groups of rows, such as patients with several rows each; 0 where each row is by itself.
    class_groups: number of groups that hold a row of each class [class].
    """

    class_counts: tuple[int, ...]
    num_own_test: int = 0
    image: tuple[int, ...] = ()
    title: str = ""
    unit: str = "rows"
    class_names: tuple[str, ...] = ()
    num_columns: int = 1
    num_groups: int = 0
    class_groups: tuple[int, ...] = ()

    @property
    def units(self) -> Units:
        if self.num_groups:
            return Units("group", self.num_groups, min(self.class_groups))
        return Units("row", self.num_rows, min(self.class_counts))

    @property
    def num_inputs(self) -> int:
        """Inputs of a network."""
        return prod(self.image) if self.image else self.num_columns

    @property
    def num_rows(self) -> int:
        """Number of rows that a protocol may split."""
        return sum(self.class_counts)

    @property
    def num_classes(self) -> int:
        return len(self.class_counts)

    @property
    def outputs(self) -> int:
        """Outputs of a network: 1 (the probability of class 1) for two classes, else one for each class."""
        return 1 if self.num_classes == 2 else self.num_classes


# Rows and their encoding -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """All rows of a data set, checked; the test rows that the data set itself sets apart stand last.

    labels: [row] uint8, class numbers.
    columns: [row, feature], float64 before the encoding, or uint8 pixels, which are not encoded.
    features: names, one per column.
    fit: makes an encoder of the columns of training rows; None where nothing is encoded, so that replicates share rows.
    num_own_test: number of test rows that the data set itself sets apart.
    scale: what the network multiplies the inputs by.
    image: (height, width) where a row is an image, else empty.
    groups: [row], the number of the group that each row belongs to; None where each row is by itself.
    dates: columns of dates or times that are no features.
    """

    labels: np.ndarray
    columns: np.ndarray
    features: tuple[str, ...]
    fit: Callable[[np.ndarray], Encoder] | None = None
    num_own_test: int = 0
    scale: float = 1.0
    image: tuple[int, ...] = ()
    groups: np.ndarray | None = None
    dates: tuple[str, ...] = ()


# Raw files and their sources ---------------------------------------------------------------------------------------


class Pin(NamedTuple):
    """What a raw file must be: its size in bytes and its SHA-256, both of the decompressed content."""

    size: int
    sha256: str


@dataclass(frozen=True)
class FileSource:
    """A place that may have the raw files; `read` maps a file's name and size to its content, not yet checked.

    It may read no more than that size needs: a source that never ends is left.
    """

    label: str
    read: Callable[[str, int], bytes]


@dataclass(frozen=True)
class ProjectFile:
    """A file in the project: its path, its size in bytes and its SHA-256 when `plan` read it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class FetchPlan:
    """A data set's name and kind, and its raw files that are copies of project files: raw name -> file.

    An edited file is fetched again, as its SHA-256 is another; no other data set is.
    """

    dataset: str
    kind: str
    files: dict[str, ProjectFile]


def make_fetch_plan(dataset: str, kind: str, files: Mapping[str, str], read: Read) -> FetchPlan:
    """files: raw name -> path in the project; `read` gives the content of a file by its path."""
    content = {name: read(path) for name, path in files.items()}
    found = {name: ProjectFile(files[name], len(data), hash_data(data)) for name, data in content.items()}
    return FetchPlan(dataset, kind, found)


def hash_data(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Declaration -------------------------------------------------------------------------------------------------------


class Dataset(Strict):
    """A data set as params.yaml declares it. Subclasses add `kind: Literal[...]`, their name in params.yaml.

    encodings: what `features` of a study may be.
    pinned: the raw files by their name in data/raw/<data set>/, where they are the same for every data set of the kind.
    how_to_mend: what to do when no source has the raw files.
    """

    encodings: ClassVar[tuple[str, ...]] = ("encoded",)
    pinned: ClassVar[Mapping[str, Pin]] = {}
    how_to_mend: ClassVar[str]

    @property
    def source_files(self) -> dict[str, str]:
        """Raw files that are copies of files in the project: name in data/raw/<data set>/ -> path in the project."""
        return {}

    @classmethod
    def pins(cls, plan: FetchPlan) -> dict[str, Pin]:
        """All raw files, those that are copies of project files included."""
        return {**cls.pinned, **{name: Pin(file.size, file.sha256) for name, file in plan.files.items()}}

    @classmethod
    @abstractmethod
    def sources(cls, plan: FetchPlan, scratch: Path) -> list[FileSource]:
        """The sources to ask for the raw files, in order; scratch: a temporary folder."""

    @abstractmethod
    def facts(self, read: Read) -> Facts:
        """Class counts and shape; `read` gives the content of a file by its path in the project.

        Raises DataError where a file in the project is missing or cannot be used.
        """

    @abstractmethod
    def load(self, load_raw: Read, encoding: str) -> Rows:
        """Read and check the raw files; `load_raw` gives the content of one by its name.

        encoding: one of `encodings`. Raises DataError with every fault that was found.
        """
