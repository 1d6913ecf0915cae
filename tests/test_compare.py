"""compare and report on predictions made by hand: which arm is chosen, what is compared, what is told."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stages import compare
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.judge.arms import ArmKey
from stages.lib.judge.comparison import LAYOUT, Judgement, StudyResult, load_comparison, save_comparison
from stages.lib.judge.designs import CrossValidation
from stages.lib.judge.plans import ComparedSearch, ComparedVariant, StudyPlan
from stages.lib.judge.predictions import Labels, Predictions, ReferencePredictions, StudyPredictions
from stages.lib.report.answers import choose_arms, rank_arms, tell_mechanisms, tell_more, tell_study
from stages.lib.report.overview import survey, tell_overview
from stages.report import tabulate_comparison, tabulate_metrics
from tests.conftest import pick
from tests.made import STATISTICS

FOLDS, REPLICATES, ROWS = 2, 20, 40  # ROWS: held out by each replicate
K_FOLD = RepeatedStratifiedKFold(folds=FOLDS, repeats=REPLICATES // FOLDS, validation=0.2)
MECHANISMS = ("epochs_run", "best_epoch", "stopped_early", "diverged", "zero_share", "kernel_norm", "bound_share")


def make_labels(generator: np.random.Generator) -> Labels:
    """Ten repeats of two folds of 80 rows: fold 0 holds out the even rows of a random order, fold 1 the odd ones."""
    truth = (np.arange(2 * ROWS) % 4 == 0).astype(np.uint8)
    orders = [generator.permutation(2 * ROWS) for _ in range(REPLICATES // FOLDS)]
    test = np.stack([np.sort(order[fold::FOLDS]) for order in orders for fold in range(FOLDS)])
    training = np.stack([np.setdiff1d(np.arange(2 * ROWS), held_out) for held_out in test])
    shares = truth[training].mean(axis=1, keepdims=True).astype(np.float32)
    return Labels(truth[training], truth[training][:, :ROWS], truth[test], test, training, shares)


def make_predictions(
    labels: Labels, skills: dict[float, dict[str, Any]], generator: np.random.Generator, *, noise: float = 1
) -> Predictions:
    """Predictions at each strength: the centred label times the skill of the part, plus noise, as a sigmoid's."""
    answers = {}
    for part in ("training", "validation", "test"):
        label = getattr(labels, part) - 0.5
        at_strengths = [skill[part] * label + generator.normal(0, noise, label.shape) for skill in skills.values()]
        answers[part] = (1 / (1 + np.exp(-np.concatenate(at_strengths))))[..., None].astype(np.float32)
    num_lanes = REPLICATES * len(skills)
    return Predictions(
        replicate=np.tile(np.arange(REPLICATES), len(skills)),
        strengths={"l2": np.repeat(list(skills), REPLICATES), "dropout": np.full(num_lanes, 0.5)},
        mechanisms={name: np.zeros(num_lanes) for name in MECHANISMS},
        tried=len(skills) if len(skills) > 1 else 0,
        **answers,
    )


def same(skill: float) -> dict[str, Any]:
    return {"training": skill, "validation": skill, "test": skill}


def predict_all(labels: Labels) -> dict[str, Predictions]:
    generator = np.random.Generator(np.random.PCG64(1))
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
        "of_its_own": make_predictions(labels, {0.3: same(6)}, generator),
    }


LABELS = make_labels(np.random.Generator(np.random.PCG64(0)))
PREDICTED = predict_all(LABELS)


def make_plan(*names: str) -> StudyPlan:
    """`of_its_own` is compared with `strong`, all others with the unregularized networks."""
    baselines = {"of_its_own": "strong"}
    variants = [ComparedVariant(name, baselines.get(name, "unregularized"), "regularizers") for name in names]
    return StudyPlan(
        task="made", dataset="thoracic_surgery", features="encoded", outputs=1, baseline="unregularized",
        scores={"discrimination": "auc", "probabilities": "log_loss"}, select_by="log_loss", protocol=K_FOLD, seed=3,
        variants=tuple(variants), references=(),
    )  # fmt: skip


def judge(predicted: dict[str, Predictions], labels: Labels = LABELS, **changes: object) -> StudyResult:
    """The result of these variants; changes: of the plan."""
    plan = dataclasses.replace(make_plan(*predicted), **changes)
    return compare.run(plan, STATISTICS, StudyPredictions(labels, predicted)).result


