"""compare and report on predictions made by hand: which arm is chosen, what is compared, what is told."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from stages import compare, report
from stages.lib.comparison import (
    Comparison,
    PathPoint,
    StudyResult,
    load_comparison,
    load_paths,
    save_comparison,
    save_paths,
    tabulate_metrics,
)
from stages.lib.families import Judge
from stages.lib.predictions import Labels, Predictions
from stages.lib.studies.plans import StatisticsPlan, StudyPlan
from stages.lib.studies.protocols import RepeatedStratifiedKFold
from stages.lib.wording import ARMS

FOLDS, REPLICATES, ROWS = 5, 10, 40
K_FOLD = RepeatedStratifiedKFold(folds=FOLDS, repeats=REPLICATES // FOLDS, validation=0.2)
STATISTICS = StatisticsPlan(0.95, {"auc": 0.01})
MECHANISMS = ("epochs_run", "best_epoch", "stopped_early", "diverged")
MECHANISMS += ("zero_share", "near_zero_share", "kernel_norm", "bound_share")


def make_labels(generator: np.random.Generator) -> Labels:
    parts = [np.tile(np.arange(ROWS) % 4 == 0, (REPLICATES, 1)).astype(np.uint8) for _ in range(3)]
    return Labels(*(generator.permuted(part, axis=1) for part in parts), np.tile(np.arange(ROWS), (REPLICATES, 1)))


def make_predictions(
    labels: Labels, skills: dict[float, dict[str, float]], generator: np.random.Generator
) -> Predictions:
    """Predictions at each strength: the centred label times the skill of the part, plus noise, as a sigmoid's."""
    answers = {}
    for part in ("training", "validation", "test"):
        label = getattr(labels, part) - 0.5
        at_strengths = [skill[part] * label + generator.normal(0, 1, label.shape) for skill in skills.values()]
        answers[part] = (1 / (1 + np.exp(-np.concatenate(at_strengths))))[..., None].astype(np.float32)
    num_lanes = REPLICATES * len(skills)
    return Predictions(
        replicate=np.tile(np.arange(REPLICATES), len(skills)),
        strengths={"l2": np.repeat(list(skills), REPLICATES), "dropout": np.full(num_lanes, 0.5)},
        mechanisms={name: np.zeros(num_lanes) for name in MECHANISMS},
        **answers,
    )


def same(skill: float) -> dict[str, float]:
    return {"training": skill, "validation": skill, "test": skill}


@pytest.fixture(scope="module")
def predicted() -> dict[str, Predictions]:
    generator = np.random.Generator(np.random.PCG64(1))
    labels = make_labels(np.random.Generator(np.random.PCG64(0)))
    misled = {
        0.1: same(1),
        0.5: {"training": 1, "validation": 4, "test": 0},
        0.9: {"training": 1, "validation": 0, "test": 3},
    }
    return {
        "unregularized": make_predictions(labels, {0.0: same(1)}, generator),
        "strong": make_predictions(labels, {0.3: same(6)}, generator),
        "misled": make_predictions(labels, misled, generator),
        "hurt": make_predictions(labels, {1.0: same(-2)}, generator),
    }


@pytest.fixture(scope="module")
def judge() -> Judge:
    plan = StudyPlan(
        study="made", dataset="thoracic_surgery", features="encoded", outputs=1, baseline="unregularized",
        primary="auc", select_by="log_loss", protocol=K_FOLD, seed=3,
        variants=("unregularized", "strong", "misled", "hurt"), references=(),
    )  # fmt: skip
    return Judge(plan, STATISTICS, make_labels(np.random.Generator(np.random.PCG64(0))))


@pytest.fixture(scope="module")
def outcome(judge: Judge, predicted: dict[str, Predictions]) -> tuple[StudyResult, list[PathPoint]]:
    return compare.run(judge, predicted, {})


@pytest.fixture(scope="module")
def result(outcome: tuple[StudyResult, list[PathPoint]]) -> StudyResult:
    return outcome[0]


def test_the_tuned_arm_is_chosen_on_validation_rows_and_judged_on_test_rows(result: StudyResult) -> None:
    tuned = result.arms["misled"]["tuned"]
    assert tuned.strengths["l2"] == [0.5], "the best on validation rows, though 0.9 is the best on test rows"
    assert tuned.value == pytest.approx(0.5, abs=0.1)


def test_every_strength_of_an_arm_is_named_and_the_knob_is_the_first_of_a_path(result: StudyResult) -> None:
    assert result.arms["misled"]["at_knob"].strengths == {"l2": [0.1], "dropout": [0.5]}


