"""The results of a pipeline as tables: metrics/metrics.json, one table per study."""

import json
from pathlib import Path

from rich.table import Table
from rich.text import Text

METRICS = Path("metrics/metrics.json")
NO_SKILL = "no_skill"  # the row that knows the base rates alone
NUM_SCORES = 8  # columns that fit 120 characters


def load_metrics() -> dict[str, dict[str, dict[str, float]]]:
    """study -> variant -> score -> mean; empty in a project that has no such file."""
    return json.loads(METRICS.read_text(encoding="utf-8")) if METRICS.is_file() else {}


def tabulate(study: str, variants: dict[str, dict[str, float]]) -> Table:
    """A row per variant, a column per score."""
    names = list(dict.fromkeys(name for scores in variants.values() for name in scores))[:NUM_SCORES]
    table = Table(
        title=f"{study}, held-out means at the knob",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("variant", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for variant, scores in variants.items():
        cells = (f"{scores[name]:.4f}" if name in scores else "" for name in names)
        table.add_row(Text(variant), *cells, style="dim" if variant == NO_SKILL else "")
    return table
