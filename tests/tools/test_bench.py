"""The benchmark: a small workload in quick mode, and what is computed from results. Nothing here judges a duration."""

from unittest.mock import Mock

import pytest

from tools.bench import __main__ as bench

SPREAD = {"min", "median", "max"}


def line(seconds: float) -> bench.Measured:
    return {"seconds": seconds, "seconds_with_compilation": seconds + 1, "memory_mb": 500.0}


def test_quick_run_has_the_documented_fields(monkeypatch):
    """Two contenders in processes of their own, which do not find what stands in a module that is run."""
    assert bench.measure_rounds.__module__ == "tools.bench.contenders"
    monkeypatch.setattr(bench, "list_round", lambda: [("sklearn", "table"), ("lanes", "table")])
    monkeypatch.setattr("sys.argv", ["bench", "--quick", "--rounds", "1"])
    monkeypatch.setattr(bench, "render_bench", shown := Mock())
    bench.main()
    measured = shown.call_args.args[0]
    assert set(measured) == {"machine", "rounds", "workloads"}
    assert {"processor", "cores", "system", "python", "versions"} == set(measured["machine"])
    assert set(measured["workloads"]["table"]) == {"work", "contenders"}
    contenders = measured["workloads"]["table"]["contenders"]
    assert set(contenders) == {"sklearn", "lanes"}
    for contender in contenders.values():
        spreads = ("seconds", "seconds_with_compilation", "times_lanes", "times_lanes_with_compilation")
        assert set(contender) == {*spreads, "memory_mb"}
        assert all(0 < contender[name]["min"] <= contender[name]["max"] for name in spreads)
        assert contender["memory_mb"] > 50
    assert contenders["lanes"]["times_lanes"] == dict.fromkeys(SPREAD, 1)
    assert contenders["lanes"]["seconds_with_compilation"]["median"] > contenders["lanes"]["seconds"]["median"]


def test_ratios_are_taken_within_a_round_and_put_into_a_table():
    """A machine that is twice as slow in the second round is so for all."""
    results = {
        ("stock", "thoracic"): [line(10), line(20), line(9)],
        ("sklearn", "thoracic"): [line(1), line(2), line(1)],
        ("lanes", "thoracic"): [line(0.1), line(0.2), line(0.1)],
    }
    report = bench.report(results, rounds=3)
    ratios = report["workloads"]["thoracic"]["contenders"]["stock"]["times_lanes"]
    assert ratios == pytest.approx({"min": 90, "median": 100, "max": 100})
    assert bench.render_bench(report).splitlines()[3] == "| thoracic | 0.1 (1.1) | 100 (10) | 10 (1.82) |  |"


def test_without_jax_its_runs_are_left_out(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert bench.list_round()
    assert not [run for run in bench.list_round() if run[0] == "jax"]
