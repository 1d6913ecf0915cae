"""Intervals against their definitions and other implementations."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from stages.lib.claims.quantities import Interval, average, half_width, mean, one_more, share, share_difference, widen


def test_a_mean_has_the_interval_of_student() -> None:
    values = np.array([0.1, 0.4, 0.2, 0.7])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(mean(values, 0, 0.9), (0.35, expected.low, expected.high))
    assert mean(values, 0.25, 0.9).low < expected.low, "replicates that share rows say less"


def test_a_share_has_the_interval_of_clopper_and_pearson() -> None:
    np.testing.assert_allclose(share(3, 20, 0.9)[1:], proportion_confint(3, 20, 0.1, method="beta"))
    assert share(0, 20, 0.95)[:2] == (0, 0)
    assert share(20, 20, 0.95)[::2] == (1, 1)


@pytest.mark.parametrize(("first", "second"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((0, 20), (0, 10))])
def test_a_difference_of_shares_has_the_interval_of_newcombe(first: tuple[int, int], second: tuple[int, int]) -> None:
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=0.05)
    cases = [np.arange(number) < hits for hits, number in (first, second)]
    np.testing.assert_allclose(share_difference(*cases, 0.95)[1:], expected, atol=1e-12)


def test_one_more_run_falls_into_its_interval_as_often_as_it_says() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    runs = generator.normal(5, 2, (4000, 6))
    bounds = np.array([one_more(row[:5], 0.8)[1:] for row in runs])
    inside = (bounds[:, 0] < runs[:, 5]) & (runs[:, 5] < bounds[:, 1])
    assert inside.mean() == pytest.approx(0.8, abs=0.025)


def test_the_half_width_of_a_run_lies_in_its_interval_as_often_as_it_says() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    bounds = np.array([half_width(row, 0.8, at=0.95) for row in generator.normal(5, 2, (4000, 6))])
    true = 2 * stats.norm.ppf(0.975)
    assert np.mean((bounds[:, 1] < true) & (true < bounds[:, 2])) == pytest.approx(0.8, abs=0.025)
    assert half_width(np.array([1.0, 2.0, 3.0]), 0.8, at=0.95).value == pytest.approx(stats.norm.ppf(0.975))


def test_a_known_interval_widens_as_the_normal_distribution_does() -> None:
    known = Interval(2.0, 1.0, 4.0)
    assert widen(known, at=0.9, confidence=0.9) == known
    ratio = stats.norm.ppf(0.995) / stats.norm.ppf(0.95)
    np.testing.assert_allclose(widen(known, at=0.9, confidence=0.99), (2, 2 - ratio, 2 + 2 * ratio))


def test_intervals_are_averaged_and_turned() -> None:
    first, second = Interval(2.0, 1.0, 6.0), Interval(0.0, -1.0, 0.5)
    assert average([first, second]) == (1, 0, 3.25)
    assert -first == (-2, -6, -1)
