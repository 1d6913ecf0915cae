"""All that claims are judged by: the comparison, the measurements of studies, and the results of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.lib.claims.intervals import Interval, known, mean, opposite
from stages.lib.claims.measurements import ExperimentResult, Measured
from stages.lib.core.records import read
from stages.lib.judge.comparison import Comparison, Judgement, StudyResult
from stages.lib.judge.scores import SCORES


class MissingEvidenceError(Exception):
    """What a claim is judged by is missing: it is not in params.yaml, or a network has diverged; says what."""


@dataclass(frozen=True)
class Records:
    """comparison, measurements: by the study. experiments: by their names. confidence: of the comparison's intervals.

    A variant stands for its arm at the knobs or, with `tuned`, for its tuned arm where it has one.
    """

    confidence: float
    comparison: Comparison
    measurements: Mapping[str, Mapping[str, Measured]]
    experiments: Mapping[str, ExperimentResult]

    def study(self, name: str) -> StudyResult:
        if name not in self.comparison:
            raise MissingEvidenceError(f"the study {name}")
        return self.comparison[name]

    def baseline(self, study: str) -> str:
        return self.study(study).baseline

    def judged(self, study: str, variant: str, score: str, *, tuned: bool = False) -> Judgement:
        kinds = self.study(study).arms.get(variant, {})
        arm = (kinds.get("tuned") if tuned else None) or kinds.get("at_knob")
        if arm is None or score not in arm.judged:
            raise MissingEvidenceError(f"{score} of {variant} in the study {study}")
        return arm.judged[score]

    def scores(self, study: str, variant: str, score: str) -> np.ndarray:
        """A score on held-out rows, [replicate]."""
        return np.array(self.judged(study, variant, score).replicates)

    def gain(self, study: str, variant: str, score: str, *, tuned: bool = False) -> Interval:
        """What a variant gains over its baseline by a score on held-out rows, as `compare` has judged it."""
        difference = self.judged(study, variant, score, tuned=tuned).difference
        if difference is None or not difference.ci_low <= difference.value <= difference.ci_high:
            raise MissingEvidenceError(f"a difference of {variant} by {score} within its interval in the study {study}")
        interval = known(difference.value, difference.ci_low, difference.ci_high, at=self.confidence)
        return interval if SCORES[score].greater_is_better else opposite(interval)

    def measured(self, study: str, variant: str) -> Measured:
        try:
            return self.measurements[study][variant]
        except KeyError:
            raise MissingEvidenceError(f"{variant} in the study {study}") from None

    def values(self, study: str, variant: str, quantity: str, *, tuned: bool = False) -> np.ndarray:
        """A measured quantity of a variant, [replicate]."""
        measured, where = self.measured(study, variant), f"{quantity} of {variant} in the study {study}"
        try:
            values = measured.at_tuned(quantity) if tuned else measured.at_knob(quantity)
        except KeyError:
            raise MissingEvidenceError(where) from None
        return expect_finite(values, where)

    def mean(self, study: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of a study."""
        return mean(values, self.ratio(study))

    def ratio(self, study: str) -> float:
        """Of test and training rows where the replicates of a study share them, else 0."""
        return self.study(study).protocol.test_train_ratio

    def experiment(self, name: str) -> ExperimentResult:
        if name not in self.experiments:
            raise MissingEvidenceError(f"the experiment {name}")
        return self.experiments[name]

    def case(self, experiment: str, name: str, quantity: str, level: float = 0.0) -> np.ndarray:
        """What an experiment has measured, [replicate]."""
        where = f"{quantity} of {name} at {level:g} in the experiment {experiment}"
        for case in self.experiment(experiment).cases:
            if (case.name, case.level) == (name, level) and quantity in case.values:
                return expect_finite(read(case.values[quantity]), where)
        raise MissingEvidenceError(where)

    def mean_in(self, experiment: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of an experiment."""
        return mean(values, self.experiment(experiment).test_train_ratio)


def expect_finite(values: np.ndarray, what: str) -> np.ndarray:
    """What was measured, [replicate]; MissingEvidenceError where a network had diverged."""
    if not np.isfinite(values).all():
        raise MissingEvidenceError(f"a finite {what} for every network")
    return values
