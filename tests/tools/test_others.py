"""What other tables say of one: a table is no witness for itself, and one that differs from them is told so."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.lib.judge.arms import TUNED, ArmKey
from stages.lib.judge.comparison import Difference, StudyResult
from tests.made import make_studies
from tools.judge import others

OTHERS = [
    Difference(value, value - 0.02, value + 0.02, p_value=0.1) for value in (-0.03, -0.02, -0.025, -0.01, -0.02, -0.03)
]


def test_an_effect_is_drawn_towards_those_of_other_tables() -> None:
    told = others.tell_arm(ArmKey("l2", TUNED), Difference(0.01, -0.03, 0.05, p_value=0.6), OTHERS)
    assert "on 6 other public tables -0.023 on average; if this table is like them, -0." in told


def test_a_table_that_differs_from_the_others_is_not_drawn_towards_them() -> None:
    told = others.tell_arm(ArmKey("l2", TUNED), Difference(0.5, 0.4, 0.6, p_value=1e-9), OTHERS)
    assert told.endswith("this table differs from them, so they say nothing about it.")


def test_a_table_of_the_same_rows_is_left_out(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data/source").mkdir(parents=True)
    for name, rows in (("mine", "a,b\n2,1\n1,1\n"), ("same", "a,b\n1,1\n2,1\n"), ("other", "a,b\n1,1\n2,2\n")):
        Path(f"data/source/{name}.csv").write_text(rows)
    (made, _), _ = make_studies()
    named: dict[str, StudyResult] = {name: replace(made, dataset=f"tables/{name}") for name in ("same", "other")}
    monkeypatch.setattr(others, "load_comparison", lambda *names: named)
    left = list(others.list_others(replace(made, dataset="mine")))
    assert [one.dataset for one in left] == ["tables/other"]
