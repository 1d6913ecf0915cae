"""Tests and intervals against scipy, statsmodels and hand-worked cases; their promises against simulated noise."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from scipy.special import expit
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from stages.lib.judge import scores, statistics
from stages.lib.judge.multiplicity import CHUNK, draw_statistics, flip_seeds, vary_errors

FOLDS, REPEATS, NUM_ROWS, SHARE = 5, 10, 60, 0.7  # of a small cross-validation; SHARE of the other rows is trained on

deterministic = settings(derandomize=True, database=None, deadline=None, max_examples=60)
FOLD_RATIO = 94 / 376  # test rows / training rows of five folds of 470 patients


def slack(share, count):
    """Two Monte-Carlo standard errors of a share counted over independent simulations."""
    return 2 * np.sqrt(share * (1 - share) / count)


# Estimates ----------------------------------------------------------------------------------------------------------


def test_resampled_mean_with_ratio_zero_is_the_plain_t():
    score = np.random.default_rng(0).normal(0.3, 1, 12)
    estimate = statistics.resampled_mean(score, test_train_ratio=0)
    oracle = stats.ttest_1samp(score, 0)
    assert estimate.p_value == pytest.approx(oracle.pvalue, rel=1e-10)
    assert estimate.interval(0.9) == pytest.approx(oracle.confidence_interval(0.9), rel=1e-10)
    assert estimate.interval() == pytest.approx(DescrStatsW(score).tconfint_mean(), rel=1e-10)


def test_corrected_resampled_t_of_a_hand_worked_case():
    # mean 0.02, sd^2 = 0.001 / 4 = 0.00025; SE^2 = 0.00025 (1/5 + 1/4) = 0.0001125; t^2 = 32/9 with 4 df.
    estimate = statistics.resampled_mean([0.00, 0.01, 0.02, 0.03, 0.04], test_train_ratio=0.25)
    assert estimate.value == pytest.approx(0.02)
    assert estimate.standard_error == pytest.approx(np.sqrt(0.0001125))
    assert estimate.p_value == pytest.approx(0.13242, abs=1e-5)  # closed form of the t distribution with 4 df
    assert estimate.interval() == pytest.approx((0.02 - 2.776445 * 0.0106066, 0.02 + 2.776445 * 0.0106066), abs=1e-7)


def test_fixed_test_has_the_mean_squares_of_the_analysis_of_variance():
    rng = np.random.default_rng(1)
    score = rng.normal(size=(4, 1)) + 2 * rng.normal(size=6) + rng.normal(size=(4, 6))
    table = pd.DataFrame({"score": score.ravel(), "seed": np.repeat(range(4), 6), "row": np.tile(range(6), 4)})
    mean_square = anova_lm(ols("score ~ C(seed) + C(row)", table).fit())["sum_sq"] / [3, 5, 15]
    (seed_error, seed_df), (row_error, row_df) = statistics.FixedTest().evidence(score).estimate.errors
    assert (seed_df, row_df) == (3, 5)
    assert seed_error**2 == pytest.approx(mean_square["C(seed)"] / 24)
    assert row_error**2 == pytest.approx((mean_square["C(row)"] - mean_square["Residual"]) / 24)


def test_fixed_test_of_a_hand_worked_case():
    # Seed means 2, 4 and row means 1, 3, 5 about the mean 3, nothing else: MS_seed = 6, MS_row = 8, MS_rest = 0.
    estimate = statistics.FixedTest().evidence([[0, 2, 4], [2, 4, 6]]).estimate
    assert estimate.value == 3
    np.testing.assert_allclose(estimate.errors, [(1, 1), (np.sqrt(8 / 6), 2)])
    assert estimate.half_width(0.05) == pytest.approx(np.sqrt(12.7062**2 + 4.30265**2 * 8 / 6), rel=1e-5)


def test_fixed_test_is_the_t_over_seeds_when_rows_are_alike():
    seed = np.random.default_rng(2).normal(size=(6, 1))
    estimate = statistics.FixedTest().evidence(np.repeat(seed, 50, axis=1)).estimate
    assert estimate.p_value == pytest.approx(stats.ttest_1samp(seed[:, 0], 0).pvalue, rel=1e-6)


@deterministic
@given(
    some.floats(-10, 10),
    some.lists(some.tuples(some.floats(1e-3, 5), some.floats(1, 1e4)), min_size=1, max_size=3),
    some.floats(1e-6, 0.999),
)
def test_p_value_is_below_alpha_just_where_the_interval_excludes_zero(value, errors, alpha):
    estimate = statistics.Estimate(value, tuple(errors))
    low, high = estimate.interval(1 - alpha)
    edge = min(abs(low), abs(high)) < 1e-9 * max(1.0, estimate.half_width(alpha))
    assert edge or (estimate.p_value < alpha) == (not low <= 0 <= high)


@deterministic
@given(some.floats(0, 60), some.floats(1, 1e4))
def test_p_value_with_one_error_is_that_of_the_t_distribution(t, df):
    p_value = statistics.Estimate(t, ((1.0, df),)).p_value
    assert p_value == pytest.approx(2 * stats.t.sf(t, df), rel=1e-9, abs=1e-99)


def test_without_any_error_p_is_one_or_zero():
    same, apart = statistics.Estimate(0.0, ((0.0, 4),)), statistics.Estimate(0.1, ((0.0, 4),))
    assert (same.p_value, same.interval()) == (1.0, (0.0, 0.0))
    assert (apart.p_value, apart.interval()) == (0.0, (0.1, 0.1))


def test_welch_agrees_with_scipy_and_statsmodels():
    rng = np.random.default_rng(3)
    variant, baseline = rng.normal(0.5, 1, 9), rng.normal(0, 3, 14)
    arms = [statistics.resampled_mean(arm, test_train_ratio=0) for arm in (variant, baseline)]
    comparison = statistics.compare_unpaired(*arms)
    oracle = stats.ttest_ind(variant, baseline, equal_var=False)
    assert comparison.p_value == pytest.approx(oracle.pvalue, rel=1e-10)
    assert (comparison.ci_low, comparison.ci_high) == pytest.approx(oracle.confidence_interval(0.95), rel=1e-10)
    interval = CompareMeans(DescrStatsW(variant), DescrStatsW(baseline)).tconfint_diff(usevar="unequal")
    assert (comparison.ci_low, comparison.ci_high) == pytest.approx(interval, rel=1e-10)
    assert statistics.welch(*[statistics.Estimate(1.0, ((0.0, 4),))] * 2).p_value == 1


# Cross-validation ----------------------------------------------------------------------------------------------------


def draw_folds(rng, num_rows=NUM_ROWS):
    """Row numbers held out [replicate, row] and trained on [replicate, n] of a repeated k-fold cross-validation."""
    held_out, training = [], []
    for _ in range(REPEATS):
        for fold in rng.permutation(num_rows).reshape(FOLDS, -1):
            others = rng.permutation(np.setdiff1d(np.arange(num_rows), fold))
            held_out.append(fold)
            training.append(others[: round(SHARE * len(others))])
    return np.array(held_out), np.array(training)


def draw_design(rng):
    return statistics.CrossValidation(*draw_folds(rng), REPEATS)


def cross_validate(label, features, held_out, training, *, penalty):
    """Contributions [replicate, row] to the squared error of ridge regression without intercept."""
    rows = []
    for test, known in zip(held_out, training, strict=True):
        x = features[known]
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ label[known])
        rows.append((label[test] - features[test] @ weights) ** 2)
    return np.array(rows)


@pytest.mark.parametrize(("seed", "alone"), [(21, False), (22, False), (23, False), (21, True)])
def test_cross_validation_agrees_with_loops_over_rows_and_repeats(seed, alone):
    rng = np.random.default_rng(seed)
    held_out, training = draw_folds(rng)
    score = rng.normal(size=held_out.shape) + 1.5 * rng.normal(size=NUM_ROWS)[held_out]
    found = statistics.CrossValidation(held_out, training, REPEATS).evidence(score, alone=alone)
    influence = np.zeros((REPEATS, NUM_ROWS))
    for replicate, rows in enumerate(held_out):
        influence[replicate // FOLDS, rows] = score[replicate] - score.mean()
    pairs = [(r, s) for r in range(REPEATS) for s in range(REPEATS) if r != s]
    stable = np.mean([influence[r] @ influence[s] for r, s in pairs]) / NUM_ROWS**2
    share, products, noise = training.shape[1] / NUM_ROWS, [], []
    for replicate, (test, known) in enumerate(zip(held_out, training, strict=True)):
        r, member = replicate // FOLDS, np.isin(np.arange(NUM_ROWS), known) - share
        others = [s for s in range(REPEATS) if s != r]
        for s in others:
            for t in others:
                if s != t:
                    quality = influence[r, test].mean() - influence[s, test].mean()
                    products.append(quality * (influence[t] @ member))
        noise.append((influence[r, test].mean() - influence[others][:, test].mean()) ** 2)
    covariance = np.mean(products) / (1 - share) / NUM_ROWS
    noise = np.mean(noise) * (REPEATS - 1) / REPEATS / len(held_out)
    sampling = share / (1 - share) * REPEATS / (REPEATS - 1) * noise / stable
    ratio = 1 + (covariance / stable - 1) / (1 + sampling / (0.25 if alone else 0.5))
    assert 0 < ratio < 2, "a bound would hide what is estimated"
    assert found.estimate.value == pytest.approx(score.mean())
    assert found.estimate.standard_error == pytest.approx(
        np.hypot((1 + ratio) * np.sqrt(stable), np.sqrt(noise)), rel=1e-10
    )
    assert found.estimate.errors[1] == pytest.approx((np.sqrt(noise), REPEATS - 1))
    assert np.sqrt((found.rows**2).sum()) == pytest.approx(found.estimate.standard_error)
    total = influence.mean(axis=0) - influence.mean()
    np.testing.assert_allclose(found.rows / found.estimate.standard_error, total / np.linalg.norm(total), atol=1e-12)


@pytest.mark.parametrize(("learned", "bound"), [(-3.0, 0.0), (3.0, 2.0)])
def test_the_ratio_of_influences_is_kept_within_its_bounds(learned, bound):
    """Rows that help, or harm, others by far more than they move the score as held-out rows."""
    rng = np.random.default_rng(29)
    held_out, training = draw_folds(rng)
    row = rng.normal(size=NUM_ROWS)
    quality = [learned * row[known].mean() for known in training]
    design = statistics.CrossValidation(held_out, training, REPEATS)
    score = row[held_out] + np.array(quality)[:, None]
    influence = np.zeros((REPEATS, NUM_ROWS))
    for replicate, rows in enumerate(held_out):
        influence[replicate // FOLDS, rows] = score[replicate] - score.mean()
    pairs = [(r, s) for r in range(REPEATS) for s in range(REPEATS) if r != s]
    stable = np.mean([influence[r] @ influence[s] for r, s in pairs]) / NUM_ROWS**2
    assert design.evidence(score).estimate.errors[0][0] == pytest.approx((1 + bound) * np.sqrt(stable))


def test_cross_validation_of_one_fixed_answer_is_the_standard_error_of_a_mean():
    rng = np.random.default_rng(21)
    held_out, training = draw_folds(rng, num_rows=400)
    row = rng.normal(
        size=400
    )  # the score of a row whoever is trained on: the ratio of influences is 0, but shrunk to 1
    estimate = statistics.CrossValidation(held_out, training, REPEATS).evidence(row[held_out]).estimate
    assert estimate.standard_error == pytest.approx(row.std() / np.sqrt(400), rel=1e-9)


def test_cross_validation_does_not_depend_on_the_order_of_rows_or_on_their_numbers():
    rng = np.random.default_rng(22)
    held_out, training = draw_folds(rng)
    score = rng.normal(size=held_out.shape)
    order = rng.permutation(held_out.shape[1])
    found = statistics.CrossValidation(held_out, training, REPEATS).evidence(score)
    moved = statistics.CrossValidation(3 * held_out[:, order] + 7, 3 * training[:, ::-1] + 7, REPEATS)
    again = moved.evidence(score[:, order])
    assert again.estimate.errors[0] == pytest.approx(found.estimate.errors[0], rel=1e-12)
    np.testing.assert_allclose(again.rows, found.rows, atol=1e-15)


def test_cross_validated_error_follows_the_signal():
    """Ridge regression against one that is shrunk to nothing: spread over tables, with and without signal."""
    for weight, narrow in ((0.0, True), (0.5, False)):
        rng, found = np.random.default_rng(23), []
        for _ in range(60):
            features = rng.normal(size=(NUM_ROWS, 8))
            label = features[:, 0] * weight + rng.normal(size=NUM_ROWS)
            held_out, training = draw_folds(rng)
            arms = [cross_validate(label, features, held_out, training, penalty=value) for value in (5.0, 1e9)]
            comparison, evidence = statistics.compare(*arms, statistics.CrossValidation(held_out, training, REPEATS))
            row_wise = (arms[0] - arms[1]).ravel()[np.argsort(held_out.ravel(), kind="stable")].reshape(NUM_ROWS, -1)
            row_error = row_wise.mean(axis=1).std() / np.sqrt(NUM_ROWS)
            found.append((comparison.difference, evidence.estimate.standard_error, row_error))
        difference, error, row_error = np.transpose(found)
        spread, typical = difference.std(ddof=1), np.sqrt((error**2).mean())
        assert 0.85 * spread < typical < 1.9 * spread
        if narrow:
            assert np.sqrt((row_error**2).mean()) < 0.85 * spread


def test_row_auc_has_the_variance_of_delong():
    rng = np.random.default_rng(24)
    label = rng.permutation(np.repeat([1, 0], [41, 72]))
    probability = np.round(expit(label + rng.normal(size=(2, 113))), 2)  # two markers, with ties
    positive, negative = probability[:, label == 1], probability[:, label == 0]
    won = (positive[:, :, None] > negative[:, None]) + 0.5 * (positive[:, :, None] == negative[:, None])
    contribution = scores.row_auc(label, probability)
    assert contribution.mean(axis=1) == pytest.approx(won.mean(axis=(1, 2)))
    # DeLong, DeLong and Clarke-Pearson 1988: covariances of the structural components of both markers.
    delong = np.cov(won.mean(axis=2)) / 41 + np.cov(won.mean(axis=1)) / 72
    by_class = [np.cov(contribution[:, label == c]) * (label == c).sum() / 113**2 for c in (1, 0)]
    np.testing.assert_allclose(by_class[0] + by_class[1], delong, rtol=1e-10)


def test_row_auc_is_the_derivative_of_the_auc_by_the_weight_of_a_row():
    rng = np.random.default_rng(25)
    label, probability = rng.permutation(np.repeat([1, 0], [9, 16])), np.round(rng.random(25), 1)
    won = (probability[:, None] > probability) + 0.5 * (probability[:, None] == probability)

    def weigh(weight):
        pairs = weight[:, None] * weight * (label[:, None] == 1) * (label == 0)
        return (pairs * won).sum() / pairs.sum()

    step = 1e-6
    slopes = [(weigh(1 + step * one) - weigh(1 - step * one)) / (2 * step) for one in np.eye(25)]
    (contribution,) = scores.row_auc(label[None], probability[None])
    np.testing.assert_allclose((contribution - weigh(np.ones(25))) / 25, slopes, atol=1e-9)


# Comparisons, adjustment, verdicts ----------------------------------------------------------------------------------


def test_compare_replicates_is_paired():
    rng = np.random.default_rng(4)
    baseline = rng.normal(0.6, 0.1, 50)
    variant = baseline + rng.normal(0.01, 0.02, 50)
    comparison = statistics.compare_replicates(variant, baseline, test_train_ratio=FOLD_RATIO)
    estimate = statistics.resampled_mean(variant - baseline, test_train_ratio=FOLD_RATIO)
    assert comparison.difference == pytest.approx(comparison.value - comparison.baseline)
    assert (comparison.ci_low, comparison.ci_high) == estimate.interval(0.95)
    assert (comparison.equivalence_low, comparison.equivalence_high) == pytest.approx(estimate.interval(0.9))
    assert comparison.p_value == estimate.p_value


def test_compare_is_paired_by_replicate_and_row():
    variant, baseline = np.random.default_rng(5).random((2, 5, 40))
    comparison, evidence = statistics.compare(variant, baseline, statistics.FixedTest())
    assert evidence.estimate == statistics.FixedTest().evidence(variant - baseline).estimate
    assert (comparison.ci_low, comparison.ci_high) == evidence.estimate.interval()
    assert comparison.difference == pytest.approx(variant.mean() - baseline.mean())
    assert (comparison.value, comparison.baseline) == (variant.mean(), baseline.mean())


def test_holm_agrees_with_statsmodels():
    rng = np.random.default_rng(10)
    for size in range(1, 13):
        p_values = rng.choice([0, 1e-9, 0.002, 0.01, 0.02, 0.4, 1], size).tolist()  # with ties
        assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


def test_holm_of_a_hand_worked_case():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


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
        (0.004, 0.006, 0.300, "undecided"),  # the interval ends on the margin: not inside
    ],
)
def test_verdict(difference, half_width, p_adjusted, word):
    inner = difference - half_width, difference + half_width
    comparison = statistics.Comparison(0.7 + difference, 0.7, difference, -1, 1, *inner, p_adjusted / 10)
    assert statistics.verdict(comparison, p_adjusted, margin=0.01, greater_is_better=True) == word
    mirrored = {"better": "worse", "worse": "better"}.get(word, word)
    assert statistics.verdict(comparison, p_adjusted, margin=0.01, greater_is_better=False) == mirrored


def test_a_verdict_at_its_bounds():
    outside = statistics.Comparison(0.8, 0.7, 0.1, -1, 1, -0.01, 0.3, 0.0)
    options = {"margin": 0.01, "greater_is_better": True}
    assert statistics.verdict(outside, 0.0, **options) == "better"
    assert statistics.verdict(outside, 0.05, **options) == "undecided"
    assert statistics.verdict(outside, 1.0, **options) == "undecided"
    assert statistics.verdict(outside, 0.0, margin=0.0, greater_is_better=True) == "better"
    on_the_margin = statistics.Comparison(0.7, 0.7, 0.0, -1, 1, -0.01, 0.005, 0.9)
    assert statistics.verdict(on_the_margin, 0.9, **options) == "undecided"
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"p_adjusted in \[0, 1\]"):
            statistics.verdict(outside, wrong, **options)


def test_identical_arms_are_equivalent():
    comparison = statistics.compare_replicates([0.6, 0.7, 0.8], [0.6, 0.7, 0.8], test_train_ratio=FOLD_RATIO)
    assert statistics.verdict(comparison, comparison.p_value, margin=0.01, greater_is_better=True) == "equivalent"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.resampled_mean([0.1], test_train_ratio=0), r"shape \(1,\).*two or more along each axis"),
        (lambda: statistics.resampled_mean([0.1, np.nan], test_train_ratio=0), "finite and two or more"),
        (lambda: statistics.resampled_mean([0.1, 0.2], test_train_ratio=-1), "expected test rows / training rows"),
        (lambda: statistics.FixedTest().evidence([0.1, 0.2]), r"\[seed, row\]"),
        (lambda: statistics.compare([[1, 2]], [[1, 2, 3]], statistics.FixedTest()), "not paired.*compare_unpaired"),
        (
            lambda: statistics.compare_replicates([1, 2], [1, 2, 3], test_train_ratio=0),
            "not paired.*compare_unpaired",
        ),
        (
            lambda: statistics.welch(*[statistics.FixedTest().evidence(np.eye(2)).estimate] * 2),
            "both from resampled_mean",
        ),
        (lambda: statistics.holm([0.1, 1.1]), r"numbers in \[0, 1\]"),
        (lambda: statistics.CrossValidation(np.eye(6, dtype=int), np.eye(6, dtype=int), 3), "4 or more"),
        (lambda: statistics.CrossValidation(np.ones((8, 2), int), np.ones((8, 3), int), 4), "held out twice"),
        (lambda: draw_design(np.random.default_rng(0)).evidence(np.ones((50, 3))), "as held_out"),
        (
            lambda: statistics.verdict(
                statistics.compare_replicates([1, 2], [1, 3], test_train_ratio=0),
                1.0,
                margin=-1,
                greater_is_better=True,
            ),
            "expected margin >= 0",
        ),
    ],
)
def test_what_makes_no_sense_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Families -----------------------------------------------------------------------------------------------------------


def make_family(rng, *, num_arms=6, shared=1.0, size=(12, 300), shift=0.0):
    """Differences [seed, row] of arms from a shared baseline, as evidence."""
    baseline = shared * rng.normal(size=size)
    design = statistics.FixedTest()
    return {f"arm_{n}": design.evidence(shift * (n == 0) + rng.normal(size=size) - baseline) for n in range(num_arms)}


def test_adjusted_p_of_one_comparison_is_its_own():
    for shift in (0.02, 0.05):
        family = make_family(np.random.default_rng(30), num_arms=1, shared=0.0, shift=shift)
        own = family["arm_0"].estimate.p_value
        assert statistics.step_down(family, seed=1)["arm_0"] == pytest.approx(own, abs=0.02)
        assert statistics.adjust(family, seed=1)["arm_0"] >= own


def test_arms_that_answer_the_same_count_once():
    family = make_family(np.random.default_rng(31), num_arms=1, shift=0.05)
    alone = statistics.step_down(family, seed=2)["arm_0"]
    many = statistics.step_down({f"arm_{n}": family["arm_0"] for n in range(20)}, seed=2)
    assert all(p == pytest.approx(alone, abs=0.01) for p in many.values())


def test_independent_arms_have_the_critical_value_of_sidak():
    rng = np.random.default_rng(32)
    rows = np.linalg.qr(rng.normal(size=(200, 8)))[0].T
    family = {n: statistics.Evidence(statistics.Estimate(0.0, ((1.0, 1e9),)), row) for n, row in enumerate(rows)}
    sidak = stats.norm.isf((1 - 0.95 ** (1 / 8)) / 2)
    assert statistics.critical_value(family, seed=3) == pytest.approx(sidak, abs=0.03)


def test_step_down_spares_the_second_arm_the_price_of_the_first():
    rows = np.linalg.qr(np.random.default_rng(33).normal(size=(200, 2)))[0].T
    values = {"first": (9.0, rows[0]), "second": (2.1, rows[1])}
    family = {
        name: statistics.Evidence(statistics.Estimate(value, ((1.0, 1e9),)), row)
        for name, (value, row) in values.items()
    }
    adjusted = statistics.step_down(family, seed=4)
    assert adjusted["second"] == pytest.approx(2 * stats.norm.sf(2.1), abs=0.004)
    assert adjusted["first"] < 1e-3


@pytest.mark.parametrize("seeds", [True, False])
def test_step_down_agrees_with_loops_over_draws(seeds):
    rng = np.random.default_rng(39)
    design = draw_design(rng)
    crossed = make_family(rng, num_arms=4, shift=0.03)
    family = crossed if seeds else {n: design.evidence(rng.normal(0.1, 1, size=(50, 12))) for n in "abcd"}
    names, num_draws = sorted(family), CHUNK + 500
    draws = np.concatenate(list(draw_statistics([family[name] for name in names], seed=8, num_draws=num_draws)))
    assert draws.shape == (num_draws, 4)
    found = [abs(family[name].estimate.value) / family[name].estimate.standard_error for name in names]
    order, expected, before = np.argsort(found)[::-1], {}, 0.0
    for place, number in enumerate(order):
        exceeding = sum(draw[order[place:]].max() >= found[number] for draw in draws)
        before = max(before, (1 + exceeding) / (1 + num_draws))
        expected[names[number]] = before
    assert statistics.step_down(family, seed=8, num_draws=num_draws) == pytest.approx(expected)
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


def test_what_moves_an_estimate_on_a_fixed_test_set_is_told_by_row_and_by_seed():
    score = np.random.default_rng(40).normal(3, 1, size=(6, 50)) + np.random.default_rng(41).normal(size=50)
    found = statistics.FixedTest().evidence(score)
    np.testing.assert_allclose(found.seeds, score.mean(axis=1) - score.mean())
    rows = score.mean(axis=0) - score.mean()
    np.testing.assert_allclose(found.rows / np.linalg.norm(found.rows), rows / np.linalg.norm(rows))
    assert np.linalg.norm(found.rows) == pytest.approx(found.estimate.errors[1][0])


def test_the_order_of_arms_does_not_matter():
    family = make_family(np.random.default_rng(34), shift=0.05)
    assert statistics.adjust(family, seed=5) == statistics.adjust(dict(reversed(family.items())), seed=5)


def test_few_seeds_are_adjusted_by_holm():
    family = make_family(np.random.default_rng(35), size=(5, 300), shift=0.1)
    own = [evidence.estimate.p_value for evidence in family.values()]
    assert list(statistics.adjust(family, seed=6).values()) == statistics.holm(own)
    enough = make_family(np.random.default_rng(35), size=(8, 300), shift=0.1)
    own = [evidence.estimate.p_value for evidence in enough.values()]
    assert list(statistics.adjust(enough, seed=6).values()) != statistics.holm(own)


def test_few_seeds_have_the_critical_value_of_holms_first_step():
    family = make_family(np.random.default_rng(36), size=(5, 300))
    ratios = [one.estimate.half_width(0.05 / 6) / one.estimate.standard_error for one in family.values()]
    assert statistics.critical_value(family, seed=6) == max(ratios)
    enough = make_family(np.random.default_rng(36), size=(8, 300))
    assert statistics.critical_value(enough, seed=6) < max(ratios)
    same = {"same": statistics.FixedTest().evidence(np.zeros((5, 4)))}
    assert statistics.critical_value(same, seed=6) == 0
    assert statistics.critical_value(family | same, seed=6) > 0


def test_a_critical_value_depends_on_its_seed_alone():
    rng = np.random.default_rng(37)
    design = draw_design(rng)
    family = {f"arm_{number}": design.evidence(rng.normal(size=(50, 12))) for number in range(3)}
    assert statistics.critical_value(family, seed=6) == statistics.critical_value(family, seed=6)
    assert statistics.critical_value(family, seed=6) != statistics.critical_value(family, seed=7)


def test_errors_vary_by_the_degrees_of_freedom_of_their_parts():
    parts = np.array([[[3.0, 4.0], [0.0, 9.0]], [[0.0, 4.0], [2.0, 9.0]], [[3.0, 4.0], [2.0, 9.0]]])
    first, second, both = vary_errors(parts, 200_000, np.random.default_rng(38)).T
    for found, error, df in ((first, 3, 4), (second, 2, 9)):
        quantiles = np.sqrt(stats.chi2(df).ppf([0.1, 0.5, 0.9]) / df) * error
        np.testing.assert_allclose(np.quantile(found, [0.1, 0.5, 0.9]), quantiles, rtol=0.01)
    np.testing.assert_allclose(both, np.hypot(first, second))


def test_an_empty_family_and_arms_without_any_difference():
    same = statistics.FixedTest().evidence(np.zeros((10, 4)))
    assert statistics.adjust({}, seed=7) == {}
    assert statistics.adjust({"same": same}, seed=7) == {"same": 1.0}


def test_what_a_study_can_see_in_closed_form():
    estimate = statistics.Estimate(0.0, ((0.01, 20),))
    t = stats.t(20).ppf
    assert statistics.detectable_difference(estimate, 2.8) == pytest.approx(0.01 * (2.8 + t(0.8)))
    assert statistics.smallest_margin(estimate) == pytest.approx(0.01 * (t(0.95) + t(0.9)))


# Promises, on simulated noise ---------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("simulate", "num_studies"), [(simulate_gaussian_replicates, 200), (simulate_cross_validation, 200)]
)
def test_ten_variants_of_pure_noise_rarely_yield_a_finding(simulate, num_studies):
    rng = np.random.default_rng(7)
    found, found_naively, covered = [], [], []
    for _ in range(num_studies):
        baseline, *variants = simulate(rng)
        comparisons = [statistics.compare_replicates(arm, baseline, test_train_ratio=FOLD_RATIO) for arm in variants]
        adjusted = statistics.holm([comparison.p_value for comparison in comparisons])
        words = [
            statistics.verdict(comparison, p, margin=0.01, greater_is_better=True)
            for comparison, p in zip(comparisons, adjusted, strict=True)
        ]
        found.append(not {"better", "worse"}.isdisjoint(words))
        covered.append(np.mean([comparison.ci_low <= 0 <= comparison.ci_high for comparison in comparisons]))
        naive = stats.ttest_rel(np.array(variants), baseline, axis=1).pvalue
        found_naively.append(min(statistics.holm(naive)) < 0.05)
    assert np.mean(found) <= 0.05 + slack(0.05, num_studies)
    assert np.mean(covered) >= 0.95 - slack(0.95, num_studies)
    assert np.mean(found_naively) > 0.8  # the naive paired t finds something in nearly every study


@pytest.mark.parametrize(
    ("seed_sd", "row_sd", "rest_sd"), [(0.05, 0.0, 0.1), (0.05, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0)]
)
def test_crossed_intervals_cover_with_five_seeds_whatever_the_noise_comes_from(seed_sd, row_sd, rest_sd):
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(500):
        score = rng.normal(0, seed_sd, (5, 1)) + rng.normal(0, row_sd, 400) + rng.normal(0, rest_sd, (5, 400))
        low, high = statistics.FixedTest().evidence(score).estimate.interval()
        covered.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.95 - slack(0.95, len(covered))


@pytest.mark.parametrize(("seed_sd", "rest_sd", "low", "high"), [(0.05, 0.1, 0.75, 0.90), (0.0, 1.0, 0.99, 1.0)])
def test_percentile_bootstrap_over_five_seeds_and_rows_does_not_keep_its_level(seed_sd, rest_sd, low, high):
    rng = np.random.default_rng(9)
    weights = [rng.multinomial(n, np.full(n, 1 / n), size=500) / n for n in (5, 400)]  # seeds, rows drawn anew
    covered = []
    for _ in range(500):
        score = rng.normal(0, seed_sd, (5, 1)) + rng.normal(0, rest_sd, (5, 400))
        mean = ((weights[1] @ score.T) * weights[0]).sum(axis=1)
        covered.append(np.quantile(mean, 0.025) <= 0 <= np.quantile(mean, 0.975))
    assert low <= np.mean(covered) <= high  # too narrow where seeds differ, too wide where only the rest does


@pytest.mark.parametrize(("num_seeds", "row_sd"), [(10, 0.0), (10, 2.0), (20, 1.0)])
def test_signs_of_seeds_hold_the_family_wise_error(num_seeds, row_sd):
    rng, found = np.random.default_rng(11), []
    design = statistics.FixedTest()
    for _ in range(150):
        baseline = rng.normal(0, 0.1, (num_seeds, 1)) + rng.normal(0, row_sd, 60)
        family = {}
        for arm in range(12):
            score = rng.normal(0, 0.1, (num_seeds, 1)) + rng.normal(0, row_sd, 60) + rng.normal(0, 0.1, (num_seeds, 60))
            family[arm] = design.evidence(score - baseline)
        found.append(min(statistics.adjust(family, seed=1, num_draws=999).values()) < 0.05)
    assert np.mean(found) <= 0.05 + slack(0.05, len(found))


def test_tensorflow_is_not_imported():
    code = "import stages.lib.judge.statistics, sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
