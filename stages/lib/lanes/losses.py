"""The losses of the tutorial, per lane.

Each takes targets [lane, row, output] (sparse: [lane, row] class numbers) and the network's logits and probabilities
[lane, row, output], and gives one loss per lane and batch: the mean over rows, as Keras reduces it. Keras' own
functions do the work where they exist. The cross-entropies of a network's own output activation start from its logits,
as Keras does in a graph.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def mean_over_rows(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Loss:
    """A Keras loss of (target, probability), averaged over a batch's rows."""
    return lambda target, logit, probability: tf.reduce_mean(function(target, probability), axis=1)


def root_mean_squared_error(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """sqrt of the batch's mean squared error."""
    return tf.sqrt(tf.reduce_mean(tf.square(target - probability), axis=(1, 2)))


def r_squared(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """1 - R^2 = SSE / SST over the batch, averaged over outputs.

    An output whose target is the same in every row of a batch has no R^2 there: it adds 0 and teaches nothing.
    """
    squared_error = tf.reduce_sum(tf.square(target - probability), axis=1)
    spread = tf.reduce_sum(tf.square(target - tf.reduce_mean(target, axis=1, keepdims=True)), axis=1)
    defined = spread > 1e-6
    share = tf.where(defined, squared_error, 0) / tf.where(defined, spread, 1)
    return tf.reduce_mean(share, axis=-1)


def binary_crossentropy(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """On a softmax, Keras takes each class's logit for that of a sigmoid of its own, and so do lanes."""
    return tf.reduce_mean(keras.losses.binary_crossentropy(target, logit, from_logits=True), axis=1)


def categorical_crossentropy(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(keras.losses.categorical_crossentropy(target, logit, from_logits=True), axis=1)


def sparse_categorical_crossentropy(target: tf.Tensor, logit: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(target, logit, from_logits=True), axis=1)


LOSSES: dict[str, Loss] = {
    "mean_squared_error": mean_over_rows(keras.losses.mean_squared_error),
    "root_mean_squared_error": root_mean_squared_error,
    "mean_absolute_error": mean_over_rows(keras.losses.mean_absolute_error),
    "r_squared": r_squared,
    "mean_absolute_percentage_error": mean_over_rows(keras.losses.mean_absolute_percentage_error),
    "mean_squared_logarithmic_error": mean_over_rows(keras.losses.mean_squared_logarithmic_error),
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "poisson": mean_over_rows(keras.losses.poisson),
}


def is_sparse(name: str) -> bool:
    """True where targets are class numbers, not one number per class."""
    return name == "sparse_categorical_crossentropy"
