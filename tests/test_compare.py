"""compare and report on answers made by hand: which arm is chosen, what is compared, what is told."""

import dataclasses
import json

import numpy as np
import pytest

from stages import compare, report
from stages.lib.plans import Equivalence, Protocol, StatisticsPlan, StudyPlan
from stages.lib.predictions import Labels, Predictions

FOLDS, REPLICATES, ROWS = 5, 10, 40
K_FOLD = Protocol("repeated_stratified_k_fold", REPLICATES, FOLDS, None, 0.2)
STATISTICS = StatisticsPlan(0.95, Equivalence(auc=0.01, accuracy=0.002))
MECHANISMS = ("epochs_run", "best_epoch", "stopped_early", "diverged")
MECHANISMS += ("zero_share", "near_zero_share", "kernel_norm", "bound_share")


def make_labels(generator: np.random.Generator) -> Labels:
    parts = [np.tile(np.arange(ROWS) % 4 == 0, (REPLICATES, 1)).astype(np.uint8) for _ in range(3)]
    return Labels(*(generator.permuted(part, axis=1) for part in parts))


def make_predictions(
    labels: Labels, skills: dict[float, dict[str, float]], generator: np.random.Generator
) -> Predictions:
    """Answers at each strength: the centred label times the skill of the part, plus noise, squeezed into [0, 1]."""
    answers = {}
    for part in ("training", "validation", "test"):
        label = getattr(labels, part) - 0.5
        at_strengths = [skill[part] * label + generator.normal(0, 1, label.shape) for skill in skills.values()]
        answers[part] = (1 / (1 + np.exp(-np.concatenate(at_strengths))))[..., None].astype(np.float32)
    num_lanes = REPLICATES * len(skills)
    zeros = {name: np.zeros(num_lanes) for name in MECHANISMS}
    return Predictions(
        replicate=np.tile(np.arange(REPLICATES), len(skills)),
        strength=np.repeat(list(skills), REPLICATES),
        **answers,
        **zeros,
    )


def same(skill: float) -> dict[str, float]:
    return {"training": skill, "validation": skill, "test": skill}


@pytest.fixture(scope="module")
def study() -> compare.Study:
    generator = np.random.Generator(np.random.PCG64(0))
    labels = make_labels(generator)
    misled = {
        0.1: same(1),
        0.5: {"training": 1, "validation": 4, "test": 0},
        0.9: {"training": 1, "validation": 0, "test": 3},
    }
    predictions = {
        "none": make_predictions(labels, {0.0: same(1)}, generator),
        "strong": make_predictions(labels, {0.3: same(6)}, generator),
        "misled": make_predictions(labels, misled, generator),
        "hurt": make_predictions(labels, {1.0: same(-2)}, generator),
    }
    plan = StudyPlan(
        study="made", dataset="thoracic_surgery", baseline="none", primary="auc", select_by="log_loss",
        protocol=K_FOLD, seed=3, variants=tuple(predictions), references=(),
    )  # fmt: skip
    return compare.Study(plan, STATISTICS, labels, predictions, {})


@pytest.fixture(scope="module")
def outcome(study: compare.Study) -> tuple[dict, dict, dict]:
    return compare.run(study)


def test_the_tuned_arm_is_chosen_on_validation_rows_and_judged_on_test_rows(outcome: tuple[dict, dict, dict]) -> None:
    _, comparison, _ = outcome
    tuned = comparison["misled"]["tuned"]
    assert tuned["strength"] == [0.5], "the best on validation rows, though 0.9 is the best on test rows"
    assert tuned["value"] == pytest.approx(0.5, abs=0.1)


def test_the_knob_is_the_first_strength(outcome: tuple[dict, dict, dict]) -> None:
    assert outcome[1]["misled"]["at_knob"]["strength"] == [0.1]


def test_verdicts(outcome: tuple[dict, dict, dict]) -> None:
    _, comparison, _ = outcome
    assert comparison["none"]["at_knob"]["verdict"] == "baseline"
    assert comparison["strong"]["at_knob"]["verdict"] == "better"
    assert comparison["hurt"]["at_knob"]["verdict"] == "worse"
    assert comparison["misled"]["at_knob"]["verdict"] == "undecided"


