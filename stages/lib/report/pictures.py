"""Pictures of image studies: what the first layer looks at, and the surest mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stages.lib.judge.predictions import Mistakes
from stages.lib.lanes.run import TrainedRun
from stages.lib.report.png import encode_png, line_up
from stages.lib.report.series import Picture
from stages.lib.report.summarize_training import list_kernels

NUM_UNITS = 4  # shown; the same units start with the same weights in every variant
QUANTILE = 0.99  # of the sizes: black and white


def make_picture(study: str, variant: str, shows: str, label: str, levels: np.ndarray) -> Picture:
    height, width = levels.shape
    return Picture(study, variant, shows, label, width, height, encode_png(levels))


def draw_first_layer(study: str, variant: str, run: TrainedRun, image: tuple[int, ...]) -> Iterator[Picture]:
    """Weights of the first units of replicate 0, and the mean size of the weights from each pixel over all units."""
    kernel = next(list_kernels(run))
    units = np.nan_to_num(kernel[0, :, :NUM_UNITS].T.reshape(-1, *image))
    largest = np.quantile(np.abs(units), QUANTILE) or 1.0
    label = f"First-layer weights of {len(units)} units: white is positive, black negative, grey zero"
    yield make_picture(study, variant, "first_layer", label, line_up(0.5 + units / (2 * largest)))
    sizes = np.nan_to_num(np.abs(kernel).mean(axis=(0, 2)).reshape(image))
    label = "Mean size of the weights from each pixel: white is large"
    largest = np.quantile(sizes, QUANTILE) or 1.0
    yield make_picture(study, variant, "input_size", label, sizes / largest)


def draw_mistakes(
    study: str, variant: str, mistakes: Mistakes, image: tuple[int, ...], names: Sequence[str]
) -> Iterator[Picture]:
    """The held-out images that a variant's networks, averaged, were most surely wrong about."""
    for index in np.flatnonzero(np.array(mistakes.variant) == variant):
        label = (
            f"{names[mistakes.predicted[index]]} {mistakes.confidence[index]:.0%}, is {names[mistakes.label[index]]}"
        )
        levels = mistakes.inputs[index].reshape(image) * mistakes.scale
        yield make_picture(study, variant, "mistake", label, levels)
