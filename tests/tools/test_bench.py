"""The benchmark: a small workload in quick mode, and what is computed from results. Nothing here judges a duration."""

import pytest

from tools.bench import __main__ as bench

SPREAD = {"min", "median", "max"}


def line(seconds: float, memory: float = 500.0) -> bench.Measured:
    return {"seconds": seconds, "seconds_with_compilation": seconds + 1, "memory_mb": memory}


def test_quick_run_has_the_documented_fields():
    """Two contenders in processes of their own."""
    runs = ["sklearn-thoracic", "lanes-thoracic-50"]
    measured = bench.report(bench.measure_rounds(runs, rounds=1, quick=True), rounds=1)
    assert set(measured) == {"machine", "rounds", "workloads", "targets"}
    assert {"processor", "cores", "system", "python", "versions"} == set(measured["machine"])
    assert set(measured["workloads"]["thoracic-50"]) == {"description", "contenders"}
    contenders = measured["workloads"]["thoracic-50"]["contenders"]
    assert set(contenders) == {"sklearn", "lanes"}
    for contender in contenders.values():
        spreads = ("seconds", "seconds_with_compilation", "times_lanes", "times_lanes_with_compilation")
        assert set(contender) == {*spreads, "memory_mb", "extrapolated_from"}
        assert all(0 < contender[name]["min"] <= contender[name]["max"] for name in spreads)
        assert contender["memory_mb"] > 50
    assert contenders["lanes"]["times_lanes"] == dict.fromkeys(SPREAD, 1)
    assert contenders["lanes"]["seconds_with_compilation"]["median"] > contenders["lanes"]["seconds"]["median"]


def test_ratios_are_taken_within_a_round_and_put_into_a_table():
    """A machine that is twice as slow in the second round is so for both."""
    results = {
        "stock-thoracic": [line(10), line(20), line(12)],
        "sklearn-thoracic": [line(1), line(2), line(1)],
        "lanes-thoracic-400": [line(0.1), line(0.2), line(0.1)],
    }
    ratios = bench.divide(results, "stock-thoracic", "lanes-thoracic-400")
    assert ratios == pytest.approx({"min": 100, "median": 100, "max": 120})
    assert bench.render_bench(bench.report(results, rounds=3)).splitlines()[2] == "| thoracic-400 | 0.1 | 100 | 10 |  |"


@pytest.mark.parametrize(("memory", "met"), [(1999.0, True), (2001.0, False)])
def test_targets(memory, met):
    """The worst memory of all rounds counts; targets of runs that were not done are left out."""
    results = {"lanes-thoracic-400": [line(0.1), line(0.1, memory)], "stock-thoracic": [line(9), line(9)]}
    targets = bench.report(results, rounds=2)["targets"]
    assert targets["Thoracic, 400 lanes: memory, MB"] == {"value": memory, "at_most": 2000, "met": met}
    assert targets["Thoracic, 400 lanes: stock fit / lanes"] == {"value": 90, "at_least": 100, "met": False}
    assert len(targets) == 2
    printed = [bench.render_target(*entry) for entry in targets.items()]
    assert printed[0] == "MISSED  Thoracic, 400 lanes: stock fit / lanes: 90, at least 100"


def test_without_jax_its_runs_are_left_out(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert bench.list_round()
    assert not [run for run in bench.list_round() if run.startswith("jax")]
