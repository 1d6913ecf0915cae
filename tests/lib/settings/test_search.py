"""The search of a variant: the points that are drawn, what they depend on, and every mistake in words."""

import os
import subprocess
import sys

import numpy as np
import pytest

from stages.lib.lanes.regularizers import CATALOGUE
from tests.conftest import ROOT
from tests.test_plan import expand, make_plans, mistakes, remarks, replace

SEARCH = (
    "poisson: {regularizers: [dropout], loss: poisson}",
    "set: {regularizers: [l2, dropout, max_norm, ema, early_stopping, batch_norm], baseline: set, search: {points: 20, "
    "off: 0.25, l2: [0.001, 0.1], dropout: [0, 0.8], max_norm: [0.5, 3], ema: [0.9, 0.999], early_stopping: [2, 9]}}",
)
BOUNDS = {"l2": (0.001, 0.1), "dropout": (0, 0.8), "max_norm": (0.5, 3), "ema": (0.9, 0.999), "early_stopping": (2, 9)}


def find_points(text: str, variant: tuple[str, str] = ("tutorial_thoracic", "set")) -> dict[str, tuple[float, ...]]:
    return {entry.name: entry.strengths for entry in expand(text)[variant].regularizers}


def test_a_search_begins_with_the_knobs_and_keeps_to_its_ranges(params_text: str) -> None:
    params, found = parse_params(params_text), find_points(replace(params_text, SEARCH))
    assert found["batch_norm"] == (params.batch_norm,), "it has no range, so it stays at its knob"
    assert found["l2"][0] == params.l2 and found["early_stopping"][0] == 10
    for name, (low, high) in BOUNDS.items():
        drawn = found[name][1:]
        assert len(drawn) == 19
        on = [strength for strength in drawn if strength or not CATALOGUE[name].inert_at_zero]
        assert all(low <= strength <= high for strength in on), name
        assert len(set(on)) >= (5 if name == "early_stopping" else len(on) - 1), name
    assert all(strength == int(strength) for strength in found["early_stopping"])


@pytest.mark.parametrize(
    ("points", "off", "num_off"), [(64, 0.25, 16), (64, 0, 0), (33, 0.5, 16), (256, 0.3, 77), (2, 0, 0)]
)
def test_the_stated_share_of_points_does_without_a_regularizer(
    params_text: str, points: int, off: float, num_off: int
) -> None:
    text = replace(params_text, SEARCH, ("points: 20, off: 0.25", f"points: {points}, off: {off}"))
    found = find_points(text)
    for name in BOUNDS:
        expected = num_off if CATALOGUE[name].inert_at_zero else 0
        assert len(found[name]) == points
        assert abs(found[name].count(0.0) - expected) <= 2, name


def test_draws_are_even_on_the_scale_of_the_range(params_text: str) -> None:
    """Of every eighth of a range as many draws as of another, give or take the point that the knobs take."""
    text = replace(params_text, SEARCH, ("points: 20, off: 0.25", "points: 256, off: 0"))
    axes = {"l2": np.log10, "max_norm": np.log10, "dropout": lambda x: x, "ema": lambda x: np.log10(1 - x)}
    found = find_points(text)
    for name, axis in axes.items():
        low, high = sorted(float(axis(np.array(bound, float))) for bound in BOUNDS[name])
        counts, _ = np.histogram(axis(np.array(found[name][1:])), bins=8, range=(low - 1e-3, high + 1e-3))
        assert set(counts) <= {31, 32, 33}, name
    linear = replace(text, ("l2: [0.001, 0.1], dropout", "l2: [0, 0.1, linear], dropout"))
    counts, _ = np.histogram(find_points(linear)["l2"][1:], bins=8, range=(0, 0.1))
    assert set(counts) <= {31, 32, 33}


def test_points_of_a_search_depend_on_seed_and_name_and_begin_those_of_a_larger_one(params_text: str) -> None:
    text = replace(params_text, SEARCH)
    found = find_points(text)
    larger = find_points(replace(text, ("points: 20", "points: 50")))
    assert all(larger[name][: len(found[name])] == found[name] for name in found)
    assert find_points(replace(text, ("seed: 3", "seed: 4")))["l2"][1:] != found["l2"][1:]
    renamed = replace(text, ("set: {", "other: {"), ("baseline: set", "baseline: other"))
    assert find_points(renamed, ("tutorial_thoracic", "other"))["l2"][1:] != found["l2"][1:]
    turned = replace(text, ("[l2, dropout, max_norm,", "[max_norm, dropout, l2,"))
    assert find_points(turned) == found, "the order of names in params.yaml does not matter"


