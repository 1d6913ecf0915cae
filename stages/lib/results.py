"""What the pipeline says in the end, in metrics/: written by compare and report, kept in git.

Apart from lib/artifacts.py, so that a change of what is told retrains nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.artifacts import read_bytes, write_bytes

METRICS = Path("metrics")


def save_result(name: str, result: Mapping[str, object]) -> None:
    """name: metrics, comparison or paths. Numbers are finite, or this fails."""
    write_bytes(METRICS / f"{name}.json", (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())


def load_result(name: str) -> dict[str, Any]:
    return json.loads(read_bytes(METRICS / f"{name}.json", written_by="compare"))


def save_report(text: str) -> None:
    write_bytes(METRICS / "report.md", text.encode())
