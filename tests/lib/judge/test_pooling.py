"""Effects on several data sets: flips worked by hand, words and intervals that agree, sets of the best, shrinkage."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.lib.judge import pooling
from stages.lib.judge.comparison import Difference
from stages.lib.judge.pooling import find_critical, find_unbeaten, flip_means, pool, shrink
from tests.lib.judge.test_designs import slack

FIVE = [-0.03, -0.01, -0.05, 0.01, -0.02]


def make_effects(values, p_value: float = 0.5) -> list[Difference]:
    return [Difference(float(value), *(value - 1, value + 1) * 2, p_value, 0.5, "inconclusive") for value in values]


def pool_log_loss(values: dict, **options):
    effects = {arm: make_effects(each) for arm, each in values.items()}
    return pool(effects, sign=-1, margin=0.01, confidence=0.95, num_flips=2_000, **options)


def test_one_arm_has_the_interval_of_a_t_test() -> None:
    pooled = pool_log_loss({"l2": FIVE})["l2"]
    assert (pooled.low, pooled.high) == pytest.approx(tuple(stats.ttest_1samp(FIVE, 0).confidence_interval(0.95)))
    assert pooled.new_high - pooled.value == pytest.approx((pooled.high - pooled.value) * np.sqrt(1 + len(FIVE)))
    assert (pooled.value, pooled.median, pooled.gains) == (pytest.approx(np.mean(FIVE)), -0.02, 4)
    assert pooled.counts == {"inconclusive": 5}


def test_flips_of_four_data_sets_by_hand() -> None:
    """2 of 16 flips leave |1 + 2 + 3 + 4|, and 14 leave |4 + 1 - 1 - 1|, as large as it is.

    The first arm is adjusted: in 2 other flips, those with the sum 4 + 1 + 1 + 1, the second has a p of 2 / 16 as well.
    """
    p_values, _ = flip_means(np.array([[1.0, 4.0], [2, 1], [3, -1], [4, -1]]), alpha=0.05)
    assert p_values.tolist() == [4 / 16, 14 / 16]


def loop_single_step(values: np.ndarray) -> np.ndarray:
    """By its definition: the share of flips in which any arm has a p as small as that of each."""
    sums = np.abs(np.array(list(product([1, -1], repeat=len(values)))) @ values)
    own = (sums[None] >= sums[:, None] - 1e-9).mean(axis=1)
    return (own.min(axis=1)[:, None] <= own[0]).mean(axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_step_down_shows_what_a_single_step_does_and_more(seed: int) -> None:
    values = np.random.default_rng(seed).normal([0.0, 0.5, 1.0, 2.0], 1, (8, 4))
    p_values, single = flip_means(values, alpha=0.05)[0], loop_single_step(values)
    assert np.all(p_values <= single + 1e-12)
    assert p_values.min() == pytest.approx(single.min())


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.1]))
def test_word_and_interval_agree_whatever_the_effects(num: int, arms: int, seed: int, mean: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(mean * rng.integers(-1, 2, arms), 0.02, (num, arms)) * rng.choice([1, 5], (num, 1))).round(2)
    for one in pool_log_loss(dict(zip("abcde"[:arms], values.T, strict=True))).values():
        assert one.low <= one.value <= one.high
        if one.verdict in ("better", "worse"):
            assert (one.high <= 0) if one.verdict == "better" else (one.low >= 0)
            assert one.p_adjusted <= 0.05
        else:
            assert one.low <= 0 <= one.high
            assert one.verdict == "equivalent" or one.p_adjusted > 0.05 or np.ptp(values, axis=0).min() == 0


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([-0.05, -0.06, -0.05, -0.055, -0.04, -0.07], "better"),
        ([0.05, 0.06, 0.05, 0.055, 0.04, 0.07], "worse"),
        ([0.1, 0.1, 0.1, 0.2, 0.1, 3.0], "worse"),  # on all six; a t-interval holds 0
        ([0.001, -0.001, 0.002, 0.0, 0.0, 0.001], "equivalent"),
        ([0.05, -0.06, 0.05, -0.055, 0.01, 0.02], "inconclusive"),
        ([-0.05, -0.06, -0.05, -0.055, -0.04], "inconclusive"),  # of 2^5 flips, 2 are more than 5 %
        ([0.0] * 6, "inconclusive"),
        ([-0.02] * 6, "inconclusive"),  # without any spread
    ],
)
def test_the_word_of_an_arm(values: list[float], verdict: str) -> None:
    assert pool_log_loss({"l2": values})["l2"].verdict == verdict


@pytest.mark.parametrize("num", [9, 14])  # all flips, and drawn ones
def test_neither_the_order_of_arms_nor_of_data_sets_matters(num: int) -> None:
    rng = np.random.default_rng(3)
    values = dict(zip("abc", rng.normal(-0.02, 0.03, (3, num)), strict=True))
    order = rng.permutation(num)
    turned = {arm: values[arm][order] for arm in "cab"}
    first, second = pool_log_loss(values), pool_log_loss(turned)
    assert list(second) == list("cab")
    for arm, one in first.items():
        assert (one.p_adjusted, one.verdict) == (second[arm].p_adjusted, second[arm].verdict)
        assert (one.low, one.high) == pytest.approx((second[arm].low, second[arm].high))
    assert find_unbeaten(values, sign=-1, confidence=0.95) == find_unbeaten(turned, sign=-1, confidence=0.95)


@pytest.mark.parametrize("num", [11, 30])
def test_flips_hold_the_family_wise_error_where_data_sets_are_unequal(num: int) -> None:
    rng, found = np.random.default_rng(2), []
    for _ in range(120):
        values = (rng.normal(size=(num, 1)) + rng.normal(size=(num, 8))) * np.geomspace(1, 10, num)[:, None]
        found.append(flip_means(values, alpha=0.05, num_flips=2_000)[0].min() <= 0.05)
    assert np.mean(found) <= 0.05 + slack(0.05, len(found))


def test_on_how_many_data_sets_an_effect_is_shown() -> None:
    """Two have it: Fisher's combination of p = .00005 and three of 0.5 is .0034; of three of 0.5 it is .66."""
    values, p_values = np.array([-1.0, -1, -0.1, -0.1, -0.1]), np.array([1e-4, 1e-4, 1, 1, 1])
    both = np.stack([values, -values], axis=1), np.stack([p_values, p_values], axis=1)
    assert pooling.count_shown(*both, alpha=0.025).tolist() == [2, 2]
    assert stats.combine_pvalues([5e-5, 0.5, 0.5, 0.5]).pvalue < 0.025 < stats.combine_pvalues([0.5] * 3).pvalue


