"""What is found in a result: arms that answer alike, rows that were left out of training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.lib.data.protocols import FixedTest, RepeatedStratifiedKFold
from stages.lib.judge.arms import ArmKey
from stages.lib.judge.findings import find_without_spread, is_thinned


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
        ArmKey("l1", "tuned"): judge_one(0.0, 0.1, "inconclusive"),
        ArmKey("l2", "at_knob"): judge_one(0.0, 0.0, "not_asked"),
        ArmKey("l2", "tuned"): judge_one(0.0, 0.0, "inconclusive"),
        ArmKey("ema", "tuned"): judge_one(0.2, 0.0, "inconclusive"),
    }
    result: Any = SimpleNamespace(list_arms=lambda: list(arms.items()))
    assert list(find_without_spread(result)) == ["l2", "ema"]