def test_an_entry_can_be_checked_by_hand(outcome: tuple[dict, dict, dict]) -> None:
    """Nadeau and Bengio's interval from the replicates that the entry itself holds."""
    from scipy import stats

    _, comparison, _ = outcome
    entry, baseline = comparison["strong"]["at_knob"], comparison["none"]["at_knob"]
    differences = np.array(entry["replicates"]) - np.array(baseline["replicates"])
    error = differences.std(ddof=1) * np.sqrt(1 / REPLICATES + 1 / (FOLDS - 1))
    reach = stats.t.ppf(0.975, REPLICATES - 1) * error
    assert entry["difference"] == pytest.approx(differences.mean(), abs=1e-6)
    assert entry["ci_low"] == pytest.approx(differences.mean() - reach, abs=1e-6)
    assert entry["ci_high"] == pytest.approx(differences.mean() + reach, abs=1e-6)
    assert entry["p_adjusted"] >= entry["p_value"]


def test_metrics_are_few_and_finite_and_name_no_other_variant(
    study: compare.Study, outcome: tuple[dict, dict, dict]
) -> None:
    metrics, comparison, paths = outcome
    assert set(metrics) == {*study.plan.variants, "no_skill"}
    assert all(len(scores) <= 8 for scores in metrics.values())
    assert set(comparison) == set(study.plan.variants)
    assert set(paths) == {"misled"}
    json.dumps(outcome, allow_nan=False)


def test_a_path_runs_from_the_weakest_to_the_strongest(outcome: tuple[dict, dict, dict]) -> None:
    points = outcome[2]["misled"]
    assert [point["strength"] for point in points] == [0.1, 0.5, 0.9]
    assert all(point["ci_low"] < point["mean"] < point["ci_high"] for point in points)
    assert points[2]["mean"] > 0.9 > points[0]["mean"]


def test_a_variant_without_finite_weights_still_gives_finite_numbers(study: compare.Study) -> None:
    lost = study.predictions["none"]
    norms = np.full(REPLICATES, np.nan)
    predictions = study.predictions | {"none": dataclasses.replace(lost, kernel_norm=norms)}
    outcome = compare.run(dataclasses.replace(study, predictions=predictions))
    assert outcome[1]["none"]["at_knob"]["mechanisms"]["kernel_norm"] == 0
    json.dumps(outcome, allow_nan=False)


def test_every_sentence_of_the_report_follows_from_its_verdict(outcome: tuple[dict, dict, dict]) -> None:
    metrics, comparison, paths = outcome
    text = report.run({"made": metrics}, {"made": comparison}, {"made": paths})
    for variant, arms in comparison.items():
        for kind, arm in arms.items():
            if arm["verdict"] != "baseline":
                told = f"**{variant}** {report.ARMS[kind]} {report.OUTCOMES[arm['verdict']]} none: AUC"
                assert told in text
    assert "71% of an interval's variance" in text, "1 / (5 - 1) of 1 / (5 - 1) + 1 / 10"
    assert "| misled | 0.1 |" in text
    assert "\n\n\n" not in text


def test_a_study_of_its_baseline_alone_is_reported(study: compare.Study) -> None:
    plan = dataclasses.replace(study.plan, variants=("none",))
    alone = dataclasses.replace(study, plan=plan, predictions={"none": study.predictions["none"]})
    text = report.run(*({"made": part} for part in compare.run(alone)))
    assert "No arm stands beside the baseline." in text


def test_mechanisms_are_told_where_they_acted() -> None:
    found = dict.fromkeys(MECHANISMS, 0.0) | {
        "zero_share": 0.25,
        "bound_share": 0.5,
        "stopped_early": 1.0,
        "epochs_run": 7.0,
    }
    said = report.tell_mechanisms({"mechanisms": found | {"diverged": 0.02}})
    for part in (
        "25% of the weights",
        "50% of the bounded units",
        "100% of the lanes stopped early; 7.0 epochs",
        "2% of the lanes",
    ):
        assert part in said
    assert report.tell_mechanisms({"mechanisms": dict.fromkeys(MECHANISMS, 0.0)}) == ""
