"""Twins, what is known of them, how they are trained, and how findings are counted."""

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy.special import expit
from sklearn.linear_model import Ridge as RidgeModel
from sklearn.metrics import roc_auc_score

from stages import plan
from stages.lib.core.cli import UserError
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.data.thoracic_surgery import NUM_DEATHS, NUM_PATIENTS, expand_columns
from tests.conftest import keep_studies, shrink_params
from tools.calibrate import __main__ as calibrate
from tools.calibrate import simulated, training, twins
from tools.calibrate.training import Predicted

MARGINS = {"auc": 0.01, "log_loss": 0.01}
PROTOCOL = RepeatedStratifiedKFold(folds=5, repeats=10, validation=0.2)


@pytest.fixture(scope="module")
def population() -> twins.Population:
    return twins.Population.fit()


def plan_study(params: dict, monkeypatch: pytest.MonkeyPatch) -> training.PlannedStudy:
    YAML().dump(params, text := StringIO())
    monkeypatch.setattr(plan, "read_text", lambda name: text.getvalue())
    return training.plan_study()


@pytest.fixture
def params(params_text: str) -> dict:
    return keep_studies(shrink_params(params_text), "thoracic")


@pytest.fixture
def study(params: dict, monkeypatch: pytest.MonkeyPatch) -> training.PlannedStudy:
    return plan_study(params, monkeypatch)


def make_predicted(seed: int) -> Predicted:
    """Noise in place of networks."""
    rng, label = np.random.default_rng(seed), np.repeat([1, 0], [15, 45]).astype(np.uint8)
    split = PROTOCOL.split(label, num_own_test=0, seed=seed)
    names = ("unregularized/at_knob", "unregularized/to_end", "other_seeds/at_knob", "l2/tuned", "best_single/tuned")
    arms = {name: expit(rng.normal(size=split.test.shape) - 1) for name in names}
    return Predicted(label, split.test, split.training, arms)


def test_a_twin_is_drawn_from_its_seed_alone(population):
    drawn = [twins.draw_twin(population, "table", number, seed=1) for number in (0, 0, 1)]
    first, again, other = (twin.fit(twin.columns[:100]).transform(twin.columns) for twin in drawn)
    np.testing.assert_array_equal(drawn[0].labels, drawn[1].labels)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "risk", [twins.sparse, twins.interaction, twins.heavy_tailed, twins.steps, twins.bumps, twins.centres]
)
def test_risks_are_scaled_to_the_death_rate_and_to_one_auc(population, risk):
    patients = population.draw_patients(20_000, np.random.default_rng(3))
    features = population.encoder.transform(expand_columns(patients))
    auc = []
    for name in (risk, twins.logistic):
        offset, scale = twins.scale_risk(population, name, 1.0)
        logit = scale * name(population, features)
        assert expit(offset + logit).mean() == pytest.approx(NUM_DEATHS / NUM_PATIENTS, abs=0.01)
        auc.append(twins.expected_auc(logit, offset))
    assert auc[0] == pytest.approx(auc[1], abs=0.01)


def test_expected_auc_is_that_of_drawn_outcomes():
    rng = np.random.default_rng(4)
    logit = rng.normal(size=20_000)
    outcome = rng.random(20_000) < expit(logit - 1.5)
    assert twins.expected_auc(logit, -1.5) == pytest.approx(roc_auc_score(outcome, logit), abs=0.02)


def test_simulated_arms_are_what_their_names_say():
    """Equal arms do without as many blocks as the baseline, better ones without fewer; no two are the same."""
    kept = {name: set(columns.tolist()) for name, columns in simulated.choose_features(5).items()}
    assert len(kept) == simulated.NUM_ARMS + 1 == len({frozenset(columns) for columns in kept.values()})
    sizes = {
        name.split("_")[0]: {len(kept[each]) for each in kept if each.startswith(name)}
        for name in ("equal_", "better_")
    }
    fewest = len(kept["unregularized"])
    assert sizes == {"equal": {fewest}, "better": {fewest + simulated.LEFT_OUT - 1}}


