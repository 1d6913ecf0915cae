"""What README's commands print and take, and what its blocks show of that."""

import sys
from pathlib import Path

import pytest

from stages.lib.core.cli import UserError
from tools import readme

DIFF = """Path                  Metric                         HEAD     workspace  Change
metrics/metrics.json  thoracic.dropout.auc           0.6      0.7        0.1
metrics/metrics.json  thoracic.l2.auc                0.6      0.6        0
metrics/metrics.json  thoracic.dropout.log_loss      0.5      0.4        -0.1
"""
STEP = {"printed": "", "seconds": 90.0, "memory": 2.5e9}
TOUR = {
    "machine": {"cores": 2, "processor": "Example 1"},
    "commit": "abc1234",
    "disk": 4.2e9,
    "knob": "dropout=0.3",
    "install": STEP | {"seconds": 60.0, "memory": 1e9},
    "first": STEP | {"seconds": 541.0},
    "experiment": STEP,
    "again": STEP | {"printed": "[1/2] plan  0:00:01\nEverything is up to date after 0:01:30: 2 run\n"},
    "diff": STEP | {"printed": DIFF},
    "judge": STEP | {"printed": "mine.csv: 9 rows.\n[ 1/27] plan\n\nDoes a regulariser help? No.\n"},
    "review": "Better: 1 of 2 changed results.",
}


def test_a_step_has_what_its_command_printed_and_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "TICK", 0.05)
    code = "import time; block = bytes(range(256)) * 400_000; print(len(block)); time.sleep(0.5)"
    step = readme.measure_command(f"{sys.executable} -c '{code}'", tmp_path)
    assert step.printed == "102400000\n"
    assert step.seconds > 0.5
    assert step.memory > 100e6


def test_a_command_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ended with status -9"):
        readme.measure_command(f"{sys.executable} -c 'import os; os.kill(os.getpid(), 9)'", tmp_path)
    fails = f"{sys.executable} -c 'print(5); raise SystemExit(1)'"
    assert readme.measure_command(fails, tmp_path, ends_with=(0, 1)).printed == "5\n"


def test_disk_space_counts_a_file_with_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 1_000_000)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert 1_000_000 <= readme.measure_disk(tmp_path) < 1_200_000


def test_blocks_show_what_was_measured() -> None:
    assert readme.write_block("cost", tour=TOUR) == (
        "On 2 cores of Example 1 the first `make` took 10 minutes, 4.2 GB of disk and\n2.5 GB of memory "
        "(`make tour` at commit abc1234)."
    )
    change = readme.render_knob(TOUR).splitlines()
    assert change[2] == "Everything is up to date after 0:01:30: 2 run"
    assert [line.split()[1] for line in change[5:-3]] == ["thoracic.dropout.auc", "thoracic.dropout.log_loss"]
    table = readme.render_table(TOUR).splitlines()
    assert table[2:] == [
        "mine.csv: 9 rows.",
        "Does a regulariser help? No.",
        "```",
        "It took 1.5 minutes on the same machine.",
    ]
    assert readme.render_answers({"sentences": ["All.", "11 tables: a."]}) == "- **All.**"
