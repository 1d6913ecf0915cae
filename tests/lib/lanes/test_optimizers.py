"""Every optimiser with a learning rate per lane against stock Keras; losses' own tests hold those with one rate."""

from dataclasses import replace

import numpy as np
import pytest

from stages.lib.lanes.plan import CallbacksPlan, OptimizerPlan, PlateauSettings, RegularizerPlan
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.cases import OPTIMIZERS, compare_with_stock, make_development, make_plan

# A least improvement of 0.02 leaves every lane on a plateau, each at a time of its own.
REDUCE = PlateauSettings(monitor="val_loss", factor=0.3, patience=1, min_delta=0.02, cooldown=1, min_lr=0.0004)
PLATEAU = CallbacksPlan(reduce_lr_on_plateau=REDUCE)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rate_per_lane_equals_stock(name):
    """With decoupled decay of the kernel, which follows the rate; adam with it is AdamW."""
    decay = RegularizerPlan("weight_decay", (0.0, 0.7), (1,))
    plan = make_plan(decay, hidden=(), optimizer=OPTIMIZERS[name], callbacks=PLATEAU, epochs=7)
    _, stock = compare_with_stock(plan, lane=3, dtype="float64")
    assert len(set(stock.history["learning_rate"])) > 1


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "rmsprop_momentum", "adam"])
def test_a_decaying_rate_and_the_best_epoch_equal_stock(optimizer):
    """The decay reaches what the rate scales: decoupled weight decay and the proximal step."""
    kernels = RegularizerPlan("l1_proximal", (0.02,), (1, 2)), RegularizerPlan("weight_decay", (0.5,), (1, 2))
    plan = make_plan(*kernels, optimizer=replace(OPTIMIZERS[optimizer], schedule="cosine"), stopped=True, epochs=6)
    run, _ = compare_with_stock(plan, lane=1, dtype="float64", tolerance=1e-5)  # Keras decays in float32
    assert (run.stopped["kernel_1"] != run.weights["kernel_1"]).any()


def test_adam_has_no_use_for_a_momentum():
    """As in Keras, adam's own moments are all it has; a study's momentum is meant for its other optimisers."""
    plans = [make_plan(optimizer=OptimizerPlan("adam", 0.01, momentum), callbacks=PLATEAU) for momentum in (0.0, 0.9)]
    with_none, with_one = (train_lanes(plan, make_development()) for plan in plans)
    np.testing.assert_array_equal(with_none.weights["kernel_1"], with_one.weights["kernel_1"])
