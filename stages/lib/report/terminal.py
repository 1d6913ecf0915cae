"""The answer for a terminal: per study its sentence, the arms that matter and their verdicts."""

from __future__ import annotations

from collections.abc import Iterator

from stages.lib.judge.comparison import Comparison, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.answers import choose_arms, headline, order_studies
from stages.lib.report.series import Facts
from stages.lib.report.styles import name_arm


def tell_answer(comparison: Comparison, facts: Facts) -> str:
    """The lines of all studies."""
    lines = []
    for name in reversed(order_studies(comparison)):  # a terminal shows the end
        study = comparison[name]
        rows = facts.studies[name].describe(study.protocol.fixed_test)
        lines += ["", f"{name}, {rows}: {headline(study, facts.confidence)}", *tabulate(study)]
    return "\n".join(lines) + "\n"


def tabulate(study: StudyResult) -> Iterator[str]:
    """A line for each arm that matters: both scores with the difference from its baseline, and the verdicts."""
    width = max(len(name_arm(*key)) for key in choose_arms(study))
    for key in choose_arms(study):
        cells = []
        for score, judged in study.find(key).judged.items():
            difference = f"{judged.difference.value:+.4f}" if judged.difference else ""
            cells.append(f"{SCORES[score].label} {judged.value:.4f} {difference:>8} {judged.verdict:<10}")
        yield f"  {name_arm(*key):<{width}}  {'  '.join(cells)}".rstrip()
