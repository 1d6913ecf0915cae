"""The lanes of a run: every replicate at every point of strengths. Only this module knows their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Points times replicates. Lane p * num_replicates + r is replicate r at point p; point 0 holds the knobs."""

    num_points: int
    num_replicates: int

    @classmethod
    def of_lanes(cls, num_lanes: int, num_replicates: int) -> Grid:
        """The grid of so many lanes; ValueError where they are no whole number of points."""
        if num_lanes % num_replicates:
            raise ValueError(f"{num_lanes} lanes are no multiple of {num_replicates} replicates")
        return cls(num_lanes // num_replicates, num_replicates)

    @property
    def num_lanes(self) -> int:
        return self.num_points * self.num_replicates

    def over_points(self, values: Any, tile: Callable[..., Any] = np.tile) -> Any:
        """Repeat [replicate, ...] at every point: [lane, ...]. `tile` is NumPy's or TensorFlow's."""
        return values if self.num_points == 1 else tile(values, [self.num_points] + [1] * (len(values.shape) - 1))

    def over_replicates(self, values: Sequence[float]) -> np.ndarray:
        """Give every replicate of a point the point's value: [point] to [lane]."""
        return np.repeat(np.asarray(values), self.num_replicates)

    def by_point(self, values: np.ndarray) -> np.ndarray:
        """[lane, ...] as [point, replicate, ...]."""
        return values.reshape(self.num_points, self.num_replicates, *values.shape[1:])

    def lanes_at(self, points: Any) -> np.ndarray:
        """The lane [replicate] of each replicate at its point; points: one number, or [replicate]."""
        return np.broadcast_to(points, self.num_replicates) * self.num_replicates + np.arange(self.num_replicates)
