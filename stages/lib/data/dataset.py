"""What every kind of data set has to provide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stages.lib.core.cli import UserError
from stages.lib.core.fields import Strict
from stages.lib.data.facts import Facts

Read = Callable[[str], bytes]  # name of a file -> its content
Encode = Callable[[np.ndarray], np.ndarray]  # row numbers -> inputs [row, feature]

NUM_SHOWN = 3  # examples shown for each fault


class DataError(UserError, ValueError):
    """The data are not what their declaration or their format says; the message has one line per fault."""


@dataclass(frozen=True)
class Rows:
    """All rows of a data set, checked; the test rows that the data set itself sets apart stand last.

    labels: [row] uint8, class numbers.
    features: names, one per column of the inputs.
    fit: given the row numbers of the training rows, returns the function that encodes rows. It may look at no others.
    shared: whether the encoding is the same whatever the training rows, so that replicates can share their inputs.
    num_own_test: number of test rows that the data set itself sets apart.
    scale: what the network multiplies the inputs by.
    image: (height, width) where a row is an image, else empty.
    """

    labels: np.ndarray
    features: tuple[str, ...]
    fit: Callable[[np.ndarray], Encode]
    shared: bool = False
    num_own_test: int = 0
    scale: float = 1.0
    image: tuple[int, ...] = ()


class Dataset(Strict):
    """A data set as params.yaml declares it. Subclasses add `kind: Literal[...]`, their name in params.yaml."""

    encodings: ClassVar[tuple[str, ...]] = ("encoded",)  # what `features` of a study may be

    @property
    @abstractmethod
    def raw_files(self) -> tuple[str, ...]:
        """Names of the files in data/raw/<data set>/."""

    @property
    def source_files(self) -> dict[str, str]:
        """Raw files that are copies of files in the project: name in data/raw/<data set>/ -> path in the project."""
        return {}

    @abstractmethod
    def facts(self, read: Read) -> Facts:
        """Class counts and shape; `read` gives the content of a file by its path in the project.

        Raises DataError where a file in the project is missing or cannot be used.
        """

    @abstractmethod
    def load(self, load_raw: Read, encoding: str) -> Rows:
        """Read and check the raw files; `load_raw` gives the content of one of `raw_files`.

        encoding: one of `encodings`. Raises DataError with every fault that was found.
        """


def list_examples(examples: Sequence[str]) -> str:
    """The first examples of a fault, and the number of the others."""
    more = [f"{len(examples) - NUM_SHOWN} more"] if len(examples) > NUM_SHOWN else []
    return ", ".join([*examples[:NUM_SHOWN], *more])