@pytest.fixture(scope="module")
def outcome() -> compare.Outcome:
    return compare.run(make_plan(*PREDICTED), STATISTICS, StudyPredictions(LABELS, PREDICTED))


@pytest.fixture(scope="module")
def result(outcome: compare.Outcome) -> StudyResult:
    return outcome.result


def at_knob(result: StudyResult, variant: str, score: str = "auc") -> Judgement:
    """What a variant at its knob is, by a score."""
    return result.arms[variant]["at_knob"].judged[score]


def test_the_tuned_arm_is_chosen_on_validation_rows_and_judged_on_test_rows(result: StudyResult) -> None:
    tuned = result.arms["misled"]["tuned"]
    assert tuned.strengths["l2"] == [0.5], "the best on validation rows, though 0.9 is the best on test rows"
    assert tuned.judged["auc"].value == pytest.approx(0.5, abs=0.1)
    assert result.arms["misled"]["at_knob"].strengths == {"l2": [0.1], "dropout": [0.5]}, "the first of its path"


def test_verdicts_by_both_scores(result: StudyResult) -> None:
    for score in ("auc", "log_loss"):
        verdicts = [at_knob(result, name, score).verdict for name in ("unregularized", "strong", "hurt", "misled")]
        assert verdicts == ["baseline", "better", "worse", "inconclusive"], score


def test_a_variant_is_compared_with_its_own_baseline(result: StudyResult) -> None:
    assert result.arms["of_its_own"]["at_knob"].baseline == "strong"
    judged = at_knob(result, "of_its_own")
    assert judged.difference.value == pytest.approx(judged.value - at_knob(result, "strong").value, abs=1e-6)
    assert judged.verdict != "better", "it is as good as its baseline, though better than the study's"


def test_what_may_be_best_is_not_beaten_by_any_other(result: StudyResult) -> None:
    plain = ArmKey("unregularized", "at_knob")
    assert ArmKey("strong", "at_knob") in result.may_be_best["auc"]
    assert not {plain, ArmKey("hurt", "at_knob")} & set(result.may_be_best["auc"])
    assert judge({"unregularized": PREDICTED["unregularized"]}).may_be_best["auc"] == [plain]
    settings = STATISTICS.model_copy(update={"equivalence": {"auc": 1.0, "log_loss": 9.0}})  # so none is shown to help
    found = compare.run(make_plan(*PREDICTED), settings, StudyPredictions(LABELS, PREDICTED)).result
    assert plain in found.may_be_best["auc"]


def test_an_arm_to_the_end_is_tuned_by_itself_and_compared_with_the_network_that_stopped() -> None:
    generator = np.random.Generator(np.random.PCG64(2))
    pair = {name: PREDICTED[name] for name in ("unregularized", "misled")}
    skills = {"unregularized": {0.0: same(-2)}, "misled": {0.1: same(1), 0.5: same(0), 0.9: same(6)}}
    at_end = {name: make_predictions(LABELS, skill, generator) for name, skill in skills.items()}
    result, *_ = compare.run(make_plan(*pair), STATISTICS, StudyPredictions(LABELS, pair, at_end=at_end))
    plain, misled = (result.arms[name]["to_end"] for name in pair)
    assert misled.strengths["l2"] == [0.9] and result.arms["misled"]["tuned"].strengths["l2"] == [0.5]
    assert [arm.judged["log_loss"].verdict for arm in (plain, misled)] == ["worse", "not_asked"]
    stopped = result.baseline_result.judged["log_loss"].value
    assert misled.judged["log_loss"].difference.value == pytest.approx(misled.judged["log_loss"].value - stopped)
    size = f"{plain.judged['log_loss'].value - stopped:.3f}"
    assert f"the log loss of the baseline (no regulariser) changes by +{size} (" in str(tell_study(result, 0.95))
    assert choose_arms(result)[0] == ArmKey("unregularized", "at_knob")
    assert all(key.kind != "to_end" for key in choose_arms(result))


