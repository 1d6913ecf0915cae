"""Adjusted p-values and verdicts against statsmodels, loops and hand-worked cases; their promises on noise."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, stdtrit
from statsmodels.stats.multitest import multipletests

from stages.lib.judge import scores
from stages.lib.judge.designs import CrossedEffects, Estimate, compare_replicates
from stages.lib.judge.verdicts import (
    CHUNK,
    adjust,
    critical_value,
    detectable_difference,
    draw_statistics,
    flip_seeds,
    holm,
    smallest_margin,
    step_down,
    vary_errors,
    verdict,
)
from tests.lib.judge.test_designs import FOLD_RATIO, draw_design, slack


def test_holm_agrees_with_statsmodels():
    rng = np.random.default_rng(10)
    for size in range(1, 13):
        p_values = rng.choice([0, 1e-9, 0.002, 0.01, 0.02, 0.4, 1], size).tolist()  # with ties
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


def test_holm_of_a_hand_worked_case():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("difference", "half_width", "p_adjusted", "word"),
    [
        (0.030, 0.010, 0.001, "better"),
        (-0.030, 0.010, 0.001, "worse"),
        (0.012, 0.010, 0.001, "better"),  # the margin asks nothing of a significant difference but not to be inside it
        (0.030, 0.010, 0.051, "undecided"),  # the interval excludes 0, but one of several variants was bound to
        (0.001, 0.030, 0.900, "undecided"),
        (0.001, 0.008, 0.900, "equivalent"),
        (0.004, 0.003, 0.001, "equivalent"),  # surely there, and surely too small to matter
        (0.004, 0.007, 0.300, "undecided"),
    ],
)
def test_verdict(difference, half_width, p_adjusted, word):
    estimate = Estimate(difference, ((half_width / -stdtrit(9, 0.05), 9),))  # half of the interval at 0.9
    assert verdict(estimate, p_adjusted, margin=0.01, sign=1) == word
    mirrored = {"better": "worse", "worse": "better"}.get(word, word)
    assert verdict(estimate, p_adjusted, margin=0.01, sign=-1) == mirrored


def test_a_verdict_at_its_bounds():
    exact = Estimate(0.25, ((0.0, 4),))  # both ends of its intervals are 0.25
    assert verdict(exact, 0.0, margin=0.2, sign=1) == "better"
    assert verdict(exact, 0.0, margin=0.0, sign=1) == "better"
    assert verdict(exact, 0.0, margin=0.25, sign=1) == "better", "an interval that ends on the margin is not inside"
    assert verdict(exact, 0.0, margin=0.26, sign=1) == "equivalent"
    assert verdict(Estimate(-0.25, ((0.0, 4),)), 0.9, margin=0.25, sign=1) == "undecided"
    assert verdict(exact, 0.05, margin=0.2, sign=1) == verdict(exact, 1.0, margin=0.2, sign=1) == "undecided"
    assert verdict(Estimate(0.0, ((0.0, 2),)), 1.0, margin=0.01, sign=1) == "undecided"
    for p_adjusted, margin in ((-0.1, 0.2), (1.1, 0.2), (np.nan, 0.2), (0.5, -1.0)):
        with pytest.raises(ValueError, match=r"expected margin >= 0 and p_adjusted in \[0, 1\]"):
            verdict(exact, p_adjusted, margin=margin, sign=1)


def make_family(rng, *, num_arms=6, shared=1.0, size=(12, 300), shift=0.0):
    """Estimated differences of arms from a shared baseline, from scores [seed, row]."""
    baseline = shared * rng.normal(size=size)
    design = CrossedEffects()
    return {f"arm_{n}": design.estimate(shift * (n == 0) + rng.normal(size=size) - baseline) for n in range(num_arms)}


def test_adjusted_p_of_one_comparison_is_its_own():
    for shift in (0.02, 0.05):
        family = make_family(np.random.default_rng(30), num_arms=1, shared=0.0, shift=shift)
        own = family["arm_0"].p_value
        assert step_down(family, seed=1)["arm_0"] == pytest.approx(own, abs=0.02)
        assert adjust(family, seed=1)["arm_0"] >= own


def test_arms_that_answer_the_same_count_once():
    family = make_family(np.random.default_rng(31), num_arms=1, shift=0.05)
    alone = step_down(family, seed=2)["arm_0"]
    many = step_down({f"arm_{n}": family["arm_0"] for n in range(20)}, seed=2)
    assert all(p == pytest.approx(alone, abs=0.01) for p in many.values())


def test_independent_arms_have_the_critical_value_of_sidak():
    rng = np.random.default_rng(32)
    rows = np.linalg.qr(rng.normal(size=(200, 8)))[0].T
    family = {n: Estimate(0.0, ((1.0, 1e9),), row) for n, row in enumerate(rows)}
    sidak = stats.norm.isf((1 - 0.95 ** (1 / 8)) / 2)
    assert critical_value(family, seed=3) == pytest.approx(sidak, abs=0.03)


def test_step_down_spares_the_second_arm_the_price_of_the_first():
    rows = np.linalg.qr(np.random.default_rng(33).normal(size=(200, 2)))[0].T
    values = {"first": (9.0, rows[0]), "second": (2.1, rows[1])}
    family = {name: Estimate(value, ((1.0, 1e9),), row) for name, (value, row) in values.items()}
    adjusted = step_down(family, seed=4)
    assert adjusted["second"] == pytest.approx(2 * stats.norm.sf(2.1), abs=0.004)
    assert adjusted["first"] < 1e-3


@pytest.mark.parametrize("seeds", [True, False])
def test_step_down_agrees_with_loops_over_draws(seeds):
    rng = np.random.default_rng(39)
    design = draw_design(rng)
    crossed = make_family(rng, num_arms=4, shift=0.03)
    family = crossed if seeds else {n: design.estimate(rng.normal(0.1, 1, size=(50, 12))) for n in "abcd"}
    names, num_draws = sorted(family), CHUNK + 500
    draws = np.concatenate(list(draw_statistics([family[name] for name in names], seed=8, num_draws=num_draws)))
    assert draws.shape == (num_draws, 4)
    found = [abs(family[name].value) / family[name].standard_error for name in names]
    order, expected, before = np.argsort(found)[::-1], {}, 0.0
    for place, number in enumerate(order):
        exceeding = sum(draw[order[place:]].max() >= found[number] for draw in draws)
        before = max(before, (1 + exceeding) / (1 + num_draws))
        expected[names[number]] = before
    assert step_down(family, seed=8, num_draws=num_draws) == pytest.approx(expected)
    assert len(set(expected.values())) > 1


def test_signs_of_seeds_have_the_mean_and_the_variance_of_the_seeds_that_they_turn():
    seeds = np.array([[0.3, -0.1, -0.4, 0.2], [0.0, 0.5, -0.5, 0.0]])

    class AllSigns:
        def choice(self, values, size):
            return np.array(np.meshgrid(*[values] * size[1])).reshape(size[1], -1).T

    mean, variance = flip_seeds(seeds, 16, AllSigns())
    signs = AllSigns().choice([-1.0, 1.0], (16, 4))
    turned = signs[:, None] * seeds * np.sqrt(4 / 3)  # [draw, member, seed]; deviations are from a mean of their own
    np.testing.assert_allclose(mean, turned.mean(axis=2))
    np.testing.assert_allclose(variance, turned.var(axis=2, ddof=1) / 4)
    assert mean.var(axis=0) == pytest.approx((seeds**2).sum(axis=1) / 3 / 4)


def test_the_order_of_arms_does_not_matter():
    family = make_family(np.random.default_rng(34), shift=0.05)
    assert adjust(family, seed=5) == adjust(dict(reversed(family.items())), seed=5)


def test_few_seeds_are_adjusted_by_holm():
    family = make_family(np.random.default_rng(35), size=(5, 300), shift=0.1)
    own = [estimate.p_value for estimate in family.values()]
    assert list(adjust(family, seed=6).values()) == holm(own)
    enough = make_family(np.random.default_rng(35), size=(8, 300), shift=0.1)
    own = [estimate.p_value for estimate in enough.values()]
    assert list(adjust(enough, seed=6).values()) != holm(own)


def test_few_seeds_have_the_critical_value_of_holms_first_step():
    family = make_family(np.random.default_rng(36), size=(5, 300))
    ratios = [one.half_width(0.05 / 6) / one.standard_error for one in family.values()]
    assert critical_value(family, seed=6) == max(ratios)
    enough = make_family(np.random.default_rng(36), size=(8, 300))
    assert critical_value(enough, seed=6) < max(ratios)
    same = {"same": CrossedEffects().estimate(np.zeros((5, 4)))}
    assert critical_value(same, seed=6) == 0
    assert critical_value(family | same, seed=6) > 0


def test_a_critical_value_depends_on_its_seed_alone():
    rng = np.random.default_rng(37)
    design = draw_design(rng)
    family = {f"arm_{number}": design.estimate(rng.normal(size=(50, 12))) for number in range(3)}
    assert critical_value(family, seed=6) == critical_value(family, seed=6)
    assert critical_value(family, seed=6) != critical_value(family, seed=7)


def test_errors_vary_by_the_degrees_of_freedom_of_their_parts():
    parts = np.array([[[3.0, 4.0], [0.0, 9.0]], [[0.0, 4.0], [2.0, 9.0]], [[3.0, 4.0], [2.0, 9.0]]])
    first, second, both = vary_errors(parts, 200_000, np.random.default_rng(38)).T
    for found, error, df in ((first, 3, 4), (second, 2, 9)):
        quantiles = np.sqrt(stats.chi2(df).ppf([0.1, 0.5, 0.9]) / df) * error
        np.testing.assert_allclose(np.quantile(found, [0.1, 0.5, 0.9]), quantiles, rtol=0.01)
    np.testing.assert_allclose(both, np.hypot(first, second))


def test_an_empty_family_and_arms_without_any_difference():
    same = CrossedEffects().estimate(np.zeros((10, 4)))
    assert adjust({}, seed=7) == {}
    assert adjust({"same": same}, seed=7) == {"same": 1.0}


def test_what_a_study_can_see_in_closed_form():
    estimate = Estimate(0.0, ((0.01, 20),))
    t = stats.t(20).ppf
    assert detectable_difference(estimate, 2.8) == pytest.approx(0.01 * (2.8 + t(0.8)))
    assert smallest_margin(estimate) == pytest.approx(0.01 * (t(0.95) + t(0.9)))


def simulate_gaussian_replicates(rng, *, num_arms=11, num_replicates=50):
    """Scores [arm, replicate] without true differences, correlated as Nadeau and Bengio assume."""
    correlation = FOLD_RATIO / (1 + FOLD_RATIO)  # n_test / (n_test + n_train)
    common, own = rng.normal(size=(num_arms, 1)), rng.normal(size=(num_arms, num_replicates))
    return 0.7 + 0.05 * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)


def simulate_cross_validation(rng, *, num_arms=11, num_repeats=10, num_shared=6, num_own=2):
    """AUC [arm, fold] of nearest-centroid classifiers in a real 5-fold x 10 on 470 fresh rows, 70 of class 1.

    Every arm leaves out a block of its own from the same features; the blocks are exchangeable, so no arm is better.
    """
    label = np.repeat([1, 0], [70, 400])
    features = rng.normal(size=(470, num_shared + num_arms * num_own))
    features[:70] += np.repeat([0.3, 0.1], [num_shared, num_arms * num_own])
    classes = np.arange(70), np.arange(70, 470)
    folds = [[rng.permutation(rows).reshape(5, -1) for rows in classes] for _ in range(num_repeats)]
    test = np.concatenate([np.concatenate(fold, axis=1) for fold in folds])  # [fold, 94], class 1 first
    train = np.ones((len(test), 470))
    np.put_along_axis(train, test, 0, axis=1)
    direction = (train[:, :70] @ features[:70]) / 56 - (train[:, 70:] @ features[70:]) / 320
    term = features[test] * direction[:, None, :]  # [fold, row, feature]
    block = term[:, :, num_shared:].reshape(*term.shape[:2], num_arms, num_own).sum(axis=3)
    probability = expit(np.moveaxis(term.sum(axis=2, keepdims=True) - block, 2, 0))  # [arm, fold, row]
    auc = scores.auc(label[test[0]], probability.reshape(-1, test.shape[1]))
    return auc.reshape(num_arms, len(test))


@pytest.mark.parametrize("simulate", [simulate_gaussian_replicates, simulate_cross_validation])
def test_ten_variants_of_pure_noise_rarely_yield_a_finding(simulate):
    rng, num_studies = np.random.default_rng(7), 200
    found, found_naively, covered = [], [], []
    for _ in range(num_studies):
        baseline, *variants = simulate(rng)
        differences = [compare_replicates(arm, baseline, test_train_ratio=FOLD_RATIO) for arm in variants]
        adjusted = adjust(dict(enumerate(differences)), seed=1)  # no rows are known: Holm's
        words = [verdict(difference, adjusted[n], margin=0.01, sign=1) for n, difference in enumerate(differences)]
        found.append(not {"better", "worse"}.isdisjoint(words))
        covered.append(np.mean([abs(difference.value) <= difference.half_width(0.05) for difference in differences]))
        naive = stats.ttest_rel(np.array(variants), baseline, axis=1).pvalue
        found_naively.append(min(holm(naive)) < 0.05)
    assert np.mean(found) <= 0.05 + slack(0.05, num_studies)
    assert np.mean(covered) >= 0.95 - slack(0.95, num_studies)
    assert np.mean(found_naively) > 0.8  # the naive paired t finds something in nearly every study


@pytest.mark.parametrize(("num_seeds", "row_sd"), [(10, 0.0), (10, 2.0), (20, 1.0)])
def test_signs_of_seeds_hold_the_family_wise_error(num_seeds, row_sd):
    rng, found = np.random.default_rng(11), []
    design = CrossedEffects()
    for _ in range(150):
        baseline = rng.normal(0, 0.1, (num_seeds, 1)) + rng.normal(0, row_sd, 60)
        family = {}
        for arm in range(12):
            score = rng.normal(0, 0.1, (num_seeds, 1)) + rng.normal(0, row_sd, 60) + rng.normal(0, 0.1, (num_seeds, 60))
            family[arm] = design.estimate(score - baseline)
        found.append(min(adjust(family, seed=1, num_draws=999).values()) < 0.05)
    assert np.mean(found) <= 0.05 + slack(0.05, len(found))
