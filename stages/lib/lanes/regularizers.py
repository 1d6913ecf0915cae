"""The catalogue: every regulariser, with its rules and the hooks through which it acts.

A hook that a regulariser does not override adds nothing to the graph. Strengths are vectors [lane]. Random numbers are
arguments: a regulariser lists in `noise` what it needs, and gets it back by name, [lane, row, ...].
ema and early_stopping have no hook: the trainer averages the weights, and the callbacks stop a lane.
To add one: a class here, its line in CATALOGUE, its knob in params.yaml, its stock counterpart in the tests' oracle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from stages.lib.lanes.optimizers import per_lane
from stages.lib.lanes.randomness import Noise
from stages.lib.lanes.runtime import keras, tf, with_gradient

INFINITY = float("inf")
NORM_EPSILON = 1e-7  # keras.config.epsilon(), which keeps a constraint's division finite
BATCH_NORM_EPSILON = 1e-3  # Keras' default, added to the variance

Tensors = Mapping[str, Any]  # name -> tensor


class KerasPart(NamedTuple):
    """Where it goes in a Keras network, and what it is.

    penalty: an argument of L1L2, name and value. constraint: of a kernel. sums, activity: a layer before or behind the
        activation of a hidden layer.
    """

    place: Literal["penalty", "constraint", "sums", "activity"]
    part: Any


class Regularizer:
    """One entry of the catalogue. Here all hooks leave their input as it is.

    Class attributes, the rules that `plan` checks:
        minimum, below: minimum <= strength < below.
        whole_number: the strength counts something.
        acts_on: "kernels", all of them or those of hidden layers, unless the network says otherwise; "hidden", the
            outputs of hidden layers; "whole", the batch or the network.
        softens_targets: targets become shares of classes, which a loss of class numbers cannot express.
        inert_at_zero: a strength of 0 in every lane leaves the regulariser out of the graph.
        single_precision: Keras rounds this strength to float32, also in a float64 network.
        scale: the scale on which its strengths are evenly spread, where a search does not state another.

    Args:
        strengths: [lane of the run].
        layers: numbers of the layers it acts on, counted from 1; empty where it acts on no single layer.
        image: (height, width) of an input that is an image, else empty.
        lanes: numbers of the lanes that it acts on, where these are not all of the run.
    """

    minimum: ClassVar[float] = 0
    below: ClassVar[float] = INFINITY
    whole_number: ClassVar[bool] = False
    acts_on: ClassVar[Literal["kernels", "hidden kernels", "hidden", "whole"]] = "whole"
    softens_targets: ClassVar[bool] = False
    inert_at_zero: ClassVar[bool] = True
    single_precision: ClassVar[bool] = False
    scale: ClassVar[Literal["linear", "log", "momentum"]] = "linear"
    keras_weights: ClassVar[tuple[str, ...]] = ()  # of its Keras layer, in the layer's order

    def __init__(
        self,
        strengths: np.ndarray,
        layers: Sequence[int] = (),
        dtype: tf.DType | None = None,
        image: tuple[int, ...] = (),
        lanes: tf.Variable | None = None,
    ):
        self.strengths, dtype = np.asarray(strengths), dtype or tf.float32
        self.of_run = tf.cast(tf.constant(self.strengths, tf.float32 if self.single_precision else dtype), dtype)
        self.layers, self.image, self.lanes = tuple(layers), image, lanes

    @property
    def strength(self) -> tf.Tensor:
        """[lane]."""
        return self.choose(self.of_run)

    def choose(self, values: tf.Tensor) -> tf.Tensor:
        """The values [lane] of the lanes that are trained, from those [lane of the run] of all."""
        return values if self.lanes is None else tf.gather(values, self.lanes)

    def noise(self, num_features: int, hidden: Sequence[int]) -> list[Noise]:
        """The random numbers that each training step needs; `hidden` are the widths of the hidden layers."""
        return []

    def transform_targets(self, targets: tf.Tensor) -> tf.Tensor:
        """Change targets [lane, row, output], in training and in validation."""
        return targets

    def transform_batch(self, inputs: tf.Tensor, targets: tf.Tensor, noise: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Change a training batch: inputs [lane, row, feature], targets [lane, row, output]."""
        return inputs, targets

    def transform_sums(
        self, layer: int, sums: tf.Tensor, weights: Tensors, *, training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Change what enters a hidden layer's activation [lane, row, unit]; also new values of weights not trained."""
        return sums, {}

    def transform_activity(self, layer: int, activity: tf.Tensor, noise: Tensors) -> tf.Tensor:
        """Change what leaves a hidden layer [lane, row, unit] in training."""
        return activity

    def penalize_activity(self, activity: tf.Tensor) -> tf.Tensor | None:
        """Add to the loss [lane] for what leaves a hidden layer [lane, row, unit]."""
        return None

    def penalize_kernel(self, kernel: tf.Tensor) -> tf.Tensor | None:
        """Add to the loss [lane] for a kernel [lane, in, out]."""
        return None

    def decay_kernel(self, kernel: tf.Tensor, rate: tf.Tensor) -> tf.Tensor | None:
        """The kernel [lane, in, out] to start the optimiser's step from; rate: learning rate, one or [lane]."""
        return None

    def constrain_kernel(self, kernel: tf.Tensor, rate: tf.Tensor) -> tf.Tensor | None:
        """The kernel [lane, in, out] after the optimiser's step."""
        return None

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart | None:
        """What Keras has for it in a network; a layer gets the name."""
        return None


class L1(Regularizer):
    """lambda * sum |w|."""

    acts_on = "kernels"
    single_precision = True
    scale = "log"

    def penalize_kernel(self, kernel: tf.Tensor) -> tf.Tensor:
        return self.strength * sum_absolutes(kernel)

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("penalty", ("l1", strength))


class L2(Regularizer):
    """lambda * sum w^2. The tutorial calls it weight decay."""

    acts_on = "kernels"
    single_precision = True
    scale = "log"

    def penalize_kernel(self, kernel: tf.Tensor) -> tf.Tensor:
        return self.strength * sum_squares(kernel)

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("penalty", ("l2", strength))


class L1Proximal(Regularizer):
    """After each step w = sign(w) * max(|w| - rate * lambda, 0), so zeros are exact (Parikh and Boyd 2014, 6.5.2)."""

    acts_on = "kernels"
    scale = "log"

    def constrain_kernel(self, kernel: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        threshold = per_lane(self.strength * rate, kernel)
        return tf.sign(kernel) * tf.maximum(tf.abs(kernel) - threshold, 0)


class WeightDecay(Regularizer):
    """Before each step w -= rate * lambda * w: decoupled decay (Loshchilov and Hutter 2019, algorithm 2)."""

    acts_on = "kernels"
    single_precision = True
    scale = "log"

    def decay_kernel(self, kernel: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        return kernel - kernel * per_lane(self.strength * rate, kernel)


class ActivityL1(Regularizer):
    """lambda * sum |a| / rows of the batch."""

    acts_on = "hidden"
    single_precision = True
    scale = "log"

    def penalize_activity(self, activity: tf.Tensor) -> tf.Tensor:
        num_rows = tf.cast(tf.shape(activity)[1], activity.dtype)
        return self.strength * sum_absolutes(activity) / num_rows

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("activity", keras.layers.ActivityRegularization(l1=strength, name=name))


class MaxNorm(Regularizer):
    """Shrink a unit's incoming weights to an L2 norm of at most the strength (Srebro and Shraibman 2005)."""

    minimum = 1e-6
    acts_on = "hidden kernels"
    inert_at_zero = False
    scale = "log"

    def constrain_kernel(self, kernel: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        norms = column_norms(kernel)
        return kernel * (tf.minimum(norms, per_lane(self.strength, kernel)) / (NORM_EPSILON + norms))

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("constraint", keras.constraints.MaxNorm(strength))


class UnitNorm(MaxNorm):
    """Scale a unit's incoming weights to an L2 norm equal to the strength."""

    def constrain_kernel(self, kernel: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        return kernel * (per_lane(self.strength, kernel) / (NORM_EPSILON + column_norms(kernel)))

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("constraint", keras.constraints.MinMaxNorm(strength, strength))  # UnitNorm has no norm but 1


class Dropout(Regularizer):
    """Set a share of the activities to 0 and scale the rest by 1 / (1 - share) (Srivastava et al. 2014)."""

    below = 1
    acts_on = "hidden"

    def noise(self, num_features: int, hidden: Sequence[int]) -> list[Noise]:
        return [Noise(f"dropout_{layer}", "kept", (hidden[layer - 1],), self.strengths) for layer in self.layers]

    def transform_activity(self, layer: int, activity: tf.Tensor, noise: Tensors) -> tf.Tensor:
        kept = tf.cast(noise[f"dropout_{layer}"], activity.dtype)
        scale = tf.constant(1 / (1 - self.strengths), activity.dtype)  # TensorFlow's own reciprocal is approximate
        return activity * (kept * per_lane(self.choose(scale), activity))

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("activity", keras.layers.Dropout(strength, name=name))


class BatchNorm(Regularizer):
    """Normalise each unit's sums over the batch (Ioffe, Szegedy 2015); strength: momentum of the moving statistics."""

    below = 1
    acts_on = "hidden"
    inert_at_zero = False
    keras_weights = ("gamma", "beta", "moving_mean", "moving_variance")
    scale = "momentum"

    def transform_sums(
        self, layer: int, sums: tf.Tensor, weights: Tensors, *, training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        moving_mean, moving_variance = weights[f"moving_mean_{layer}"], weights[f"moving_variance_{layer}"]
        mean, variance, moved = moving_mean, moving_variance, {}
        if training:
            mean, variance = tf.nn.moments(sums, axes=1, keepdims=True)
            share = per_lane(self.strength, sums)
            moved[f"moving_mean_{layer}"] = moving_mean * share + mean * (1 - share)
            moved[f"moving_variance_{layer}"] = moving_variance * share + variance * (1 - share)
        offset, scale = weights[f"beta_{layer}"], weights[f"gamma_{layer}"]
        inverse = scale / tf.sqrt(variance + BATCH_NORM_EPSILON)  # TensorFlow's rsqrt differs between processors
        return sums * inverse + (offset - mean * inverse), moved

    @staticmethod
    def keras_part(strength: float, name: str) -> KerasPart:
        return KerasPart("sums", keras.layers.BatchNormalization(momentum=strength, name=name))


class LabelSmoothing(Regularizer):
    """Targets (1 - s) * y + s / classes (Szegedy et al. 2016, section 7)."""

    below = 1
    softens_targets = True

    def transform_targets(self, targets: tf.Tensor) -> tf.Tensor:
        share = per_lane(self.strength, targets)
        return targets * (1 - share) + share / max(targets.shape[-1], 2)


class Cutout(Regularizer):
    """Erase part of each input: of an image a square with a random centre, clipped at the border (DeVries and Taylor
    2017), whose side is the strength times the image's; of a table each feature with the strength as its probability.
    """

    below = 1

    def noise(self, num_features: int, hidden: Sequence[int]) -> list[Noise]:
        if self.image:
            return [Noise("cutout", "uniform", (2,))]
        return [Noise("cutout", "kept", (num_features,), self.strengths)]

    def transform_batch(self, inputs: tf.Tensor, targets: tf.Tensor, noise: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        draws = noise["cutout"]
        if not self.image:
            return inputs * tf.cast(draws, inputs.dtype), targets
        erased = []
        for axis, length in enumerate(self.image):
            side = per_lane(tf.round(self.strength * length), inputs)
            first = tf.floor(draws * length) - tf.floor(side / 2)
            pixel = tf.range(length, dtype=inputs.dtype)
            erased.append((pixel >= first[..., axis, None]) & (pixel < first[..., axis, None] + side))
        square = erased[0][..., :, None] & erased[1][..., None, :]
        return tf.where(tf.reshape(square, tf.shape(inputs)), tf.zeros_like(inputs), inputs), targets


class Mixup(Regularizer):
    """Mix each row with another of its batch, share drawn from Beta(alpha, alpha) per row (Zhang et al. 2018)."""

    softens_targets = True
    scale = "log"

    def noise(self, num_features: int, hidden: Sequence[int]) -> list[Noise]:
        return [Noise("mixup_partner", "permutation", ()), Noise("mixup_share", "beta", (), self.strengths)]

    def transform_batch(self, inputs: tf.Tensor, targets: tf.Tensor, noise: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        partner = noise["mixup_partner"]
        share = noise["mixup_share"][..., None]
        mixed = [
            share * part + (1 - share) * tf.gather(part, partner, axis=1, batch_dims=1) for part in (inputs, targets)
        ]
        return mixed[0], mixed[1]


class GaussianNoise(Regularizer):
    """Add normal noise to the inputs; strength: its standard deviation (Bishop 1995)."""

    def noise(self, num_features: int, hidden: Sequence[int]) -> list[Noise]:
        return [Noise("gaussian_noise", "normal", (num_features,))]

    def transform_batch(self, inputs: tf.Tensor, targets: tf.Tensor, noise: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        return inputs + per_lane(self.strength, inputs) * noise["gaussian_noise"], targets


class Ema(Regularizer):
    """Evaluate the exponential moving average of the weights; strength: its momentum (Polyak and Juditsky 1992)."""

    below = 1
    scale = "momentum"


class EarlyStopping(Regularizer):
    """Stop a lane when its monitor has not improved for `strength` epochs (Prechelt 1998)."""

    whole_number = True
    inert_at_zero = False
    scale = "log"


CATALOGUE: dict[str, type[Regularizer]] = {
    "l1": L1,
    "l2": L2,
    "l1_proximal": L1Proximal,
    "weight_decay": WeightDecay,
    "activity_l1": ActivityL1,
    "max_norm": MaxNorm,
    "unit_norm": UnitNorm,
    "batch_norm": BatchNorm,
    "dropout": Dropout,
    "label_smoothing": LabelSmoothing,
    "cutout": Cutout,
    "mixup": Mixup,
    "gaussian_noise": GaussianNoise,
    "ema": Ema,
    "early_stopping": EarlyStopping,
}


@with_gradient(lambda slope, values: per_lane(slope, values) * tf.sign(values))
def sum_absolutes(values: tf.Tensor) -> tf.Tensor:
    """sum |v| [lane] of values [lane, ...]. TensorFlow's own gradient writes three arrays of that size, this one."""
    return tf.reduce_sum(tf.abs(values), axis=(1, 2))


@with_gradient(lambda slope, values: per_lane(2 * slope, values) * values)
def sum_squares(values: tf.Tensor) -> tf.Tensor:
    """sum v^2 [lane] of values [lane, ...]; its gradient writes one array, as above."""
    return tf.square(tf.math.reduce_euclidean_norm(values, axis=(1, 2)))  # reduce_sum would store all squares


def column_norms(kernel: tf.Tensor) -> tf.Tensor:
    """L2 norm of the weights into each unit, [lane, 1, out]."""
    return tf.math.reduce_euclidean_norm(kernel, axis=1, keepdims=True)