def test_every_arm_is_compared_with_no_skill(result: StudyResult) -> None:
    strong, hurt = (at_knob(result, name, "log_loss") for name in ("strong", "hurt"))
    assert (strong.skill.verdict, hurt.skill.verdict) == ("better", "worse")
    share = LABELS.shares[:, 0]
    ignorant = -(0.25 * np.log(share) + 0.75 * np.log(1 - share))
    assert strong.skill.value == pytest.approx(strong.value - np.mean(ignorant), abs=0.02)
    assert result.no_skill["gap"] == 0, "it knows no row"
    entropy = stats.bernoulli(LABELS.test.mean(axis=1)).entropy().mean()
    assert result.no_skill["log_loss"] == pytest.approx(entropy, rel=1e-5)


def test_what_hardly_differs_from_no_skill_is_inconclusive_and_not_equivalent() -> None:
    """A strongly penalised model of coin flips: shown to be within the margin of no skill, and not shown to beat it."""
    noise = np.random.Generator(np.random.PCG64(4)).normal(0, 0.002, (*LABELS.test.shape, 1))
    timid = (LABELS.shares[:, None] + noise).astype(np.float32)
    model = ReferencePredictions(np.ones(REPLICATES), training=timid, test=timid)
    plain = {"unregularized": PREDICTED["unregularized"]}
    predicted = StudyPredictions(LABELS, plain, {"logistic_regression": model})
    result = compare.run(make_plan(*plain), STATISTICS, predicted).result
    skill = result.arms["logistic_regression"]["reference"].judged["log_loss"].skill
    assert -0.01 < skill.own_low < 0 < skill.own_high < 0.01
    assert skill.verdict == "inconclusive"


def test_an_entry_can_be_checked_by_hand(result: StudyResult) -> None:
    """The intervals of the log loss from the instrument and rows that scikit-learn's definition gives."""
    arms = [PREDICTED[name].test[:, :, 0].astype(float) for name in ("strong", "unregularized")]
    arms.append(np.broadcast_to(LABELS.shares[:, :1].astype(float), LABELS.test.shape))
    strong, plain, guess = (-np.log(np.where(LABELS.test == 1, arm, 1 - arm)) for arm in arms)
    design = CrossValidation(LABELS.test_numbers, LABELS.training_numbers, K_FOLD.repeats)
    judged = at_knob(result, "strong", "log_loss")
    for kept, estimate in (
        (judged.difference, design.estimate(strong - plain)),
        (judged.skill, design.estimate(strong - guess, alone=True)),
    ):
        expected = pytest.approx((estimate.value, *estimate.interval(0.95)), rel=1e-4)
        assert (kept.value, kept.own_low, kept.own_high) == expected
        assert kept.p_adjusted >= kept.p_value


def test_metrics_are_few_and_finite_and_hold_both_verdicts(result: StudyResult) -> None:
    metrics = tabulate_metrics(result)
    assert set(metrics) == {*result.arms, "no_skill"}
    strong = metrics["strong"]["at_knob"]
    assert all(strong[f"{score}_verdict"].startswith("better, ") for score in ("auc", "log_loss"))
    assert set(metrics["misled"]) == {"at_knob", "tuned"} and len(strong) == 4
    several = tabulate_comparison({"tables/one": result, "tables/other": result}, STATISTICS)["tables"]
    assert several.keys() == metrics.keys()
    assert pick(several["strong"]["at_knob"], ("auc", "log_loss")) == pick(strong, ("auc", "log_loss"))
    assert several["strong"]["at_knob"].keys() == strong.keys(), "pooled verdicts"


def test_verdicts_do_not_depend_on_the_order_of_arms(result: StudyResult) -> None:
    other = judge({name: PREDICTED[name] for name in list(PREDICTED)[::-1]})
    assert {name: other.arms[name] for name in result.arms} == result.arms
    assert other.reach == result.reach


def test_few_repeats_are_judged_by_replicate() -> None:
    """Nadeau and Bengio's interval from the replicates that the entry itself holds, Holm's p."""

    kept = 2 * FOLDS

    def cut(value: object) -> object:
        if isinstance(value, dict):
            return {name: cut(part) for name, part in value.items()}
        return value[:kept] if isinstance(value, np.ndarray) else 0

    few = {name: Predictions(**cut(vars(given))) for name, given in PREDICTED.items()}
    protocol = RepeatedStratifiedKFold(folds=FOLDS, repeats=2, validation=0.2)
    result = judge(few, Labels(**cut(vars(LABELS))), protocol=protocol)
    arm, baseline = at_knob(result, "strong"), at_knob(result, "unregularized")
    differences = np.array(arm.replicates) - np.array(baseline.replicates)
    error = differences.std(ddof=1) * np.sqrt(1 / kept + 1 / (FOLDS - 1))
    half_width = stats.t.ppf(0.975, kept - 1) * error
    assert arm.difference.own_low == pytest.approx(differences.mean() - half_width, abs=1e-6)
    assert result.reach == {}


