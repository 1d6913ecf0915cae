"""The answer to one study: true of made-up results in which nothing, everything or only a model helps."""

from __future__ import annotations

from dataclasses import replace

from stages.lib.data.checks import Check
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.judge.arms import ArmKey
from stages.lib.judge.comparison import ArmResult, Difference, Judgement, Reach, SearchResult, StudyResult, Use, Verdict
from stages.lib.judge.findings import recommend
from stages.lib.report.answers import tell_study
from stages.lib.report.overview import survey, tell_overview
from stages.lib.report.styles import WORDS, tell_check
from tests.made import STATISTICS
from tests.test_report import find_contradictions

SCORES = {"auc": 0.8, "log_loss": 0.5}
Effect = tuple[float, Verdict]
OPEN: Effect = (0.0, "inconclusive")


def make_arm(group: str, change: float = 0.0, verdict: Verdict | None = None) -> ArmResult:
    """An arm whose scores differ by `change` from the baseline's."""
    ends = (change - 0.01, change + 0.01, change + 0.01, change + 0.02)  # the arm's own are never shown
    difference = Difference(change, *ends, 0.1, 0.1, verdict) if verdict else None
    skill = Difference(0.1, *ends, 0.1, 0.1, "better")
    judged = {
        score: Judgement(value + change, [value + change] * 2, difference, skill) for score, value in SCORES.items()
    }
    return ArmResult("unregularized", group, judged, {}, {"gap": -0.4}, {})  # type: ignore[arg-type]


def make_result(chosen: Effect = OPEN, *checks: Check, model: Effect = OPEN, each: Effect | None = None) -> StudyResult:
    """A study with dropout, a cocktail and logistic regression; each: what both do, other than the choice."""
    tuned, single = ({"tuned": make_arm("regularizers", *effect)} for effect in (each or chosen, chosen))
    baseline = {"at_knob": make_arm("regularizers"), "to_end": make_arm("regularizers", 0.3, "worse")}
    model_arm = {"reference": make_arm("model", *model)}
    arms = {"unregularized": baseline, "best_single": single} | dict.fromkeys(("dropout", "cocktail"), tuned)
    return StudyResult(
        dataset="my",
        features="encoded",
        protocol=RepeatedStratifiedKFold(folds=5, repeats=5, validation=0.2),
        seed=3,
        scores={"discrimination": "auc", "probabilities": "log_loss"},
        baseline="unregularized",
        no_skill={"auc": 0.5, "log_loss": 0.69},
        reach={},
        arms=arms | {"logistic_regression": model_arm},
        searches={"cocktail": SearchResult(13, {}, "best_single", {"dropout": Use(0.8, 0.1, 0.3)}, {})},
        may_be_best={"log_loss": [ArmKey("dropout", "tuned"), ArmKey("unregularized", "at_knob")]},
        checks=list(checks),
    )


GROUPED, COIN = Check("groups", ("patient",)), Check("no_skill")
CASES = {  # what is made -> the first line's answer, what comes next
    "nothing helps": (make_result(), "Inconclusive: ", "use early stopping; nothing is shown to add to that"),
    "dropout helps": (make_result((-0.05, "better")), "Yes: ", "-0.050 (-10.0 %; -0.060 to -0.040), which is shown to"),
    "dropout hurts": (make_result((0.05, "worse")), "No, it hurts: ", "nothing is shown to add to that"),
    "dropout helps, the choice does not": (
        make_result(each=(-0.05, "better")),
        "Inconclusive: ",
        "use dropout (tuned), with early stopping; over",
    ),
    "nothing matters": (make_result((0.001, "equivalent")), "No, it is equivalent: ", "nothing is shown to add"),
    "a model is better": (make_result(model=(-0.1, "better")), "Inconclusive: ", "use logistic regression; over the"),
    "a model beats no regulariser alone": (
        make_result(each=(-0.1, "inconclusive"), model=(-0.1, "better")),
        "Inconclusive: ",
        "it is not shown to beat no regulariser; logistic regression, which is simpler, is not shown to differ",
    ),
    "dropout beats a model": (
        make_result((-0.05, "better"), model=(0.1, "worse")),
        "Yes: ",
        "beat logistic regression",
    ),
    "rows belong together": (make_result(OPEN, GROUPED), "Inconclusive: ", "which rows belong together"),
    "coin flips": (make_result(OPEN, COIN), "Inconclusive: ", "columns that say more of the target"),
}


def test_the_answer_follows_from_the_verdicts_and_says_what_to_do_next() -> None:
    for name, (study, answer, following) in CASES.items():
        lines = tell_study(study, 0.95)
        told = lines[len(study.checks)]
        assert told.startswith(f"Does a regulariser help? {answer}"), name
        assert all(line.startswith("Beware: ") for line in lines[: len(study.checks)]), name
        assert following in lines[-1], name
        assert len(lines) <= 15, name
        lines = [*tell_overview(survey({"my": study}, {"my": "my"}, STATISTICS)), *lines]
        assert find_contradictions("\n".join(lines)) == [], name


def test_an_ensemble_is_advised_where_all_that_it_builds_on_is_shown_to_help() -> None:
    for plain, advised in (("better", "dropout_ensemble_5"), ("inconclusive", "unregularized")):
        study = make_result()
        arms = {"unregularized_ensemble_5": {"at_knob": make_arm("ensembles", -0.02, plain)}}
        on_top = replace(make_arm("ensembles", -0.03, "better"), baseline="unregularized_ensemble_5")
        advice = recommend(replace(study, arms=study.arms | arms | {"dropout_ensemble_5": {"tuned": on_top}}))
        assert advice.network.variant == advised


def test_the_answer_tells_sizes_scores_and_stopping() -> None:
    told = "\n".join(tell_study(make_result((-0.05, "better")), 0.95))
    assert "changes log loss by -0.050 (-10.0 %; 95 % interval -0.060 to -0.040)" in told
    assert "the log loss of the baseline (no regulariser) changes by +0.300 (+60.0 %; 95 % interval +0.290 to" in told
    assert "no regulariser with early stopping 0.500, class-prior baseline 0.690, logistic regression 0.500" in told
    named = "dropout -0.050 (-10.0 %), tuned combination -0.050 (-10.0 %)"
    assert f"Of 2 regularisers, 2 are shown to help ({named}), none to hurt." in told
    assert "By log loss, not separable from the best: 1 of 2 variants (dropout), no regulariser." in told


def test_where_fewer_rows_are_trained_on_than_there_are_minutes_would_help_and_no_more_rows() -> None:
    checks = [Check("thinned", (), 1000), Check("margin", ("log_loss",), 0.5)]
    study = replace(make_result((-0.05, "better"), *checks), reach={"log_loss": Reach(0.25, 0.5, 0.01)})
    told = "\n".join(tell_study(study, 0.95))
    assert "more training rows would help, by MINUTES of make judge" in told
    assert "more rows would help" not in told


def test_every_check_is_told_with_what_to_do() -> None:
    assert WORDS["stopping"].keys() == WORDS["answers"].keys() == WORDS["in_words"].keys()
    for name in WORDS["checks"]:
        check = Check(name, ("log_loss",) * (name in ("reach", "margin")) or ("a", "b", "c", "d"), 0.5)
        told = tell_check(check, Reach(0.25, 0.5, 0.01))
        assert "{" not in told and ":" in told
