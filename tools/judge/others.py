"""What other public tables say of one: the mean effect of an arm on them, and the table's own drawn towards it.

A table that is one of them, by its rows, is left out: it says nothing new of itself.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stages.lib.core.cli import UserError
from stages.lib.judge.arms import AT_KNOB, TO_END, TUNED, ArmKey
from stages.lib.judge.comparison import Difference, StudyResult, load_comparison
from stages.lib.judge.plans import BEST_SINGLE, name_ensemble
from stages.lib.judge.pooling import pool, shrink
from stages.lib.report.styles import name_variant, show_interval

PUBLIC = ("thoracic", "tables")  # studies of public tables
FEWEST = 6  # of other tables, with fewer of which nothing is told
MEMBERS = 5  # of the ensemble that is told of


def tell_others(study: str) -> Iterator[str]:
    """A line for each arm of interest, as far as the results of other tables are there."""
    own = next(iter(load_comparison(study, whole=True).values()))
    others = [] if study in PUBLIC else list(list_others(own))
    score = own.scores["probabilities"]
    for key in (
        ArmKey(own.baseline, TO_END),
        ArmKey(name_ensemble(own.baseline, MEMBERS), AT_KNOB),
        ArmKey(BEST_SINGLE, TUNED),
    ):
        found = [one for other in others if (one := find_effect(other, key, score))]
        if (here := find_effect(own, key, score)) and len(found) >= FEWEST:
            yield tell_arm(key, here, found)


def find_effect(study: StudyResult, key: ArmKey, score: str) -> Difference | None:
    arm = study.arms.get(key.variant, {}).get(key.kind)  # type: ignore[call-overload]
    return arm.judged[score].difference if arm and score in arm.judged else None


def tell_arm(key: ArmKey, own: Difference, others: list[Difference]) -> str:
    """What the other tables say of an arm on average, and what follows for this one if it is like them."""
    pooled = pool({"": others}, sign=-1, margin=0, confidence=0.95)[""]
    told = f"{name_variant(*key)}: on {len(others)} other public tables {pooled.value:+z.3f} on average"
    errors = [measure_error(one) for one in others]
    shrunk = shrink(own.value, measure_error(own), others=[one.value for one in others], other_errors=errors)
    if shrunk is None:
        return f"{told}; this table differs from them, so they say nothing about it."
    interval = show_interval(shrunk.low, shrunk.high, "+")
    return f"{told}; if this table is like them, {shrunk.value:+z.3f} here (95 % interval {interval})."


def measure_error(difference: Difference) -> float:
    """The standard error of a difference, from its p-value: git keeps that of every table, and not its own interval."""
    from scipy.special import ndtri

    normal = -ndtri(min(max(difference.p_value, 1e-12), 1 - 1e-9) / 2)
    return abs(difference.value) / normal if difference.value else 0.0


def list_others(own: StudyResult) -> Iterator[StudyResult]:
    """The results of public tables, without one of the same rows."""
    with suppress(UserError):
        rows = find_rows(own)
        yield from (one for one in load_comparison(*PUBLIC).values() if not rows or find_rows(one) != rows)


def find_rows(study: StudyResult) -> list[list[str]]:
    """The cells of its table in data/source, in the order of the rows; empty where it is none there."""
    path = Path("data/source", f"{study.dataset.rpartition('/')[2]}.csv")
    if not path.is_file():
        return []
    return sorted(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
