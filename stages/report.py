"""Write metrics/report.md: per study the conclusions, in sentences made from verdicts, and the table of its arms.

Reads   metrics/{comparison,audit}.json, metrics/paths.csv
Writes  metrics/report.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib.answers import answer, rank_arms
from stages.lib.audit.record import ClaimResult, Figure, load_audit
from stages.lib.base.commands import parse_arguments, run_main
from stages.lib.base.store import write_bytes
from stages.lib.comparison import FOLDER, Comparison, Difference, PathPoint, StudyResult, load_comparison, load_paths
from stages.lib.scores import SCORES
from stages.lib.wording import ARMS, QUESTIONS, describe_rows, name_strengths, sign_number


def run(comparison: Comparison, paths: Sequence[PathPoint], audit: Sequence[ClaimResult] = ()) -> str:
    """The report in Markdown."""
    environment = Environment(
        loader=PackageLoader("stages"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"signed": sign_number, "strengths": name_strengths, "difference": describe_difference}
    environment.filters |= {"figure": describe_figure}
    studies = {name: describe_study(name, study, paths) for name, study in comparison.items()}
    return environment.get_template("report.md.jinja").render(studies=studies, arms=ARMS, audit=audit)


def describe_study(name: str, study: StudyResult, paths: Sequence[PathPoint]) -> dict[str, Any]:
    """What the template says of one study."""
    return {
        "protocol": describe_rows(study),
        "scores": [(score, SCORES[score].label, QUESTIONS[question]) for question, score in study.scores.items()],
        "no_skill": study.no_skill,
        "rows": rank_arms(study),
        "answer": answer(study),
        "mechanisms": [
            f"**{key.variant}** {ARMS[key.kind]}: {said}."
            for key, result in rank_arms(study)
            if (said := tell_mechanisms(result.mechanisms))
        ],
        "tuned": [(key, arm.optimism) for key, arm in rank_arms(study) if arm.optimism],
        "paths": [point for point in paths if point.study == name],
    }


def describe_difference(difference: Difference | None) -> str:
    """`+0.0123 (+0.0010 to +0.0236)`; empty for an arm that is compared with none."""
    if difference is None:
        return ""
    return (
        f"{sign_number(difference.value)} ({sign_number(difference.ci_low)} to {sign_number(difference.ci_high)}), "
        f"{difference.verdict}"
    )


def describe_figure(figure: Figure | None) -> str:
    """`held-out accuracy 0.8511 (0.8156 to 0.882), thoracic`; empty where there is none."""
    if figure is None:
        return ""
    unit = f" {figure.unit}" if figure.unit else ""
    where = ", ".join(part for part in (figure.study, figure.variant, ARMS.get(figure.arm, figure.arm)) if part)
    numbers = f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g}){unit}"
    return f"{figure.label}: {numbers}" + (f"; {where}" if where else "")


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
    return "; ".join(said)


def main() -> None:
    parse_arguments(__doc__)
    write_bytes(FOLDER / "report.md", run(load_comparison(), load_paths(), load_audit()).encode())


if __name__ == "__main__":
    run_main(main)
