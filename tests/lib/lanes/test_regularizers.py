"""Every regulariser alone against stock Keras; what it promises; and that strength 0 is no regulariser."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.lib.lanes.plan import RegularizerPlan
from stages.lib.lanes.randomness import NoiseSource
from stages.lib.lanes.regularizers import CATALOGUE, Cutout, Dropout, GaussianNoise
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.cases import OPTIMIZERS, compare_with_stock, make_development, make_plan, make_start

# Two strengths, the second of which is compared, and the layers. What needs no hidden layer has none here.
ALONE = {
    "l1": ((0.0, 0.003), (1,)),
    "l2": ((0.1, 0.03), (1,)),
    "l1_proximal": ((0.1, 0.3), (1,)),
    "weight_decay": ((0.01, 0.7), (1,)),
    "activity_l1": ((0.1, 0.03), (1,)),
    "max_norm": ((2.0, 0.7), (1,)),
    "unit_norm": ((1.0, 0.7), (1,)),
    "batch_norm": ((0.99, 0.9), (1,)),
    "dropout": ((0.1, 0.4), (1,)),
    "label_smoothing": ((0.0, 0.15), ()),
    "cutout": ((0.1, 0.3), ()),
    "mixup": ((0.2, 0.6), ()),
    "gaussian_noise": ((0.1, 0.3), ()),
    "ema": ((0.99, 0.9), ()),
}
NEEDS_HIDDEN = ("activity_l1", "batch_norm", "dropout")
INERT_AT_ZERO = [name for name in ALONE if not name.endswith("_norm")]


def test_every_regularizer_has_a_case():
    assert [*ALONE, "early_stopping"] == list(CATALOGUE)


@pytest.mark.parametrize("name", ALONE)
def test_alone_equals_stock(name):
    plan = make_plan(RegularizerPlan(name, *ALONE[name]), hidden=(6,) if name in NEEDS_HIDDEN else ())
    compare_with_stock(plan, lane=3, dtype="float64")


def test_batch_norm_equals_stock_in_float32():
    """With sgd: adam makes full steps of the rounding noise that is the gradient of stock's bias before it."""
    plan = make_plan(RegularizerPlan("batch_norm", (0.9,), (1,)), optimizer=OPTIMIZERS["sgd"])
    compare_with_stock(plan, lane=0, dtype="float32")


def test_cutout_of_pixels_equals_stock():
    plan = make_plan(RegularizerPlan("cutout", (0.3, 0.5), ()), hidden=(), outputs=10)
    compare_with_stock(plan, lane=2, dtype="float32", development=make_development(10, pixels=True))


def test_averages_keep_constraints_zeros_and_penalties():
    """The averages are constrained again, so that bounds hold and zeros are exact; val_loss has their penalty."""
    plan = make_plan(
        RegularizerPlan("l2", (0.1,), (1, 2)),
        RegularizerPlan("l1_proximal", (0.7,), (2,)),
        RegularizerPlan("max_norm", (0.5,), (1,)),
        RegularizerPlan("ema", (0.9,), ()),
    )
    run, _ = compare_with_stock(plan, lane=1, dtype="float64")
    assert np.linalg.norm(run.weights["kernel_1"], axis=1).max() <= 0.5
    assert (run.weights["kernel_2"] == 0).any()


def test_strength_0_is_no_regularizer():
    """All at once, each at 0: left out of the graph alone, multiplied away beside lanes that have a strength."""
    development, plain, num_replicates = make_development(), make_plan(), 2
    expected = train_lanes(plain, development, start=make_start(plain))
    for num_points, tolerance in ((1, 0), (2, 1e-6)):
        entries = [
            RegularizerPlan(name, (0.0, ALONE[name][0][1])[:num_points], ALONE[name][1]) for name in INERT_AT_ZERO
        ]
        found = train_lanes(make_plan(*entries), development, start=make_start(plain))
        for name, values in expected.weights.items():
            np.testing.assert_allclose(found.weights[name][:num_replicates], values, atol=tolerance, rtol=0)
        at_zero = found.history[found.history["lane"] < num_replicates]
        for name in ("loss", "val_loss", "val_auc"):
            np.testing.assert_allclose(at_zero[name], expected.history[name], rtol=tolerance)


