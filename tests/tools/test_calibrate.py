"""Twins, what is known of them, and how findings are counted."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from stages.lib.data.thoracic_surgery import NUM_DEATHS, NUM_SURVIVORS
from stages.lib.judge.plans import StatisticsPlan
from tests.conftest import ROOT
from tools.calibrate import training, twins
from tools.calibrate.counting import NO_SKILL, Share, count_setting, is_null
from tools.calibrate.judging import Predicted, judge_twin

MARGINS = {"auc": 0.01, "log_loss": 0.01}


@pytest.fixture(scope="module")
def population():
    return twins.Population.fit(twins.read_table())


def make_predicted(rng, *, num_rows=60, folds=5, repeats=10):
    label = np.repeat([1, 0], [num_rows // 4, num_rows - num_rows // 4])
    held_out, known = [], []
    for _ in range(repeats):
        parts = [rng.permutation(np.flatnonzero(label == number)).reshape(folds, -1) for number in (0, 1)]
        for fold in np.concatenate(parts, axis=1):
            held_out.append(fold)
            known.append(rng.choice(np.setdiff1d(np.arange(num_rows), fold), 36, replace=False))
    held_out, known = np.array(held_out), np.array(known)
    arms = {name: expit(rng.normal(size=held_out.shape) - 1) for name in ("unregularized", "other_seeds", "l2_tuned")}
    baselines = dict.fromkeys(("other_seeds", "l2_tuned"), "unregularized")
    return Predicted(label.astype(np.uint8), held_out, known, arms, baselines)


def test_a_twin_is_drawn_from_its_seed_alone(population):
    setting = twins.scale_risk(population, "logistic", 1.0)
    first, again, other = (setting.draw(population, 200, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.label, again.label)
    np.testing.assert_array_equal(first.encode(np.arange(100)), again.encode(np.arange(100)))
    assert not np.array_equal(first.encode(np.arange(100)), other.encode(np.arange(100)))


@pytest.mark.parametrize("risk", twins.RISKS)
def test_risks_are_scaled_to_the_death_rate_and_to_one_auc(population, risk):
    setting, reference = (twins.scale_risk(population, name, 1.0) for name in (risk, "logistic"))
    patients = population.draw_patients(20_000, np.random.default_rng(3))
    auc = []
    for found in (setting, reference):
        logit = found.scale * twins.RISKS[found.risk](population)(population.encode(patients))
        assert expit(found.offset + logit).mean() == pytest.approx(NUM_DEATHS / (NUM_DEATHS + NUM_SURVIVORS), abs=0.01)
        auc.append(twins.expected_auc(logit, found.offset))
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


def test_which_differences_are_none_by_construction():
    assert is_null("none", ("unregularized", "auc", "dropout_knob"))
    assert is_null("none", (NO_SKILL, "auc", "dropout_knob"))
    assert not is_null("none", ("unregularized", "log_loss", "dropout_knob"))
    assert is_null("table", ("unregularized", "log_loss", "other_seeds"))
    assert not is_null("table", (NO_SKILL, "log_loss", "other_seeds"))
    assert is_null("exchangeable", ("plain_0", "log_loss", "plain_1"))


def test_findings_are_counted_with_their_binomial_interval():
    share = Share.count_true(np.array([True] * 8 + [False] * 192))
    assert (share.count, share.of, share.value) == (8, 200, 0.04)
    assert (share.low, share.high) == pytest.approx((0.0174, 0.0773), abs=1e-3)


def test_noise_is_judged_and_counted():
    settings = StatisticsPlan(0.95, MARGINS)
    tables = [judge_twin(make_predicted(np.random.default_rng(seed)), settings) for seed in range(3)]
    counts = count_setting("none", tables, alpha=0.05, margins=MARGINS)
    family = counts["baseline"]["family_wise_error"]
    assert family["true_nulls"] == 3  # AUC of both arms, log loss of the equal one
    assert family["by_row"]["count"] == 0
    assert counts["baseline"]["scores"]["auc"]["l2_tuned"]["true_difference"] == 0.0
    assert set(counts[NO_SKILL]["scores"]["log_loss"]) == {"unregularized", "other_seeds", "l2_tuned"}


def test_what_is_trained_survives_its_file(tmp_path: Path):
    predicted = make_predicted(np.random.default_rng(0))
    training.save(predicted, tmp_path / "twin.npz")
    found = training.load(tmp_path / "twin.npz")
    assert found.baselines == predicted.baselines
    for name, probability in predicted.arms.items():
        np.testing.assert_array_equal(found.arms[name], probability)


def test_kept_twins_of_other_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "KEPT", tmp_path)
    rng = np.random.default_rng(6)
    found = [make_predicted(rng), make_predicted(rng)]
    monkeypatch.setattr(training, "train_tables", lambda group, *, seed: found)
    group = ("table", (0, 1))
    training.keep_tables(group, seed=1)
    assert training.is_as_trained_now(group, seed=1)
    found[1].arms["l2_tuned"][0, 0] += 1e-6
    assert not training.is_as_trained_now(group, seed=1)
    found[1].arms["l2_tuned"][0, 0] -= 1e-6
    found[1].arms["more"] = found[1].arms["l2_tuned"]
    assert not training.is_as_trained_now(group, seed=1)


def test_a_part_of_a_calibration_replaces_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.calibrate", "--tables", "2", "--settings", "none"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: a part of a calibration would replace metrics/calibration.json, expected")
    assert len(done.stderr.splitlines()) == 1


def test_twins_train_as_real_lanes():
    from tools.calibrate import laboratory

    twin = twins.draw_exchangeable(0.3, 60, np.random.default_rng(1))
    batch = laboratory.prepare([twin], [0])
    plan = laboratory.make_plan("l2", (0.01, 0.1), seed=1, num_replicates=len(batch.test))
    validation, held_out = laboratory.train(dataclasses.replace(plan, epochs=2), batch)
    assert held_out.shape == (2, laboratory.PROTOCOL.num_replicates, 12)
    chosen = laboratory.choose(batch, validation)
    assert set(chosen) <= {0, 1}