def test_verdicts(result: StudyResult) -> None:
    assert result.baseline_result.verdict == "baseline"
    assert result.arms["strong"]["at_knob"].verdict == "better"
    assert result.arms["hurt"]["at_knob"].verdict == "worse"
    assert result.arms["misled"]["at_knob"].verdict == "undecided"


def test_an_entry_can_be_checked_by_hand(result: StudyResult) -> None:
    """Nadeau and Bengio's interval from the replicates that the entry itself holds."""
    from scipy import stats

    arm = result.arms["strong"]["at_knob"]
    found = arm.difference
    assert found is not None
    differences = np.array(arm.replicates) - np.array(result.baseline_result.replicates)
    error = differences.std(ddof=1) * np.sqrt(1 / REPLICATES + 1 / (FOLDS - 1))
    reach = stats.t.ppf(0.975, REPLICATES - 1) * error
    assert found.value == pytest.approx(differences.mean(), abs=1e-6)
    assert found.ci_low == pytest.approx(differences.mean() - reach, abs=1e-6)
    assert found.ci_high == pytest.approx(differences.mean() + reach, abs=1e-6)
    assert found.p_adjusted >= found.p_value


def test_metrics_are_few_and_finite_and_name_no_other_variant(judge: Judge, result: StudyResult) -> None:
    metrics = tabulate_metrics(result)
    assert set(metrics) == {*judge.plan.variants, "no_skill"}
    assert all(len(scores) <= 8 for scores in metrics.values())
    assert set(result.arms) == set(judge.plan.variants)


def test_a_path_runs_from_the_weakest_to_the_strongest(outcome: tuple[StudyResult, list[PathPoint]]) -> None:
    points = outcome[1]
    assert [point.variant for point in points] == ["misled"] * 3
    assert [point.strength for point in points] == [0.1, 0.5, 0.9]
    assert all(point.ci_low < point.mean < point.ci_high for point in points)
    assert points[2].mean > 0.9 > points[0].mean


def test_results_survive_their_files(
    outcome: tuple[StudyResult, list[PathPoint]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result, points = outcome
    save_comparison({"made": result})
    save_paths(points)
    assert load_comparison() == {"made": result}
    assert load_paths() == points
    assert json.loads(Path("metrics/metrics.json").read_text())["made"] == tabulate_metrics(result)


def test_a_variant_without_finite_weights_still_gives_finite_numbers(
    judge: Judge, predicted: dict[str, Predictions]
) -> None:
    lost = predicted["unregularized"]
    mechanisms = lost.mechanisms | {"kernel_norm": np.full(REPLICATES, np.nan)}
    changed = predicted | {"unregularized": dataclasses.replace(lost, mechanisms=mechanisms)}
    result, _ = compare.run(judge, changed, {})
    assert result.baseline_result.mechanisms["kernel_norm"] == 0


def test_the_words_of_a_protocol_change_no_result(
    judge: Judge, predicted: dict[str, Predictions], result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RepeatedStratifiedKFold, "describe", lambda protocol: "other words")
    assert compare.run(judge, predicted, {})[0] == result


def test_every_sentence_of_the_report_follows_from_its_verdict(outcome: tuple[StudyResult, list[PathPoint]]) -> None:
    result, points = outcome
    text = report.run({"made": result}, points_of(points, "made"))
    for key, arm in result.list_arms():
        if arm.difference:
            told = f"**{key.variant}** {ARMS[key.kind]} {report.OUTCOMES[arm.verdict]} unregularized: AUC"
            assert told in text
    assert "71% of an interval's variance" in text, "1 / (5 - 1) of 1 / (5 - 1) + 1 / 10"
    assert "| misled | 0.1 |" in text
    assert "\n\n\n" not in text


def points_of(points: list[PathPoint], study: str) -> list[PathPoint]:
    return [dataclasses.replace(point, study=study) for point in points]


def test_a_study_of_its_baseline_alone_is_reported(judge: Judge, predicted: dict[str, Predictions]) -> None:
    result, _ = compare.run(judge, {"unregularized": predicted["unregularized"]}, {})
    comparison: Comparison = {"made": result}
    assert "The baseline is the only arm." in report.run(comparison, [])


def test_mechanisms_are_told_where_they_acted() -> None:
    found = dict.fromkeys(MECHANISMS, 0.0) | {
        "zero_share": 0.25,
        "bound_share": 0.5,
        "stopped_early": 1.0,
        "epochs_run": 7.0,
    }
    said = report.tell_mechanisms(found | {"diverged": 0.02})
    for part in (
        "25% of the weights",
        "50% of the units that it bounds",
        "100% of the networks stopped early; 7.0 epochs",
        "2% of the networks",
    ):
        assert part in said
    assert report.tell_mechanisms(dict.fromkeys(MECHANISMS, 0.0)) == ""
