"""What a regulariser did to the weights: zeros, norms, units at their bound.

They stand apart from lib/scores.py because they are measured when a run is trained: a new score retrains nothing.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.trained import Weights

Array = NDArray[np.float64]

NEAR_ZERO = 1e-3  # a weight below this size counts as nearly zero
BOUND_TOLERANCE = 1e-4  # relative distance from the max-norm bound within which a unit counts as held by it


def measure_mechanisms(plan: RunPlan, weights: Weights) -> dict[str, Array]:
    """Name -> [lane], over all kernels; units at the bound over the layers that max_norm acts on, 0 without it."""
    kernels = [weights[f"kernel_{layer}"] for layer in range(1, len(plan.network.hidden) + 2)]
    at_bound = np.zeros(len(kernels[0]))
    for entry in plan.regularizers:
        if entry.name == "max_norm":
            held = [weights[f"kernel_{layer}"] for layer in entry.layers]
            at_bound = bound_share(*held, bound=plan.lane_strengths(entry))
    return {
        "zero_share": zero_share(*kernels),
        "near_zero_share": near_zero_share(*kernels),
        "kernel_norm": kernel_norm(*kernels),
        "bound_share": at_bound,
    }


def _weights(kernels: tuple[ArrayLike, ...]) -> Array:
    """Return all weights of a lane in one row, [lane, weight]."""
    arrays = [np.asarray(kernel, dtype=np.float64) for kernel in kernels]
    shapes = [array.shape for array in arrays]
    if not arrays or any(len(shape) != 3 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"kernels have shapes {shapes}; expected one or more [lane, in, out] with the same lanes")
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def zero_share(*kernels: ArrayLike) -> Array:
    """Share of weights that are exactly 0, [lane]; kernels [lane, in, out], one or more layers."""
    return (_weights(kernels) == 0).mean(axis=1)


def near_zero_share(*kernels: ArrayLike) -> Array:
    """Share of weights with |w| < NEAR_ZERO, exact zeros included, [lane]; kernels as in `zero_share`."""
    return (np.abs(_weights(kernels)) < NEAR_ZERO).mean(axis=1)


def kernel_norm(*kernels: ArrayLike) -> Array:
    """L2 norm sqrt(sum w^2) of all weights of a lane, [lane]; kernels as in `zero_share`."""
    return np.linalg.norm(_weights(kernels), axis=1)


def bound_share(*kernels: ArrayLike, bound: ArrayLike) -> Array:
    """Share of units whose incoming weights have the max-norm bound as their norm, [lane]; bound a number or [lane].

    At the bound means |norm / bound - 1| <= BOUND_TOLERANCE; an infinite bound holds nobody.
    """
    num_lanes, bounds = len(_weights(kernels)), np.asarray(bound, dtype=np.float64)
    if bounds.shape not in ((), (num_lanes,)) or not (bounds > 0).all():
        raise ValueError(f"bound is {bounds}; expected one norm, or one a lane ({num_lanes}), positive or infinite")
    norms = np.concatenate([np.linalg.norm(np.asarray(kernel, dtype=np.float64), axis=1) for kernel in kernels], axis=1)
    return (np.abs(norms / bounds.reshape(-1, 1) - 1) <= BOUND_TOLERANCE).mean(axis=1)
