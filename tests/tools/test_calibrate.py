"""Twins, what is known of them, how they are trained, and how findings are counted."""

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from stages import plan
from stages.lib.core.cli import UserError
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.data.thoracic_surgery import NUM_DEATHS, NUM_PATIENTS, expand_columns
from tests.conftest import keep_studies, shrink_params
from tools.calibrate import __main__ as calibrate
from tools.calibrate import training, twins
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
    arms = {name: expit(rng.normal(size=split.test.shape) - 1) for name in ("unregularized", "other_seeds", "l2_tuned")}
    return Predicted(label, split.test, split.training, arms, dict.fromkeys(list(arms)[1:], "unregularized"))


def test_a_twin_is_drawn_from_its_seed_alone(population):
    drawn = [twins.draw_twin(population, "table", number, seed=1) for number in (0, 0, 1)]
    first, again, other = (twin.fit(twin.columns[:100]).transform(twin.columns) for twin in drawn)
    np.testing.assert_array_equal(drawn[0].labels, drawn[1].labels)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("risk", [twins.sparse, twins.interaction, twins.heavy_tailed])
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


def test_blocks_are_disjoint_and_alike():
    masks = np.array([twins.mask_block(block) for block in range(twins.NUM_BLOCKS)])
    assert ((masks == 0).sum(axis=0) <= 1).all()
    assert (masks == 0).sum(axis=1).tolist() == [twins.BLOCK_SIZE] * twins.NUM_BLOCKS


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

    def answer(run, samples, seed):
        return [SimpleNamespace(test=samples[1].labels[samples[1].test][..., None])]

    monkeypatch.setattr(training, "train_run", answer)
    for predicted in training.train_group(("exchangeable", (0, 1)), study=study, seed=1):
        assert list(predicted.arms) == [f"{name}_{block}" for name in ("plain", "l2") for block in range(5)]
        assert predicted.baselines["l2_4"] == "l2_0"
        np.testing.assert_array_equal(predicted.arms["l2_3"], predicted.label[predicted.test_numbers])


def test_twins_train_as_real_lanes(study, monkeypatch):
    twin = twins.draw_exchangeable(0.3, 60, np.random.default_rng(1))
    split = study.study.protocol.split(twin.labels, num_own_test=0, seed=0)
    samples = training.encode_twins([twin], [split])
    in_time, to_end = training.train_run(study.runs["l2"], samples, 1)
    assert in_time.test.shape == to_end.test.shape == (5 * 2, 30, 1)
    assert (in_time.mechanisms["best_epoch"] <= to_end.mechanisms["best_epoch"]).all()
    monkeypatch.setattr(training, "train_run", lambda run, samples, seed: [in_time, to_end])
    arms, baselines = training.train_regularizers(study, samples, 1)
    names = ["unregularized", "to_end", "l2_knob", "l2_tuned", "other_seeds", "dropout_knob", "batch_norm_knob"]
    assert list(arms) == names
    np.testing.assert_array_equal(arms["to_end"], to_end.test)
    assert baselines == dict.fromkeys(list(arms)[1:], "unregularized")
    assert arms["l2_tuned"].shape == (2, 30, 1)


def test_kept_twins_of_other_code_are_refused(study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "KEPT", tmp_path)
    made = [make_predicted(0), make_predicted(1)]
    monkeypatch.setattr(training, "train_group", lambda group, *, study, seed: made)
    options = {"group": ("table", (0, 1)), "study": study, "seed": 1}
    training.keep_group(**options, folder=tmp_path)
    assert training.is_as_trained_now(**options)
    loaded = training.load_predicted(tmp_path / training.name_file("table", 1, 1))
    assert loaded.baselines == made[1].baselines
    np.testing.assert_equal(loaded.arms, made[1].arms)
    made[1].arms["l2_tuned"][0, 0] += 1e-6
    assert not training.is_as_trained_now(**options)


def test_which_differences_are_none_by_construction():
    assert calibrate.is_null("none", "unregularized", "auc", "dropout_knob")
    assert calibrate.is_null("none", "no_skill", "auc", "dropout_knob")
    assert not calibrate.is_null("none", "unregularized", "log_loss", "dropout_knob")
    assert calibrate.is_null("table", "unregularized", "log_loss", "other_seeds")
    assert not calibrate.is_null("table", "no_skill", "log_loss", "other_seeds")
    assert calibrate.is_null("exchangeable", "plain_0", "log_loss", "plain_1")


def test_findings_are_counted_with_their_binomial_interval():
    share = calibrate.count_share(pd.Series([True] * 8 + [False] * 192))
    assert share == pytest.approx({"value": 0.04, "low": 0.0174, "high": 0.0773, "count": 8, "of": 200}, abs=1e-3)


def test_noise_is_judged_and_counted(study):
    full = replace(study, study=replace(study.study, protocol=PROTOCOL))
    judged = [calibrate.judge_twin(make_predicted(seed), full) for seed in range(3)]
    counts = calibrate.count_setting("none", judged, alpha=0.05, margins=MARGINS)
    family = counts["baseline"]["family_wise_error"]
    assert family["true_nulls"] == 3  # AUC of both arms, log loss of the equal one
    assert family["by_row"]["count"] == 0
    assert counts["baseline"]["scores"]["auc"]["l2_tuned"]["true_difference"] == 0.0
    assert set(counts["no_skill"]["scores"]["log_loss"]) == {"unregularized", "other_seeds", "l2_tuned"}


def test_a_part_of_a_calibration_replaces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["calibrate", "--tables", "5", "--settings", "none"])
    with pytest.raises(UserError, match=r"a part of a calibration would replace metrics/calibration.json, expected"):
        calibrate.main()
