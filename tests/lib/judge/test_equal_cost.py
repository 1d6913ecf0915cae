"""The best of so many networks: the closed form against all subsets, and its ends."""

from itertools import combinations

import numpy as np
import pytest

from stages.lib.judge.equal_cost import choose_best

ROWS = np.random.default_rng(0).normal(size=(5, 3, 4))  # [rank, replicate, row]


@pytest.mark.parametrize("number", [2, 3])
def test_the_best_of_a_draw_is_the_mean_over_all_subsets(number: int) -> None:
    subsets = list(combinations(range(5), number))
    expected = np.mean([ROWS[min(subset)] for subset in subsets], axis=0)
    np.testing.assert_allclose(choose_best(ROWS, number), expected)


def test_of_one_it_is_the_mean_and_of_all_the_best() -> None:
    np.testing.assert_allclose(choose_best(ROWS, 1), ROWS.mean(axis=0))
    np.testing.assert_allclose(choose_best(ROWS, 5), ROWS[0])
