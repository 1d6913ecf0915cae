"""One study's arms with all that is needed to measure and compare them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.judge import statistics
from stages.lib.judge.arms import Arm, ArmKey
from stages.lib.judge.plans import StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels
from stages.lib.judge.scores import SCORES, measure, squeeze

NO_SKILL = ArmKey("no_skill", "")  # predictions of the class shares; no arm of the study, but arms are compared with it

Compared = tuple[statistics.Comparison, statistics.Evidence | None]


class Judge:
    """Measures and compares the arms of a study.

    plan, settings, labels: of the study. arms: all of them, by their keys.
    """

    def __init__(self, plan: StudyPlan, settings: StatisticsPlan, labels: Labels, arms: Mapping[ArmKey, Arm]):
        self.plan, self.settings, self.labels = plan, settings, labels
        self.arms = {**arms, NO_SKILL: predict_shares(labels)}
        self.scores = tuple(plan.scores.values())  # discrimination first
        self.alpha = 1 - settings.confidence
        self._measured: dict[tuple[ArmKey, str], np.ndarray] = {}
        self._contributions: dict[tuple[ArmKey, str], np.ndarray | None] = {}

    @cached_property
    def design(self) -> statistics.Design | None:
        """How rows and replicates enter a standard error; None where the protocol does not show a row's influence."""
        protocol = self.plan.protocol
        if protocol.fixed_test:
            return statistics.FixedTest()
        if not isinstance(protocol, RepeatedStratifiedKFold) or protocol.repeats < statistics.MIN_REPEATS:
            return None
        return statistics.CrossValidation(self.labels.test_numbers, self.labels.training_numbers, protocol.repeats)

    @cached_property
    def guesses(self) -> set[ArmKey]:
        """The arms that give all held-out rows of a replicate the same answer, so that no row's features matter."""
        return {key for key, arm in self.arms.items() if (arm.test == arm.test[:, :1]).all()}

    def measure(self, score: str, key: ArmKey) -> np.ndarray:
        """A score on held-out rows, [replicate]."""
        if (key, score) not in self._measured:
            self._measured[key, score] = measure(score, self.labels.test, self.arms[key].test)
        return self._measured[key, score]

    def gap(self, score: str, key: ArmKey) -> float:
        """The score on training rows less that on held-out rows."""
        training = measure(score, self.labels.training, self.arms[key].training)
        return float(training.mean() - self.measure(score, key).mean())

    def optimism(self, score: str, key: ArmKey) -> float:
        """The score on the validation rows that chose the arm's points, less that on held-out rows."""
        validation = measure(score, self.labels.validation, self.arms[key].validation)
        return float(validation.mean() - self.measure(score, key).mean())

    def contributions(self, score: str, key: ArmKey) -> np.ndarray | None:
        """What each row adds to a score, [replicate, row]; None where the score or the design knows no rows."""
        if (key, score) not in self._contributions:
            by_row = None if self.design is None else SCORES[score].by_row
            found = by_row(self.labels.test, squeeze(self.arms[key].test)) if by_row else None
            self._contributions[key, score] = found
        return self._contributions[key, score]

    def compare(self, score: str, key: ArmKey, other: ArmKey) -> Compared:
        """Two arms by one score, with the evidence by row where that is known."""
        first, second = self.contributions(score, key), self.contributions(score, other)
        if first is not None and second is not None and self.design is not None:
            alone = not self.guesses.isdisjoint((key, other))
            return statistics.compare(first, second, self.design, alone=alone, alpha=self.alpha)
        ratio = self.plan.protocol.test_train_ratio
        replicates = self.measure(score, key), self.measure(score, other)
        return statistics.compare_replicates(*replicates, test_train_ratio=ratio, alpha=self.alpha), None

    def estimate(self, score: str, key: ArmKey) -> statistics.Estimate:
        """The mean of a score with its standard error."""
        contributions = self.contributions(score, key)
        if contributions is not None and self.design is not None:
            return self.design.evidence(contributions, alone=True).estimate
        ratio = self.plan.protocol.test_train_ratio
        return statistics.resampled_mean(self.measure(score, key), test_train_ratio=ratio)


def predict_shares(labels: Labels) -> Arm:
    """Predictions without skill: the class shares of each replicate's training rows, for every row."""
    shares = labels.shares[:, None]
    training, test = (np.repeat(shares, part.shape[1], axis=1) for part in (labels.training, labels.test))
    return Arm(training=training, test=test)