def test_ridge_by_moments_is_ridge_by_rows():
    rng = np.random.default_rng(2)
    features, label = rng.normal(size=(60, 4)), np.repeat([1, 0], [15, 45]).astype(np.uint8)
    split = PROTOCOL.split(label, num_own_test=0, seed=1)
    columns = np.array([0, 2, 3])
    found = simulated.Ridge(features, label, split).predict(columns, 0.3).test
    rows = split.training[7]
    model = RidgeModel(alpha=0.3 * len(rows)).fit(features[rows][:, columns], label[rows])
    expected = np.clip(model.predict(features[split.test[7]][:, columns]), 0.01, 0.99)
    np.testing.assert_allclose(found[7, :, 0], expected, rtol=1e-5)


def test_over_tables_intervals_hold_as_often_as_they_say():
    found = pd.DataFrame(simulated.simulate_tables(150, 3, confidence=0.95)).mean()
    assert (found[["mean", "all_means", "new_table", "best_set"]] > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150)).all()


def test_rows_of_a_patient_are_counted_as_the_patient_that_they_are(study):
    """The same differences, with wider intervals than rows would give."""
    found = [simulated.judge_repeated(number, setting="repeated", study=study, seed=1) for number in range(3)]
    counts = calibrate.count_findings(calibrate.prepare("repeated", found), margins=MARGINS)
    assert counts.pop("tables") == 3 and list(counts) == ["baseline", "no_skill"]
    for arms in (arms for family in counts.values() for arms in family["scores"].values()):
        patients, rows = arms["patients_counted"], arms["rows_counted"]
        assert patients["true_difference"] == pytest.approx(rows["true_difference"])
        assert patients["by_row"]["half_width"] > 1.2 * rows["by_row"]["half_width"]
        assert patients["by_row"]["coverage"]["of"] == 3


def test_the_study_is_that_of_params_yaml(params, monkeypatch):
    params["studies"]["thoracic"]["training"]["epochs"] = 7
    params["l2"] = 0.02
    planned = plan_study(params, monkeypatch)
    assert planned.runs["l2"].epochs == planned.runs["unregularized"].epochs == 7
    assert planned.runs["l2"].regularizers[0].strengths[0] == 0.02
    del params["variants"]["batch_norm"]
    with pytest.raises(UserError, match=r"params.yaml gives no plan 'thoracic/batch_norm', expected"):
        plan_study(params, monkeypatch)


def test_twins_that_train_together_keep_their_rows_apart(study, monkeypatch):
    """Predictions that are the labels themselves end where they belong."""

    def answer(study, samples, seed):
        return {"a/at_knob": samples[1].labels[samples[1].test][..., None]}

    monkeypatch.setattr(training, "train_arms", answer)
    for predicted in training.train_group(("table", (0, 1)), study=study, seed=1):
        np.testing.assert_array_equal(predicted.arms["a/at_knob"], predicted.label[predicted.test_numbers])


