"""A search judged on predictions made by hand: its best points, the best single regulariser, the question asked."""

import dataclasses
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import compare
from stages.lib.core.files import add_prefix
from stages.lib.data.protocols import FixedTest, Protocol
from stages.lib.judge import judge
from stages.lib.judge.arms import find_best_points, rate_points
from stages.lib.judge.comparison import PathPoint, join_points, load_paths, save_points
from stages.lib.judge.designs import CrossValidation
from stages.lib.judge.plans import ComparedSearch, ComparedVariant, StudyPlan
from stages.lib.judge.predictions import Predictions, StoredPredictions, StudyPredictions
from stages.lib.report.answers import tell_search
from tests.test_compare import K_FOLD, LABELS, REPLICATES, STATISTICS, make_predictions, same
from tests.test_compare import make_plan as make_study_plan

SINGLES = ("dropout", "mixup")
SEARCH = ComparedSearch("cocktail", 3, ("l2", "max_norm"), ("max_norm",), SINGLES, "best_single", 2, "best_singles_2")
ODD = np.arange(REPLICATES) % 2 == 1


def predict(strengths: dict[str, list[float]], skills: list[np.ndarray], *, seed: int) -> Predictions:
    """Points with these strengths; skills: of each point on each replicate's validation rows [replicate].

    On held-out rows every point has the skill 1, so whatever is best on validation rows is so by luck alone.
    """
    points = {float(place): same(1) | {"validation": skill[:, None]} for place, skill in enumerate(skills)}
    made = make_predictions(LABELS, points, np.random.Generator(np.random.PCG64(seed)), noise=0.2)
    strengths_of_lanes = {name: np.repeat(values, REPLICATES) for name, values in strengths.items()}
    return dataclasses.replace(made, strengths=strengths_of_lanes)


def predict_all() -> dict[str, Predictions]:
    """The cocktail's second point is best on odd replicates, its third on even ones; so are dropout and mixup."""
    odd, even, plain = np.where(ODD, 8.0, 1.0), np.where(ODD, 1.0, 8.0), np.full(REPLICATES, 2.0)
    cocktail = {"l2": [0.1, 0.0, 0.01], "max_norm": [2.0, 0.5, 1.5]}
    return {
        "unregularized": predict({}, [plain], seed=1),
        "cocktail": predict(cocktail, [plain, odd, even], seed=2),
        "dropout": predict({"dropout": [0.5, 0.2]}, [plain, odd], seed=3),
        "mixup": predict({"mixup": [0.2]}, [even], seed=4),
    }


PREDICTED = predict_all()


def make_plan(search: ComparedSearch, **baselines: str) -> StudyPlan:
    names = ("unregularized", "cocktail", "dropout", "mixup")
    variants = [ComparedVariant(name, baselines.get(name, "unregularized"), "regularizers") for name in names]
    return dataclasses.replace(make_study_plan(), variants=tuple(variants), searches=(search,))


def ask(plan: StudyPlan, **changed: Predictions) -> compare.Outcome:
    """The outcome of the variants, some of which predict something else."""
    return compare.run(plan, STATISTICS, StudyPredictions(LABELS, PREDICTED | changed))


@pytest.fixture(scope="module")
def outcome() -> compare.Outcome:
    return ask(make_plan(SEARCH))


def points_of(name: str, part: str = "test") -> np.ndarray:
    """Probabilities of class 1, [point, replicate, row]."""
    probability = getattr(PREDICTED[name], part)[:, :, 0].astype(float)
    return probability.reshape(-1, REPLICATES, probability.shape[1])


def best_of_cocktail(part: str = "test") -> np.ndarray:
    points = points_of("cocktail", part)
    return np.where(ODD[:, None], points[1], points[2])


def best_single() -> np.ndarray:
    return np.where(ODD[:, None], points_of("dropout")[1], points_of("mixup")[0])


def held_out_losses(chosen: np.ndarray) -> np.ndarray:
    """[replicate, row], of probabilities [replicate, row]."""
    return -np.log(np.where(LABELS.test == 1, chosen, 1 - chosen))


