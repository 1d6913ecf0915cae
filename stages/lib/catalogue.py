"""What exists: the regularisers and the data sets, and the rules that a plan must keep.

The regularisers themselves are in lib/lanes/regularizers.py; this table is apart so that `plan` needs no TensorFlow.
"""

from typing import Literal, NamedTuple

INFINITY = float("inf")


class Catalogued(NamedTuple):
    """The rules of one regulariser.

    minimum, below: its strength is at least the one and under the other. acts_on: kernels, all of them or those of the
    hidden layers unless the network says otherwise; hidden: what leaves a hidden layer; whole: batch or network.
    """

    minimum: float
    below: float
    acts_on: Literal["kernels", "hidden kernels", "hidden", "whole"]


REGULARIZERS: dict[str, Catalogued] = {
    "l1": Catalogued(0, INFINITY, "kernels"),
    "l2": Catalogued(0, INFINITY, "kernels"),
    "l1_proximal": Catalogued(0, INFINITY, "kernels"),
    "weight_decay": Catalogued(0, INFINITY, "kernels"),
    "activity_l1": Catalogued(0, INFINITY, "hidden"),
    "max_norm": Catalogued(1e-6, INFINITY, "hidden kernels"),
    "unit_norm": Catalogued(1e-6, INFINITY, "hidden kernels"),
    "batch_norm": Catalogued(0, 1, "hidden"),
    "dropout": Catalogued(0, 1, "hidden"),
    "label_smoothing": Catalogued(0, 1, "whole"),
    "cutout": Catalogued(0, 1, "whole"),
    "mixup": Catalogued(0, INFINITY, "whole"),
    "gaussian_noise": Catalogued(0, INFINITY, "whole"),
    "ema": Catalogued(0, 1, "whole"),
    "early_stopping": Catalogued(0, INFINITY, "whole"),
}
SOFT_TARGETS = ("label_smoothing", "mixup")  # a sparse loss, whose target is one class number, cannot express them


class DatasetFacts(NamedTuple):
    """development, smallest_class: rows in all and of the rarest class, less those of a fixed test set."""

    outputs: int
    development: int
    smallest_class: int
    protocol: str
    primaries: tuple[str, ...]
    features: tuple[str, ...]


DATASETS: dict[str, DatasetFacts] = {
    "thoracic_surgery": DatasetFacts(1, 470, 70, "repeated_stratified_k_fold", ("auc", "accuracy"), ("encoded", "raw")),
    "fashion_mnist": DatasetFacts(10, 60_000, 6_000, "fixed_test", ("accuracy",), ("encoded",)),
}
