"""The benchmark: a small workload in quick mode, and what is computed from results. Nothing here judges a duration."""

import json
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from tools.bench import __main__ as bench

SPREAD = {"min", "median", "max"}


def line(seconds: float, memory: float = 500.0) -> bench.Measured:
    return {"seconds": seconds, "seconds_with_compilation": seconds + 1, "memory_mb": memory}


def test_quick_run_has_the_documented_fields():
    """Two contenders in processes of their own; the same dictionary is written and printed."""
    runs = ["sklearn-thoracic", "lanes-thoracic-50"]
    found = json.loads(json.dumps(bench.report(bench.measure_rounds(runs, rounds=1, quick=True), rounds=1)))
    assert set(found) == {"machine", "rounds", "workloads", "targets"}
    assert {"processor", "cores", "system", "python", "versions"} == set(found["machine"])
    workload = found["workloads"]["thoracic-50"]
    assert set(workload) == {"description", "contenders"}
    assert set(workload["contenders"]) == {"sklearn", "lanes"}
    for contender in workload["contenders"].values():
        spreads = ("seconds", "seconds_with_compilation", "times_lanes", "times_lanes_with_compilation")
        assert set(contender) == {*spreads, "memory_mb", "extrapolated_from"}
        for name in spreads:
            assert set(contender[name]) == SPREAD
            assert 0 < contender[name]["min"] <= contender[name]["median"] <= contender[name]["max"]
        assert contender["memory_mb"] > 50
    lanes = workload["contenders"]["lanes"]
    assert lanes["times_lanes"] == dict.fromkeys(SPREAD, 1)
    assert lanes["seconds_with_compilation"]["median"] > lanes["seconds"]["median"]
    console = Console(width=80, record=True, file=StringIO())
    bench.print_bench(found, console)
    printed = console.export_text()
    assert "MLPClassifier" in printed and "…" not in printed


def test_ratios_are_taken_within_a_round():
    """A machine that is twice as slow in the second round is so for both."""
    results = {
        "stock-thoracic": [line(10), line(20), line(12)],
        "lanes-thoracic-400": [line(0.1), line(0.2), line(0.1)],
    }
    ratios = bench.divide(results, "stock-thoracic", "lanes-thoracic-400")
    assert ratios == pytest.approx({"min": 100, "median": 100, "max": 120})


@pytest.mark.parametrize(("memory", "met"), [(1999.0, True), (2001.0, False)])
def test_targets(memory, met):
    """The worst memory of all rounds counts; targets of runs that were not done are left out."""
    results = {"lanes-thoracic-400": [line(0.1), line(0.1, memory)], "stock-thoracic": [line(9), line(9)]}
    targets = bench.report(results, rounds=2)["targets"]
    assert targets["Thoracic, 400 lanes: memory, MB"] == {"value": memory, "at_most": 2000, "met": met}
    assert targets["Thoracic, 400 lanes: stock fit / lanes"] == {"value": 90, "at_least": 100, "met": False}
    assert len(targets) == 2


def test_without_jax_its_runs_are_left_out(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert bench.list_runs()
    assert not [run for run in bench.list_runs() if run.startswith("jax")]


def test_an_unknown_run_is_named():
    command = [sys.executable, "-m", "tools.bench", "--run", "lanes-iris-3"]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: lanes-iris-3: no such run, expected one of stock-thoracic,")
