"""Which differences between a variant and its baseline are real, and which are too small to matter.

A family of arms goes through three calls: `compare` each with the baseline, `adjust` the p-values, read each `verdict`.

Units   those of the score; an interval and a p-value that belong together never contradict each other
Random  `adjust` and `critical_value` draw from the seed they are given; nothing else is random

designs     the standard error of a mean: `CrossValidation`, `FixedTest`; where rows are unknown, `resampled_mean`
multiplicity `adjust`: step-down over all comparisons of a family
verdicts    `compare`, `verdict`, and what a study can see
"""

from stages.lib.judge.designs import MIN_REPEATS, CrossValidation, Design, Evidence, FixedTest
from stages.lib.judge.estimates import ALPHA, Estimate, resampled_mean, welch
from stages.lib.judge.multiplicity import adjust, critical_value, holm, step_down
from stages.lib.judge.verdicts import (
    Comparison,
    Verdict,
    compare,
    compare_replicates,
    compare_unpaired,
    detectable_difference,
    smallest_margin,
    verdict,
)

__all__ = [
    "ALPHA",
    "MIN_REPEATS",
    "Comparison",
    "CrossValidation",
    "Design",
    "Estimate",
    "Evidence",
    "FixedTest",
    "Verdict",
    "adjust",
    "compare",
    "compare_replicates",
    "compare_unpaired",
    "critical_value",
    "detectable_difference",
    "holm",
    "resampled_mean",
    "smallest_margin",
    "step_down",
    "verdict",
    "welch",
]
