"""What trained networks show, from predictions and weights made by hand: gaps, units at a bound, losses of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from stages.evaluate import collect_labels, measure_mechanisms, measure_variant, run
from stages.lib.claims.measurements import Case, Measured, find_study, load_measured, save_measured
from stages.lib.data.samples import HeldOut
from stages.lib.judge.arms import choose_points
from stages.lib.judge.predictions import Labels, Predictions
from stages.lib.lanes.plan import Grid, RegularizerPlan, RunPlan
from stages.lib.lanes.run import TrainedRun
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.cases import make_development, make_plan
from tests.test_compare import REPLICATES, make_labels, make_predictions, same

BOUND, UNITS = 0.5, 4


def make_run(name: str) -> RunPlan:
    """At two points of one regulariser."""
    regularizer = RegularizerPlan(name, (BOUND, 2 * BOUND), (1,))
    return make_plan(regularizer, hidden=(UNITS,), replicates=tuple(range(REPLICATES)))


def make_trained(run: RunPlan) -> TrainedRun:
    """Three features; unit u of every lane has a norm of u / 2."""
    lanes = run.grid.num_lanes
    kernel = np.zeros((lanes, 3, UNITS), np.float32)
    kernel[:, 1] = np.arange(UNITS) / 2
    history = pd.DataFrame({"lane": np.tile(np.arange(lanes), 2), "epoch": 1, "loss": np.repeat([0.6, 0.2], lanes)})
    weights = {"kernel_1": kernel, "bias_1": np.zeros((lanes, 1, UNITS)), "kernel_2": np.ones((lanes, UNITS, 1))}
    zeros = np.zeros(lanes)
    replicate = np.tile(np.arange(REPLICATES), run.grid.num_points)
    return TrainedRun(
        weights, stopped={}, replicate=replicate, strengths={}, epochs_run=zeros, best_epoch=zeros,
        stopped_epoch=zeros, stopped_early=zeros, diverged=zeros, history=history,
    )  # fmt: skip


@pytest.fixture(scope="module")
def labels() -> Labels:
    return make_labels(np.random.Generator(np.random.PCG64(0)))


@pytest.fixture(scope="module")
def predicted(labels: Labels) -> Predictions:
    two = {0.5: same(1), 1.0: {"training": 5, "validation": 4, "test": 2}}
    return make_predictions(labels, two, np.random.Generator(np.random.PCG64(1)))


@pytest.fixture(scope="module")
def bounded(labels: Labels, predicted: Predictions) -> list[Case]:
    run = replace(make_run("max_norm"), tried=2)
    return measure_variant(replace(run, variant="l2"), make_trained(run), predicted, labels, "log_loss")


def test_mechanisms_of_hand_worked_kernels() -> None:
    """The bound holds layer 1 alone; two of lane 0's units there have it as their norm, up to the tolerance."""
    norms = [2.0, 2 * (1 + 0.9e-4), 2 * (1 - 1.1e-4), 5e-4, 0, -1e-3]
    weights = {"kernel_1": np.array([[norms], [norms]]), "kernel_2": np.full((2, 6, 1), 2.0)}
    weights["kernel_2"][1] = 0
    plan = make_plan(RegularizerPlan("max_norm", (2.0, 5e-4), (1,)), replicates=(0,))
    found = measure_mechanisms(plan, weights)
    np.testing.assert_allclose(found["zero_share"], [1 / 12, 7 / 12])
    np.testing.assert_allclose(found["bound_share"], [2 / 6, 1 / 6])
    np.testing.assert_allclose(found["kernel_norm"], [np.sqrt(36), np.sqrt(12)], rtol=1e-4)
    assert not measure_mechanisms(make_plan(replicates=(0, 1)), weights)["bound_share"].any()


def test_gaps_are_differences_of_losses_by_scikit_learn(
    labels: Labels, predicted: Predictions, bounded: list[Case]
) -> None:
    for number, case in enumerate(bounded[1:3]):
        training, test = (part[predicted.grid.lanes_at(number)] for part in (predicted.training, predicted.test))
        losses = [
            [metrics.log_loss(*case) for case in zip(part, probability[..., 0].astype(float), strict=True)]
            for part, probability in ((labels.test, test), (labels.training, training))
        ]
        np.testing.assert_allclose(case.values["gap"], np.subtract(*losses), atol=1e-6)
        decided = test[..., 0] > 0.5
        np.testing.assert_allclose(case.values["held_out_accuracy"], (decided == labels.test).mean(axis=1), atol=1e-6)


