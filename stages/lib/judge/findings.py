"""What a reader of a study's result has to know: whether there is anything to cure, and what it could have shown."""

from __future__ import annotations

from collections.abc import Iterator

from stages.lib.data.checks import Check
from stages.lib.judge.arms import REFERENCE
from stages.lib.judge.comparison import StudyResult
from stages.lib.judge.judge import Judge

OVERFITS = 0.5  # training loss at the end, as a share of that on held-out rows, under which a network has overfitted


def check_result(judge: Judge, result: StudyResult) -> Iterator[Check]:
    """Findings in a study's result."""
    score = result.scores["probabilities"]
    at_end = result.arms[result.baseline].get("to_end")
    if at_end and (loss := at_end.judged[score].value) > 0:
        share = 1 + at_end.scores["gap"] / loss
        if share > OVERFITS:
            yield Check("no_overfitting", (), share)
    networks = [arm for key, arm in result.list_arms() if key.kind != REFERENCE]
    if not any(judged.skill.verdict == "better" for arm in networks for judged in arm.judged.values()):
        yield Check("no_skill")
    if same := tuple(dict.fromkeys(find_without_spread(result))):
        yield Check("no_spread", same)
    if is_thinned(judge):
        yield Check("thinned", (), judge.plan.protocol.training or 0)
    if score in result.reach:
        reach = result.reach[score]
        yield Check("reach", (score,), reach.detectable)
        if reach.margin > reach.wanted:
            yield Check("margin", (score,), reach.margin)


def find_without_spread(result: StudyResult) -> Iterator[str]:
    """Variants that are inconclusive since they differ from their baseline by the same in every row, mostly by 0."""
    for key, arm in result.list_arms():
        for found in (judged.difference for judged in arm.judged.values()):
            if found and found.verdict == "inconclusive" and found.own_low == found.own_high:
                yield key.variant


def is_thinned(judge: Judge) -> bool:
    """Whether cross-validation trains on fewer rows than the table has."""
    protocol, num_held_out = judge.plan.protocol, judge.labels.test.shape[1]
    training = getattr(protocol, "training", None)  # a protocol of one's own may know no such number
    if protocol.fixed_test or not training:
        return False
    return training < (1 - protocol.validation) * num_held_out / protocol.test_train_ratio - 1
