"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels in ten classes, 10,000 of them set apart for tests.

Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms, 2017.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.data.dataset import DataError, Dataset, Encode, Read, Rows
from stages.lib.data.facts import Facts

IMAGE_SHAPE = (28, 28)
NUM_CLASSES = 10
NUM_TRAINING, NUM_TEST = 60_000, 10_000
PIXEL_SCALE = 1 / 255
CLASS_NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MOST_DIMENSIONS = 64  # that an array of NumPy has
UNSIGNED_BYTE = 0x08  # IDX code of the element type


class FashionMnist(Dataset):
    """Pixels stay bytes and are scaled by the network, so that a stored image takes 784 bytes."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"

    @property
    def raw_files(self) -> tuple[str, ...]:
        return (
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        )

    def facts(self, read: Read) -> Facts:
        counts = (NUM_TRAINING // NUM_CLASSES,) * NUM_CLASSES
        return Facts(counts, NUM_TEST, IMAGE_SHAPE, "Fashion-MNIST", "images", CLASS_NAMES)

    def load(self, load_raw: Read, encoding: str) -> Rows:
        images, labels, test_images, test_labels = map(load_raw, self.raw_files)
        return make_rows(
            read_fashion(images, labels, NUM_TRAINING),
            read_fashion(test_images, test_labels, NUM_TEST),
        )


def make_rows(development: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Rows:
    """Rows of (images, labels) pairs; the encoding is the pixels themselves."""
    pixels = np.concatenate([development[0], test[0]])

    def fit(_training: np.ndarray) -> Encode:
        return pixels.__getitem__

    return Rows(
        labels=np.concatenate([development[1], test[1]]),
        features=tuple(f"pixel_{number}" for number in range(pixels.shape[1])),
        fit=fit,
        shared=True,
        num_own_test=len(test[1]),
        scale=PIXEL_SCALE,
        image=IMAGE_SHAPE,
    )


def read_fashion(images: bytes, labels: bytes, num_rows: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Parse and check two IDX files: images uint8 [row, 784], grey levels 0..255, and labels uint8 [row], 0..9."""
    x, y = parse_idx(images, name="images"), parse_idx(labels, name="labels")
    for name, found, expected in (("images", x.shape, (num_rows, *IMAGE_SHAPE)), ("labels", y.shape, (num_rows,))):
        if found != expected:
            raise DataError(f"{name}: shape {found}, expected {expected}: fetch the files again")
    if (wrong := np.flatnonzero(y >= NUM_CLASSES)).size:
        raise DataError(
            f"labels: {y[wrong[0]]} in row {wrong[0]}, expected 0 to {NUM_CLASSES - 1}: fetch the files again"
        )
    return x.reshape(num_rows, -1), y


def parse_idx(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Parse an IDX file: 00 00, element type, number of dimensions, each size as big-endian uint32, then the elements.

    Returns a read-only view of the data. Raises DataError where the file has another format, is cut short or too long.
    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{name}: starts with '{data[:4].hex(' ')}', expected '00 00' and two codes, as in an IDX file")
    element_type, num_dimensions = data[2:4]
    if element_type != UNSIGNED_BYTE:
        raise DataError(f"{name}: element type 0x{element_type:02x}, expected 0x{UNSIGNED_BYTE:02x} (unsigned byte)")
    if num_dimensions > MOST_DIMENSIONS:
        raise DataError(f"{name}: {num_dimensions} dimensions, expected at most {MOST_DIMENSIONS}")
    start = 4 + 4 * num_dimensions
    if len(data) < start:
        raise DataError(f"{name}: {len(data)} bytes, too short for the sizes of {num_dimensions} dimensions")
    shape = np.frombuffer(data, ">u4", num_dimensions, offset=4).tolist()
    if len(data) - start != math.prod(shape):
        raise DataError(f"{name}: {len(data) - start} elements, expected {math.prod(shape)} for the shape {shape}")
    try:
        return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
    except ValueError:  # one dimension is 0, and the others are more than NumPy takes
        raise DataError(f"{name}: the shape {shape} is no array, expected smaller dimensions") from None