def test_a_tuned_variant_takes_the_points_that_validation_rows_choose(labels, predicted, bounded) -> None:
    chosen = choose_points(predicted, labels, select_by="log_loss")
    assert np.mean(chosen) > 0.8, "the second point is better on validation rows"
    assert [case.at for case in bounded] == ["knob", "tried", "tried", "tuned"]
    knob, first, other, tuned = (case.values["gap"] for case in bounded)
    assert knob == first and tuned == np.where(chosen, other, first).tolist()


def test_units_at_and_over_their_bound_are_counted(bounded: list[Case]) -> None:
    knob, _, other, _ = bounded
    assert (knob.level, other.level) == (0.5, 1.0)
    assert knob.values["num_over_bound"] == [2] * REPLICATES, "norms 0, 1/2, 1 and 3/2 with a bound of 1/2"
    assert other.values["num_over_bound"] == knob.values["num_at_bound"] == [1] * REPLICATES
    assert knob.values["num_bounded"] == [UNITS] * REPLICATES
    assert max(knob.values["start_norm"]) < np.sqrt(3 * 6 / 7), "Glorot's limit in each of three weights"


def test_losses_of_training_are_means_over_epochs_and_weights_are_counted(bounded: list[Case]) -> None:
    np.testing.assert_allclose(bounded[0].values["learning_loss"], 0.4)
    assert bounded[0].values["num_weights"] == [3 * UNITS + UNITS + UNITS] * REPLICATES


def test_members_are_averaged_and_share_a_point_also_where_one_has_diverged() -> None:
    """To the end: the first member, at the point best for it; one without finite weights predicts class shares."""
    development = make_development(num_replicates=3)
    rows = development.inputs, development.labels, development.identifiers
    samples = development, HeldOut(*rows, test=development.validation)
    plan = make_plan(RegularizerPlan("l2", (0.0, 0.5), (1,)), replicates=(0, 1, 2), members=3, tried=2)
    trained = train_lanes(plan, development)
    trained.weights["kernel_1"][3] = np.nan  # member 1 of replicate 0 at the first point
    predicted = run(plan, trained, *samples)
    assert predicted.grid == plan.grid
    labels = collect_labels(*samples, outputs=1)
    np.testing.assert_array_equal(predicted.test[3], np.broadcast_to(labels.shares[0], predicted.test[3].shape))
    for count, lanes in ((1, [0]), (2, [0, 3]), (3, [0, 3, 6])):
        averaged = predicted.average(count)
        assert averaged.grid == Grid(2, 3) and averaged.strengths["l2"].tolist() == [0] * 3 + [0.5] * 3
        np.testing.assert_allclose(averaged.test[0], predicted.test[lanes].mean(axis=0), rtol=1e-6)
    chosen = run(plan, trained, *samples, select_by="log_loss")
    best = choose_points(predicted.average(1), labels, select_by="log_loss")
    np.testing.assert_allclose(chosen.test, predicted.test[plan.grid.lanes_at(best)[:3]], rtol=1e-6)
    cases = measure_variant(plan, trained, predicted, labels, "log_loss")
    assert [len(case.values["learning_loss"]) for case in cases] == [3] * 4  # knob, two points, tuned


def test_a_network_that_has_diverged_has_no_units_at_a_bound_rather_than_0(
    labels: Labels, predicted: Predictions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("max_norm")
    trained = make_trained(run)
    trained.weights["kernel_1"][1, 0] = np.nan
    measured = Measured(0.25, measure_variant(run, trained, predicted, labels, "log_loss"))
    monkeypatch.chdir(tmp_path)
    save_measured(measured, find_study("made"))
    assert load_measured(find_study("made"), written_by="evaluate") == measured
    for quantity in ("num_over_bound", "num_at_bound"):
        assert [value is None for value in measured.cases[0].values[quantity][:3]] == [False, True, False]
