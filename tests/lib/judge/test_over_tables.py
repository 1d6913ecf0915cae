"""What several data sets say together: intervals against simulated truth, and the words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stages.lib.judge.comparison import Difference
from stages.lib.judge.over_tables import find_best, pool


def make_effects(*values: float) -> list[Difference]:
    return [Difference(value, *(value - 1, value + 1) * 3, 0.5, 0.5, "undecided") for value in values]


def pool_log_loss(effects: dict[str, list[Difference]]):
    return pool(effects, sign=-1, margin=0.01, confidence=0.95)


def test_the_mean_and_its_interval_are_those_of_a_t_test() -> None:
    values = [-0.03, -0.01, -0.05, 0.01, -0.02]
    pooled = pool_log_loss({"l2": make_effects(*values)})["l2"]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (pooled.low, pooled.high) == pytest.approx(tuple(expected))
    assert pooled.value == pytest.approx(np.mean(values))
    assert pooled.counts == {"undecided": 5}


def test_intervals_hold_the_mean_of_all_arms_and_the_effect_on_a_new_data_set() -> None:
    """Twelve data sets, three arms; effects vary between data sets, and each is measured with an error."""
    rng, trials, num_arms = np.random.default_rng(5), 400, 3
    means, news = 0, 0
    for _ in range(trials):
        true = rng.normal(-0.02, 0.03, (num_arms, 13))
        seen = true + rng.normal(0, 0.01, true.shape)
        pooled = pool_log_loss({f"arm{arm}": make_effects(*seen[arm, :12]) for arm in range(num_arms)})
        means += all(one.low <= -0.02 <= one.high for one in pooled.values())
        news += sum(one.new_low <= true[arm, 12] <= one.new_high for arm, one in enumerate(pooled.values()))
    assert means / trials >= 0.93
    assert news / (trials * num_arms) >= 0.93


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([-0.05, -0.06, -0.05, -0.055], "better"),
        ([0.05, 0.06, 0.05, 0.055], "worse"),
        ([0.001, -0.001, 0.002, 0.0], "equivalent"),
        ([0.05, -0.06, 0.05, -0.055], "undecided"),
        ([0.0, 0.0, 0.0, 0.0], "undecided"),
    ],
)
def test_the_word_follows_from_the_interval(values: list[float], verdict: str) -> None:
    assert pool_log_loss({"l2": make_effects(*values)})["l2"].verdict == verdict


def test_more_arms_make_wider_intervals_of_means_alone() -> None:
    values = [-0.03, -0.01, -0.05, 0.01, -0.02]
    alone = pool_log_loss({"l2": make_effects(*values)})["l2"]
    among = pool_log_loss({name: make_effects(*values) for name in ("l2", "l1", "ema")})["l2"]
    assert among.low < alone.low and among.high > alone.high
    assert (among.new_low, among.new_high) == (alone.new_low, alone.new_high)


def test_the_set_holds_the_best_arm_and_shrinks_as_data_sets_are_added() -> None:
    rng, trials, sizes = np.random.default_rng(6), 300, {8: 0, 40: 0}
    true = {"best": -0.06, "close": -0.05, "bad": 0.02, "none": 0.0}
    for number in sizes:
        held = 0
        for _ in range(trials):
            values = {arm: mean + rng.normal(0, 0.05, number) for arm, mean in true.items()}
            found = find_best(values, sign=-1, confidence=0.95)
            held += "best" in found
            sizes[number] += len(found)
        assert held / trials >= 0.95
    assert sizes[40] < 0.8 * sizes[8]
