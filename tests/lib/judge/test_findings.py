"""What is found in a result: ends of paths, arms that answer alike, rows that were left out of training."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.lib.data.protocols import FixedTest, RepeatedStratifiedKFold
from stages.lib.judge.arms import ArmKey
from stages.lib.judge.findings import find_ends, find_without_spread, is_thinned
from stages.lib.judge.judge import Judge


def make_arm(probability: float, strengths: list[float] | None = None) -> Any:
    """Networks [4 replicates] that give the right class this probability on validation rows."""
    measured = {("log_loss", "validation"): np.full(4, -np.log(probability))}
    return SimpleNamespace(measured=measured, strengths={"l2": np.array(strengths or [])} if strengths else {})


CHOSEN = {  # strengths that replicates choose of 0.1, 1, 10 -> probability of the right class, whether it is told
    "the strongest helps": ([10, 10, 10, 1], 0.9, True),
    "the strongest hardly helps": ([10, 10, 10, 1], 0.701, False),
    "inside": ([1, 1, 10, 1], 0.9, False),
    "one end or the other": ([10, 0.1, 10, 0.1], 0.9, False),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_a_variant_is_told_whose_best_strength_is_mostly_an_end_and_helps_there(name: str) -> None:
    strengths, probability, is_told = CHOSEN[name]
    judge: Any = SimpleNamespace(
        plan=SimpleNamespace(searches=(), baseline="none", select_by="log_loss"),
        settings=SimpleNamespace(equivalence={"log_loss": 0.01}),
        arms={ArmKey("none", "at_knob"): make_arm(0.7), ArmKey("l2", "tuned"): make_arm(probability, strengths)},
    )
    judge.measure = partial(Judge.measure, judge)
    predicted: Any = {"none": None, "l2": SimpleNamespace(strengths={"l2": np.array([0.1, 1, 10])})}
    assert list(find_ends(judge, predicted)) == ["l2"] * is_told


@pytest.mark.parametrize(("training", "is_told"), [(None, False), (60, True), (64, False), (1000, False)])
def test_a_study_that_trains_on_fewer_rows_than_there_are_is_told(training: int | None, *, is_told: bool) -> None:
    protocol = RepeatedStratifiedKFold(folds=5, repeats=5, validation=0.2, training=training)
    judge: Any = SimpleNamespace(
        plan=SimpleNamespace(protocol=protocol), labels=SimpleNamespace(test=np.zeros((25, 20)))
    )
    assert is_thinned(judge) == is_told
    judge.plan.protocol = FixedTest(seeds=3, validation=0.2, training=500)
    assert not is_thinned(judge)


def test_a_variant_is_told_that_answers_as_its_baseline() -> None:
    def judge_one(value: float, width: float, verdict: str) -> Any:
        found = SimpleNamespace(verdict=verdict, own_low=value - width, own_high=value + width)
        return SimpleNamespace(judged={"auc": SimpleNamespace(difference=found)})

    arms = {
        ArmKey("none", "at_knob"): SimpleNamespace(judged={"auc": SimpleNamespace(difference=None)}),
        ArmKey("l1", "tuned"): judge_one(0.0, 0.1, "undecided"),
        ArmKey("l2", "at_knob"): judge_one(0.0, 0.0, "not_asked"),
        ArmKey("l2", "tuned"): judge_one(0.0, 0.0, "undecided"),
        ArmKey("ema", "tuned"): judge_one(0.2, 0.0, "undecided"),
    }
    result: Any = SimpleNamespace(list_arms=lambda: list(arms.items()))
    assert list(find_without_spread(result)) == ["l2", "ema"]
