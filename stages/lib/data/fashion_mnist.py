"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels in ten classes, 10,000 of them set apart for tests.

Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms, 2017.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from stages.lib.data.dataset import Dataset, Facts, FetchPlan, FileSource, Pin, Read, Rows
from stages.lib.data.download import from_debian_package, from_folder, from_mirror

IMAGE_SHAPE = (28, 28)
NUM_CLASSES = 10
NUM_TRAINING, NUM_TEST = 60_000, 10_000
IMAGES_START, LABELS_START = 16, 8  # bytes of the header of an IDX file (Y. LeCun, C. Cortes, C. Burges, MNIST)
PIXEL_SCALE = 1 / 255
CLASS_NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
# Of the decompressed content, since distributors compress the files anew.
PINS = {
    "train-images-idx3-ubyte": Pin(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": Pin(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": Pin(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": Pin(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
ZALANDO_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FOLDER_VARIABLE = "FASHION_MNIST_DIR"
PACKAGE, SYSTEM_FOLDER = "dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist")  # of Debian and Ubuntu

HOW_TO_MEND = f"""\
To mend it, do one of these and run this again:
  - put the four files, plain or .gz, into a folder and name it: {FOLDER_VARIABLE}=DIR
    (a named folder is the only source that is asked; without one the public sources are tried);
  - make one of the web addresses above reachable; a proxy is taken from HTTPS_PROXY;
  - on Debian or Ubuntu, install the package: apt-get install {PACKAGE}"""


class FashionMnist(Dataset):
    """Pixels stay bytes and are scaled by the network, so that a stored image takes 784 bytes."""

    kind: Literal["fashion_mnist"] = "fashion_mnist"
    pinned: ClassVar[Mapping[str, Pin]] = PINS
    how_to_mend: ClassVar[str] = HOW_TO_MEND

    @classmethod
    def sources(cls, plan: FetchPlan, scratch: Path) -> list[FileSource]:
        """A folder that the user names in the environment is the only one that is asked."""
        if named := os.environ.get(FOLDER_VARIABLE):
            return [from_folder(Path(named).expanduser())]
        mirrors = [from_mirror(ZALANDO_URL), from_mirror(KERAS_URL)]
        return [from_folder(SYSTEM_FOLDER), *mirrors, from_debian_package(PACKAGE, SYSTEM_FOLDER, scratch)]

    def facts(self, read: Read) -> Facts:
        counts = (NUM_TRAINING // NUM_CLASSES,) * NUM_CLASSES
        return Facts(counts, NUM_TEST, IMAGE_SHAPE, "Fashion-MNIST", "images", CLASS_NAMES)

    def load(self, load_raw: Read, encoding: str) -> Rows:
        """Nothing is checked: the content of the files is pinned."""
        images, labels, test_images, test_labels = (np.frombuffer(load_raw(name), np.uint8) for name in PINS)
        pixels = np.concatenate([images[IMAGES_START:], test_images[IMAGES_START:]])
        num_pixels = math.prod(IMAGE_SHAPE)
        return Rows(
            labels=np.concatenate([labels[LABELS_START:], test_labels[LABELS_START:]]),
            columns=pixels.reshape(-1, num_pixels),
            features=tuple(f"pixel_{number}" for number in range(num_pixels)),
            num_own_test=NUM_TEST,
            scale=PIXEL_SCALE,
            image=IMAGE_SHAPE,
        )