def test_unit_norm_and_max_norm_hold_exactly_where_they_act():
    plan = make_plan(RegularizerPlan("max_norm", (0.6,), (1,)), RegularizerPlan("unit_norm", (1.3,), (2,)))
    weights = train_lanes(plan, make_development()).weights
    assert np.linalg.norm(weights["kernel_1"], axis=1).max() <= 0.6
    np.testing.assert_allclose(np.linalg.norm(weights["kernel_2"], axis=1), 1.3, rtol=1e-6)


def test_cutout_square_hand_worked():
    """Side round(0.1 * 28) = 3 about the centres (0, 27), clipped at the corner, and (14, 2)."""
    draws = np.array([[[0.0, 0.99], [0.5, 0.1]]], np.float32)
    cutout = Cutout(np.array([0.1]), (), image=(28, 28))
    images, _ = cutout.transform_batch(tf.ones((1, 2, 784)), tf.zeros((1, 2, 1)), {"cutout": tf.constant(draws)})
    erased = images.numpy().reshape(2, 28, 28) == 0
    assert [tuple(map(int, found)) for found in np.argwhere(erased[0])] == [(0, 26), (0, 27), (1, 26), (1, 27)]
    assert [tuple(map(int, found)) for found in np.argwhere(erased[1])] == [
        (row, column) for row in (13, 14, 15) for column in (1, 2, 3)
    ]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_is_distributed_as_keras(rate):
    """Share of zeros and scale of the rest; 200,000 activities, so 5 standard errors are at most 0.0056 of a share."""
    activity = np.random.default_rng(0).uniform(0.5, 1.5, (1, 2000, 100)).astype(np.float32)
    dropout = Dropout(np.array([rate]), (1,))
    draws = NoiseSource(dropout.noise(4, (100,)), seed=3, replicates=[0]).draw(1, 2000)
    found = dropout.transform_activity(1, tf.constant(activity), {"dropout_1": draws["dropout_1"][0]}).numpy()
    stock = keras.layers.Dropout(rate, seed=7)(activity, training=True).numpy()
    standard_error = np.sqrt(rate * (1 - rate) / activity.size)
    for dropped in (found, stock):
        assert abs((dropped == 0).mean() - rate) < 5 * standard_error
        np.testing.assert_allclose(dropped[dropped != 0], (activity / (1 - rate))[dropped != 0], rtol=1e-6)
    assert abs((found == 0).mean() - (stock == 0).mean()) < 5 * np.sqrt(2) * standard_error
    assert found.mean() == pytest.approx(stock.mean(), abs=5 * np.sqrt(2) * stock.std() / np.sqrt(stock.size))
    assert found.var() == pytest.approx(stock.var(), rel=0.05)


def test_gaussian_noise_is_distributed_as_keras():
    """Mean, deviation and quantiles of 200,000 draws; the standard error of a mean is 0.0007, of a deviation 0.0005."""
    inputs = np.ones((1, 2000, 100), np.float32)
    noise = GaussianNoise(np.array([0.3]), ())
    draws = NoiseSource(noise.noise(100, ()), seed=3, replicates=[0]).draw(1, 2000)
    found, _ = noise.transform_batch(
        tf.constant(inputs), tf.zeros((1, 2000, 1)), {"gaussian_noise": draws["gaussian_noise"][0]}
    )
    stock = keras.layers.GaussianNoise(0.3, seed=7)(inputs, training=True)
    for noisy in (found.numpy(), stock.numpy()):
        assert noisy.mean() == pytest.approx(1, abs=5 * 0.0007)
        assert noisy.std() == pytest.approx(0.3, abs=5 * 0.0005)
    shares = [0.01, 0.1, 0.5, 0.9, 0.99]
    np.testing.assert_allclose(np.quantile(found, shares), np.quantile(stock, shares), atol=0.01)
