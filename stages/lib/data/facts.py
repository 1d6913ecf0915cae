"""The facts of a data set that protocols, studies and what is written of them depend on."""

from __future__ import annotations

from math import prod
from typing import NamedTuple


class Facts(NamedTuple):
    """Counts and shape of a data set.

    class_counts: number of rows of each class [class], test rows of the data set's own not counted.
    num_own_test: number of test rows that the data set itself sets apart.
    image: (height, width) where a row is an image, else empty.
    title, unit, class_names: of the data set, its rows and its classes; classes without names go by number.
    num_columns: number of inputs of a row that is no image, where it is known.
    """

    class_counts: tuple[int, ...]
    num_own_test: int = 0
    image: tuple[int, ...] = ()
    title: str = ""
    unit: str = "rows"
    class_names: tuple[str, ...] = ()
    num_columns: int = 1

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
