"""The search of a variant: its ranges in params.yaml, their mistakes, and the points that are drawn from them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.fields import LARGEST, shorten
from stages.lib.settings.mistakes import limit, refuse_all
from stages.lib.settings.strengths import check_strength

FEWEST_POINTS, MOST_POINTS = 2, 2**16  # the knobs' point and one that is drawn; what one run may hold
DIGITS = 4  # of a drawn strength, so that plans and reports can be read


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

    def at(self, share: float) -> float:
        """The strength below which this share of the range lies, 0 to 1."""
        scale = SCALES[self.scale]
        first, last = scale.to_axis(self.low), scale.to_axis(self.high)
        return min(max(scale.from_axis(first + share * (last - first)), self.low), self.high)


@dataclass(frozen=True)
class SearchParams:
    """points: of strengths, that of the knobs included. off: share of the drawn points in which a regulariser is off,
    where one can be: a strength of 0 is no effect. ranges: regulariser -> range, in the order of the catalogue.
    average: number of the best points whose probabilities are averaged; 0 for none.
    """

    points: int
    off: float
    ranges: dict[str, Range]
    average: int = 0


# Mistakes ------------------------------------------------------------------------------------------------------------

KEYS = ("points", "off", "average")
EXAMPLE = "search: {points: 64, off: 0.3, l2: [0.0001, 0.1], dropout: [0, 0.8]}"


def parse_search(found: Any, regularizers: Sequence[str] | None) -> SearchParams:
    """A search from its mapping in params.yaml; ValueError with every mistake, one a line.

    regularizers: of the variant; None where they have mistakes of their own.
    """
    if not isinstance(found, dict):
        raise ValueError(f"is {shorten(found)}, expected a mapping, such as {EXAMPLE}: change it")
    refuse_all([*check_counts(found), *check_names(found, regularizers), *check_ranges(found)])
    ranges = {name: read_range(name, found[name]) for name in CATALOGUE if name in found}
    return SearchParams(found["points"], float(found["off"]), ranges, found.get("average", 0))


def check_counts(found: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes in the numbers of points and in the share that is off."""
    points, off = found.get("points"), found.get("off")
    if not is_whole(points) or not FEWEST_POINTS <= points <= MOST_POINTS:
        yield (
            f"points {tell(found, 'points')}, expected a whole number from {FEWEST_POINTS} (the knobs and one point "
            f"that is drawn) to {MOST_POINTS:,}: change it"
        )
    if not is_number(off) or not 0 <= off < 1:
        yield (
            f"off {tell(found, 'off')}, expected the share of points in which a regulariser is off, at least 0 and "
            "less than 1: change it"
        )
    average, most = found.get("average", FEWEST_POINTS), points if is_whole(points) else MOST_POINTS
    if not is_whole(average) or not FEWEST_POINTS <= average <= max(most, FEWEST_POINTS):
        yield (
            f"average is {shorten(average)}, expected the number of the best points to average, from {FEWEST_POINTS} "
            "to points: change it or remove it"
        )


def check_names(found: Mapping[str, Any], regularizers: Sequence[str] | None) -> Iterator[str]:
    """Mistakes in the names of ranges."""
    names = [name for name in found if name not in KEYS]
    if not names:
        yield f"names no regularizer, expected a range for at least one, such as {EXAMPLE}: add one"
    for name in names:
        if name not in CATALOGUE:
            known = f"{', '.join(KEYS)} or one of {', '.join(CATALOGUE)}"
            yield f"names {limit(str(name))}, expected {known}: mend its spelling"
        elif regularizers is not None and name not in regularizers:
            yield (
                f"names {name}, expected one of the variant's regularizers {list(regularizers)}: add it there or "
                "remove its range"
            )


def check_ranges(found: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes in the ranges of regularisers that are known."""
    for name, value in found.items():
        if name in CATALOGUE:
            yield from check_range(name, value)


def check_range(name: str, value: Any) -> Iterator[str]:
    *others, last = SCALES
    well_formed = isinstance(value, list) and len(value) in (2, 3) and all(map(is_number, value[:2]))
    if not well_formed or (len(value) == 3 and value[2] not in SCALES):
        yield (
            f"{name} is {shorten(value)}, expected [least strength, greatest strength], and as a third entry "
            f"{', '.join(others)} or {last} for another scale than {CATALOGUE[name].scale}: change it"
        )
        return
    wrong = [text for strength in value[:2] if (text := check_strength(name, name, strength))]
    yield from wrong
    low, high, scale = read_range(name, value)
    if not low < high:
        yield (
            f"{name} is {shorten(value)}, expected the smaller strength first, and two that differ: exchange or change "
            "them"
        )
    elif not wrong and not SCALES[scale].defined(low, high):
        yield (
            f"{name} is {shorten(value)}, expected {SCALES[scale].rule} on a scale that is {scale}: change it (`off` "
            f"says in which share of points it is 0), or write [{low:g}, {high:g}, linear]"
        )


def read_range(name: str, value: Sequence[Any]) -> Range:
    return Range(float(value[0]), float(value[1]), value[2] if len(value) == 3 else CATALOGUE[name].scale)


def tell(found: Mapping[str, Any], key: str) -> str:
    return f"is {shorten(found[key])}" if key in found else "is missing"


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


# Points --------------------------------------------------------------------------------------------------------------


def can_be_off(name: str) -> bool:
    """Whether a strength of 0 is no effect; of a norm or a momentum of batch normalisation, none is."""
    return CATALOGUE[name].inert_at_zero


def draw_points(search: SearchParams, knobs: Mapping[str, float], *, seed: int, name: str) -> dict[str, tuple]:
    """Regulariser -> its strength at every point: the knob, then draws of a scrambled Sobol sequence (Owen 1998).

    The first points of a search are those of a larger one. `name` keeps searches apart that share a seed.
    """
    from scipy.stats import qmc  # here, since it takes half a second to import

    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    sequence = qmc.Sobol(len(search.ranges), scramble=True, rng=generator)
    shares = sequence.random_base2(math.ceil(math.log2(search.points)))[1 : search.points]
    return {
        regularizer: (knobs[regularizer], *(place(search, regularizer, share) for share in column))
        for regularizer, column in zip(search.ranges, shares.T.tolist(), strict=True)
    }


def place(search: SearchParams, name: str, share: float) -> float:
    """The strength of one draw, 0 to 1: the first `off` of them are 0, the others spread over the range."""
    found, off = search.ranges[name], search.off if can_be_off(name) else 0.0
    if share < off:
        return 0.0
    strength = found.at((share - off) / (1 - off))
    rounded = round(strength) if CATALOGUE[name].whole_number else float(f"{strength:.{DIGITS}g}")
    return float(min(max(rounded, found.low), found.high))
