"""Searches: the ranges of several strengths at once, and the points that are drawn from them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
from pydantic import Field, PlainValidator, create_model, model_validator

from stages.lib.core.fields import LARGEST, MOST_ROUNDS, Strict, shorten, to_list
from stages.lib.lanes.regularizers import CATALOGUE, INFINITY

FEWEST_POINTS, MOST_POINTS = 2, 2**16  # to choose from; what one run may hold
DIGITS = 4  # of a drawn strength, so that plans and reports can be read


def check_strength(name: str, strength: float) -> str:
    """What is wrong with a strength of a regulariser, in words behind `is` or `holds`; empty where nothing is."""
    rule = CATALOGUE[name]
    most = MOST_ROUNDS if rule.whole_number else LARGEST
    within = rule.minimum <= strength < rule.below and strength <= most
    if within and (not rule.whole_number or strength == int(strength)):
        return ""
    kind = "a whole number" if rule.whole_number else "a number"
    upper = f"at most {most:,.0f}" if rule.below == INFINITY else f"less than {rule.below:g}"
    return f"{shorten(strength)}, expected {kind} of at least {rule.minimum:g} and {upper} for {name}: change it"


class Scale(NamedTuple):
    """Draws are uniform in what `to_axis` makes of a strength; defined: whether a range has a place on that axis."""

    to_axis: Callable[[float], float]
    from_axis: Callable[[float], float]
    defined: Callable[[float, float], bool]
    rule: str


SCALES = {
    "linear": Scale(float, float, lambda low, high: True, "any range"),
    "log": Scale(math.log, math.exp, lambda low, high: low > 0, "a least strength greater than 0"),
    "momentum": Scale(  # uniform in the logarithm of 1 - strength: 0.9, 0.99 and 0.999 are equally far apart
        lambda strength: -math.log1p(-strength),
        lambda place: -math.expm1(-place),
        lambda low, high: high < 1,
        "a greatest strength less than 1",
    ),
}


class Range(NamedTuple):
    """The strengths between which those of one regulariser are drawn; scale: one of SCALES."""

    low: float
    high: float
    scale: str


def read_range(name: str, value: Any) -> Range | None:
    """A range from its list in params.yaml; ValueError, one line a mistake."""
    if value is None:
        return None
    value = to_list(value)
    is_list, usual = isinstance(value, list) and len(value) in (2, 3), CATALOGUE[name].scale
    if not is_list or not all(map(is_number, value[:2])) or value[2:] not in ([], *([scale] for scale in SCALES)):
        third = f"as a third entry one of {', '.join(SCALES)} for another scale than {usual}"
        raise ValueError(f"is {shorten(value)}, expected [least strength, greatest strength], and {third}: change it")
    low, high, scale = float(value[0]), float(value[1]), value[2] if len(value) == 3 else usual
    wrong = [f"holds {text}" for strength in value[:2] if (text := check_strength(name, strength))]
    if not low < high:
        wrong.append(f"is {shorten(value)}, expected the smaller strength first, and two that differ: change them")
    elif not wrong and not SCALES[scale].defined(low, high):
        found, mend = f"is {shorten(value)}, expected {SCALES[scale].rule} on a scale that is {scale}", "change it"
        zero = "`off` says in which share of points it is 0"
        wrong.append(f"{found}: {mend} ({zero}), or write [{low:g}, {high:g}, linear]")
    if wrong:
        raise ValueError("\n".join(wrong))
    return Range(low, high, scale)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


class SearchCounts(Strict):
    """How a search draws.

    points: of strengths that are drawn.
    off: share of the drawn points in which a regulariser is off, where one can be: a strength of 0 is no effect.
    average: number of the best points whose probabilities are averaged; 0 for none.
    """

    points: Annotated[int, Field(ge=FEWEST_POINTS, le=MOST_POINTS)]
    off: Annotated[float, Field(ge=0, lt=1)]
    average: Annotated[int, Field(ge=FEWEST_POINTS)] = 0

    @property
    def ranges(self) -> dict[str, Range]:
        """Regulariser -> range, in the order of the catalogue."""
        return {name: found for name in CATALOGUE if (found := getattr(self, name))}

    @model_validator(mode="after")
    def check(self) -> Self:
        if not self.ranges:
            raise ValueError("names no regularizer, expected a range for one, such as l2: [0.0001, 0.1]: add it")
        if self.average > self.points:
            raise ValueError(f"average is {self.average}, expected at most the {self.points} points: lower it")
        if self.points * (1 - self.off) < 1:  # points in which a regularizer acts, on average
            raise ValueError(f"off is {self.off:g}, expected less, so that of {self.points} points one is on: lower it")
        return self


RANGES: dict[str, Any] = {
    name: (Annotated[Range | None, PlainValidator(partial(read_range, name))], None) for name in CATALOGUE
}
Search: Any = create_model("Search", __base__=SearchCounts, **RANGES)  # counts, and a range for some regularisers


def draw_points(search: SearchCounts, *, seed: int, name: str) -> dict[str, tuple[float, ...]]:
    """Regulariser -> its strength at every point, by draws of a scrambled Sobol sequence (Owen 1998).

    The first points of a search are those of a larger one. `name` keeps searches apart that share a seed.
    """
    from scipy.stats import qmc  # here, since it takes half a second to import

    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    sequence = qmc.Sobol(len(search.ranges), scramble=True, rng=generator)
    shares = sequence.random_base2(math.ceil(math.log2(search.points + 1)))[1 : search.points + 1]
    return {
        regularizer: tuple(place_draw(search, regularizer, share) for share in column)
        for regularizer, column in zip(search.ranges, shares.T.tolist(), strict=True)
    }


def place_draw(search: SearchCounts, name: str, share: float) -> float:
    """The strength of one draw, 0 to 1: the first `off` of them are 0, the others spread over its range."""
    (low, high, scale), off = search.ranges[name], search.off if CATALOGUE[name].inert_at_zero else 0.0
    if share < off:
        return 0.0
    first, last = (SCALES[scale].to_axis(end) for end in (low, high))
    strength = SCALES[scale].from_axis(first + (share - off) / (1 - off) * (last - first))
    rounded = round(strength) if CATALOGUE[name].whole_number else float(f"{strength:.{DIGITS}g}")
    return float(min(max(rounded, low), high))