def test_a_path_runs_from_the_weakest_to_the_strongest(outcome: compare.Outcome) -> None:
    points = outcome[1]
    assert [(point.score, point.variant) for point in points] == [("auc", "misled")] * 3 + [("log_loss", "misled")] * 3
    assert [point.strength for point in points] == [0.1, 0.5, 0.9] * 2
    assert all(point.ci_low < point.mean < point.ci_high for point in points)
    assert points[2].mean > 0.9 > points[0].mean


def test_results_survive_their_files(outcome: compare.Outcome, inside: Path) -> None:
    for study in ("made", "other"):
        save_comparison(study, {study: outcome.result})
    assert load_comparison("made", "other") == {"made": outcome.result, "other": outcome.result}
    assert load_comparison("other") == {"other": outcome.result}
    assert tabulate_comparison(load_comparison("made"), STATISTICS) == {"made": tabulate_metrics(outcome.result)}


def test_a_variant_without_finite_weights_still_gives_finite_numbers() -> None:
    lost = PREDICTED["unregularized"]
    mechanisms = lost.mechanisms | {"kernel_norm": np.full(REPLICATES, np.nan)}
    result = judge(PREDICTED | {"unregularized": dataclasses.replace(lost, mechanisms=mechanisms)})
    assert "kernel_norm" not in result.baseline_result.mechanisms
    assert LAYOUT.validate_json(LAYOUT.dump_json({"made": result}))


def test_the_answer_follows_from_the_verdicts(result: StudyResult) -> None:
    by_loss, by_auc = "\n".join(tell_study(result, 0.95)), "\n".join(tell_more(result, 0.95))
    apart = r"f 4 regularisers \(1 of them over strong\)"
    shown = apart + r", 1 is shown to help \(strong [-+][^)]+\)?\), \d to hurt \(.*hurt \S"
    assert re.search(f"^O{shown}", by_loss, re.MULTILINE)
    assert re.search(f"^By AUC, o{shown}", by_auc, re.MULTILINE)
    leading = r"^By log loss, (strong is shown to be the best|not separable from the best: \d of 3 variants \(strong)"
    assert re.search(leading, by_loss, re.MULTILINE) and by_loss.count("detectable at 80 % power") == 1
    assert re.search(r"^Compared with the class-prior baseline, of \d+ networks by log loss ", by_auc, re.MULTILINE)


def test_the_answer_tells_what_other_models_give(result: StudyResult) -> None:
    strong = result.arms["strong"]["at_knob"]
    judged = {score: dataclasses.replace(each, value=0.7) for score, each in strong.judged.items()}
    forest = {"random_forest": {"reference": dataclasses.replace(strong, judged=judged)}}
    told = tell_study(dataclasses.replace(result, arms=result.arms | forest), 0.95)
    assert any("random forest 0.700" in line for line in told)
    assert not any(line.startswith(("Does a regulariser help", "Without early stopping")) for line in told)


MADE_UP = {  # skills of the baseline and of three arms; the answer by log loss, how many help, how many may be best
    "nothing helps": ([2, 2, 2, 2], "Inconclusive|No, it is equivalent", 0, 5),
    "everything helps": ([1, 4, 4, 4], "Yes", 4, 4),
    "one arm helps": ([1, 1, 4, 1], "Yes", 2, 2),
    "everything hurts": ([3, 0, 0, 0], "No, it hurts", 0, 1),
}


def make_study(skills: list[float]) -> dict[str, Predictions]:
    """A baseline, three variants of one regulariser and a mixture that is as good as the best of them."""
    generator = np.random.Generator(np.random.PCG64(7))
    names = ("unregularized", "first", "second", "third")
    known = dict(zip(names, skills, strict=True))
    predicted = {name: make_predictions(LABELS, {0.1: same(skill)}, generator) for name, skill in known.items()}
    best = same(max(skills[1:]))
    return predicted | {"mixture": make_predictions(LABELS, {0.1: best, 0.2: best}, generator)}


