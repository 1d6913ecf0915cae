"""The work that `make bench` times: the tutorial's two networks on rows of their data sets' shapes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

IMAGES = Path("data/raw/fashion_mnist/train-images-idx3-ubyte")
IDX_HEADER = 16  # bytes before the pixels
QUICK = 20  # a quick run does this part of the work


@dataclass(frozen=True)
class Task:
    """What one network is put through.

    sizes: features, units of each hidden layer (relu), outputs; one output is a sigmoid, more are a softmax.
    l2: penalty on the hidden kernels. share: of the rows that scikit-learn is given; its time is extrapolated.
    """

    sizes: tuple[int, ...]
    l2: float
    rows: int
    batch_size: int
    epochs: int
    share: float = 1.0

    @property
    def is_image(self) -> bool:
        return self.sizes[0] == 784

    @property
    def scale(self) -> float:
        return 1 / 255 if self.is_image else 1

    def quick(self) -> "Task":
        """The same with few epochs, or where there is one, with few rows."""
        if self.epochs > 1:
            return replace(self, epochs=self.epochs // QUICK)
        return replace(self, rows=self.rows // QUICK)

    def load_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [row, feature], uint8 pixels (real images where they are at hand) or float32, and labels [row]."""
        generator = np.random.default_rng(0)
        labels = np.arange(self.rows) % max(self.sizes[-1], 2)
        if not self.is_image:
            return generator.normal(size=(self.rows, self.sizes[0])).astype(np.float32), labels
        if IMAGES.is_file():
            pixels = np.fromfile(IMAGES, np.uint8, count=self.rows * 784, offset=IDX_HEADER)
            return pixels.reshape(self.rows, 784), labels
        return generator.integers(0, 256, (self.rows, 784), np.uint8), labels


FASHION = Task(sizes=(784, 64, 10), l2=0, rows=60_000, batch_size=30, epochs=1, share=0.2)
TASKS = {
    "thoracic": Task(sizes=(16, 30, 30, 1), l2=0.01, rows=300, batch_size=30, epochs=100),
    "fashion_30": FASHION,
    "fashion_128": replace(FASHION, batch_size=128),
    "fashion_small": Task(sizes=(784, 64, 10), l2=0.001, rows=2000, batch_size=32, epochs=20),
}
