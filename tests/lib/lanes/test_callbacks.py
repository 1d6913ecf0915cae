"""The callbacks of lanes against Keras': their decisions on any sequence of losses, and their effect on training."""

from types import SimpleNamespace

import keras
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.lib.lanes.callbacks import Callbacks
from stages.lib.lanes.plan import (
    CallbacksPlan,
    CheckpointSettings,
    EarlyStoppingSettings,
    PlateauSettings,
    RegularizerPlan,
)
from tests.lib.lanes.cases import compare_with_stock, make_development, make_plan, make_start
from tests.lib.lanes.oracle import fit_stock, keras_callbacks

NUM_EPOCHS = 9
monitors = st.sampled_from(["loss", "val_loss", "val_auc"])
# Few values, so that ties are common.
values = st.sampled_from([0.2, 0.3, 0.4, 0.7, 0.8, np.nan, np.inf]).map(lambda value: float(np.float32(value)))
min_deltas = st.sampled_from([0.0, 0.01, 0.1, 0.15])
early_stoppings = st.builds(
    EarlyStoppingSettings,
    monitor=monitors,
    min_delta=min_deltas,
    start_from_epoch=st.integers(0, 4),
    restore_best=st.booleans(),
)
checkpoints = st.builds(CheckpointSettings, monitor=monitors, save_best_only=st.booleans())
plateaus = st.builds(
    PlateauSettings,
    monitor=monitors,
    factor=st.sampled_from([0.1, 0.5]),
    patience=st.integers(0, 3),
    min_delta=min_deltas,
    cooldown=st.integers(0, 3),
    min_lr=st.sampled_from([0.0, 0.01, 0.02]),
)
or_none = [st.none() | part for part in (early_stoppings, checkpoints, plateaus)]
plans = st.builds(CallbacksPlan, *or_none, st.booleans())
logs_of_an_epoch = st.fixed_dictionaries({"loss": values, "val_loss": values, "val_auc": values})
logs_of_a_lane = st.lists(logs_of_an_epoch, min_size=NUM_EPOCHS, max_size=NUM_EPOCHS)


def lane_with(*val_losses: float) -> tuple[int, list[dict]]:
    """Patience 1, and these validation losses, the last of them for all further epochs."""
    last = NUM_EPOCHS - len(val_losses)
    return 1, [{"loss": 0.5, "val_loss": value, "val_auc": 0.5} for value in (*val_losses, *val_losses[-1:] * last)]


JUST_MIN_DELTA = EarlyStoppingSettings(monitor="val_loss", min_delta=0.1, start_from_epoch=0, restore_best=True)


class Model(SimpleNamespace):
    """What Keras' callbacks need of a model. Its only weight is the number of the epoch, counted from 1."""

    def __init__(self) -> None:
        super().__init__(optimizer=keras.optimizers.SGD(0.1), stop_training=False, epoch=0, saved=0, metrics=[])

    def get_weights(self) -> list[int]:
        return [self.epoch]

    def set_weights(self, weights: list[int]) -> None:
        [self.epoch] = weights

    def save_weights(self, path: str, overwrite: bool) -> None:
        self.saved = self.epoch


def play_keras(plan: CallbacksPlan, patience: int, logs: list[dict]) -> tuple[dict, list[float]]:
    """What `Model.fit` would do with these logs, and the learning rate of each epoch."""
    model, rates = Model(), []
    callbacks = keras.callbacks.CallbackList(keras_callbacks(plan, patience, "a.weights.h5"), model=model)
    callbacks.on_train_begin()
    for epoch, epoch_logs in enumerate(logs):
        model.epoch += 1
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_end(0, {"loss": epoch_logs["loss"]})
        callbacks.on_epoch_end(epoch, dict(epoch_logs))
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    epochs_run = model.epoch
    callbacks.on_train_end()
    return {
        "epochs_run": epochs_run,
        "best_epoch": model.saved if plan.checkpoint else model.epoch,
        "diverged": plan.terminate_on_nan and not np.isfinite(logs[epochs_run - 1]["loss"]),
        "running": not model.stop_training,
    }, rates


