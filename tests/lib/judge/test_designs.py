"""Standard errors and intervals against scipy, statsmodels and hand-worked cases; their coverage of simulated noise."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from stages.lib.judge import scores
from stages.lib.judge.designs import CrossedEffects, CrossValidation, Estimate, resampled_mean, welch

FOLDS, REPEATS, NUM_ROWS, SHARE = 5, 10, 60, 0.7  # of a small cross-validation; SHARE of the other rows is trained on

deterministic = settings(max_examples=60)


def slack(share, count):
    """Two Monte-Carlo standard errors of a share counted over independent simulations."""
    return 2 * np.sqrt(share * (1 - share) / count)


def test_resampled_mean_with_ratio_zero_is_the_plain_t():
    score = np.random.default_rng(0).normal(0.3, 1, 12)
    estimate = resampled_mean(score, test_train_ratio=0)
    oracle = stats.ttest_1samp(score, 0)
    assert estimate.p_value == pytest.approx(oracle.pvalue, rel=1e-10)
    assert estimate.interval(0.9) == pytest.approx(oracle.confidence_interval(0.9), rel=1e-10)


def test_corrected_resampled_t_of_a_hand_worked_case():
    # mean 0.02, sd^2 = 0.001 / 4 = 0.00025; SE^2 = 0.00025 (1/5 + 1/4) = 0.0001125; t^2 = 32/9 with 4 df.
    estimate = resampled_mean([0.00, 0.01, 0.02, 0.03, 0.04], test_train_ratio=0.25)
    assert estimate.value == pytest.approx(0.02)
    assert estimate.standard_error == pytest.approx(np.sqrt(0.0001125))
    assert estimate.p_value == pytest.approx(0.13242, abs=1e-5)  # closed form of the t distribution with 4 df
    assert estimate.interval() == pytest.approx((0.02 - 2.776445 * 0.0106066, 0.02 + 2.776445 * 0.0106066), abs=1e-7)


def test_fixed_test_has_the_mean_squares_of_the_analysis_of_variance():
    rng = np.random.default_rng(1)
    score = rng.normal(size=(4, 1)) + 2 * rng.normal(size=6) + rng.normal(size=(4, 6))
    table = pd.DataFrame({"score": score.ravel(), "seed": np.repeat(range(4), 6), "row": np.tile(range(6), 4)})
    mean_square = anova_lm(ols("score ~ C(seed) + C(row)", table).fit())["sum_sq"] / [3, 5, 15]
    (seed_error, seed_df), (row_error, row_df) = CrossedEffects().estimate(score).errors
    assert (seed_df, row_df) == (3, 5)
    assert seed_error**2 == pytest.approx(mean_square["C(seed)"] / 24)
    assert row_error**2 == pytest.approx((mean_square["C(row)"] - mean_square["Residual"]) / 24)


def test_fixed_test_of_a_hand_worked_case():
    # Seed means 2, 4 and row means 1, 3, 5 about the mean 3, nothing else: MS_seed = 6, MS_row = 8, MS_rest = 0.
    estimate = CrossedEffects().estimate([[0, 2, 4], [2, 4, 6]])
    assert estimate.value == 3
    np.testing.assert_allclose(estimate.errors, [(1, 1), (np.sqrt(8 / 6), 2)])
    assert estimate.half_width(0.05) == pytest.approx(np.sqrt(12.7062**2 + 4.30265**2 * 8 / 6), rel=1e-5)


@deterministic
@given(
    some.floats(-10, 10),
    some.lists(some.tuples(some.floats(1e-3, 5), some.floats(1, 1e4)), min_size=1, max_size=3),
    some.floats(1e-6, 0.999),
)
def test_p_value_is_below_alpha_just_where_the_interval_excludes_zero(value, errors, alpha):
    estimate = Estimate(value, tuple(errors))
    low, high = estimate.interval(1 - alpha)
    edge = min(abs(low), abs(high)) < 1e-9 * max(1.0, estimate.half_width(alpha))
    assert edge or (estimate.p_value < alpha) == (not low <= 0 <= high)


@deterministic
@given(some.floats(0, 60), some.floats(1, 1e4))
def test_p_value_with_one_error_is_that_of_the_t_distribution(t, df):
    p_value = Estimate(t, ((1.0, df),)).p_value
    assert p_value == pytest.approx(2 * stats.t.sf(t, df), rel=1e-9, abs=1e-99)


@pytest.mark.parametrize(("value", "p_value"), [(0.0, 1.0), (0.1, 0.0)])
def test_without_any_error_p_is_one_or_zero(value, p_value):
    exact = Estimate(value, ((0.0, 4),))
    assert (exact.p_value, exact.interval()) == (p_value, (value, value))


def test_welch_agrees_with_scipy():
    rng = np.random.default_rng(3)
    variant, baseline = rng.normal(0.5, 1, 9), rng.normal(0, 3, 14)
    arms = [resampled_mean(arm, test_train_ratio=0) for arm in (variant, baseline)]
    difference = welch(*arms)
    oracle = stats.ttest_ind(variant, baseline, equal_var=False)
    assert difference.p_value == pytest.approx(oracle.pvalue, rel=1e-10)
    assert difference.interval() == pytest.approx(oracle.confidence_interval(0.95), rel=1e-10)
    assert welch(*[Estimate(1.0, ((0.0, 4),))] * 2).p_value == 1


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
    return CrossValidation(*draw_folds(rng), REPEATS)


def cross_validate(label, features, held_out, training, *, penalty):
    """Contributions [replicate, row] to the squared error of ridge regression without intercept."""
    rows = []
    for test, known in zip(held_out, training, strict=True):
        x = features[known]
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ label[known])
        rows.append((label[test] - features[test] @ weights) ** 2)
    return np.array(rows)


@pytest.mark.parametrize(("weight", "row_wise_holds"), [(0.0, False), (0.5, True)])
def test_cross_validated_errors_follow_the_signal(weight, row_wise_holds):
    """Ridge regression less one that is shrunk to nothing: errors, and the spread over tables that they stand for."""
    rng, values, errors = np.random.default_rng(23), [], []
    for _ in range(60):
        features = rng.normal(size=(NUM_ROWS, 8))
        label = features[:, 0] * weight + rng.normal(size=NUM_ROWS)
        held_out, training = draw_folds(rng)
        arms = [cross_validate(label, features, held_out, training, penalty=value) for value in (5.0, 1e9)]
        found = CrossValidation(held_out, training, REPEATS).estimate(arms[0] - arms[1])
        by_replicate = resampled_mean((arms[0] - arms[1]).mean(axis=1), test_train_ratio=1 / (FOLDS - 1))
        stable = find_influence(arms[0] - arms[1], held_out)[1]
        values.append(found.value)
        errors.append([found.standard_error**2, by_replicate.standard_error**2, stable])
    own, by_replicate, row_wise = np.sqrt(np.mean(errors, axis=0)) / np.std(values, ddof=1)
    assert 0.85 < own < 1.9 and by_replicate > 0.85 and (row_wise > 0.85) == row_wise_holds


def find_influence(score, held_out):
    """What a held-out row adds to the score of each repeat, [repeat, row], and the variance that repeats agree on."""
    influence = np.zeros((REPEATS, NUM_ROWS))
    for replicate, rows in enumerate(held_out):
        influence[replicate // FOLDS, rows] = score[replicate] - score.mean()
    pairs = [(r, s) for r in range(REPEATS) for s in range(REPEATS) if r != s]
    return influence, np.mean([influence[r] @ influence[s] for r, s in pairs]) / NUM_ROWS**2


@pytest.mark.parametrize(("seed", "alone"), [(21, False), (22, False), (23, False), (21, True)])
def test_cross_validation_agrees_with_loops_over_rows_and_repeats(seed, alone):
    rng = np.random.default_rng(seed)
    held_out, training = draw_folds(rng)
    score = rng.normal(size=held_out.shape) + 1.5 * rng.normal(size=NUM_ROWS)[held_out]
    found = CrossValidation(held_out, training, REPEATS).estimate(score, alone=alone)
    influence, stable = find_influence(score, held_out)
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
    assert found.value == pytest.approx(score.mean())
    assert found.standard_error == pytest.approx(np.hypot((1 + ratio) * np.sqrt(stable), np.sqrt(noise)), rel=1e-10)
    assert found.errors[1] == pytest.approx((np.sqrt(noise), REPEATS - 1))
    assert np.sqrt((found.rows**2).sum()) == pytest.approx(found.standard_error)
    total = influence.mean(axis=0) - influence.mean()
    np.testing.assert_allclose(found.rows / found.standard_error, total / np.linalg.norm(total), atol=1e-12)


@pytest.mark.parametrize(("learned", "bound"), [(-3.0, -0.5), (3.0, 2.0)])
def test_the_ratio_of_influences_is_kept_within_its_bounds(learned, bound):
    """Rows that help, or harm, others by far more than they move the score as held-out rows."""
    rng = np.random.default_rng(29)
    held_out, training = draw_folds(rng)
    row = rng.normal(size=NUM_ROWS)
    quality = [learned * row[known].mean() for known in training]
    design = CrossValidation(held_out, training, REPEATS)
    score = row[held_out] + np.array(quality)[:, None]
    _, stable = find_influence(score, held_out)
    assert design.estimate(score).errors[0][0] == pytest.approx((1 + bound) * np.sqrt(stable))


def test_cross_validation_of_one_fixed_answer_is_the_standard_error_of_a_mean():
    rng = np.random.default_rng(21)
    held_out, training = draw_folds(rng, num_rows=400)
    row = rng.normal(size=400)  # the score of a row whoever is trained on: the ratio is 0, but shrunk to 1
    estimate = CrossValidation(held_out, training, REPEATS).estimate(row[held_out])
    assert estimate.standard_error == pytest.approx(row.std() / np.sqrt(400), rel=1e-9)


def test_cross_validation_does_not_depend_on_the_order_of_rows_or_on_their_numbers():
    rng = np.random.default_rng(22)
    held_out, training = draw_folds(rng)
    score = rng.normal(size=held_out.shape)
    order = rng.permutation(held_out.shape[1])
    found = CrossValidation(held_out, training, REPEATS).estimate(score)
    moved = CrossValidation(3 * held_out[:, order] + 7, 3 * training[:, ::-1] + 7, REPEATS)
    again = moved.estimate(score[:, order])
    assert again.errors[0] == pytest.approx(found.errors[0], rel=1e-12)
    np.testing.assert_allclose(again.rows, found.rows, atol=1e-15)


def estimate_by_groups(score, held_out, training, group_of, *, fixed=False):
    """The estimate where row i belongs to the group group_of[i]."""
    if fixed:
        return CrossedEffects(group_of[held_out[0]]).estimate(score)
    return CrossValidation(held_out, training, REPEATS, group_of[held_out]).estimate(score)


@pytest.mark.parametrize("fixed", [False, True])
def test_rows_of_a_group_count_as_one_however_often_they_are_repeated(fixed):
    """Three equal rows a group are as sure as one; their groups weigh as their rows, and each row may be a group."""
    rng = np.random.default_rng(31)
    held_out, training = draw_folds(rng)
    if fixed:
        held_out = np.tile(np.arange(NUM_ROWS), (6, 1))
    score = rng.normal(size=held_out.shape) + rng.normal(size=NUM_ROWS)[held_out]
    plain = CrossedEffects() if fixed else CrossValidation(held_out, training, REPEATS)
    once = estimate_by_groups(score, held_out, training, np.arange(NUM_ROWS), fixed=fixed)
    thrice = estimate_by_groups(
        np.repeat(score, 3, axis=1),
        *(3 * np.repeat(rows, 3, axis=1) + np.tile([0, 1, 2], rows.shape[1]) for rows in (held_out, training)),
        np.repeat(np.arange(NUM_ROWS), 3),
        fixed=fixed,
    )
    for found in (once, thrice):
        assert found.value == pytest.approx(score.mean())
        np.testing.assert_allclose(found.errors, plain.estimate(score).errors, rtol=1e-9)
        np.testing.assert_allclose(found.rows, plain.estimate(score).rows, atol=1e-12)


def test_a_fixed_test_set_of_groups_of_unequal_size_of_a_hand_worked_case():
    # Groups {0, 1} and {2}: deviations from the mean 2 sum to -2 and 2 of 3 rows, so scores 2 -+ 2 * 2 / 3 of 2 groups.
    estimate = CrossedEffects(np.array([0, 0, 1])).estimate([[1, 1, 4], [1, 1, 4]])
    assert estimate.value == 2
    np.testing.assert_allclose(estimate.errors, [(0, 1), (4 / 3, 1)])


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


def test_what_moves_an_estimate_on_a_fixed_test_set_is_told_by_row_and_by_seed():
    score = np.random.default_rng(40).normal(3, 1, size=(6, 50)) + np.random.default_rng(41).normal(size=50)
    found = CrossedEffects().estimate(score)
    np.testing.assert_allclose(found.seeds, score.mean(axis=1) - score.mean())
    rows = score.mean(axis=0) - score.mean()
    np.testing.assert_allclose(found.rows / np.linalg.norm(found.rows), rows / np.linalg.norm(rows))
    assert np.linalg.norm(found.rows) == pytest.approx(found.errors[1][0])


@pytest.mark.parametrize(
    ("seed_sd", "row_sd", "rest_sd"), [(0.05, 0.0, 0.1), (0.05, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0)]
)
def test_crossed_intervals_cover_with_five_seeds_whatever_the_noise_comes_from(seed_sd, row_sd, rest_sd):
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(500):
        score = rng.normal(0, seed_sd, (5, 1)) + rng.normal(0, row_sd, 400) + rng.normal(0, rest_sd, (5, 400))
        low, high = CrossedEffects().estimate(score).interval()
        covered.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.95 - slack(0.95, len(covered))
