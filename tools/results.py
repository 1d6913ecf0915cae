"""The answer of a pipeline for the terminal: per study its sentence, the arms that matter and their verdicts."""

from collections.abc import Iterator
from pathlib import Path

from stages.lib.answers import choose_arms, headline, order_studies
from stages.lib.comparison import COMPARISON, StudyResult, load_comparison
from stages.lib.scores import SCORES
from stages.lib.styles import name_arm
from stages.lib.summaries.series import load_facts

REPORT = Path("metrics/report.html")


def show() -> None:
    print(*tell_results(), sep="\n")
    if REPORT.is_file():
        print(f"\nFigures and tables: {REPORT} (make show)", end="")


def tell_results() -> Iterator[str]:
    """The lines of all studies; none in a project that has no comparison."""
    if not COMPARISON.is_file():
        return
    comparison = load_comparison()
    for name in reversed(order_studies(comparison)):  # a terminal shows the end
        study, facts = comparison[name], load_facts(name)
        rows = facts.studies[name].describe(study.protocol.fixed_test)
        yield ""
        yield f"{name}, {rows}: {headline(study, facts.confidence)}"
        yield from tabulate(study)


def tabulate(study: StudyResult) -> Iterator[str]:
    """A line for each arm that matters: both scores with the difference from its baseline, and the verdicts."""
    width = max(len(name_arm(*key)) for key in choose_arms(study))
    for key in choose_arms(study):
        cells = []
        for score, judged in study.find(key).judged.items():
            difference = f"{judged.difference.value:+.4f}" if judged.difference else ""
            cells.append(f"{SCORES[score].label} {judged.value:.4f} {difference:>8} {judged.verdict:<10}")
        yield f"  {name_arm(*key):<{width}}  {'  '.join(cells)}".rstrip()
