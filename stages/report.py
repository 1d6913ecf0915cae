"""Write what a person reads: per study the table of its arms, and per arm a sentence that follows from its verdict.

Reads   metrics/comparison.json, metrics/paths.csv
Writes  metrics/report.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib.arms import REFERENCE
from stages.lib.base.commands import parse_arguments, run_main
from stages.lib.base.store import write_bytes
from stages.lib.comparison import (
    FOLDER,
    ArmResult,
    Comparison,
    Difference,
    PathPoint,
    StudyResult,
    Verdict,
    load_comparison,
    load_paths,
)
from stages.lib.scores import SCORES
from stages.lib.wording import ARMS, describe_rows, name_strengths

OUTCOMES: dict[Verdict, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "makes no difference that matters compared with",
    "undecided": "cannot be distinguished from",
}


class Row(NamedTuple):
    """One arm of a study, as the tables show it."""

    variant: str
    kind: str
    result: ArmResult


def run(comparison: Comparison, paths: Sequence[PathPoint]) -> str:
    """The report in Markdown."""
    environment = Environment(
        loader=PackageLoader("stages"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"signed": sign_number, "strengths": name_strengths}
    studies = {
        name: describe_study(result) | {"paths": [point for point in paths if point.study == name]}
        for name, result in comparison.items()
    }
    return environment.get_template("report.md.jinja").render(studies=studies, arms=ARMS)


def describe_study(study: StudyResult) -> dict[str, Any]:
    """What the template says of one study."""
    rows = sorted((Row(*key, result) for key, result in study.list_arms()), key=lambda row: -row.result.value)
    if not SCORES[study.primary].greater_is_better:
        rows.reverse()
    return {
        "score": SCORES[study.primary].label,
        "protocol": describe_rows(study),
        "no_skill": study.no_skill[study.primary],
        "rows": rows,
        "summary": summarize(rows, study),
        "sentences": [tell(row, row.result.difference, study) for row in rows if row.result.difference],
    }


def summarize(rows: Sequence[Row], study: StudyResult) -> str:
    """What the study says as a whole; rows are sorted, the best first."""
    judged = [row for row in rows if row.kind != REFERENCE and row.result.difference]
    differences = [row.result.difference for row in judged if row.result.difference]
    if not differences:
        return "The baseline is the only arm."
    counts = Counter(difference.verdict for difference in differences)
    reach = np.median([(difference.ci_high - difference.ci_low) / 2 for difference in differences])
    references = [row for row in rows if row.kind == REFERENCE]
    parts = [
        f"Of {len(judged)} arms of networks " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in OUTCOMES) + ".",
        f"The best is {tell_scores(judged[0], study)}.",
        f"The best reference model is {tell_scores(references[0], study)}." if references else "",
        f"The median interval reaches {reach:.4f} to each side: smaller differences can hardly be seen here.",
        tell_limit(study),
    ]
    return " ".join(part for part in parts if part)


def tell_limit(study: StudyResult) -> str:
    """What more repetitions cannot do: a part of Nadeau and Bengio's correction stays whatever their number."""
    ratio, repeated = study.protocol.test_train_ratio, 1 / study.protocol.num_replicates
    if ratio == 0:
        return ""
    return (
        f"More repetitions would hardly narrow it: {ratio / (ratio + repeated):.0%} of an interval's variance comes "
        "from the training rows that folds share, and only more rows would reduce it."
    )


def tell_scores(row: Row, study: StudyResult) -> str:
    """`l2 tuned: AUC 0.6700, Brier score 0.1200 (no skill 0.1268)`."""
    return (
        f"{row.variant} {ARMS[row.kind]}: {SCORES[study.primary].label} {row.result.value:.4f}, "
        f"{SCORES['brier'].label} {row.result.scores['brier']:.4f} (no skill {study.no_skill['brier']:.4f})"
    )


def tell(row: Row, difference: Difference | None, study: StudyResult) -> str:
    """One sentence on an arm, as its verdict has it."""
    assert difference is not None
    interval = f"{sign_number(difference.ci_low)} to {sign_number(difference.ci_high)}"
    return (
        f"**{row.variant}** {ARMS[row.kind]} {OUTCOMES[difference.verdict]} {study.baseline}: "
        f"{SCORES[study.primary].label} {sign_number(difference.value)} ({interval}, "
        f"adjusted p {format_p(difference.p_adjusted)}).{tell_mechanisms(row.result.mechanisms)}"
    )


def tell_mechanisms(found: dict[str, float]) -> str:
    """What the regulariser did inside the network, where it did something."""
    if not found:
        return ""
    said = []
    if found["zero_share"] >= 0.005:
        said.append(f"{found['zero_share']:.0%} of the weights are exactly zero")
    if found["bound_share"] >= 0.005:
        said.append(f"{found['bound_share']:.0%} of the units that it bounds are at their bound")
    if found["stopped_early"] > 0:
        said.append(
            f"{found['stopped_early']:.0%} of the networks stopped early; {found['epochs_run']:.1f} epochs on average"
        )
    if found["diverged"] > 0:
        said.append(f"{found['diverged']:.0%} of the networks diverged")
    return f" {'; '.join(said)}." if said else ""


def sign_number(value: float) -> str:
    """Four decimals with the sign."""
    return f"{value:+.4f}"


def format_p(p: float) -> str:
    return "below 0.0001" if p < 0.0001 else f"{p:.4f}"


def main() -> None:
    parse_arguments(__doc__)
    write_bytes(FOLDER / "report.md", run(load_comparison(), load_paths()).encode())


if __name__ == "__main__":
    run_main(main)
