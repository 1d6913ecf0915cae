"""The losses of the tutorial, per lane.

A loss takes targets [lane, row, output] (sparse: [lane, row] class numbers) and the network's logits and probabilities
[lane, row, output]. It gives one value per lane and batch: the mean over rows, as Keras reduces it. Keras' own
functions do the work where they exist and round alike on all processors. TensorFlow's gradient of a logarithm does not:
it uses an approximate reciprocal, which Intel and AMD round differently. Losses with one are written here, with `log`.
A cross-entropy is computed from the logits of its own output activation, as Keras does in a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stages.lib.lanes.runtime import keras, tf, with_gradient

Function = Callable[["tf.Tensor", "tf.Tensor", "tf.Tensor"], "tf.Tensor"]  # (target, logit, probability) -> [lane]


class Loss(NamedTuple):
    """One loss of the table below.

    sparse: targets are class numbers, not one number per class.
    needs_classes: it is not defined for a single output.
    """

    function: Function
    sparse: bool = False
    needs_classes: bool = False


def from_keras(name: str, *, from_logits: bool = False) -> Function:
    """Keras' loss of that name, averaged over a batch's rows; a cross-entropy is one of (target, logit)."""

    def compute(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        function = getattr(keras.losses, name)
        values = function(target, logit, from_logits=True) if from_logits else function(target, probability)
        return tf.reduce_mean(values, axis=1)

    return compute


@with_gradient(lambda slope, values: slope / values)
def log(values: tf.Tensor) -> tf.Tensor:
    """The natural logarithm, whose gradient divides where TensorFlow's multiplies by an approximate reciprocal."""
    return tf.math.log(values)


def binary_crossentropy(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """max(x, 0) - x t + log(1 + exp(-|x|)) of logit x and target t, with sigmoid(x) - t as its gradient.

    For a softmax network Keras' binary cross-entropy takes each class's logit as that of a sigmoid, and so do lanes.
    """

    def differentiate(slope: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
        count = tf.cast(tf.shape(logit)[1] * logit.shape[2], logit.dtype)
        return tf.reshape(slope / count, [-1, 1, 1]) * (tf.sigmoid(logit) - target)

    @with_gradient(differentiate)
    def compute(logit: tf.Tensor) -> tf.Tensor:
        values = tf.nn.relu(logit) - logit * target + tf.math.log1p(tf.exp(-tf.abs(logit)))
        return tf.reduce_mean(values, axis=(1, 2))

    return compute(logit)


def mean_squared_logarithmic_error(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """Mean of (log(1 + t) - log(1 + p))^2."""
    smallest = tf.cast(keras.config.epsilon(), probability.dtype)
    known, predicted = (log(tf.maximum(values, smallest) + 1) for values in (target, probability))
    return tf.reduce_mean(tf.math.squared_difference(predicted, known), axis=(1, 2))


def poisson(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """Mean of p - t log p."""
    smallest = tf.cast(keras.config.epsilon(), probability.dtype)
    return tf.reduce_mean(probability - target * log(probability + smallest), axis=(1, 2))


def root_mean_squared_error(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """sqrt of the batch's mean squared error."""
    return tf.sqrt(tf.reduce_mean(tf.square(target - probability), axis=(1, 2)))


def r_squared(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """1 - R^2 = SSE / SST over the batch, averaged over outputs.

    Where all rows of a batch have the same target, R^2 is not defined: such an output adds 0 and has no gradient.
    """
    squared_error = tf.reduce_sum(tf.square(target - probability), axis=1)
    spread = tf.reduce_sum(tf.square(target - tf.reduce_mean(target, axis=1, keepdims=True)), axis=1)
    defined = spread > 1e-6
    share = tf.where(defined, squared_error, 0) / tf.where(defined, spread, 1)
    return tf.reduce_mean(share, axis=-1)


LOSSES: dict[str, Loss] = {
    "mean_squared_error": Loss(from_keras("mean_squared_error")),
    "root_mean_squared_error": Loss(root_mean_squared_error),
    "mean_absolute_error": Loss(from_keras("mean_absolute_error")),
    "r_squared": Loss(r_squared),
    "mean_absolute_percentage_error": Loss(from_keras("mean_absolute_percentage_error")),
    "mean_squared_logarithmic_error": Loss(mean_squared_logarithmic_error),
    "binary_crossentropy": Loss(binary_crossentropy),
    "categorical_crossentropy": Loss(from_keras("categorical_crossentropy", from_logits=True), needs_classes=True),
    "sparse_categorical_crossentropy": Loss(
        from_keras("sparse_categorical_crossentropy", from_logits=True), sparse=True, needs_classes=True
    ),
    "poisson": Loss(poisson),
}
