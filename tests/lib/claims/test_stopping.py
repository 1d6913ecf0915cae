"""Early stopping judged on rows that it has not seen."""

import numpy as np
import pytest

from stages.lib.claims.stopping import compare_halves, find_stop, split_halves
from stages.lib.lanes.callbacks import Callbacks
from stages.lib.lanes.plan import CallbacksPlan, EarlyStoppingSettings
from tests.lib.claims.made_experiments import make_development


@pytest.mark.parametrize("patience", [1, 3, 10])
def test_the_stop_is_that_of_the_callbacks(patience: int) -> None:
    losses = np.random.Generator(np.random.PCG64(patience)).normal(0, 1, (50, 20)).cumsum(axis=1)
    stopping = EarlyStoppingSettings(monitor="val_loss", min_delta=0, start_from_epoch=0, restore_best=True)
    callbacks = Callbacks(
        CallbacksPlan(stopping, None, None, terminate_on_nan=False),
        np.full(50, patience),
        learning_rate=0.1,
        dtype="float64",
    )
    for epoch in range(20):
        callbacks.end_epoch(epoch, {"val_loss": losses[:, epoch], "loss": losses[:, epoch]})
    np.testing.assert_array_equal(find_stop(losses, patience) + 1, callbacks.best_epoch)


def test_what_one_half_chooses_is_judged_on_the_other() -> None:
    watched = np.array([[3.0, 1.0, 2.0, 2.5]]), np.array([[0.1, 0.9, 0.5, 0.4]])
    other = np.array([[3.0, 2.0, 1.0, 4.0]]), np.array([[0.2, 0.3, 0.8, 0.1]])
    found = compare_halves(watched, other, patience=5)
    expected = {"saved": 2.0, "worse_at_the_end": 1.0, "turn": 2.0, "turns_apart": 1.0}
    expected |= {"flattery": 0.4, "loss_flattery": 1.0}
    assert {name: values.item() for name, values in found.items()} == pytest.approx(expected)


def test_halves_are_disjoint_and_hold_as_many_of_each_class() -> None:
    development = make_development()
    first, second = split_halves(development)
    for rows, *halves in zip(development.validation, first, second, strict=True):
        assert set(halves[0]).isdisjoint(halves[1])
        assert set(halves[0]) | set(halves[1]) <= set(rows)
        counts = [np.bincount(development.labels[half], minlength=2) for half in halves]
        assert np.abs(counts[0] - counts[1]).max() <= 1
