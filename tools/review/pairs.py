"""An arm that both sides of a review have, and the test of its difference."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lib import statistics
from stages.lib.comparison import ArmResult, StudyResult
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
    def has_same_primary(self) -> bool:
        return self.base_study.primary == self.head_study.primary

    @property
    def has_moved(self) -> bool:
        return self.base.replicates != self.head.replicates

    @property
    def verdicts(self) -> tuple[str, str]:
        """The verdicts against the study's own baseline, at the base and at the head."""
        return self.base.verdict, self.head.verdict

    @property
    def is_paired(self) -> bool:
        """Whether replicate i of both sides was judged on the same rows."""
        same_number = len(self.base.replicates) == len(self.head.replicates)
        return same_number and self.head_study.is_judged_on_the_same_rows(self.base_study)

    def compare(self, *, alpha: float) -> statistics.Comparison:
        """Head less base: a paired test where replicates are paired, else a test of two independent means."""
        if self.is_paired:
            ratio = self.head_study.protocol.test_train_ratio
            return statistics.compare(self.head.replicates, self.base.replicates, test_train_ratio=ratio, alpha=alpha)
        head, base = (
            statistics.resampled_mean(arm.replicates, test_train_ratio=study.protocol.test_train_ratio)
            for arm, study in ((self.head, self.head_study), (self.base, self.base_study))
        )
        return statistics.compare_unpaired(head, base, alpha=alpha)


def pair_arms(base: Side, head: Side) -> dict[Key, Pair]:
    """The arms that both sides have, in the order of the head."""
    return {
        key: Pair(base.arms[key], arm, base.comparison[key.study], head.comparison[key.study])
        for key, arm in head.arms.items()
        if key in base.arms
    }