@settings(max_examples=100)
@example(plan=CallbacksPlan(JUST_MIN_DELTA), lanes=[lane_with(0.8, 0.7), lane_with(0.4, 0.3), lane_with(0.3, 0.2)])
@given(plan=plans, lanes=st.lists(st.tuples(st.integers(0, 4), logs_of_a_lane), min_size=3, max_size=3))
def test_decisions_equal_keras(plan, lanes):
    """Three lanes that stop, save and slow down each at its own time. Better by just min_delta is float32's verdict."""
    patiences, logs = zip(*lanes, strict=True)
    callbacks, rates = Callbacks(plan, np.array(patiences), learning_rate=0.1, dtype="float32"), []
    for epoch in range(NUM_EPOCHS):
        callbacks.end_epoch(epoch, {name: np.array([lane[epoch][name] for lane in logs]) for name in logs[0][0]})
        rates.append(callbacks.learning_rate)
    for lane, (patience, lane_logs) in enumerate(lanes):
        expected, expected_rates = play_keras(plan, patience, lane_logs)
        assert {name: getattr(callbacks, name)[lane] for name in expected} == expected
        found = [epoch_rates[lane] for epoch_rates in rates[: expected["epochs_run"]]]
        np.testing.assert_allclose(found, expected_rates, rtol=1e-6)


def test_stopping_and_restoring_equal_stock():
    """A path of patiences: the lanes stop in different epochs, and each hands on its best one."""
    stopping = EarlyStoppingSettings(monitor="val_auc", min_delta=0.002, start_from_epoch=1, restore_best=True)
    path = RegularizerPlan("early_stopping", (1.0, 2.0), ())
    plan = make_plan(path, hidden=(), callbacks=CallbacksPlan(stopping), epochs=12)
    run, stock = compare_with_stock(plan, lane=3, dtype="float64")
    assert len(stock.history["val_loss"]) == run.epochs_run[3] < 12
    assert run.best_epoch[3] == 1 + np.argmax(stock.history["val_auc"][1:]) + 1
    assert len(set(run.epochs_run)) > 1


def test_checkpoint_of_averages_equals_stock():
    """The checkpoint outranks what early stopping would hand on, and holds averaged weights."""
    stopping = EarlyStoppingSettings(monitor="val_loss", min_delta=0, start_from_epoch=0, restore_best=True)
    callbacks = CallbacksPlan(stopping, CheckpointSettings(monitor="val_auc", save_best_only=True))
    entries = (RegularizerPlan("ema", (0.8,), ()), RegularizerPlan("early_stopping", (2.0,), ()))
    plan = make_plan(*entries, hidden=(), callbacks=callbacks, epochs=8)
    run, stock = compare_with_stock(plan, lane=1, dtype="float32")
    assert run.best_epoch[1] == 1 + np.argmax(stock.history["val_auc"]) < run.epochs_run[1]


def test_a_lane_that_diverges_is_marked_and_the_others_go_on():
    """One replicate's rows hold an infinity; the first epoch is its last, in lanes as in stock."""
    development = make_development(own_rows=True)
    development.inputs[development.training[2, 5], 0] = np.inf
    plan = make_plan(hidden=(), callbacks=CallbacksPlan(terminate_on_nan=True))
    run, _ = compare_with_stock(plan, lane=1, dtype="float64", development=development)
    assert run.diverged.tolist() == [True, False]
    assert run.stopped_early.tolist() == [False, False]
    assert run.epochs_run.tolist() == [1, plan.epochs]
    assert np.isnan(run.weights["kernel_1"][0]).any() and np.isfinite(run.weights["kernel_1"][1]).all()
    stock = fit_stock(plan, development, make_start(plan), replicate=0)
    assert len(stock.history["loss"]) == 1
