"""What regularisers did to hand-worked kernels."""

import numpy as np

from stages.lib.lanes.plan import RegularizerPlan
from stages.lib.lanes.run import measure_mechanisms
from tests.lib.lanes.cases import make_plan


def test_mechanisms_of_hand_worked_kernels():
    """The bound holds layer 1 alone; two of lane 0's units there have it as their norm, up to the tolerance."""
    norms = [2.0, 2 * (1 + 0.9e-4), 2 * (1 - 1.1e-4), 5e-4, 0, -1e-3]  # -1e-3 is not below the limit of nearly zero
    weights = {"kernel_1": np.array([[norms], [norms]]), "kernel_2": np.full((2, 6, 1), 2.0)}
    weights["kernel_2"][1] = 0
    plan = make_plan(RegularizerPlan("max_norm", (2.0, 5e-4), (1,)), replicates=(0,))
    found = measure_mechanisms(plan, weights)
    np.testing.assert_allclose(found["zero_share"], [1 / 12, 7 / 12])
    np.testing.assert_allclose(found["near_zero_share"], [2 / 12, 8 / 12])
    np.testing.assert_allclose(found["bound_share"], [2 / 6, 1 / 6])
    np.testing.assert_allclose(found["kernel_norm"], [np.sqrt(36), np.sqrt(12)], rtol=1e-4)
    assert not measure_mechanisms(make_plan(replicates=(0, 1)), weights)["bound_share"].any()
