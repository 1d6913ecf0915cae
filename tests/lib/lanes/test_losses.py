"""Every loss on both kinds of output, with every optimiser in turn, against stock Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.lib.lanes.losses import LOSSES, r_squared
from tests.lib.lanes.cases import OPTIMIZERS, compare_with_stock, make_plan

# loss, optimiser of a sigmoid in float64 (None: the loss needs classes), optimiser of a softmax in float32
CASES = [
    ("mean_squared_error", "sgd", "adam"),
    ("root_mean_squared_error", "sgd_momentum", "rmsprop"),
    ("mean_absolute_error", "rmsprop", "sgd"),
    ("r_squared", "rmsprop_momentum", "sgd_momentum"),
    ("mean_absolute_percentage_error", "adam", "rmsprop_momentum"),
    ("mean_squared_logarithmic_error", "sgd_momentum", "adam"),
    ("binary_crossentropy", "adam", "sgd_momentum"),
    ("categorical_crossentropy", None, "sgd"),
    ("sparse_categorical_crossentropy", None, "rmsprop_momentum"),
    ("poisson", "sgd", "rmsprop"),
]


def test_every_loss_has_a_case():
    assert [loss for loss, _, _ in CASES] == list(LOSSES)


SIGMOID = [(loss, 1, optimizer, "float64") for loss, optimizer, _ in CASES if optimizer]
SOFTMAX = [(loss, 10, optimizer, "float32") for loss, _, optimizer in CASES]


@pytest.mark.parametrize(("loss", "outputs", "optimizer", "dtype"), SIGMOID + SOFTMAX)
def test_loss_equals_stock(loss, outputs, optimizer, dtype):
    plan = make_plan(hidden=(), outputs=outputs, loss=loss, optimizer=OPTIMIZERS[optimizer])
    compare_with_stock(plan, lane=1, dtype=dtype)


def test_r_squared_is_one_less_keras_metric():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (2, 50, 3)).astype(np.float32)
    probabilities = generator.random((2, 50, 3), np.float32)
    found = r_squared(tf.constant(targets), tf.constant(probabilities), tf.constant(probabilities)).numpy()
    for lane in range(2):
        metric = keras.metrics.R2Score()
        metric.update_state(targets[lane], probabilities[lane])
        assert found[lane] == pytest.approx(1 - float(metric.result()), rel=1e-5)