def test_points_do_not_depend_on_the_hash_seed_of_python(params_text: str) -> None:
    code = (
        "import sys, json; from stages.lib.settings.search import draw_points, parse_search; names = ['l2', 'dropout'];"
        "search = parse_search({'points': 9, 'off': 0.3, 'l2': [0.001, 0.1], 'dropout': [0, 0.8]}, names);"
        "print(draw_points(search, dict.fromkeys(names, 0.5), seed=3, name='study/variant'))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": s},
        ).stdout
        for s in ("1", "2")
    }
    assert len(found) == 1 and b"0.5" in found.pop()


def test_a_search_is_compared_with_the_variants_of_one_regularizer(params_text: str) -> None:
    """Those that have its baseline and its settings, whatever else the study holds."""
    more = (
        "tutorial: {regularizers: [l2, activity_l1, max_norm, dropout]}    # what",
        "small: {hidden: [8]}\n      small_l2: {regularizers: [l2], hidden: [8], baseline: small}\n      small_set: "
        "{regularizers: [l2, dropout], hidden: [8], baseline: small, search: {points: 4, off: 0, l2: [0.01, 0.1]}}\n"
        "      l2_search: {regularizers: [l2], hidden: [8], baseline: small, search: {points: 4, off: 0, l2: [1, 2]}}\n"
        "      tutorial: {regularizers: [l2, activity_l1, max_norm, dropout]}    # what",
    )
    plan_of_study = make_plans(replace(params_text, more))["thoracic/_study"]
    cocktail, of_l2, of_small = sorted(plan_of_study.searches, key=lambda search: search.variant)
    assert of_l2.singles == ("small_l2",)
    assert (of_small.singles, of_small.best_single) == (("small_l2",), "best_single_small")
    assert (of_small.varied, of_small.always_on, of_small.num_points) == (("l2",), (), 4)
    assert cocktail.best_single == "best_single"
    assert {"l1", "l2", "early_stopping"} <= set(cocktail.singles)
    assert not {"unregularized", "tutorial", "cocktail", "small_l2"} & set(cocktail.singles)
    assert cocktail.always_on == ("max_norm",)


