"""An arm that both sides of a review have, and the test of its difference by the scores of its replicates."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lib.judge.comparison import ArmResult, StudyResult
from stages.lib.judge.designs import Estimate, compare_replicates, resampled_mean, welch
from tools.review.record import Key
from tools.review.sides import Side


@dataclass(frozen=True)
class Pair:
    """The results of one arm at the base and at the head, and those of its study."""

    base: ArmResult
    head: ArmResult
    base_study: StudyResult
    head_study: StudyResult

    @property
    def shared_scores(self) -> list[str]:
        """The scores by which both sides judge."""
        return [score for score in self.head_study.scores.values() if score in self.base_study.scores.values()]

    @property
    def other_scores(self) -> list[str]:
        """The scores by which one side judges alone."""
        scores = dict.fromkeys([*self.head_study.scores.values(), *self.base_study.scores.values()])
        return [score for score in scores if score not in self.shared_scores]

    @property
    def moved_scores(self) -> list[str]:
        """The scores by which both sides judge, with different results."""
        return [
            score
            for score in self.shared_scores
            if self.base.judged[score].replicates != self.head.judged[score].replicates
        ]

    def find_verdicts(self, score: str) -> tuple[str, str]:
        """The verdicts against the arm's own baseline, at the base and at the head."""
        return self.base.judged[score].verdict, self.head.judged[score].verdict

    def is_paired(self, score: str) -> bool:
        """Whether replicate i of both sides was judged on the same rows."""
        same_number = len(self.base.judged[score].replicates) == len(self.head.judged[score].replicates)
        return same_number and self.head_study.is_judged_on_the_same_rows(self.base_study)

    def compare_replicates(self, score: str) -> Estimate:
        """Head less base: a paired test where replicates are paired, else a test of two independent means."""
        head, base = self.head.judged[score].replicates, self.base.judged[score].replicates
        ratio = self.head_study.protocol.test_train_ratio
        if self.is_paired(score):
            return compare_replicates(head, base, test_train_ratio=ratio)
        before = resampled_mean(base, test_train_ratio=self.base_study.protocol.test_train_ratio)
        return welch(resampled_mean(head, test_train_ratio=ratio), before)


def pair_arms(base: Side, head: Side) -> dict[Key, Pair]:
    """The arms that both sides have, in the order of the head."""
    return {
        key: Pair(base.arms[key], arm, base.comparison[key.study], head.comparison[key.study])
        for key, arm in head.arms.items()
        if key in base.arms
    }
