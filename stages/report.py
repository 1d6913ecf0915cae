"""Write what a person reads: per study the table of its arms, and per arm a sentence that follows from its verdict.

Reads   metrics/{metrics,comparison,paths}.json
Writes  metrics/report.md
"""

import statistics
from collections import Counter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib import results
from stages.lib.commands import parse_arguments, run_main
from stages.lib.wording import ARMS, SCORES

Json = dict[str, Any]

OUTCOMES = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "makes no difference that matters to",
    "undecided": "is not to be told from",
}


def run(metrics: Json, comparison: Json, paths: Json) -> str:
    """The report in Markdown."""
    environment = Environment(
        loader=PackageLoader("stages"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"signed": sign_number, "strength": describe_strength}
    studies = {
        study: describe_study(metrics[study], arms) | {"paths": paths[study]} for study, arms in comparison.items()
    }
    return environment.get_template("report.md.jinja").render(studies=studies)


def describe_study(metrics: Json, comparison: Json) -> Json:
    """What the template says of one study."""
    rows = [
        {"variant": variant, "kind": kind, "arm": ARMS[kind], **arm}
        for variant, arms in comparison.items()
        for kind, arm in arms.items()
    ]
    baseline = next(row for row in rows if row["verdict"] == "baseline")
    order = sorted(rows, key=lambda row: -row["value"])
    return {
        "score": SCORES[baseline["metric"]],
        "baseline": baseline,
        "protocol": baseline["protocol"],
        "no_skill": metrics["no_skill"],
        "rows": order,
        "summary": summarize(order, metrics["no_skill"]),
        "sentences": [tell(row, baseline["variant"]) for row in order if row is not baseline],
    }


def summarize(rows: list[Json], no_skill: Json) -> str:
    """What the study says as a whole; rows are sorted, the best first."""
    arms = [row for row in rows if row["kind"] != "reference" and row["verdict"] != "baseline"]
    if not arms:
        return "No arm stands beside the baseline."
    counts = Counter(row["verdict"] for row in arms)
    reach = statistics.median((row["ci_high"] - row["ci_low"]) / 2 for row in arms)
    references = [row for row in rows if row["kind"] == "reference" and row["variant"] != "majority"]
    parts = [
        f"Of {len(arms)} arms of networks " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in OUTCOMES) + ".",
        f"The best is {tell_scores(arms[0], no_skill)}.",
        f"The best of scikit-learn is {tell_scores(references[0], no_skill)}." if references else "",
        f"The median interval reaches {reach:.4f} to each side: smaller differences can hardly be told here.",
        tell_limit(arms[0]),
    ]
    return " ".join(part for part in parts if part)


def tell_limit(row: Json) -> str:
    """What more repetitions cannot do: a part of Nadeau and Bengio's correction stays whatever their number."""
    ratio, repeated = row["test_train_ratio"], 1 / len(row["replicates"])
    if ratio == 0:
        return ""
    return (
        f"More repetitions would hardly narrow them: {ratio / (ratio + repeated):.0%} of an interval's variance stands "
        "for the training rows that folds share, and only more patients would lessen it."
    )


def tell_scores(row: Json, no_skill: Json) -> str:
    """`l2 tuned: AUC 0.6700, Brier 0.1200 (no skill 0.1268)`."""
    return (
        f"{row['variant']} {row['arm']}: {SCORES[row['metric']]} {row['value']:.4f}, "
        f"Brier {row['scores']['brier']:.4f} (no skill {no_skill['brier']:.4f})"
    )


def tell(row: Json, baseline: str) -> str:
    """One sentence on an arm, as its verdict has it."""
    score, verdict = SCORES[row["metric"]], row["verdict"]
    who = f"**{row['variant']}** {row['arm']}"
    interval = f"{sign_number(row['ci_low'])} to {sign_number(row['ci_high'])}"
    return (
        f"{who} {OUTCOMES[verdict]} {baseline}: {score} {sign_number(row['difference'])} ({interval}, "
        f"adjusted p {format_p(row['p_adjusted'])}).{tell_mechanisms(row)}"
    )


def tell_mechanisms(row: Json) -> str:
    """What the regulariser did inside, where it did something."""
    found = row["mechanisms"]
    if not found:
        return ""
    said = []
    if found["zero_share"] >= 0.005:
        said.append(f"{found['zero_share']:.0%} of the weights are exactly zero")
    if found["bound_share"] >= 0.005:
        said.append(f"{found['bound_share']:.0%} of the bounded units are at their bound")
    if found["stopped_early"] > 0:
        said.append(
            f"{found['stopped_early']:.0%} of the lanes stopped early; {found['epochs_run']:.1f} epochs on average"
        )
    if found["diverged"] > 0:
        said.append(f"{found['diverged']:.0%} of the lanes diverged")
    return f" {'; '.join(said)}." if said else ""


def describe_strength(strengths: list[float]) -> str:
    """The range of the strengths that the replicates chose."""
    return f"{strengths[0]:g}" if len(strengths) == 1 else f"{strengths[0]:g} to {strengths[-1]:g}"


def sign_number(value: float) -> str:
    """Four decimals with the sign."""
    return f"{value:+.4f}"


def format_p(p: float) -> str:
    return "under 0.0001" if p < 0.0001 else f"{p:.4f}"


def main() -> None:
    parse_arguments(__doc__)
    results.save_report(run(*(results.load_result(name) for name in ("metrics", "comparison", "paths"))))


if __name__ == "__main__":
    run_main(main)
