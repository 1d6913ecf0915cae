"""What the oracle adds to Keras: recorded randomness, and the few things Keras lacks."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class PlayedDropout(keras.layers.Layer):
    """keras.layers.Dropout with recorded draws of which units are kept, one array [row, unit] per training step."""

    def __init__(self, rate: float, draws: Sequence[np.ndarray]):
        super().__init__()
        self.rate = rate
        num_rows = max(map(len, draws))
        padded = [np.pad(part, ((0, num_rows - len(part)), (0, 0))) for part in draws]
        self.kept = ops.convert_to_tensor(np.stack(padded))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.step = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return inputs
        kept = self.kept[self.step.value][: ops.shape(inputs)[0]]
        self.step.assign_add(1)
        return ops.where(kept, inputs / (1 - self.rate), 0)


class SoftThreshold(keras.constraints.Constraint):
    """The proximal step of `penalty` * |w|_1, at the optimiser's present learning rate."""

    def __init__(self, penalty: float, optimizer: keras.Optimizer):
        self.penalty, self.optimizer = penalty, optimizer

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        kernel = ops.convert_to_tensor(kernel)
        threshold = self.penalty * ops.convert_to_tensor(self.optimizer.learning_rate)
        return ops.where(kernel > threshold, kernel - threshold, ops.where(kernel < -threshold, kernel + threshold, 0))


class InTurn(keras.constraints.Constraint):
    def __init__(self, constraints: Sequence[Callable[[tf.Tensor], tf.Tensor]]):
        self.constraints = constraints

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        for constraint in self.constraints:
            kernel = constraint(kernel)
        return kernel


def root_mean_squared_error(target: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    return ops.sqrt(ops.mean(ops.square(target - probability)))


def r_squared(target: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
    """1 - R^2, averaged over outputs; an output whose target is constant in the batch counts 0."""
    spread = ops.sum(ops.square(target - ops.mean(target, axis=0)), axis=0)
    error = ops.sum(ops.square(target - probability), axis=0)
    return ops.mean(ops.where(spread > 1e-6, ops.divide_no_nan(error, spread), 0))


class UseAverages(keras.callbacks.Callback):
    """Validate, stop and checkpoint on the optimiser's averages with constraints kept, and hand on the last of them.

    As keras.callbacks.SwapEMAWeights, which forgets constraints, and whose swap by adding and subtracting rounds.
    """

    raw: Sequence[np.ndarray] = ()
    averages: Sequence[np.ndarray] = ()

    def on_test_begin(self, logs: dict | None = None) -> None:
        self.raw = self.values()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        for variable in self.model.trainable_variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        self.averages = self.values()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.assign(self.raw)

    def on_train_end(self, logs: dict | None = None) -> None:
        self.assign(self.averages)

    def values(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.model.trainable_variables]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=False):
            variable.assign(value)


class LogScore(keras.callbacks.Callback):
    """A score of the validation rows, from their true labels and the network's probabilities."""

    def __init__(self, name: str, score: Callable, inputs: np.ndarray, labels: np.ndarray):
        super().__init__()
        self.name, self.score, self.inputs, self.labels = name, score, inputs, labels

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        probability = ops.convert_to_numpy(self.model(self.inputs, training=False))
        logs[self.name] = float(self.score(self.labels, probability))


def auc(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """By ranks; keras.metrics.AUC approximates it from 200 thresholds."""
    greater = probability[labels == 1] - probability[labels == 0].T
    return np.mean((greater > 0) + 0.5 * (greater == 0))


def log_loss(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Of the true labels, penalties and smoothing left out."""
    if probability.shape[1] == 1:
        return np.mean(keras.losses.binary_crossentropy(labels[:, None].astype(probability.dtype), probability))
    return np.mean(keras.losses.sparse_categorical_crossentropy(labels.astype("int32"), probability))


def cut_out(inputs: np.ndarray, strength: float, draws: np.ndarray) -> np.ndarray:
    """Erase a square of each image, centred where `draws` says, or the features of a table that it does not keep."""
    if inputs.shape[1] != 784:
        return np.where(draws, inputs, 0)
    images, side = inputs.reshape(-1, 28, 28).copy(), round(strength * 28)
    for image, centre in zip(images, (draws * 28).astype(int), strict=True):
        top, left = centre - side // 2
        image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return images.reshape(inputs.shape)
