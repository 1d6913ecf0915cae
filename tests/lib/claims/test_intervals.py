"""Intervals against their definitions and other implementations."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from stages.lib.claims.intervals import (
    average,
    between,
    clustered_share,
    exact,
    known,
    mean,
    mean_share,
    one_more,
    opposite,
    share,
    share_difference,
)


def test_a_mean_has_the_interval_of_student() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.7])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(mean(values, 0)(0.9), (0.35, expected.low, expected.high))
    assert mean(values, 0.25)(0.9)[1] < expected.low, "replicates that share rows say less"


def test_a_share_has_the_interval_of_clopper_and_pearson() -> None:
    np.testing.assert_allclose(share(3, 20)(0.9)[1:], proportion_confint(3, 20, 0.1, method="beta"))
    assert share(0, 20)(0.95)[:2] == (0, 0)
    assert share(20, 20)(0.95)[::2] == (1, 1)


@pytest.mark.parametrize("hits", [0, 4, 10])
def test_a_share_of_independent_replicates_is_that_of_its_count(hits: int) -> None:
    values = np.arange(10) < hits
    np.testing.assert_allclose(mean_share(values, 0.0)(0.9), share(hits, 10)(0.9))


def test_replicates_that_share_rows_count_as_fewer_cases() -> None:
    narrow, wide = mean_share(np.ones(50), 0.0)(0.95), mean_share(np.ones(50), 0.25)(0.95)
    assert wide[1] < narrow[1] < 1
    number = 1 / (1 / 50 + 0.25)
    assert wide[1] == pytest.approx(0.025 ** (1 / number))  # the chance that all of so many cases are hits is p^n


def test_cases_of_one_cluster_that_agree_count_as_one() -> None:
    """By Korn and Graubard the bounds are those of as many cases as give the variance between clusters."""
    alike, apart = np.arange(10) < 4, np.full(10, 0.4)
    count, wide, narrow = (share(4, 10)(0.9), clustered_share(alike, 20)(0.9), clustered_share(apart, 20)(0.9))
    assert wide[0] == narrow[0] == count[0]
    assert wide[2] - wide[1] > count[2] - count[1] > narrow[2] - narrow[1]
    assert narrow[2] - narrow[1] > share(80, 200)(0.9)[2] - share(80, 200)(0.9)[1], "for its degrees of freedom"


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_a_share_in_clusters_lies_in_its_interval_as_often_as_it_says(correlation: float) -> None:
    generator, held = np.random.Generator(np.random.PCG64(8)), []
    for _ in range(400):
        parts = [0.3 * (1 - correlation) / correlation, 0.7 * (1 - correlation) / correlation] if correlation else []
        chance = generator.beta(*parts, 20) if parts else np.full(20, 0.3)
        _, low, high = clustered_share(generator.binomial(10, chance) / 10, 10)(0.9)
        held.append(low <= 0.3 <= high)
    assert 0.87 <= np.mean(held) <= 0.98


def test_clusters_without_a_hit_have_an_interval() -> None:
    value, low, high = clustered_share(np.zeros(20), 10)(0.95)
    assert (value, low) == (0, 0)
    assert share(0, 200)(0.95)[2] < high < share(0, 100)(0.95)[2]


@pytest.mark.parametrize(("first", "second"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((0, 20), (0, 10))])
def test_a_difference_of_shares_has_the_interval_of_newcombe(first: tuple[int, int], second: tuple[int, int]) -> None:
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=0.05)
    cases = [np.arange(number) < hits for hits, number in (first, second)]
    np.testing.assert_allclose(share_difference(*cases)(0.95)[1:], expected, atol=1e-12)


def test_one_more_run_falls_into_its_interval_as_often_as_it_says() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    runs = generator.normal(5, 2, (4000, 6))
    bounds = np.array([one_more(row[:5])(0.8)[1:] for row in runs])
    inside = (bounds[:, 0] < runs[:, 5]) & (runs[:, 5] < bounds[:, 1])
    assert inside.mean() == pytest.approx(0.8, abs=0.025)


def test_a_known_interval_widens_as_the_normal_distribution_does() -> None:
    assert exact(2.0)(0.99) == (2, 2, 2)
    np.testing.assert_allclose(known(2.0, 1.0, 4.0, at=0.9)(0.9), (2, 1, 4))
    ratio = stats.norm.ppf(0.995) / stats.norm.ppf(0.95)
    np.testing.assert_allclose(known(2.0, 1.0, 4.0, at=0.9)(0.99), (2, 2 - ratio, 2 + 2 * ratio))


def test_intervals_are_averaged_turned_and_cut() -> None:
    first, second = (lambda confidence: (2.0, 1.0, 6.0)), (lambda confidence: (0.0, -1.0, 0.5))
    assert average([first, second])(0.9) == (1, 0, 3.25)
    assert opposite(first)(0.9) == (-2, -6, -1)
    assert between(average([first, second]), 0.5, 1)(0.9) == (1, 0.5, 1)


@pytest.mark.parametrize("correlation", [0.0, 0.95])
def test_an_average_holds_the_mean_however_its_parts_depend(correlation: float) -> None:
    generator, held = np.random.Generator(np.random.PCG64(4)), []
    for _ in range(500):
        shared = generator.normal(0, correlation**0.5, (10, 1))
        rows = shared + generator.normal(0, (1 - correlation) ** 0.5, (10, 3))
        _, low, high = average([mean(column, 0) for column in rows.T])(0.9)
        held.append(low <= 0 <= high)
    assert np.mean(held) >= 0.87