@pytest.mark.parametrize("name", MADE_UP)
def test_the_answer_is_true_of_made_up_results(name: str) -> None:
    skills, title, num_helping, num_best = MADE_UP[name]
    search = ComparedSearch("mixture", 2, ("l2",), (), ("first", "second", "third"), "best_single")
    result = judge(make_study(skills), searches=(search,))
    chosen, leaders, effects, *_ = tell_study(result, 0.95)
    assert re.match(rf"Does a regulariser help\? ({title}): the validation-selected one ", chosen)
    number = r"(\d\.\d+)"
    size = rf"changes AUC by [+-]{number} \(95 % interval [+-]{number} to [+-]{number}\)"
    by_auc, *_ = tell_more(result, 0.95)
    assert re.match(rf"Does a regulariser help by AUC\? ({title}): the validation-selected one {size}", by_auc)
    assert re.match(rf"Of 4 regularisers, {num_helping or 'none'} (is|are) shown to help", effects)
    assert len(result.may_be_best["log_loss"]) == num_best
    several = f"not separable from the best: {num_best - (num_helping == 0)} of 4 variants ("
    best = several if num_best > 1 else "no regulariser is shown to be the best of 4."
    assert leaders.startswith(f"By log loss, {best}")
    assert any(key.variant == "unregularized" for key in result.may_be_best["log_loss"]) == (num_helping == 0)


def test_arms_are_ranked_by_verdict_before_difference(result: StudyResult) -> None:
    verdicts = [arm.judged["log_loss"].verdict for _, arm in rank_arms(result)]
    order = ["baseline", "better", "inconclusive", "equivalent", "worse", "not_asked"]
    assert verdicts == sorted(verdicts, key=order.index)
    assert set(verdicts) >= {"baseline", "better", "worse"}


def test_the_arms_that_matter_are_the_baseline_the_best_and_the_worst(result: StudyResult) -> None:
    chosen = choose_arms(result)
    assert chosen[:2] == [ArmKey("unregularized", "at_knob"), ArmKey("strong", "at_knob")]
    assert ArmKey("hurt", "at_knob") in chosen
    assert len(chosen) == len(set(chosen)) <= 5


def test_a_study_of_its_baseline_alone_is_answered() -> None:
    result = judge({"unregularized": PREDICTED["unregularized"]})
    (told,) = tell_more(result, 0.95)
    assert told.startswith("Compared with the class-prior baseline")
    assert result.reach == {}


def test_mechanisms_are_told_where_they_acted() -> None:
    none = dict.fromkeys(MECHANISMS, 0.0)
    acted = {"zero_share": 0.25, "bound_share": 0.5, "stopped_early": 1.0, "epochs_run": 7.0, "diverged": 0.02}
    starts = ("25 % of the weights", "50 % of the units", "100 % of the networks stopped", "7.0 ep", "2 % of the")
    for told, start in zip(tell_mechanisms(none | acted).split("; "), starts, strict=True):
        assert told.startswith(start)
    assert tell_mechanisms(none) == ""


def test_a_baseline_that_failed_in_every_lane_is_told_first() -> None:
    """All its lanes diverged; or all of them give the commonest answer, whatever the row."""
    failed = PREDICTED["unregularized"]
    diverged = dataclasses.replace(failed, mechanisms=failed.mechanisms | {"diverged": np.ones(REPLICATES)})
    stuck = dataclasses.replace(failed, test=np.full_like(failed.test, 0.2))
    for found, words in ((diverged, "diverged in training"), (stuck, "puts all held-out rows into one class")):
        result = judge({"unregularized": found, "strong": PREDICTED["strong"]})
        overview = survey({"made": result}, {"made": "80 rows"}, STATISTICS)
        beware, *told = [*tell_study(result, 0.95), *tell_overview(overview)]
        assert not any("to help" in line for line in told)
        assert beware.startswith(f"Beware: every network of the baseline, no regulariser, {words}, so")
        assert sum("cannot be told" in line for line in told) == 3
    mechanisms = result.arms["unregularized"]["at_knob"].mechanisms
    assert "every network puts all held-out rows into one class" in tell_mechanisms(mechanisms)
    rare = dataclasses.replace(PREDICTED["strong"], test=PREDICTED["strong"].test * np.float32(0.2))
    for found in (failed, rare):  # one answer is right where a class is rare; probabilities still show skill
        sound = judge({"unregularized": found, "strong": PREDICTED["strong"]})
        assert not any(line.startswith("Beware: every network") for line in tell_study(sound, 0.95))
