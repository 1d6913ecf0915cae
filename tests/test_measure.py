"""measure on predictions and weights made by hand: gaps, units at a bound, one regulariser more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from stages import measure
from stages.lib.claims.measurements import load_measurements, save_measurements
from stages.lib.judge.arms import arm_at
from stages.lib.judge.designs import CrossValidation, compare
from stages.lib.judge.predictions import Labels, Predictions
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.trained import TrainedRun
from tests.test_compare import FOLDS, REPLICATES, STATISTICS, make_labels, make_plan, make_predictions, same

BOUND, UNITS = 0.5, 4


def make_run(*names: str, points: int = 1) -> RunPlan:
    regularizers = [RegularizerPlan(name, (BOUND,) + (2 * BOUND,) * (points - 1), (1,)) for name in names]
    return RunPlan(
        study="made",
        variant="made",
        seed=3,
        replicates=tuple(range(REPLICATES)),
        network=NetworkPlan((UNITS,), "relu", 1),
        regularizers=tuple(regularizers),
        callbacks=CallbacksPlan(None, None, None, terminate_on_nan=True),
        loss="binary_crossentropy",
        optimizer=OptimizerPlan("adam", 0.01, 0.0),
        batch_size=10,
        epochs=2,
    )


def make_trained(run: RunPlan) -> TrainedRun:
    """Three features; unit u of every lane has a norm of u / 2."""
    lanes = run.grid.num_lanes
    kernel = np.zeros((lanes, 3, UNITS), np.float32)
    kernel[:, 1] = np.arange(UNITS) / 2
    history = pd.DataFrame({"lane": np.tile(np.arange(lanes), 2), "epoch": 1, "loss": np.repeat([0.6, 0.2], lanes)})
    weights = {"kernel_1": kernel, "bias_1": np.zeros((lanes, 1, UNITS)), "kernel_2": np.ones((lanes, UNITS, 1))}
    zeros = np.zeros(lanes)
    return TrainedRun(weights, np.tile(np.arange(REPLICATES), run.grid.num_points), {}, *[zeros] * 4, {}, history)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return make_labels(np.random.Generator(np.random.PCG64(0)))


@pytest.fixture(scope="module")
def predicted(labels: Labels) -> dict[str, Predictions]:
    generator = np.random.Generator(np.random.PCG64(1))
    two = {0.5: same(1), 1.0: {"training": 5, "validation": 4, "test": 2}}
    return {
        "unregularized": make_predictions(labels, {0.0: same(1)}, generator),
        "bounded": make_predictions(labels, two, generator),
        "more": make_predictions(labels, {0.0: same(3)}, generator),
    }


@pytest.fixture(scope="module")
def found(labels: Labels, predicted: dict[str, Predictions]) -> measure.Measurements:
    runs = {
        "unregularized": make_run(),
        "bounded": make_run("max_norm", points=2),
        "more": make_run("max_norm", "dropout"),
    }
    variants = {name: (runs[name], predicted[name], make_trained(runs[name])) for name in predicted}
    return measure.run(make_plan(*predicted), STATISTICS, labels, variants)


def test_gaps_are_differences_of_losses_by_scikit_learn(
    labels: Labels, predicted: dict[str, Predictions], found: measure.Measurements
) -> None:
    for number, point in enumerate(found.variants["bounded"].points):
        arm = arm_at(predicted["bounded"], number)
        losses = [
            [metrics.log_loss(*case) for case in zip(part, probability[..., 0].astype(float), strict=True)]
            for part, probability in ((labels.test, arm.test), (labels.training, arm.training))
        ]
        np.testing.assert_allclose(point.values["gap"], np.subtract(*losses), atol=1e-6)
        decided = arm.test[..., 0] > 0.5
        np.testing.assert_allclose(point.values["held_out_accuracy"], (decided == labels.test).mean(axis=1), atol=1e-6)
        common = np.maximum(decided.mean(axis=1), 1 - decided.mean(axis=1))
        np.testing.assert_allclose(point.values["commonest_answer"], common, atol=1e-6)


def test_a_tuned_arm_takes_the_points_that_validation_rows_choose(found: measure.Measurements) -> None:
    bounded = found.variants["bounded"]
    assert np.mean(bounded.tuned) > 0.8, "the second point is better on validation rows"
    expected = [bounded.points[point].values["gap"][place] for place, point in enumerate(bounded.tuned)]
    assert bounded.at_tuned("gap").tolist() == expected
    assert bounded.at_knob("gap").tolist() == bounded.points[0].values["gap"]


def test_a_network_that_has_diverged_has_no_norm_rather_than_one_of_0(
    labels: Labels, predicted: dict[str, Predictions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = predicted["unregularized"].mechanisms["kernel_norm"].copy()
    norms[1] = np.nan
    mechanisms = predicted["unregularized"].mechanisms | {"kernel_norm": norms}
    found = measure.measure_variant(
        make_plan("unregularized"),
        labels,
        make_run(),
        replace(predicted["unregularized"], mechanisms=mechanisms),
        make_trained(make_run()),
    )
    monkeypatch.chdir(tmp_path)
    save_measurements("made", measure.Measurements(0.25, {}, {"unregularized": found}, []))
    kept = load_measurements("made").variants["unregularized"]
    assert kept.points[0].values["kernel_norm"][1] is None
    assert np.isnan(kept.at_knob("kernel_norm")).nonzero()[0].tolist() == [1]


def test_units_over_their_bound_are_counted(found: measure.Measurements) -> None:
    knob, other = found.variants["bounded"].points
    assert knob.values["num_over_bound"] == [2] * REPLICATES, "norms 0, 1/2, 1 and 3/2 with a bound of 1/2"
    assert other.values["num_over_bound"] == [1] * REPLICATES
    assert knob.values["num_bounded"] == [UNITS] * REPLICATES
    assert max(knob.values["start_norm"]) < np.sqrt(3 * 6 / 7), "Glorot's limit in each of three weights"
    assert "num_bounded" not in found.variants["unregularized"].points[0].values


def test_losses_of_training_are_means_over_epochs_and_weights_are_counted(found: measure.Measurements) -> None:
    values = found.variants["unregularized"].points[0].values
    np.testing.assert_allclose(values["learning_loss"], 0.4)
    assert found.variants["unregularized"].num_weights == 3 * UNITS + UNITS + UNITS
    assert found.test_train_ratio == 1 / (FOLDS - 1)


def test_one_regulariser_more_is_compared_row_by_row(
    labels: Labels, predicted: dict[str, Predictions], found: measure.Measurements
) -> None:
    assert {(added.variant, added.without, added.score) for added in found.additions} == {
        ("more", "bounded", score) for score in ("auc", "log_loss")
    }, "those from the baseline are in comparison.json"
    design = CrossValidation(labels.test_numbers, labels.training_numbers, REPLICATES // FOLDS)
    losses = []
    for name in ("more", "bounded"):
        given = np.abs(1 - labels.test - arm_at(predicted[name], 0).test[..., 0].astype(float))
        losses.append(-np.log(given))
    expected = compare(*losses, design)
    added = next(added for added in found.additions if added.score == "log_loss")
    numbers = (expected.value, *expected.interval())
    np.testing.assert_allclose((added.value, added.low, added.high), numbers, rtol=1e-5)


def test_variants_with_other_settings_are_no_additions(labels: Labels, predicted: dict[str, Predictions]) -> None:
    runs = {"unregularized": make_run(), "bounded": make_run("max_norm"), "more": make_run("max_norm", "dropout")}
    runs["more"] = replace(runs["more"], epochs=9)
    single = predicted | {"bounded": predicted["unregularized"]}
    variants = {name: (runs[name], single[name], make_trained(runs[name])) for name in single}
    assert measure.run(make_plan(*single), STATISTICS, labels, variants).additions == []


def test_measurements_survive_their_file(
    found: measure.Measurements, tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    save_measurements("made", found)
    assert load_measurements("made") == found
