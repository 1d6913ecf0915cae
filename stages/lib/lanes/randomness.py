"""Every random number of a run, drawn on the host by NumPy from (seed, replicate, stream) and from nothing else.

So variants and strengths share start weights and batch order (paired comparison), a lane's draws do not depend on which
other lanes are trained beside it, and tests can feed the same masks to stock Keras.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np


def generators(seed: int, replicates: Sequence[int], stream: str) -> list[np.random.Generator]:
    """One independent generator per replicate. SFC64 is NumPy's fastest bit generator."""
    key = zlib.crc32(stream.encode())
    return [np.random.Generator(np.random.SFC64([seed, replicate, key])) for replicate in replicates]


def draw_glorot(generator: np.random.Generator, num_inputs: int, num_outputs: int) -> np.ndarray:
    """A start kernel [in, out], uniform in +-sqrt(6 / (in + out)), Keras' default (Glorot and Bengio 2010, eq. 16)."""
    limit = np.sqrt(6 / (num_inputs + num_outputs))
    return generator.uniform(-limit, limit, (num_inputs, num_outputs))


def batch_orders(seed: int, replicates: Sequence[int], training: np.ndarray) -> Iterator[np.ndarray]:
    """Epoch after epoch, the order in which each replicate sees its rows.

    Args:
        training: [replicate, row], numbers of the training rows in the pool.

    Yields:
        [replicate, row] int32: the same numbers, each replicate's in an order of its own.
    """
    streams = generators(seed, replicates, "order")
    while True:
        orders = [stream.permutation(rows) for stream, rows in zip(streams, training, strict=True)]
        yield np.stack(orders).astype(np.int32)


class Noise(NamedTuple):
    """Random numbers that a training step needs for each row of its batch.

    uniform: float32 in [0, 1). normal: float32, mean 0, deviation 1. permutation: int32, an order of the batch's rows.
    beta: float32 from Beta(alpha, alpha); as its alpha differs from lane to lane, so do its draws.
    """

    name: str
    kind: Literal["uniform", "normal", "permutation", "beta"]
    shape: tuple[int, ...]  # per row
    alphas: np.ndarray | None = None  # [lane], beta only


class NoiseSource:
    """Draws what `noises` lists, step after step.

    The draws of a replicate are one sequence: how many steps are drawn at once, and which replicates are drawn beside
    it, does not change them.
    """

    def __init__(self, noises: Sequence[Noise], *, seed: int, replicates: Sequence[int]):
        self.noises = noises
        self.streams = {}
        for noise in noises:
            repeats = 1 if noise.alphas is None else len(noise.alphas) // len(replicates)
            self.streams[noise.name] = generators(seed, list(replicates) * repeats, noise.name)

    def bytes_per_step(self, num_rows: int) -> int:
        return sum(4 * num_rows * len(self.streams[noise.name]) * int(np.prod(noise.shape)) for noise in self.noises)

    def draw(self, num_steps: int, num_rows: int) -> dict[str, np.ndarray]:
        """Name -> [step, replicate (beta: lane), row, ...]."""
        return {noise.name: self._draw(noise, num_steps, num_rows) for noise in self.noises}

    def _draw(self, noise: Noise, num_steps: int, num_rows: int) -> np.ndarray:
        streams, size = self.streams[noise.name], (num_steps, num_rows, *noise.shape)
        if noise.kind == "permutation":
            rows = np.tile(np.arange(num_rows, dtype=np.int32), (num_steps, 1))
            return np.stack([stream.permuted(rows, axis=1) for stream in streams], axis=1)
        if noise.alphas is not None:
            draws = [
                stream.beta(alpha, alpha, size) if alpha > 0 else np.ones(size)  # alpha 0: every row stays as it is
                for stream, alpha in zip(streams, noise.alphas, strict=True)
            ]
            return np.stack(draws, axis=1).astype(np.float32)
        fill = np.random.Generator.random if noise.kind == "uniform" else np.random.Generator.standard_normal
        return np.stack([fill(stream, size, np.float32) for stream in streams], axis=1)
