"""What the pipeline says in the end, in metrics/: written by compare and report, kept in git.

Apart from lib/artifacts.py, so that a change of what is told retrains nothing.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib import artifacts
from stages.lib.artifacts import read_bytes, write_bytes

METRICS = Path("metrics")


def round_number(value: float) -> float:
    """To the seven digits that float32 predictions carry."""
    return float(f"{value:.7g}")


def round_as_shown(values: Mapping[str, float]) -> dict[str, float]:
    """To the five decimals that `dvc metrics diff` shows: what looks the same there is the same, and is not listed."""
    return {name: round(float(value), 5) + 0.0 for name, value in values.items()}  # + 0.0: no negative zero


def round_all(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round_number(value) for name, value in values.items()}


def save_result(name: str, result: Mapping[str, object]) -> None:
    """name: metrics, comparison or paths. Numbers are finite, or this fails."""
    write_bytes(METRICS / f"{name}.json", (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())


def save_paths_table(paths: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> None:
    """The paths as one flat table, the form in which `dvc plots` can show them."""
    rows = [
        {"study": study, "variant": variant, **point}
        for study, variants in paths.items()
        for variant, points in variants.items()
        for point in points
    ]
    columns = ("study", "variant", "strength", "mean", "ci_low", "ci_high", "gap")
    table = pd.DataFrame(rows, columns=columns)
    write_bytes(METRICS / "paths.csv", table.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode())


def load_result(name: str) -> dict[str, Any]:
    return json.loads(read_bytes(METRICS / f"{name}.json", written_by="compare"))


def save_report(text: str) -> None:
    write_bytes(METRICS / "report.md", text.encode())


def prune_studies(studies: Sequence[str]) -> None:
    """Remove what studies that the plan no longer has have left, which would count as an input of compare."""
    for root in (artifacts.PROCESSED, artifacts.MODELS, artifacts.PREDICTIONS, artifacts.REFERENCE):
        for folder in sorted(root.glob("*")):
            if folder.is_dir() and folder.name not in studies:
                shutil.rmtree(folder)
