"""Findings over many twins, counted: coverage, family-wise error, power, wrong `equivalent`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from tools.calibrate.judging import Finding, Key

NO_SKILL = "no_skill"


@dataclass(frozen=True)
class Share:
    """A counted share, with its exact binomial interval at 95 % (Clopper and Pearson 1934)."""

    value: float
    low: float
    high: float
    count: int
    of: int

    @classmethod
    def count_true(cls, cases: np.ndarray) -> Share:
        count, total = int(np.sum(cases)), len(cases)
        low, high = stats.binomtest(count, total).proportion_ci(method="exact")
        return cls(count / total, float(low), float(high), count, total)


def is_null(setting: str, key: Key) -> bool:
    """Whether an arm and what it is compared with are equal by construction."""
    against, score, arm = key
    if setting == "exchangeable":
        return against != NO_SKILL
    if against != NO_SKILL and arm == "other_seeds":
        return True
    return setting == "none" and score == "auc"  # nothing can be learned, so any ranking is as good as any other


def count_setting(
    setting: str, tables: Sequence[Mapping[Key, Finding]], *, alpha: float, margins: Mapping[str, float]
) -> dict[str, object]:
    """All counts of one setting: what arms are compared with -> score -> arm, and the family-wise errors."""
    result: dict[str, object] = {"tables": len(tables)}
    for family in ("baseline", NO_SKILL):
        keys = [key for key in tables[0] if (key[0] == NO_SKILL) == (family == NO_SKILL)]
        arms: dict[str, dict[str, object]] = {}
        for key in keys:
            cases = [table[key] for table in tables]
            arms.setdefault(key[1], {})[key[2]] = count_arm(cases, is_null(setting, key), margins[key[1]], alpha)
        nulls = [key for key in keys if is_null(setting, key)]
        result[family] = {"family_wise_error": count_family(tables, nulls, alpha), "scores": arms}
    return result


def count_arm(cases: Sequence[Finding], null: bool, margin: float, alpha: float) -> dict[str, object]:
    """One arm by one score. The true difference is 0 where that is known, else the mean over the tables."""
    column = {name: np.array([getattr(case, name) for case in cases]) for name in vars(cases[0])}
    truth = 0.0 if null else float(column["difference"].mean())
    missed, equivalent = np.abs(column["difference"] - truth), column["verdict"] == "equivalent"
    return {
        "true_difference": truth,
        "spread": float(column["difference"].std(ddof=1)),
        "wrong_equivalent": asdict(Share.count_true(equivalent & (abs(truth) >= margin))),
        "by_row": count_method(missed, column["half_width"], column["p_adjusted"], alpha),
        "resampled_t": count_method(missed, column["resampled_half_width"], column["holm_p_adjusted"], alpha),
    }


def count_method(missed: np.ndarray, half_width: np.ndarray, p_adjusted: np.ndarray, alpha: float) -> dict[str, object]:
    """Coverage of the true difference; found: the share of tables with a finding, which is power or error."""
    return {
        "half_width": float(half_width.mean()),
        "coverage": asdict(Share.count_true(missed <= half_width)),
        "found": asdict(Share.count_true(p_adjusted < alpha)),
    }


def count_family(tables: Sequence[Mapping[Key, Finding]], nulls: Sequence[Key], alpha: float) -> dict[str, object]:
    """Share of the tables with a finding among comparisons without a difference."""
    if not nulls:
        return {"true_nulls": 0}
    fields = {"by_row": "p_adjusted", "resampled_t": "holm_p_adjusted"}
    found = {
        name: np.array([any(getattr(table[key], field) < alpha for key in nulls) for table in tables])
        for name, field in fields.items()
    }
    return {"true_nulls": len(nulls)} | {name: asdict(Share.count_true(cases)) for name, cases in found.items()}
