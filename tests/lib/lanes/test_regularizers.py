"""Every regulariser against stock Keras, alone and mixed; what it promises; and that strength 0 is no regulariser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.plan import CallbacksPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.cases import CALLBACKS, OPTIMIZERS, compare_with_stock, make_development, make_plan, make_start

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
CASES = ALONE | {"early_stopping": ((1.0, 2.0), ())}
NEEDS_HIDDEN = ("activity_l1", "batch_norm", "dropout")
INERT = {name: ((0.0, strengths[1]), layers) for name, (strengths, layers) in ALONE.items() if "_norm" not in name}


def test_every_regularizer_has_a_case():
    assert list(CASES) == list(CATALOGUE)


@pytest.mark.parametrize("name", ALONE)
def test_alone_equals_stock(name):
    plan = make_plan(RegularizerPlan(name, *ALONE[name]), hidden=(6,) if name in NEEDS_HIDDEN else ())
    compare_with_stock(plan, lane=2, dtype="float64")


@st.composite
def mixed_plans(draw: st.DrawFn, *, without: tuple[str, ...]) -> RunPlan:
    """Two to five regularisers, one with a path or several as in a search, on a network of one to three layers."""
    hidden = draw(st.sampled_from([(), (6,), (6, 5)]))
    outputs = draw(st.sampled_from([1, 10]))
    loss = draw(st.sampled_from([name for name, loss in LOSSES.items() if outputs > 1 or not loss.needs_classes]))
    steep = loss == "mean_absolute_percentage_error"  # gradients of the order of 1e9: sgd diverges, noise is 1e-7
    excluded = without + (() if hidden else NEEDS_HIDDEN) + (("batch_norm",) if steep else ())
    if LOSSES[loss].sparse:
        excluded += ("mixup", "label_smoothing")
    names = draw(st.sets(st.sampled_from([name for name in CASES if name not in excluded]), min_size=2, max_size=5))
    varied = draw(st.sets(st.sampled_from(sorted(names)), min_size=1))
    entries = []
    for name in (name for name in CASES if name in names):  # in the catalogue's order
        strengths, layers = CASES[name]
        last = len(hidden) + (name not in NEEDS_HIDDEN)
        layers = tuple(range(draw(st.integers(1, last)), last + 1)) if layers else ()
        entries.append(RegularizerPlan(name, strengths if name in varied else strengths[1:], layers))
    parts = [part if draw(st.booleans()) else None for part in (CALLBACKS.checkpoint, CALLBACKS.reduce_lr_on_plateau)]
    stopping = CALLBACKS.early_stopping if "early_stopping" in names else None
    return make_plan(
        *entries,
        hidden=hidden,
        outputs=outputs,
        loss=loss,
        optimizer=OPTIMIZERS[draw(st.sampled_from(["adam", "rmsprop"] if steep else sorted(OPTIMIZERS)))],
        activation=draw(st.sampled_from(["tanh", "relu", "sigmoid"])),
        callbacks=CallbacksPlan(stopping, *parts, terminate_on_nan=draw(st.booleans())),
        stopped=draw(st.booleans()),
        members=draw(st.integers(1, 2)),
    )


@pytest.mark.parametrize(("dtype", "without"), [("float64", ()), ("float32", ("batch_norm",))])
@settings(max_examples=8)
@given(data=st.data())
def test_mixed_sets_equal_stock(dtype, without, data):
    """In float32 without batch_norm, whose preceding bias follows rounding noise."""
    plan = data.draw(mixed_plans(without=without))
    compare_with_stock(plan, lane=data.draw(st.integers(0, plan.grid.num_lanes - 1)), dtype=dtype)


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
        entries = [RegularizerPlan(name, strengths[:num_points], layers) for name, (strengths, layers) in INERT.items()]
        found = train_lanes(make_plan(*entries), development, start=make_start(plain))
        for name, values in expected.weights.items():
            np.testing.assert_allclose(found.weights[name][:num_replicates], values, atol=tolerance, rtol=0)
        at_zero = found.history[found.history["lane"] < num_replicates]
        for name in ("loss", "val_loss", "val_auc"):
            np.testing.assert_allclose(at_zero[name], expected.history[name], rtol=tolerance)