def test_the_ratio_is_a_geometric_mean() -> None:
    pooled = pool_log_loss({"l2": [-0.5, 1.0]}, baselines=[1.0, 1.0])["l2"]
    assert pooled.per_cent == pytest.approx(0, abs=1e-9)
    assert pool_log_loss({"l2": [-0.5, 1.0]}, baselines=[0.0, 1.0])["l2"].per_cent is None
    assert pool_log_loss({}) == {}


# What may be the best -------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(11, 14), st.integers(0, 10_000), st.floats(1e-6, 10))
def test_an_arm_that_is_worse_than_another_on_every_data_set_is_not_in_the_set(
    num: int, seed: int, lead: float
) -> None:
    """However little, and with however great a spread, among twenty."""
    rng = np.random.default_rng(seed)
    values = dict(zip("abcdefghijklmnopqrst", rng.normal(0, 1, (20, num)), strict=True))
    values["worse"] = values["a"] + lead * rng.exponential(1, num) ** 4 + 1e-6
    assert "worse" not in find_unbeaten(values, sign=-1, confidence=0.95)


def test_the_best_mean_stays_in_the_set_with_its_equals() -> None:
    values = {"best": np.zeros(11), "equal": np.zeros(11), "noise": np.tile([1.0, -1.0], 6)[:11], "far": np.ones(11)}
    assert find_unbeaten(values, sign=-1, confidence=0.95) == {"best", "equal", "noise"}
    assert find_unbeaten({"only": np.ones(3)}, sign=1, confidence=0.95) == {"only"}


# One data set beside the others ---------------------------------------------------------------------------------------


def test_critical_values_are_those_that_are_published() -> None:
    """From the tests of the authors' R package; the two-point bound in closed form where kurtosis is not bounded."""
    assert find_critical(0.0) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)
    assert find_critical(1e-8, 3.0) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)
    assert find_critical(25, 3) == pytest.approx(11.88358367, abs=1e-3)
    assert find_critical(1, 3, alpha=0.2) == pytest.approx(1.8494683, abs=1e-3)
    critical, t = find_critical(4.0), np.linspace(4, 400, 40_000)
    misses = [stats.norm.cdf(-critical - np.sqrt(b)) + stats.norm.cdf(np.sqrt(b) - critical) for b in (t, 0.0)]
    assert np.max(misses[1] + 4 / t * (misses[0] - misses[1])) == pytest.approx(0.05, abs=1e-4)


def test_shrinkage_at_its_bounds() -> None:
    far, near = np.linspace(-50, 50, 20), np.linspace(-0.1, 0.1, 20)
    own = shrink(1.0, 0.5, others=far, other_errors=np.full(20, 0.01))
    assert own.weight == pytest.approx(1, abs=1e-3)
    assert (own.low, own.high) == pytest.approx((1 - 1.96 * 0.5, 1 + 1.96 * 0.5), abs=0.02)
    pulled = shrink(0.5, 0.5, others=near, other_errors=np.full(20, 0.1))
    assert abs(pulled.value) < 0.05 and pulled.high - pulled.low < 0.5
    assert shrink(2.0, 0.5, others=near, other_errors=np.full(20, 0.1)) is None
    assert shrink(0.0, 0.0, others=np.zeros(4), other_errors=np.zeros(4)).weight == 1


@pytest.mark.parametrize(("num", "spread"), [(11, 0.5), (40, 1.0)])
def test_shrunken_intervals_hold_the_truth_on_average_over_data_sets(num: int, spread: float) -> None:
    """Also where true effects are far from normal: most alike, some far off."""
    rng, held, width = np.random.default_rng(4), [], []
    for _ in range(60):
        truth = spread * np.where(rng.random(num) < 0.1, 3.0, 0.3) * rng.normal(size=num)
        errors = np.geomspace(0.5, 2, num)
        seen, last = truth + errors * rng.normal(size=num), rng.integers(num)
        rest = np.arange(num) != last
        if found := shrink(seen[last], errors[last], others=seen[rest], other_errors=errors[rest]):
            held.append(found.low <= truth[last] <= found.high)
            width.append((found.high - found.low) / (2 * 1.96 * errors[last]))
    assert np.mean(held) >= 0.95 - slack(0.05, len(held))
    assert np.mean(width) < 0.9
