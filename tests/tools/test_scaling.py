"""A made-up clock over the order of work of real runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import scaling


@pytest.fixture
def pipeline() -> SimpleNamespace:
    upstream = {"head": set[str](), **{name: {"head"} for name in "abcd"}, "tail": set("abcd")}
    return SimpleNamespace(stages=dict.fromkeys(upstream), upstream=upstream, seconds=dict.fromkeys(upstream, 1.0))


def test_time_falls_with_workers_down_to_the_longest_way(
    pipeline: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling, "SECONDS_AT_HOME", 0.0)
    seconds = dict.fromkeys(pipeline.stages, 10.0)
    found = [scaling.Simulation(pipeline, seconds, workers=workers).measure() for workers in (1, 2, 4, 8)]
    assert found == pytest.approx([60, 40, 30, 30])
    assert scaling.find_longest_way(pipeline, seconds) == 30


def test_what_home_does_is_done_one_after_the_other(
    pipeline: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling, "SECONDS_AT_HOME", 2.0)
    seconds = dict.fromkeys(pipeline.stages, 10.0)
    assert scaling.Simulation(pipeline, seconds, workers=64).measure() == pytest.approx(42)
    assert not scaling.SECONDS.exists()
