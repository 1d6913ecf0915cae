"""The search of a variant: the points that are drawn, and what they depend on."""

import numpy as np
import pytest

from stages.lib.lanes.regularizers import CATALOGUE
from tests.test_plan import expand, make_plans, read_params, replace

SEARCH = (
    "poisson: {study: tutorial_thoracic, regularizers: [dropout], loss: poisson}",
    "set: {study: tutorial_thoracic, regularizers: [l2, dropout, max_norm, ema, early_stopping, batch_norm], baseline: "
    "set, search: {points: 20, off: 0.25, l2: [0.001, 0.1], dropout: [0, 0.8], max_norm: [0.5, 3], ema: [0.9, 0.999], "
    "early_stopping: [2, 9]}}",
)
BOUNDS = {"l2": (0.001, 0.1), "dropout": (0, 0.8), "max_norm": (0.5, 3), "ema": (0.9, 0.999), "early_stopping": (2, 9)}


def find_points(text: str, variant: str = "set") -> dict[str, tuple[float, ...]]:
    return {entry.name: entry.strengths for entry in expand(text)["tutorial_thoracic", variant].regularizers}


def test_a_search_keeps_to_its_ranges_and_the_knobs_stand_behind_it(params_text: str) -> None:
    knobs, found = read_params(params_text).fields, find_points(replace(params_text, SEARCH))
    assert found["batch_norm"] == (knobs["batch_norm"],), "it has no range, so it stays at its knob"
    assert found["l2"][-1] == knobs["l2"] and found["early_stopping"][-1] == 10
    for name, (low, high) in BOUNDS.items():
        drawn = found[name][:-1]
        assert len(drawn) == 20
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
        assert len(found[name]) == points + 1
        assert abs(found[name][:-1].count(0.0) - expected) <= 2, name


def test_draws_are_even_on_the_scale_of_the_range(params_text: str) -> None:
    """Of every eighth of a range as many draws as of another, give or take one."""
    text = replace(params_text, SEARCH, ("points: 20, off: 0.25", "points: 256, off: 0"))
    axes = {"l2": np.log10, "max_norm": np.log10, "dropout": lambda x: x, "ema": lambda x: np.log10(1 - x)}
    found = find_points(text)
    for name, axis in axes.items():
        low, high = sorted(float(axis(np.array(bound, float))) for bound in BOUNDS[name])
        counts, _ = np.histogram(axis(np.array(found[name][:-1])), bins=8, range=(low - 1e-3, high + 1e-3))
        assert set(counts) <= {31, 32, 33}, name
    halved = find_points(replace(text, ("off: 0,", "off: 0.5,")))["dropout"]  # those that are on reach over all of it
    counts, _ = np.histogram([strength for strength in halved[:-1] if strength], bins=4, range=BOUNDS["dropout"])
    assert set(counts) <= {31, 32, 33}
    linear = replace(text, ("l2: [0.001, 0.1], dropout", "l2: [0, 0.1, linear], dropout"))
    counts, _ = np.histogram(find_points(linear)["l2"][:-1], bins=8, range=(0, 0.1))
    assert set(counts) <= {31, 32, 33}


def test_points_of_a_search_depend_on_seed_and_name_and_begin_those_of_a_larger_one(params_text: str) -> None:
    text = replace(params_text, SEARCH)
    found = find_points(text)
    larger = find_points(replace(text, ("points: 20", "points: 50")))
    assert all(larger[name][:20] == found[name][:20] for name in found)
    assert find_points(replace(text, ("seed: 3", "seed: 4")))["l2"][1:] != found["l2"][1:]
    renamed = replace(text, ("set: {", "other: {"), ("baseline: set", "baseline: other"))
    assert find_points(renamed, "other")["l2"][1:] != found["l2"][1:]
    turned = replace(text, ("[l2, dropout, max_norm,", "[max_norm, dropout, l2,"))
    assert find_points(turned) == found, "the order of names in params.yaml does not matter"


def test_a_search_is_compared_with_the_variants_of_one_regularizer(params_text: str) -> None:
    """Those that have its baseline and its settings, whatever else the study holds."""
    more = (
        "own_variants:\n",
        """own_variants:
  small: {study: thoracic, hidden: [8]}
  small_l2: {study: thoracic, regularizers: [l2], hidden: [8], baseline: small}
  small_set: {study: thoracic, regularizers: [l2, dropout], hidden: [8], baseline: small,
    search: {points: 4, off: 0, l2: [0.01, 0.1]}}
  l2_search: {study: thoracic, regularizers: [l2], hidden: [8], baseline: small,
    search: {points: 4, off: 0, l2: [1, 2]}}
""",
    )
    plan_of_study = make_plans(replace(params_text, more))["thoracic/_study"]["thoracic"]
    cocktail, of_l2, of_small = sorted(plan_of_study.searches, key=lambda search: search.variant)
    assert of_l2.singles == ("small_l2",)
    assert (of_small.singles, of_small.best_single) == (("small_l2",), "best_single_small")
    assert (of_small.varied, of_small.always_on, of_small.num_points) == (("l2",), (), 4)
    assert cocktail.best_single == "best_single"
    assert {"l1", "l2", "early_stopping"} <= set(cocktail.singles)
    assert not {"unregularized", "tutorial", "cocktail", "small_l2"} & set(cocktail.singles)
    assert cocktail.always_on == ("max_norm",)


def test_each_number_of_averaged_points_has_averaged_singles_of_its_own(params_text: str) -> None:
    lines = "".join(
        f"  set_{number}: {{study: tutorial_fashion, regularizers: [l2], "
        f"search: {{points: 4, off: 0, average: {number}, l2: [0.1, 1]}}}}\n"
        for number in (2, 3)
    )
    plans = make_plans(replace(params_text, ("own_variants:\n", f"own_variants:\n{lines}")))
    found = plans["tutorial_fashion/_study"]["tutorial_fashion"].searches
    assert [(search.average, search.best_singles) for search in found] == [(2, "best_singles_2"), (3, "best_singles_3")]
    assert {search.best_single for search in found} == {"best_single"}
