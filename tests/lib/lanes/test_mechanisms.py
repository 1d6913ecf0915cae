"""Mechanism scores of hand-worked kernels."""

import numpy as np
import pytest

from stages.lib.lanes import run
from stages.lib.lanes.plan import RegularizerPlan
from tests.lib.lanes.cases import make_plan


def test_mechanism_scores_of_hand_worked_kernels():
    first = np.array([[[3, 0], [4, 0]], [[1, 5e-4], [0, -1e-3]]])  # [lane, in, out]: lane 0 has columns of norm 5 and 0
    second = np.full((2, 2, 1), 2.0)
    np.testing.assert_allclose(run.zero_share(first), [0.5, 0.25])
    np.testing.assert_allclose(run.near_zero_share(first), [0.5, 0.5])  # -1e-3 is not below the limit
    np.testing.assert_allclose(run.zero_share(first, second), [2 / 6, 1 / 6])
    np.testing.assert_allclose(run.kernel_norm(first, second)[0], np.sqrt(25 + 8))


def test_bound_share_counts_units_held_by_their_bound():
    kernel = np.array([[[2.0, 2 * (1 + 0.9e-4), 2 * (1 - 1.1e-4), 0.5]]] * 2)  # [2, 1, 4]
    np.testing.assert_allclose(run.bound_share(kernel, bound=2.0), [0.5, 0.5])
    np.testing.assert_allclose(run.bound_share(kernel, bound=[0.5, np.inf]), [0.25, 0])
    np.testing.assert_allclose(run.bound_share(kernel, kernel[:, :, :1], bound=2.0), [0.6, 0.6])


def test_kernels_and_bounds_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"expected one or more \[lane, in, out\] with the same lanes"):
        run.zero_share(np.zeros((2, 3, 4)), np.zeros((3, 4, 1)))
    for bound in (0.0, np.nan, [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="expected one norm, or one a lane"):
            run.bound_share(np.ones((2, 3, 4)), bound=bound)


def test_a_run_is_measured_over_all_kernels_and_its_bound_where_it_acts():
    plan = make_plan(RegularizerPlan("max_norm", (2.0,), (1,)), replicates=(0,))
    weights = {"kernel_1": np.array([[[2.0, 1.0], [0.0, 0.0]]]), "kernel_2": np.array([[[2.0], [0.0]]])}
    measured = run.measure_mechanisms(plan, weights)
    assert measured["zero_share"] == [0.5]
    assert measured["bound_share"] == [0.5], "one of the two units of layer 1 has the norm 2; layer 2 is not bound"