def test_twins_train_as_real_lanes(study, monkeypatch):
    twin = twins.draw_twin(twins.Population.fit(), "small", 0, 1)
    split = study.study.protocol.split(twin.labels, num_own_test=0, seed=0)
    samples = training.encode_twins([twin], [split])
    in_time, to_end = training.train_and_predict(study.runs["l2"], samples, 1)
    assert in_time.test.shape == to_end.test.shape == (5 * 2, twins.SMALL_TABLE // 2, 1)
    assert (in_time.mechanisms["best_epoch"] <= to_end.mechanisms["best_epoch"]).all()
    monkeypatch.setattr(training, "train_and_predict", lambda run, samples, seed: [in_time, to_end])
    arms = training.train_arms(study, samples, 1)
    names = ["unregularized/at_knob", "unregularized/to_end", "l2/at_knob", "l2/tuned", "other_seeds/at_knob"]
    assert list(arms) == [*names, "dropout/at_knob", "batch_norm/at_knob", "best_single/tuned"]
    np.testing.assert_array_equal(arms["unregularized/to_end"], to_end.test)
    assert arms["l2/tuned"].shape == arms["best_single/tuned"].shape == (2, twins.SMALL_TABLE // 2, 1)


def test_kept_twins_of_other_code_are_refused(study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "KEPT", tmp_path)
    made = [make_predicted(0), make_predicted(1)]
    monkeypatch.setattr(training, "train_group", lambda group, *, study, seed: made)
    options = {"group": ("table", (0, 1)), "study": study, "seed": 1}
    training.keep_group(**options, folder=tmp_path)
    assert training.is_as_trained_now(**options)
    loaded = training.load_predicted(tmp_path / training.name_file("table", 1, 1))
    np.testing.assert_equal(loaded.arms, made[1].arms)
    made[1].arms["l2/tuned"][0, 0] += 1e-6
    assert not training.is_as_trained_now(**options)


def test_which_differences_are_none_by_construction():
    assert calibrate.is_null("none", "unregularized", "auc", "dropout/at_knob")
    assert calibrate.is_null("none", "no_skill", "auc", "dropout/at_knob")
    assert not calibrate.is_null("none", "unregularized", "log_loss", "dropout/at_knob")
    assert calibrate.is_null("table", "unregularized", "log_loss", "other_seeds/at_knob")
    assert not calibrate.is_null("table", "no_skill", "log_loss", "other_seeds/at_knob")
    assert calibrate.is_null("some_better", "unregularized", "log_loss", "equal_7/at_knob")
    assert not calibrate.is_null("some_better", "unregularized", "log_loss", "better_1/at_knob")


def test_findings_are_counted_with_their_binomial_interval():
    share = calibrate.count_share(pd.Series([True] * 8 + [False] * 192))
    assert share == pytest.approx({"value": 0.04, "low": 0.0174, "high": 0.0773, "count": 8, "of": 200}, abs=1e-3)


def test_noise_is_judged_and_counted(study):
    full = replace(study, study=replace(study.study, protocol=PROTOCOL))
    judged = [training.judge_twin(make_predicted(seed), full) for seed in range(3)]
    counts = calibrate.count_findings(calibrate.prepare("none", judged), margins=MARGINS)
    assert (counts["tables"], "best_set" in counts) == (3, False)
    family = counts["baseline"]["family_wise_error"]
    assert family["true_nulls"] == 5  # AUC of four arms, log loss of the equal one
    assert family["by_row"]["count"] == 0 and counts["baseline"]["all_intervals"]["of"] == 3
    tuned = counts["baseline"]["scores"]["auc"]["l2_tuned"]
    assert tuned["true_difference"] == 0.0 and tuned["together"]["half_width"] > tuned["by_row"]["half_width"]
    assert "unregularized" in counts["no_skill"]["scores"]["log_loss"]


def test_sets_of_the_best_are_counted_for_arms_that_are_best():
    row = {"against": "unregularized", "score": "auc", "difference": 0.0, "low": -1.0, "high": 1.0, "own": 1.0}
    row |= {"verdict": "undecided", "asked": True}
    table = pd.DataFrame(
        [row | {"arm": "equal_7/at_knob", "in_best": False}, row | {"arm": "better_1/at_knob", "in_best": True}]
    )
    table = pd.concat([table, table.assign(against="no_skill", in_best=None)])
    found = [calibrate.prepare(setting, [table, table]) for setting in ("equal", "some_better")]
    shares = [calibrate.count_findings(each, margins=MARGINS)["best_set"]["auc"] for each in found]
    assert [(share["count"], share["of"]) for share in shares] == [(0, 2), (2, 2)]


def test_a_part_of_a_calibration_replaces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["calibrate", "--tables", "5", "--settings", "none"])
    with pytest.raises(UserError, match=r"a part of a calibration would replace metrics/calibration.json, expected"):
        calibrate.main()
