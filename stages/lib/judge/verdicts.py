"""The verdicts on a family of comparisons: p-values adjusted together, the word for each, and what could be seen.

They are adjusted so that a false finding anywhere among them has at most the chance alpha. `step_down` takes the joint
distribution of all comparisons from the data: arms that share a baseline, or that answer alike, count as less than
many. `holm` knows the p-values alone and holds whatever the dependence. Both draw from the seed they are given.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from stages.lib.judge.comparison import Verdict
from stages.lib.judge.designs import ALPHA, Array, Estimate

Member = TypeVar("Member", bound=str | tuple[str, ...])  # names a comparison; what can be sorted

POWER = 0.8  # chance with which a difference that a study can see would be found
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


def adjust(family: Mapping[Member, Estimate], *, seed: int, num_draws: int = NUM_DRAWS) -> dict[Member, float]:
    """Adjusted p-value of each comparison: `step_down`, or `holm` where the joint distribution cannot be drawn.

    No comparison gets less than its own p-value, so a verdict never contradicts its interval.
    """
    own = {key: estimate.p_value for key, estimate in family.items()}
    if not can_be_drawn(family.values()):
        return dict(zip(own, holm(list(own.values())), strict=True))
    adjusted = step_down(family, seed=seed, num_draws=num_draws)
    return {key: max(adjusted[key], own[key]) for key in family}


def can_be_drawn(family: Iterable[Estimate]) -> bool:
    """Whether the rows of all are known, and the seeds, if they count, are not too few."""
    return all(member.by_row and not 0 < len(member.seeds) < MIN_SEEDS for member in family)


def step_down(family: Mapping[Member, Estimate], *, seed: int, num_draws: int = NUM_DRAWS) -> dict[Member, float]:
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
    family: Mapping[Member, Estimate], *, seed: int, alpha: float = ALPHA, num_draws: int = NUM_DRAWS
) -> float:
    """What the largest |estimate| / standard error of a family exceeds by chance with probability alpha."""
    members = [family[key] for key in sorted(family)]
    if not can_be_drawn(members):  # Holm's first step, as in `adjust`
        known = [member for member in members if member.standard_error > 0]
        return max((one.half_width(alpha / len(members)) / one.standard_error for one in known), default=0.0)
    largest = np.concatenate([draws.max(axis=1) for draws in draw_statistics(members, seed=seed, num_draws=num_draws)])
    return float(np.quantile(largest, 1 - alpha))


def agree(difference: Estimate, critical: float, word: Verdict) -> tuple[float, float]:
    """The simultaneous interval of a member of a family, critical standard errors to each side.

    Step-down tests find more than single-step intervals show. Where they do, the interval ends at 0 (Guilbaud 2008);
    where Monte-Carlo error alone keeps 0 out of an undecided one, it is let in.
    """
    half = critical * difference.standard_error
    low, high = difference.value - half, difference.value + half
    if word in ("better", "worse"):
        return (max(low, 0.0), high) if difference.value > 0 else (low, min(high, 0.0))
    return (min(low, 0.0), max(high, 0.0)) if word == "undecided" else (low, high)


def measure_statistic(estimate: Estimate) -> float:
    """|estimate| / standard error; without any error 0 or infinity."""
    value, error = abs(estimate.value), estimate.standard_error
    return value / error if error > 0 else (np.inf if value > 0 else 0.0)


def draw_statistics(members: Sequence[Estimate], *, seed: int, num_draws: int) -> Iterator[Array]:
    """Draws of |T| under no differences, in pieces [draw, member]; all members are of one design.

    Rows: normal multipliers on each row's influence, one multiplier for all members; sums of them are drawn at once,
    from their covariance. What the estimates move by is divided by their standard errors, as they vary from draw to
    draw: see `flip_seeds`, and without seeds `vary_errors`.
    """
    rng = np.random.default_rng(seed)
    rows, seeds = np.stack([member.rows for member in members]), np.stack([member.seeds for member in members])
    parts = np.array([member.errors for member in members])  # [member, part, (error, df)]
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


def verdict(difference: Estimate, p_adjusted: float, *, margin: float, sign: int, alpha: float = ALPHA) -> Verdict:
    """Put a difference in one word.

    1. equivalent  the interval at 1 - 2 alpha lies inside (-margin, margin): two one-sided tests (Schuirmann 1987).
    2. better, worse  otherwise, p_adjusted < alpha, by the sign of the difference.
    3. undecided  otherwise, and where the two are the same in every row: evidence without any spread decides nothing.
    Equivalent comes first: a difference that is surely real but surely smaller than matters should move nobody, and
    its p-value stands beside it. Each false equivalent (true difference at least margin) has at most the chance alpha;
    it is not part of the family that is adjusted.

    Args:
        margin: the greatest difference that does not matter, in units of the score.
        sign: of a difference for the better, `scores.Score.sign`.
    """
    if not margin >= 0 or not 0 <= p_adjusted <= 1:
        raise ValueError(f"margin is {margin}, p_adjusted {p_adjusted}; expected margin >= 0 and p_adjusted in [0, 1]")
    if difference.value == 0 and difference.standard_error == 0:
        return "undecided"
    low, high = difference.interval(1 - 2 * alpha)
    if -margin < low and high < margin:
        return "equivalent"
    if p_adjusted < alpha:
        return "better" if sign * difference.value > 0 else "worse"
    return "undecided"


def detectable_difference(estimate: Estimate, critical: float, *, power: float = POWER) -> float:
    """The smallest true difference that would be called better or worse with the given chance.

    critical * SE, with critical from `critical_value`, is what it has to be to stand alone in its family; on top comes
    how far at most the estimate falls short of the truth with that chance.
    """
    return critical * estimate.standard_error + estimate.half_width(2 * (1 - power))


def smallest_margin(estimate: Estimate, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest margin within which two arms that are equal would be called equivalent with the given chance.

    Half-width at 1 - 2 alpha plus that at `power`: both ends of the interval have to be inside.
    """
    return estimate.half_width(2 * alpha) + estimate.half_width(1 - power)
