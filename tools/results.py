"""The results of a pipeline as tables for the terminal: metrics/metrics.json, one table per study."""

import json
from collections.abc import Iterator
from pathlib import Path

METRICS = Path("metrics/metrics.json")
REPORT = Path("metrics/report.md")
NUM_SCORES = 8  # columns that fit 120 characters


Metrics = dict[str, dict[str, float | str]]  # of a study: variant -> score -> mean, or verdict


def load_metrics() -> dict[str, Metrics]:
    """study -> variant -> score -> mean, or verdict; empty in a project that has no such file."""
    return json.loads(METRICS.read_text(encoding="utf-8")) if METRICS.is_file() else {}


def tabulate(study: str, variants: Metrics) -> Iterator[str]:
    """The lines of a table: a row per variant, a column per score; verdicts are left to the report."""
    numbers = [name for scores in variants.values() for name, value in scores.items() if not isinstance(value, str)]
    names = list(dict.fromkeys(numbers))[:NUM_SCORES]
    words = [["variant"], *(name.split("_") for name in names)]  # one below the other, so that columns are narrow
    height = max(map(len, words))
    rows = [list(line) for line in zip(*([""] * (height - len(word)) + word for word in words), strict=True)]
    rows += [
        [variant, *(f"{scores[name]:.4f}" if name in scores else "" for name in names)]
        for variant, scores in variants.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield f"{study}, held-out means at the knob"
    for variant, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([variant.ljust(widths[0]), *padded]).rstrip()


def show() -> None:
    """Print the table of each study, and where the report is; nothing in a project that has none."""
    for study, variants in load_metrics().items():
        print("", *tabulate(study, variants), sep="\n")
    if REPORT.is_file():
        print(f"\nDifferences, verdicts and tuned strengths: {REPORT}", end="")
