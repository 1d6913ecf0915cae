"""All that claims are judged by: the comparison, the measurements of studies, and the results of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.lib.claims.intervals import Interval, known, mean, opposite
from stages.lib.claims.measurements import ExperimentResult, Measured
from stages.lib.core.records import read, split_task
from stages.lib.judge.comparison import ArmResult, Comparison, Judgement, StudyResult
from stages.lib.judge.scores import SCORES

Kind = Literal["at_knob", "tuned", "to_end"]


class MissingEvidenceError(Exception):
    """What a claim is judged by is missing: it is not in params.yaml, or a network has diverged; says what."""


@dataclass(frozen=True)
class Records:
    """comparison, measurements: by the task. experiments: by their names. confidence: of the comparison's intervals.

    A variant stands for its arm at the knobs, or for another kind of arm: `tuned` where it has one, or `to_end`.
    """

    confidence: float
    comparison: Comparison
    measurements: Mapping[str, Mapping[str, Measured]]
    experiments: Mapping[str, ExperimentResult]

    def tasks(self, source: str) -> list[str]:
        """The tasks of a study, one for each of its data sets; an experiment, or what is missing, by its own name."""
        return [task for task in self.comparison if split_task(task)[0] == source] or [source]

    def study(self, task: str) -> StudyResult:
        if task not in self.comparison:
            raise MissingEvidenceError(f"the study {task}")
        return self.comparison[task]

    def baseline(self, task: str) -> str:
        return self.study(task).baseline

    def arm(self, task: str, variant: str, kind: Kind) -> ArmResult:
        kinds = self.study(task).arms.get(variant, {})
        arm = kinds.get(kind) or (kinds.get("at_knob") if kind == "tuned" else None)
        if arm is None:
            raise MissingEvidenceError(f"{variant} {kind} in the study {task}")
        return arm

    def judged(self, task: str, variant: str, score: str, kind: Kind = "at_knob") -> Judgement:
        judged = self.arm(task, variant, kind).judged
        if score not in judged:
            raise MissingEvidenceError(f"{score} of {variant} in the study {task}")
        return judged[score]

    def scores(self, task: str, variant: str, score: str, kind: Kind = "at_knob") -> np.ndarray:
        """A score on held-out rows, [replicate]."""
        return np.array(self.judged(task, variant, score, kind).replicates)

    def mechanism(self, task: str, variant: str, name: str, kind: Kind) -> float:
        """What a regulariser did to the weights, mean over replicates."""
        mechanisms = self.arm(task, variant, kind).mechanisms
        if name not in mechanisms:
            raise MissingEvidenceError(f"{name} of {variant} in the study {task}")
        return mechanisms[name]

    def gain(self, task: str, variant: str, score: str, kind: Kind = "at_knob") -> Interval:
        """What a variant gains over its baseline by a score on held-out rows, as `compare` has judged it."""
        difference = self.judged(task, variant, score, kind).difference
        if difference is None or not difference.ci_low <= difference.value <= difference.ci_high:
            raise MissingEvidenceError(f"a difference of {variant} by {score} within its interval in the study {task}")
        interval = known(difference.value, difference.ci_low, difference.ci_high, at=self.confidence)
        return interval if SCORES[score].greater_is_better else opposite(interval)

    def measured(self, task: str, variant: str) -> Measured:
        try:
            return self.measurements[task][variant]
        except KeyError:
            raise MissingEvidenceError(f"{variant} in the study {task}") from None

    def values(self, task: str, variant: str, quantity: str, kind: Kind = "at_knob") -> np.ndarray:
        """A measured quantity of a variant, [replicate]; of networks that are stopped in time where the study does."""
        measured, where = self.measured(task, variant), f"{quantity} of {variant} in the study {task}"
        try:
            values = measured.at_tuned(quantity) if kind == "tuned" else measured.at_knob(quantity)
        except KeyError:
            raise MissingEvidenceError(where) from None
        return expect_finite(values, where)

    def mean(self, task: str, values: np.ndarray) -> Interval:
        """The mean over the replicates of a study."""
        return mean(values, self.ratio(task))

    def ratio(self, task: str) -> float:
        """Of test and training rows where the replicates of a task share them, else 0."""
        return self.study(task).protocol.test_train_ratio

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
