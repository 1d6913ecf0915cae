"""p-values of many comparisons, adjusted so that a false finding anywhere among them has at most the chance alpha.

`step_down` takes the joint distribution of all comparisons from the data: arms that share a baseline, or that answer
alike, count as less than many. `holm` knows the p-values alone and holds whatever the dependence.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from stages.lib.judge.designs import Evidence
from stages.lib.judge.estimates import ALPHA, Array

Key = TypeVar("Key", str, tuple[str, str], tuple[str, str, str])  # what can be sorted

NUM_DRAWS = 20_000  # of the joint distribution: an adjusted p of 0.05 has a Monte-Carlo error of 0.0015
CHUNK = 1_000  # draws held at once
MIN_SEEDS = 8  # sign flips of fewer seeds are too few to tell one chance in a hundred; Holm instead
RIDGE = 1e-9  # added to correlations, so that arms that answer the same have a Cholesky factor


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down: sorted, p_(i) becomes max_{j <= i} min(1, (m - j + 1) p_(j)); order as given (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values are {p.tolist()}; expected a list of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1, p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted.tolist()


def adjust(family: Mapping[Key, Evidence], *, seed: int, num_draws: int = NUM_DRAWS) -> dict[Key, float]:
    """Adjusted p-value of each comparison: `step_down`, or `holm` where seeds are fewer than MIN_SEEDS.

    No comparison gets less than its own p-value, so a verdict never contradicts its interval.
    """
    own = {key: evidence.estimate.p_value for key, evidence in family.items()}
    if any(0 < len(evidence.seeds) < MIN_SEEDS for evidence in family.values()):
        return dict(zip(own, holm(list(own.values())), strict=True))
    adjusted = step_down(family, seed=seed, num_draws=num_draws)
    return {key: max(adjusted[key], own[key]) for key in family}


def step_down(family: Mapping[Key, Evidence], *, seed: int, num_draws: int = NUM_DRAWS) -> dict[Key, float]:
    """Step-down max-t (Westfall and Young 1993, algorithm 4.1; Romano and Wolf 2005).

    With |t_(1)| >= |t_(2)| ... the adjusted p_(i) is the largest over j <= i of (1 + draws in which
    max_{l >= j} |T_(l)| >= |t_(j)|) / (1 + draws); the T of a draw come from `draw_statistics`. Keys are sorted, so the
    order of the family does not matter.
    """
    keys = sorted(family)
    if not keys:
        return {}
    statistic = np.array([measure_statistic(family[key]) for key in keys])
    order = np.argsort(-statistic, kind="stable")
    exceeding = np.zeros(len(keys))
    for draws in draw_statistics([family[key] for key in keys], seed=seed, num_draws=num_draws):
        largest = np.maximum.accumulate(draws[:, order[::-1]], axis=1)[:, ::-1]  # of this one and all that follow
        exceeding += (largest >= statistic[order]).sum(axis=0)
    p_values = np.maximum.accumulate((1 + exceeding) / (1 + num_draws))
    return {keys[number]: float(p) for number, p in zip(order, p_values, strict=True)}


def critical_value(
    family: Mapping[Key, Evidence], *, seed: int, alpha: float = ALPHA, num_draws: int = NUM_DRAWS
) -> float:
    """What the largest |estimate| / standard error of a family exceeds by chance with probability alpha."""
    members = [family[key] for key in sorted(family)]
    if any(0 < len(member.seeds) < MIN_SEEDS for member in members):  # Holm's first step, as in `adjust`
        known = [member.estimate for member in members if member.estimate.standard_error > 0]
        return max((one.half_width(alpha / len(members)) / one.standard_error for one in known), default=0.0)
    largest = np.concatenate([draws.max(axis=1) for draws in draw_statistics(members, seed=seed, num_draws=num_draws)])
    return float(np.quantile(largest, 1 - alpha))


def measure_statistic(evidence: Evidence) -> float:
    """|estimate| / standard error; without any error 0 or infinity."""
    value, error = abs(evidence.estimate.value), evidence.estimate.standard_error
    return value / error if error > 0 else (np.inf if value > 0 else 0.0)


def draw_statistics(members: Sequence[Evidence], *, seed: int, num_draws: int) -> Iterator[Array]:
    """Draws of |T| under no differences, in pieces [draw, member]; all members are of one design.

    Rows: normal multipliers on each row's influence, one multiplier for all members; sums of them are drawn at once,
    from their covariance. What the estimates move by is divided by their standard errors, as they vary from draw to
    draw: see `flip_seeds`, and without seeds `vary_errors`.
    """
    rng = np.random.default_rng(seed)
    rows, seeds = np.stack([member.rows for member in members]), np.stack([member.seeds for member in members])
    parts = np.array([member.estimate.errors for member in members])  # [member, part, (error, df)]
    spread = np.sqrt((rows**2).sum(axis=1))
    unit = rows / np.where(spread > 0, spread, 1)[:, None]
    factor = np.linalg.cholesky((unit @ unit.T + RIDGE * np.eye(len(unit))) / (1 + RIDGE))
    for first in range(0, num_draws, CHUNK):
        size = min(CHUNK, num_draws - first)
        moved = rng.standard_normal((size, len(members))) @ factor.T * spread
        if seeds.shape[1]:
            mean, variance = flip_seeds(seeds, size, rng)
            moved, error = moved + mean, np.sqrt(variance + spread**2)
        else:
            error = vary_errors(parts, size, rng)
        yield np.abs(np.divide(moved, error, out=np.zeros_like(moved), where=error > 0))


def flip_seeds(seeds: Array, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Means of the seeds' deviations [member, seed] under random signs, and their variances, each [draw, member].

    One sign for all members. Normal multipliers let the family-wise error of 17 arms drift to 0.12 with 10 seeds; signs
    hold it (as Cameron, Gelbach and Miller 2008 find for few clusters).
    """
    num_seeds = seeds.shape[1]
    deviation = seeds * np.sqrt(num_seeds / (num_seeds - 1))
    mean = rng.choice([-1.0, 1.0], size=(size, num_seeds)) @ deviation.T / num_seeds
    variance = ((deviation**2).mean(axis=1) - mean**2) / (num_seeds - 1)
    return mean, np.maximum(variance, 0)


def vary_errors(parts: Array, size: int, rng: np.random.Generator) -> Array:
    """Standard errors [draw, member] of which each part is multiplied by a root of chi^2 / df, one for all members.

    So a member alone has the distribution that its interval assumes.
    """
    df = parts[0, :, 1]
    scale = rng.chisquare(df, size=(size, len(df))) / df
    return np.sqrt(scale @ (parts[:, :, 0] ** 2).T)