CHOSEN = {  # arm -> the strengths that its replicates use, its probabilities; a knob is second best everywhere
    ("cocktail", "tuned"): ({"l2": [0.0, 0.01], "max_norm": [0.5, 1.5]}, best_of_cocktail()),
    ("best_single", "tuned"): ({"dropout": [0.2], "mixup": [0.2]}, best_single()),
    ("cocktail", "averaged"): (
        {"l2": [0.0, 0.01, 0.1], "max_norm": [0.5, 1.5, 2.0]},
        (points_of("cocktail")[0] + best_of_cocktail()) / 2,
    ),
    ("best_singles_2", "averaged"): (
        {"dropout": [0.2, 0.5], "mixup": [0.2]},
        (points_of("dropout")[0] + best_single()) / 2,
    ),
}


@pytest.mark.parametrize(("name", "kind"), CHOSEN)
def test_points_are_chosen_on_each_replicates_validation_rows(outcome: compare.Outcome, name: str, kind: str) -> None:
    """The best point, or the mean of the best two, among the variants of an arm and their strengths."""
    arm, (strengths, probability) = outcome.result.arms[name][kind], CHOSEN[name, kind]
    assert (arm.strengths, arm.baseline, arm.group) == (strengths, "unregularized", "regularizers")
    expected = held_out_losses(probability).mean(axis=1)
    np.testing.assert_allclose(arm.judged["log_loss"].replicates, expected, rtol=1e-5)


def test_what_the_best_points_consist_of(outcome: compare.Outcome) -> None:
    search = outcome.result.searches["cocktail"]
    uses = {name: (use.share, use.low, use.high) for name, use in search.uses.items()}
    assert uses == {"l2": (0.5, 0.01, 0.01), "max_norm": (1.0, 0.5, 1.5)}, "l2 is off at 0, a norm never is"
    singles = {name: (use.share, use.low, use.high) for name, use in search.singles.items()}
    assert singles == {"dropout": (0.5, 0.2, 0.2), "mixup": (0.5, 0.2, 0.2)}
    assert (search.num_points, search.best_single) == (3, "best_single")


def test_a_mixture_is_compared_with_the_choice_row_by_row(outcome: compare.Outcome) -> None:
    rows = held_out_losses(best_of_cocktail()) - held_out_losses(best_single())
    estimate = CrossValidation(LABELS.test_numbers, LABELS.training_numbers, K_FOLD.repeats).estimate(rows)
    found = outcome.result.searches["cocktail"].against_best_single
    expected = (estimate.value, *estimate.interval(0.95))
    assert (found["log_loss"].value, found["log_loss"].own_low, found["log_loss"].own_high) == pytest.approx(
        expected, rel=1e-4
    )
    for difference in (found["auc"], found["log_loss"]):
        assert difference.verdict == "equivalent", "held-out rows are answered alike by all, up to a little noise"


@pytest.mark.parametrize("protocol", [K_FOLD, FixedTest(seeds=2, validation=0.2)])
def test_errors_count_the_groups_that_labels_carry(protocol: Protocol) -> None:
    plan = dataclasses.replace(make_plan(SEARCH), protocol=protocol)
    labels = dataclasses.replace(LABELS, test_groups=LABELS.test_numbers)
    grouped, plain = (judge.Judge(plan, STATISTICS, given, {}).design for given in (labels, LABELS))
    np.testing.assert_array_equal(grouped.groups, labels.test_groups[0] if protocol.fixed_test else labels.test_groups)
    assert plain.groups is None


