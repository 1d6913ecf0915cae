"""Every random number of a run, drawn by NumPy from (seed, replicate, stream, member) and from nothing else.

Thus all variants and strengths share start weights and batch order (a paired comparison), the draws of a lane do not
depend on the lanes trained beside it, and tests can play the same masks back to stock Keras.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from stages.lib.lanes.plan import Grid, Start


def generators(seed: int, starts: Sequence[Start], stream: str) -> list[np.random.Generator]:
    """One independent generator per start. SFC64 is NumPy's fastest bit generator.

    NumPy fills up fewer than four numbers with 0, so the first member has the numbers of (seed, replicate, stream).
    """
    key = zlib.crc32(stream.encode())
    return [np.random.Generator(np.random.SFC64([seed, replicate, key, member])) for replicate, member in starts]


def draw_glorot(generator: np.random.Generator, num_inputs: int, num_outputs: int) -> np.ndarray:
    """A start kernel [in, out], uniform in +-sqrt(6 / (in + out)), Keras' default (Glorot and Bengio 2010, eq. 16)."""
    limit = np.sqrt(6 / (num_inputs + num_outputs))
    return generator.uniform(-limit, limit, (num_inputs, num_outputs))


def batch_orders(seed: int, starts: Sequence[Start], training: np.ndarray) -> Iterator[np.ndarray]:
    """Epoch after epoch, the order in which each start sees its rows.

    Args:
        training: [start, row], numbers of the training rows in the pool.

    Yields:
        [start, row] int32: the same numbers, each start's in an order of its own.
    """
    streams = generators(seed, starts, "order")
    while True:
        orders = [stream.permutation(rows) for stream, rows in zip(streams, training, strict=True)]
        yield np.stack(orders).astype(np.int32)


class Noise(NamedTuple):
    """Random numbers that a training step needs for each row of its batch.

    uniform: float32 in [0, 1). permutation: int32, an order of the batch's rows.
    normal: float32, mean 0, deviation 1, one of 65,536 equally likely values.
    kept: bool, False with a probability equal to the strength, to within 1 / 65,536. All strengths of a start use
        the same draw: what a small strength drops, a larger one drops too.
    beta: float32 from Beta(strength, strength), drawn for each lane.
    """

    name: str
    kind: Literal["uniform", "normal", "permutation", "kept", "beta"]
    shape: tuple[int, ...]  # per row
    strengths: np.ndarray = np.empty(0)  # [lane], kept and beta only

    def of_lanes(self, lanes: np.ndarray) -> Noise:
        """The same for some of the lanes."""
        return self._replace(strengths=self.strengths[lanes]) if self.strengths.size else self


class NoiseSource:
    """Draws the random numbers that `noises` lists, step after step.

    The draws of a start are one sequence. They do not depend on how many steps are drawn at once, nor on which starts
    are drawn beside it. A start that is listed twice, as in a block of lanes, is drawn once (beta: for each lane).
    """

    def __init__(self, noises: Sequence[Noise], *, seed: int, starts: Sequence[Start]):
        self.noises = noises
        unique = {start: place for place, start in enumerate(dict.fromkeys(starts))}
        self.places = [unique[start] for start in starts]  # [start] among the unique ones
        self.streams = {}
        for noise in noises:
            owners = [*starts] * (len(noise.strengths) // len(starts)) if noise.kind == "beta" else [*unique]
            self.streams[noise.name] = generators(seed, owners, noise.name)

    def bytes_per_step(self, num_rows: int) -> int:
        return sum(self._bytes_per_draw(noise) * num_rows * math.prod(noise.shape) for noise in self.noises)

    def _bytes_per_draw(self, noise: Noise) -> int:
        """Bytes of one number for each start or lane."""
        return (1 if noise.kind == "kept" else 4) * max(len(self.places), len(noise.strengths))

    def draw(self, num_steps: int, num_rows: int) -> dict[str, np.ndarray]:
        """Name -> [step, start (kept, beta: lane), row, ...]."""
        return {noise.name: self._draw(noise, num_steps, num_rows) for noise in self.noises}

    def _draw(self, noise: Noise, num_steps: int, num_rows: int) -> np.ndarray:
        streams, size = self.streams[noise.name], (num_steps, num_rows, *noise.shape)
        if noise.kind == "uniform":
            return self._over_starts([stream.random(size, np.float32) for stream in streams])
        if noise.kind == "permutation":
            rows = np.tile(np.arange(num_rows, dtype=np.int32), (num_steps, 1))
            return self._over_starts([stream.permuted(rows, axis=1) for stream in streams])
        if noise.kind == "beta":
            draws = [
                stream.beta(alpha, alpha, size) if alpha > 0 else np.ones(size)  # alpha 0: every row stays as it is
                for stream, alpha in zip(streams, noise.strengths, strict=True)
            ]
            return np.stack(draws, axis=1).astype(np.float32)
        bits = [draw_bits(stream, num_steps, math.prod(size[1:])) for stream in streams]
        if noise.kind == "normal":
            values = look_up(normal_quantiles(), [bits[place] for place in self.places])
        else:
            values = mark_kept(self._over_starts(bits), noise.strengths)
        return values.reshape(num_steps, -1, *size[1:])

    def _over_starts(self, draws: Sequence[np.ndarray]) -> np.ndarray:
        """[step, start, ...] from the draws [step, ...] of each of the unique ones."""
        return np.stack([draws[place] for place in self.places], axis=1)


def draw_bits(generator: np.random.Generator, num_steps: int, count: int) -> np.ndarray:
    """Draw 16 random bits each, [step, count] uint16: many times as fast as NumPy's uniform and normal numbers.

    A step takes a whole number of the generator's 64-bit words.
    """
    words = generator.bit_generator.random_raw(num_steps * -(-count // 4))
    return words.view(np.uint16).reshape(num_steps, -1)[:, :count]


def mark_kept(bits: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Which draws [step, start, count] are at least their rate [lane]: [step, point, start, count]."""
    thresholds = np.minimum(np.round(rates * 65536), 65535).astype(np.uint16)
    grid = Grid.of_lanes(len(rates), bits.shape[1])
    return bits[:, None] >= grid.by_point(thresholds)[..., None]


def look_up(table: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """table[places], [step, start, ...] from the places [step, ...] of each start.

    Each piece goes right to where it stays: to write it twice, into new memory, takes three times as long.
    """
    values = np.empty((len(places[0]), len(places), *places[0].shape[1:]), table.dtype)
    for start, part in enumerate(places):
        for step, chosen in enumerate(part):
            np.take(table, chosen.astype(np.intp), out=values[step, start], mode="clip")
    return values


@cache
def normal_quantiles() -> np.ndarray:
    """[65536] float32: the normal distribution's values at the middles of as many equal shares of probability."""
    positive = [NormalDist().inv_cdf((place + 0.5) / 65536) for place in range(32768, 65536)]
    return np.concatenate([-np.flip(positive), positive]).astype(np.float32)
