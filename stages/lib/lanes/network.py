"""Dense networks with a lane axis: their weights and their forward pass.

Layer i of n (counted from 1, the last is the output layer) has kernel_i [lane, in, out], bias_i [lane, 1, out] and,
where it is batch-normalised, gamma_i, beta_i, moving_mean_i, moving_variance_i [lane, 1, out]. The order of a hidden
layer's parts is Dense, BatchNormalization, activation, Dropout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from stages.lib.lanes.plan import NetworkPlan, Start
from stages.lib.lanes.randomness import draw_glorot, generators
from stages.lib.lanes.regularizers import Regularizer, Tensors
from stages.lib.lanes.run import Weights
from stages.lib.lanes.runtime import keras, tf

NOT_TRAINED = ("moving_mean", "moving_variance")


def draw_weights(
    plan: NetworkPlan, num_features: int, *, seed: int, starts: Sequence[Start], normalized: Sequence[int]
) -> Weights:
    """Start weights [start, ...] of every layer; `normalized` are the layers with batch normalisation.

    They depend on (seed, replicate, member) and the shape of the network alone.
    """
    sizes = [num_features, *plan.hidden, plan.outputs]
    streams = generators(seed, starts, "weights")
    weights = {}
    for layer, (num_inputs, num_outputs) in enumerate(pairwise(sizes), start=1):
        row = (len(starts), 1, num_outputs)
        weights[f"kernel_{layer}"] = np.stack([draw_glorot(stream, num_inputs, num_outputs) for stream in streams])
        weights[f"bias_{layer}"] = np.zeros(row)
        if layer in normalized:
            weights |= {f"gamma_{layer}": np.ones(row), f"beta_{layer}": np.zeros(row)}
            weights |= {f"moving_mean_{layer}": np.zeros(row), f"moving_variance_{layer}": np.ones(row)}
    return weights


def trained_names(weights: Mapping[str, object]) -> list[str]:
    """Names of the weights that the optimiser trains: all but moving statistics and biases before batch normalisation.

    Batch normalisation subtracts such a bias again. Its gradient is rounding noise, which adam and rmsprop would scale
    up to steps of full size.
    """
    taken_out = {name.replace("gamma", "bias") for name in weights if name.startswith("gamma")}
    return [name for name in weights if not name.startswith(NOT_TRAINED) and name not in taken_out]


class Network:
    """The forward pass. `regularizers` transform what flows through it; their strengths are vectors over the lanes."""

    def __init__(self, plan: NetworkPlan, regularizers: Sequence[Regularizer] = ()):
        self.num_layers = len(plan.hidden) + 1
        self.activation = gelu if plan.activation == "gelu" else keras.activations.get(plan.activation)
        self.output = tf.sigmoid if plan.outputs == 1 else tf.nn.softmax
        self.regularizers = regularizers

    def forward(
        self, weights: Tensors, inputs: tf.Tensor, noise: Tensors | None
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Run the network on inputs [lane, row, feature], or [1, row, feature] for all lanes.

        Args:
            noise: random numbers of a training step; None runs the network as in use: no noise, moving statistics.

        Returns:
            Logits [lane, row, output], activity penalties [lane], and new values of the weights that are not trained.
        """
        hidden, training = inputs, noise is not None
        moved: dict[str, tf.Tensor] = {}
        penalty = tf.zeros(inputs.shape[0], inputs.dtype)
        for layer in range(1, self.num_layers):
            acting = [entry for entry in self.regularizers if layer in entry.layers]
            hidden = apply_dense(weights, layer, hidden)
            for regularizer in acting:
                hidden, statistics = regularizer.transform_sums(layer, hidden, weights, training=training)
                moved |= statistics
            hidden = self.activation(hidden)
            penalty += total(regularizer.penalize_activity(hidden) for regularizer in acting)
            if noise is not None:
                for regularizer in acting:
                    hidden = regularizer.transform_activity(layer, hidden, noise)
        return apply_dense(weights, self.num_layers, hidden), penalty, moved


def gelu(values: tf.Tensor) -> tf.Tensor:
    """x Phi(x), as Keras' gelu; where that divides by sqrt(2), which processors round differently, this multiplies."""
    return 0.5 * values * (1 + tf.math.erf(values * tf.constant(0.5**0.5, values.dtype)))


def apply_dense(weights: Tensors, layer: int, inputs: tf.Tensor) -> tf.Tensor:
    return tf.matmul(inputs, weights[f"kernel_{layer}"]) + weights[f"bias_{layer}"]


def total(penalties: Iterable[tf.Tensor | None]) -> tf.Tensor | float:
    """The sum of the penalties that are there."""
    return sum(penalty for penalty in penalties if penalty is not None)