def test_what_is_asked(outcome: compare.Outcome) -> None:
    """Each question of params.yaml finds its comparisons; knobs of what is tuned are in none."""
    result, asked = outcome.result, {}
    made = judge.Judge(make_plan(SEARCH), STATISTICS, LABELS, {key: None for key, _ in result.list_arms()})
    keys = [judge.ComparisonKey(*key, "log_loss") for key, _ in result.list_arms()]
    keys.append(judge.ComparisonKey("cocktail", "against_best_single", "log_loss"))
    for question in [(ask, by) for ask, shares in STATISTICS.questions.items() for by in shares]:
        asked[question] = [key[:2] for key in keys if judge.is_asked(made, key, *question)]
    assert asked["choice", "probabilities"] == [("best_single", "tuned")]
    assert asked["arms", "probabilities"] == [
        ("unregularized", "at_knob"),
        ("cocktail", "tuned"),
        ("dropout", "tuned"),
        ("mixup", "at_knob"),
    ]
    assert asked["to_end", "probabilities"] == []
    assert asked["mixtures", "probabilities"] == [("cocktail", "against_best_single")]
    assert not any(found for (_, by), found in asked.items() if by == "discrimination"), "that is the other score"
    assert result.arms["cocktail"]["at_knob"].judged["auc"].verdict != "not_asked", "apart from all that"


def test_a_better_set_is_called_better() -> None:
    cocktail = PREDICTED["cocktail"]
    truth = np.tile(LABELS.test, (3, 1))[..., None]
    able = dataclasses.replace(cocktail, test=(0.05 + 0.9 * truth).astype(np.float32))
    result = ask(make_plan(SEARCH), cocktail=able).result
    assert result.searches["cocktail"].against_best_single["log_loss"].verdict == "better"
    told, *_ = tell_search("cocktail", result.searches["cocktail"])
    assert re.search(r"compared with the best single regulariser, .*by log loss -0\.\d+ \(.*\), better", told)


def test_optimism_is_the_validation_score_less_the_held_out_score(outcome: compare.Outcome) -> None:
    tuned, averaged = (outcome.result.arms["cocktail"][kind] for kind in ("tuned", "averaged"))
    chosen = best_of_cocktail("validation")
    validation = -np.log(np.where(LABELS.validation == 1, chosen, 1 - chosen)).mean()
    assert tuned.optimism["log_loss"] == pytest.approx(validation - tuned.judged["log_loss"].value, abs=1e-6)
    assert tuned.optimism["log_loss"] < averaged.optimism["log_loss"] < 0 < tuned.optimism["auc"], "they look better"
    assert outcome.result.arms["cocktail"]["at_knob"].optimism == {}


def test_the_table_holds_both_scores_of_every_point(outcome: compare.Outcome) -> None:
    rows = outcome.searches
    assert [(row.point, row.regularizer, row.strength) for row in rows if row.score == "auc"] == [
        *((point, "l2", strength) for point, strength in enumerate((0.1, 0.0, 0.01))),
        *((point, "max_norm", strength) for point, strength in enumerate((2.0, 0.5, 1.5))),
    ]
    assert {row.point: row.chosen for row in rows} == {0: 0.0, 1: 0.5, 2: 0.5}
    last = next(row for row in rows if row.score == "log_loss" and row.point == 2)
    assert last.held_out == pytest.approx(held_out_losses(points_of("cocktail")[2]).mean(), rel=1e-6)
    assert len(rows) == 2 * 2 * 3 and outcome.paths != [] and {point.variant for point in outcome.paths} == {"dropout"}