def test_an_override_of_the_number_of_points_changes_one_run(params_text: str) -> None:
    before, after = expand(params_text), expand(replace(params_text, ("points: 64", "points: 16")))
    assert {key for key in before if before[key] != after[key]} == {("thoracic", "cocktail")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("points: 20", "points: 0", "search: points is 0, expected a whole number from 2"),
        ("points: 20", "points: 1", "search: points is 1, expected a whole number from 2"),
        ("points: 20", "points: 2.5", "search: points is 2.5, expected a whole number"),
        ("points: 20, ", "", "search: points is missing, expected a whole number"),
        ("off: 0.25", "off: 1", "search: off is 1, expected the share of points"),
        ("off: 0.25", "off: many", "search: off is 'many', expected the share of points"),
        ("off: 0.25", "off: 0.25, average: 21", "search: average is 21, expected the number of the best points"),
        ("off: 0.25", f"off: 1{'0' * 400}", "search: off is a number of 1329 bits"),
        ("l2: [0.001, 0.1]", f"l2: [0, 1{'0' * 400}]", "search: l2 is [0, a number of 1329 bits]"),
        ("off: 0.25", f"off: 0.25, average: {'x' * 5000}", "search: average is 'xxxx"),
        ("off: 0.25", "off: 0.25, average: 1", "search: average is 1, expected the number of the best points"),
        ("off: 0.25", "off: 0.25, average: 2.5", "search: average is 2.5, expected the number of the best points"),
        ("l2: [0.001, 0.1]", "l2: [0.1, 0.001]", "search: l2 is [0.1, 0.001], expected the smaller strength first"),
        ("l2: [0.001, 0.1]", "l2: [0.1, 0.1]", "search: l2 is [0.1, 0.1], expected the smaller strength first"),
        ("l2: [0.001, 0.1]", "l2: [0, 0.1]", "search: l2 is [0, 0.1], expected a least strength greater than 0"),
        ("l2: [0.001, 0.1]", "l2: 0.1", "search: l2 is 0.1, expected [least strength, greatest strength]"),
        ("l2: [0.001, 0.1]", "l2: [0.1]", "search: l2 is [0.1], expected [least strength, greatest strength]"),
        ("l2: [0.001, 0.1]", "l2: [.nan, 0.1]", "search: l2 is [nan, 0.1], expected [least strength, greatest"),
        ("l2: [0.001, 0.1]", "l2: [1, 2, cubic]", "as a third entry linear, log or momentum"),
        ("l2: [0.001, 0.1]", "l2: [0.1, 2, momentum]", "expected a greatest strength less than 1 on a scale"),
        ("l2: [0.001, 0.1]", "l2: [-1, 0.1, linear]", "search: l2 holds -1, expected a number of at least 0"),
        ("dropout: [0, 0.8]", "dropout: [0, 1]", "search: dropout holds 1, expected a number of at least 0"),
        (
            "max_norm: [0.5, 3]",
            "max_norm: [0, 3, linear]",
            "search: max_norm holds 0, expected a number of",
        ),
        (
            "early_stopping: [2, 9]",
            "early_stopping: [2.5, 9]",
            "search: early_stopping holds 2.5, expected a whole",
        ),
        ("l2: [0.001, 0.1]", "l3: [0.001, 0.1]", "search: names l3, expected points, off, average or one of l1, l2"),
        (
            "l2: [0.001, 0.1]",
            "mixup: [0.1, 1]",
            "search: names mixup, expected one of the variant's regularizers",
        ),
        ("search: {", "search: 5, path: [1], layers: {", "search: is 5, expected a mapping, such"),
        ("search: {", "path: [1], search: {", "has a path and a search, expected at most one of the two"),
        ("set: {", "best_single: {}\n      set: {", "variants holds best_single, expected another name"),
    ],
)
def test_every_mistake_of_a_search_in_words(params_text: str, old: str, new: str, message: str) -> None:
    found = mistakes(replace(params_text, SEARCH, (old, new)))
    assert any(message in line for line in found), found
    assert all(line.startswith("studies.tutorial_thoracic") for line in found), found


def test_all_mistakes_of_a_search_are_told_at_once(params_text: str) -> None:
    wrong = (
        ("points: 20, off: 0.25", "points: 0, off: -1"),
        ("l2: [0.001, 0.1], dropout: [0, 0.8]", "l2: [1, 0.1], dropout: [0, 2], mixup: [1, 2], l3: [1, 2]"),
        ("baseline: set", "baseline: set, epochs: 0"),
    )
    found = mistakes(replace(replace(params_text, SEARCH), *wrong))
    assert len(found) == 7, found


def test_a_share_that_nothing_can_be_off_in_is_told(params_text: str) -> None:
    text = replace(params_text, SEARCH, ("l2: [0.001, 0.1], dropout: [0, 0.8], ", ""), ("ema: [0.9, 0.999], ", ""))
    assert any(
        "search.off has no effect, since max_norm, early_stopping cannot be off" in line for line in remarks(text)
    )


def test_each_number_of_averaged_points_has_averaged_singles_of_its_own(params_text: str) -> None:
    lines = "".join(
        f"      set_{number}: {{regularizers: [l2], search: {{points: 4, off: 0, average: {number}, l2: [0.1, 1]}}}}\n"
        for number in (2, 3)
    )
    plan_of_study = make_plans(replace(params_text, ("      l2_activity_l1: {", f"{lines}      l2_activity_l1: {{")))
    found = plan_of_study["tutorial_fashion/_study"].searches
    assert [(search.average, search.best_singles) for search in found] == [(2, "best_singles_2"), (3, "best_singles_3")]
    assert {search.best_single for search in found} == {"best_single"}


def test_points_that_are_not_off_reach_over_the_whole_range(params_text: str) -> None:
    """Also where some are off: the others do not begin in the middle of it."""
    text = replace(params_text, SEARCH, ("points: 20, off: 0.25", "points: 256, off: 0.5"))
    drawn = [strength for strength in find_points(text)["dropout"][1:] if strength]
    counts, _ = np.histogram(drawn, bins=4, range=BOUNDS["dropout"])
    assert counts.min() >= 31 and counts.max() <= 33
