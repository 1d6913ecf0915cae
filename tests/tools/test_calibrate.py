"""Twins, what is known of them, how they are trained, and how findings are counted."""

import json
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy.special import expit
from sklearn.linear_model import Ridge as RidgeModel

from stages import plan
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.data.thoracic_surgery import NUM_DEATHS, NUM_PATIENTS, expand_columns
from tests.conftest import keep_studies, shrink_params
from tools.calibrate import __main__ as calibrate
from tools.calibrate import simulated, training, twins
from tools.calibrate.training import Predicted

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
    return Predicted(training.label_split(label, split), arms)


def test_a_twin_is_drawn_from_its_seed_alone(population):
    drawn = [twins.draw_twin(population, "table", number, seed=1) for number in (0, 0, 1)]
    first, again, other = (twin.fit(twin.columns[:100]).transform(twin.columns) for twin in drawn)
    np.testing.assert_array_equal(drawn[0].labels, drawn[1].labels)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("risk", [twins.steps, twins.bumps, twins.centres])
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


def test_simulated_arms_are_what_their_names_say():
    """Equal arms do without as many blocks as the baseline, better ones without fewer; no two are the same."""
    kept = {name: set(columns.tolist()) for name, columns in simulated.choose_features(5).items()}
    assert len(kept) == simulated.NUM_ARMS + 1 == len({frozenset(columns) for columns in kept.values()})
    sizes = {kind: {len(kept[name]) for name in kept if name.startswith(kind)} for kind in ("equal", "better")}
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


def test_a_simulated_study_is_judged_by_every_arm(study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulated.SIMULATED, "equal", (90, 0))
    full = replace(study, study=replace(study.study, protocol=PROTOCOL))
    found = simulated.judge_simulated(simulated.NUM_COMPARED, setting="equal", study=full, seed=1)
    names = {f"equal_{number + 1}/at_knob" for number in range(simulated.NUM_ARMS)}
    assert set(found.arm) >= names | {"unregularized/to_end", "best_single/tuned"}