def test_results_survive_their_files(outcome: compare.Outcome, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for study in ("made", "other"):
        save_points(study, outcome.paths, outcome.searches)
    assert load_paths("made") == outcome.paths
    join_points(["made", "other"])
    joined = pd.read_csv("metrics/searches.csv", skip_blank_lines=False).values.tolist()
    assert joined == 2 * [list(dataclasses.asdict(point).values()) for point in outcome.searches]


@pytest.mark.parametrize("name", ["nan", "null", "NA", "", "1e5", "True", 'a "quoted", name', "two\nlines"])
def test_a_table_keeps_every_name(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    points = [PathPoint("made", "auc", name, 0.1, 0.75, 0.5, 1.0, 0.0)]
    save_points("made", points, [])
    assert load_paths("made") == points


def test_the_answer_is_in_words(outcome: compare.Outcome) -> None:
    tuned, averaged, uses, singles = tell_search("cocktail", outcome.result.searches["cocktail"])
    rival = "compared with the best single regulariser, validation-selected in the same way: by log loss "
    assert tuned.startswith(f"Tuned combination, 3 settings, {rival}")
    assert averaged.startswith(f"Tuned combination, the 2 best of 3 settings averaged, {rival}")
    assert uses.endswith("the selected combination uses: max norm 0.5 to 1.5 in 100 %, L2 penalty 0.01 in 50 %.")
    assert singles.endswith(
        "the selected single regulariser uses: dropout 0.2 in 50 %, mixup (blended rows) 0.2 in 50 %."
    )


def test_a_search_without_rivals_is_asked_nothing() -> None:
    alone = dataclasses.replace(SEARCH, singles=())
    result = ask(make_plan(alone)).result
    assert "best_single" not in result.arms
    assert (result.searches["cocktail"].best_single, result.searches["cocktail"].against_best_single) == ("", {})
    (uses,) = tell_search("cocktail", result.searches["cocktail"])
    assert "the selected combination uses: " in uses


def test_rivals_have_the_baseline_of_the_search() -> None:
    search = dataclasses.replace(SEARCH, singles=("mixup",), best_single="best_single_dropout", average=0)
    plan = make_plan(search, cocktail="dropout", mixup="dropout")
    result = ask(plan).result
    assert result.arms["best_single_dropout"]["tuned"].baseline == "dropout"
    assert set(result.arms["cocktail"]) == {"at_knob", "tuned"}, "nothing is averaged"


def test_averages_are_compared_with_averages(outcome: compare.Outcome) -> None:
    search, arms = outcome.result.searches["cocktail"], outcome.result.arms
    for score, found in search.averaged_against_best_single.items():
        pair = [np.array(arms[name]["averaged"].judged[score].replicates) for name in ("cocktail", "best_singles_2")]
        assert found.value == pytest.approx((pair[0] - pair[1]).mean(), abs=1e-6)
    assert (search.average, search.best_singles) == (2, "best_singles_2")


def test_a_network_without_finite_weights_spoils_no_average() -> None:
    found = PREDICTED["cocktail"]
    norm = np.where(np.arange(3 * REPLICATES) == REPLICATES, np.nan, 1.0)  # the second point, of an even replicate
    lost = dataclasses.replace(found, mechanisms=found.mechanisms | {"kernel_norm": norm})
    result = ask(make_plan(SEARCH), cocktail=lost).result
    assert result.arms["cocktail"]["averaged"].mechanisms["kernel_norm"] == 1


def test_the_first_of_equal_points_are_averaged() -> None:
    points = predict({}, [np.full(REPLICATES, skill) for skill in 4 * (-8.0,) + 4 * (8.0,)], seed=5)
    rated = rate_points(points.grid, points.validation, LABELS.validation, select_by="accuracy")
    (best,) = find_best_points([rated], 2)
    assert np.flatnonzero(best.all(axis=1)).tolist() == [4, 5] and best.sum() == 2 * REPLICATES


def test_a_large_table_is_judged_alike_one_variant_in_memory_at_a_time(
    outcome: compare.Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, most = list[weakref.ref](), 0

    def read_arrays(path: Path) -> dict[str, Any]:
        nonlocal most
        most = max(most, sum(one() is not None for one in read))
        fields = dict(vars(PREDICTED[path.name]))
        fields |= add_prefix("strength", fields.pop("strengths")) | add_prefix("mechanism", fields.pop("mechanisms"))
        read.append(weakref.ref(test := fields["test"].copy()))
        return fields | {"test": test}

    monkeypatch.setattr(judge, "NUM_KEPT", 1)
    stored = StoredPredictions({name: Path(name) for name in PREDICTED}, read_arrays)
    assert compare.run(make_plan(SEARCH), STATISTICS, StudyPredictions(LABELS, stored)) == outcome
    assert most <= 2, "of four; those before it, until the next one has taken their place"
