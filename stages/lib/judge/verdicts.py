"""The verdicts on comparisons: intervals that hold together, questions in an order, the word for each.

The comparisons of a question are judged together: the chance that any of their intervals misses is at most the level of
the question. A study asks several questions, and their levels add up to alpha; `share_levels` says which has how much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from stages.lib.judge import designs
from stages.lib.judge.comparison import Verdict
from stages.lib.judge.designs import ALPHA, Array, Estimate

Member = TypeVar("Member", bound=str | tuple[str, ...])  # names a comparison; what can be sorted

POWER = 0.8  # chance with which a difference that a study can see would be found
NUM_DRAWS = 20_000  # of the joint distribution: an adjusted p of 0.05 has a Monte-Carlo error of 0.0015
CHUNK = 1_000  # draws held at once
MIN_SEEDS = 9  # sign flips of fewer miss too often at levels of one in a hundred; Bonferroni instead
RIDGE = 1e-9  # added to correlations, so that arms that answer the same have a Cholesky factor


@dataclass(frozen=True)
class Together(Generic[Member]):
    """Comparisons that are judged together, by single-step max-t (Dunnett 1955; Hothorn, Bretz and Westfall 2008).

    largest: draws of the largest |estimate| / standard error where there is no difference, in order; of the largest
        estimate / standard error if one_sided. Arms that share a baseline, or that answer alike, count as less than
        many. Empty where the joint distribution cannot be drawn.
    Nothing is narrower than the member alone, or wider than by Bonferroni, which holds for any joint distribution.
    """

    members: Mapping[Member, Estimate]
    largest: Array
    one_sided: bool = False

    def half_width(self, key: Member, level: float) -> float:
        """So wide to each side that any interval misses with at most the chance `level`."""
        member, own = self.members[key], 2 * level if self.one_sided else level
        widest = member.half_width(min(1.0, own / len(self.members)))
        if not self.largest.size:
            return widest
        half_width = float(np.quantile(self.largest, 1 - level)) * member.standard_error
        return min(max(half_width, member.half_width(own)), widest)

    def p_value(self, key: Member) -> float:
        """The level at which the interval of a member just touches 0, two-sided."""
        own, largest = self.members[key].p_value, self.largest
        most = min(1.0, len(self.members) * own)
        exceeding = len(largest) - np.searchsorted(largest, measure_statistic(self.members[key]))
        return min(max(own, float(1 + exceeding) / (1 + len(largest))), most) if largest.size else most

    def is_decided(self, level: float) -> bool:
        """Whether no interval holds 0; one without any width decides nothing."""
        return level > 0 and all(
            one.standard_error > 0 and abs(one.value) > self.half_width(key, level) for key, one in self.members.items()
        )


def judge_together(
    members: Mapping[Member, Estimate], *, seed: int, one_sided: bool = False, num_draws: int = NUM_DRAWS
) -> Together[Member]:
    """Draw the joint distribution of comparisons, if it is known; their order does not matter."""
    largest = np.zeros(0)
    if members and all(one.by_row and not 0 < len(one.seeds) < MIN_SEEDS for one in members.values()):
        ordered = [members[key] for key in sorted(members)]
        draws = draw_statistics(ordered, seed=seed, num_draws=num_draws)
        largest = np.sort(np.concatenate([(each if one_sided else np.abs(each)).max(axis=1) for each in draws]))
    return Together(members, largest, one_sided)


def share_levels(questions: Sequence[Together[Member]], shares: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """The level of each question, in their order; shares add up to 1.

    Each begins with its share of alpha. A question whose differences are all decided hands its level on to the next one
    that is not, after the last to the first; one without any difference does so at once. The chance of a false finding
    in any question is at most alpha: the fallback procedure (Wiens 2003) as a graph (Bretz, Maurer, Brannath and Posch
    2009). For a question with a false finding cannot have handed its level on before, and at each time the levels of
    those that have not add up to alpha.
    """
    levels, left = [share * alpha for share in shares], list(range(len(questions)))
    while len(left) > 1:
        decided = next((place for place in left if questions[place].is_decided(levels[place])), None)
        if decided is None:
            break
        heir = left[(left.index(decided) + 1) % len(left)]
        left.remove(decided)
        levels[heir] += levels[decided]
    return levels


def measure_statistic(estimate: Estimate) -> float:
    """|estimate| / standard error; without any error 0 or infinity."""
    value, error = abs(estimate.value), estimate.standard_error
    return value / error if error > 0 else (np.inf if value > 0 else 0.0)


def draw_statistics(members: Sequence[Estimate], *, seed: int, num_draws: int) -> Iterator[Array]:
    """Draws of T under no differences, in pieces [draw, member]; all members are of one design.

    Rows: normal multipliers on each row's influence, one multiplier for all members; sums of them are drawn at once,
    from their covariance. What the estimates move by is divided by their standard errors, as they vary from draw to
    draw: see `flip_seeds`, and without seeds `vary_errors`.
    """
    rng = np.random.default_rng(seed)
    rows, seeds = np.stack([member.rows for member in members]), np.stack([member.seeds for member in members])
    parts = np.array([member.errors for member in members])  # [member, part, (error, df)]
    spread = np.array([np.sqrt((row**2).sum()) for row in rows])
    rows /= np.where(spread > 0, spread, 1)[:, None]
    factor = np.linalg.cholesky((rows @ rows.T + RIDGE * np.eye(len(rows))) / (1 + RIDGE))
    for first in range(0, num_draws, CHUNK):
        size = min(CHUNK, num_draws - first)
        moved = rng.standard_normal((size, len(members))) @ factor.T * spread
        if seeds.shape[1]:
            mean, variance = flip_seeds(seeds, size, rng)
            moved, error = moved + mean, np.sqrt(variance + spread**2)
        else:
            error = vary_errors(parts, size, rng)
        yield np.divide(moved, error, out=np.zeros_like(moved), where=error > 0)


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
    """Standard errors [draw, member] of which each part is multiplied by a root of chi^2 / df.

    So a member alone has the distribution that its interval assumes. All members of a question share one: arms that err
    each by itself would make the intervals of many wider, which counts of false findings do not ask for (`frontier`).
    """
    df = parts[0, :, 1]
    scale = rng.chisquare(df, size=(size, 1 if designs.METHOD.shared_errors else len(parts), len(df))) / df
    return np.sqrt((scale * parts[:, :, 0] ** 2).sum(axis=2))


def verdict(difference: Estimate, half_width: float, *, margin: float, sign: int, alpha: float = ALPHA) -> Verdict:
    """Put a difference in one word.

    1. equivalent  the interval at 1 - 2 alpha lies inside (-margin, margin): two one-sided tests (Schuirmann 1987).
    2. better, worse  otherwise, 0 is further off than half_width, by the sign of the difference.
    3. inconclusive  otherwise, and where the two differ by the same in every row, mostly by 0: evidence without any
       spread decides nothing.
    Equivalent comes first: a difference that is surely real but surely smaller than matters should move nobody, and
    its p-value stands beside it. Each false equivalent (true difference at least margin) has at most the chance alpha;
    it is not part of what is judged together.

    Args:
        half_width: of the interval that holds together with those of its question.
        margin: the greatest difference that does not matter, in units of the score.
        sign: of a difference for the better, `scores.Score.sign`.
    """
    if difference.standard_error == 0:
        return "inconclusive"
    low, high = difference.interval(1 - 2 * alpha)
    if -margin < low and high < margin:
        return "equivalent"
    if abs(difference.value) > half_width:
        return "better" if sign * difference.value > 0 else "worse"
    return "inconclusive"


def find_interval(difference: Estimate, half_width: float, word: Verdict, *, alpha: float) -> tuple[float, float]:
    """The interval that stands beside a verdict, and agrees with it.

    Of an equivalent arm it is the one that shows it: that of the two one-sided tests, stretched to 0, which holds the
    truth with the chance 1 - alpha (Hsu, Hwang, Liu and Ruberg 1994). One without any width is stretched to 0, too.
    """
    low, high = difference.value - half_width, difference.value + half_width
    if word == "equivalent":
        low, high = difference.interval(1 - 2 * alpha)
    if word == "equivalent" or difference.standard_error == 0:
        return min(low, 0.0), max(high, 0.0)
    return low, high


def detectable_difference(estimate: Estimate, half_width: float, *, power: float = POWER) -> float:
    """The smallest true difference that would be called better or worse with the given chance.

    half_width is what it has to be to be found at all; on top comes how far at most the estimate falls short of the
    truth with that chance.
    """
    return half_width + estimate.half_width(2 * (1 - power))


def smallest_margin(estimate: Estimate, *, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest margin within which two arms that are equal would be called equivalent with the given chance.

    Half-width at 1 - 2 alpha plus that at `power`: both ends of the interval have to be inside.
    """
    return estimate.half_width(2 * alpha) + estimate.half_width(1 - power)