def test_over_tables_intervals_hold_as_often_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command, with few studies and in this process."""
    monkeypatch.setitem(calibrate.PER_TABLE, "over_tables", 4)
    context = MagicMock()
    context.Pool.return_value.__enter__.return_value.imap = lambda work, numbers, chunksize=1: map(work, numbers)
    monkeypatch.setattr(calibrate.multiprocessing, "get_context", lambda _: context)
    options = ["--settings", "over_tables", "--tables", "5", "--seed", "3", "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", ["calibrate", *options, "--output", str(tmp_path / "counts.json")])
    calibrate.main()
    found = json.loads((tmp_path / "counts.json").read_text())["over_tables"]
    assert list(found) == list(simulated.WORLDS) and list(found["alike"]) == [*map(str, simulated.NUM_TABLES), "any"]
    for counts in (counts for sizes in found.values() for counts in sizes.values()):
        for name in ("all_intervals", "new_table", "best_set"):
            assert counts[name]["value"] > 0.95 - 3 * np.sqrt(0.95 * 0.05 / counts[name]["of"])
    errors = [sizes["any"]["family_wise_error"]["value"] for sizes in found.values()]
    assert np.mean(errors) < 0.05 + 3 * np.sqrt(0.95 * 0.05 / 240)
    assert found["alike"]["60"]["found_l1"]["value"] > 0.9


def test_the_study_is_that_of_params_yaml(params, monkeypatch):
    params["studies"]["thoracic"]["training"]["epochs"] = 7
    params["l2"] = 0.02
    planned = plan_study(params, monkeypatch)
    assert planned.runs["l2"].epochs == planned.runs["unregularized"].epochs == 7
    assert planned.runs["l2"].at_knob.regularizers[0].strengths == (0.02,)


def test_twins_that_train_together_keep_their_rows_apart(study, monkeypatch):
    """Predictions that are the labels themselves end where they belong."""

    def answer(study, samples, seed):
        return {"a/at_knob": samples[1].labels[samples[1].test]}

    monkeypatch.setattr(training, "train_arms", answer)
    for predicted in training.train_group(("table", (0, 1)), study=study, seed=1):
        np.testing.assert_array_equal(predicted.arms["a/at_knob"], predicted.labels.test)


def test_twins_train_as_real_lanes(study, monkeypatch):
    twin = twins.draw_twin(twins.Population.fit(), "small", 0, 1)
    split = study.study.protocol.split(twin.labels, num_own_test=0, seed=0)
    samples = training.encode_twins([twin], [split])
    in_time, to_end = training.train_and_predict(study.runs["l2"], samples, 1)
    assert in_time.test.shape == to_end.test.shape == (5 * 2, twins.SMALL_TABLE // 2, 1)
    assert (in_time.mechanisms["best_epoch"] <= to_end.mechanisms["best_epoch"]).all()
    ends = (in_time, to_end)
    alone = {"replicate": in_time.replicate[:2], "knob": 0, "tried": 0}
    at_knob = [replace(one, validation=one.validation[:2], **alone) for one in ends]
    trained = {"l2": [in_time]}
    monkeypatch.setattr(training, "train_and_predict", lambda run, samples, seed: trained.get(run.variant, at_knob))
    arms = training.train_arms(study, samples, 1)
    knobs = [f"{name}/at_knob" for name in ("unregularized", "l2", "dropout", "batch_norm", "other_seeds")]
    assert list(arms) == [*knobs, "l2/tuned", "unregularized/to_end", "best_single/tuned"]
    np.testing.assert_array_equal(arms["unregularized/to_end"], to_end.test[:2, ..., 0])
    assert arms["l2/tuned"].shape == arms["best_single/tuned"].shape == (2, twins.SMALL_TABLE // 2)


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


@pytest.mark.parametrize(
    ("setting", "against", "score", "arm", "null"),
    [
        ("none", "unregularized", "auc", "dropout/at_knob", True),
        ("none", "no_skill", "auc", "dropout/at_knob", True),
        ("none", "unregularized", "log_loss", "dropout/at_knob", False),
        ("table", "unregularized", "log_loss", "other_seeds/at_knob", True),
        ("table", "no_skill", "log_loss", "other_seeds/at_knob", False),
        ("some_better", "unregularized", "log_loss", "equal_7/at_knob", True),
        ("some_better", "unregularized", "log_loss", "better_1/at_knob", False),
    ],
)
def test_which_differences_are_none_by_construction(setting, against, score, arm, null):
    assert calibrate.is_null(setting, against, score, arm) == null


def test_noise_is_judged_by_each_method_and_counted(study):
    full = replace(study, study=replace(study.study, protocol=PROTOCOL))
    judged = [training.judge_twin(make_predicted(seed), full, methods=training.METHODS) for seed in range(3)]
    findings = calibrate.prepare("none", judged)
    counts = calibrate.count_findings(findings)
    assert (counts["tables"], "best_set" in counts) == (3, False)
    error = counts["baseline"]["family_wise_error"]["by_row"]
    assert error == pytest.approx({"value": 0, "low": 0, "high": 1 - 0.025 ** (1 / 3), "count": 0, "of": 3})
    assert counts["baseline"]["all_intervals"]["of"] == 3
    tuned = counts["baseline"]["scores"]["auc"]["l2_tuned"]
    assert tuned["true_difference"] == 0.0 and tuned["together"]["half_width"] > tuned["by_row"]["half_width"]
    assert "unregularized" in counts["no_skill"]["scores"]["log_loss"]
    asked = findings[findings.asked & (findings.against == "unregularized")]
    half = (asked.high - asked.low).groupby(asked.method).mean()
    assert half["b_towards_0.5"] < half["as_used"] <= half["b_from_0"] and half["surer_errors_apart"] < half["as_used"]
    assert set(calibrate.count_method(asked)) == {"lowest_coverage", "family_wise_error", "all_intervals", "width"}


def test_sets_of_the_best_are_counted_for_arms_that_are_best():
    row = {"method": "as_used", "against": "unregularized", "score": "auc", "verdict": "inconclusive", "asked": True}
    row |= {"difference": 0.0, "low": -1.0, "high": 1.0, "own": 1.0}
    table = pd.DataFrame(row | {"arm": ["equal_7/at_knob", "better_1/at_knob"], "in_best": [False, True]})
    found = [calibrate.prepare(setting, [table, table]) for setting in ("equal", "some_better")]
    shares = [calibrate.count_findings(each)["best_set"]["auc"] for each in found]
    assert [(share["count"], share["of"]) for share in shares] == [(0, 2), (2, 2)]


def test_rows_of_a_patient_are_counted_as_the_patient_that_they_are(study):
    """The same differences, with wider intervals than rows would give."""
    full = replace(study, study=replace(study.study, protocol=PROTOCOL))
    found = [simulated.judge_repeated(number, setting="repeated", study=full, seed=1) for number in range(2)]
    counts = calibrate.count_findings(calibrate.prepare("repeated", found))
    for arms in (arms for family in ("baseline", "no_skill") for arms in counts[family]["scores"].values()):
        patients, rows = arms["patients_counted"], arms["rows_counted"]
        assert patients["true_difference"] == pytest.approx(rows["true_difference"])
        assert patients["by_row"]["half_width"] > 1.2 * rows["by_row"]["half_width"]
        assert patients["by_row"]["coverage"]["of"] == 2
