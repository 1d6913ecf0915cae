"""Score every arm of every study on its held-out rows, and say which differences from the baseline are real.

Reads   data/plan/_statistics.json, data/plan/<study>/_study.json, data/predictions/<study>/, data/reference/<study>/
Writes  metrics/metrics.json      study -> variant -> score, means over replicates at the knob
        metrics/comparison.json   study -> variant -> arm -> difference from the baseline, interval, verdict
        metrics/paths.json        study -> variant -> the primary score at each strength, with its interval
        metrics/paths.csv         the same as a table, for `dvc plots`
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.lib import artifacts, results, scores, statistics
from stages.lib.arms import (
    Arm,
    arm_at,
    arm_of_reference,
    choose_strength,
    contributions,
    measure,
    num_strengths,
    registry,
)
from stages.lib.commands import parse_arguments, run_main
from stages.lib.plans import StatisticsPlan, StudyPlan
from stages.lib.predictions import Labels, Predictions, ReferencePredictions
from stages.lib.results import round_all, round_as_shown, round_number

Json = dict[str, Any]

NO_SKILL = "no_skill"  # the row of a study's metrics that knows the shares of the classes alone
AT_KNOB, TUNED, REFERENCE = "at_knob", "tuned", "reference"
SHOWN = ("auc", "accuracy", "average_precision", "brier", "log_loss", "calibration_error", "g_mean")  # and the gap


@dataclass(frozen=True)
class Study:
    """All that is known of a study once its networks have answered."""

    plan: StudyPlan
    statistics: StatisticsPlan
    labels: Labels
    predictions: dict[str, Predictions]
    references: dict[str, ReferencePredictions]

    @property
    def outputs(self) -> int:
        return self.predictions[self.plan.baseline].test.shape[-1]

    @property
    def fixed_test(self) -> bool:
        return self.plan.protocol.kind == "fixed_test"

    @property
    def test_train_ratio(self) -> float:
        """Held-out rows / development rows of a fold, 1 / (k - 1); 0 where the test rows are fixed."""
        return 0.0 if self.fixed_test else 1 / (self.plan.protocol.folds - 1)

    @property
    def alpha(self) -> float:
        return 1 - self.statistics.confidence

    def primary(self, arm: Arm) -> np.ndarray:
        """The primary score on held-out rows as the statistics take it, [replicate] or [seed, row]."""
        return contributions(self.plan.primary, self.labels.test, arm.test, fixed_test=self.fixed_test)


def run(study: Study) -> tuple[Json, Json, Json]:
    """Metrics, comparison and paths of one study."""
    arms = build_arms(study)
    return measure_arms(study, arms), compare_arms(study, arms), trace_paths(study)


def build_arms(study: Study) -> dict[tuple[str, str], Arm]:
    """(variant, arm) -> what it answers; reference models are variants with one arm of their own."""
    arms = {}
    for variant, predictions in study.predictions.items():
        arms[variant, AT_KNOB] = arm_at(predictions, np.zeros(len(study.labels.test), int))
        if num_strengths(predictions, study.labels) > 1:
            choice = choose_strength(predictions, study.labels, select_by=study.plan.select_by)
            arms[variant, TUNED] = arm_at(predictions, choice)
    return arms | {(name, REFERENCE): arm_of_reference(found) for name, found in study.references.items()}


def measure_arms(study: Study, arms: dict[tuple[str, str], Arm]) -> Json:
    """Held-out scores of every variant at its knob and of every reference model, and what no skill would score."""
    no_skill = scores.no_skill(study.labels.test, num_classes=max(study.outputs, 2))
    ignorant = {name: no_skill[name].mean() for name in SHOWN if name in no_skill} | {"gap": 0.0}
    metrics = {variant: measure_arm(study, arm) for (variant, kind), arm in arms.items() if kind != TUNED}
    return {variant: round_as_shown(found) for variant, found in (metrics | {NO_SKILL: ignorant}).items()}


def measure_arm(study: Study, arm: Arm) -> Json:
    """Held-out scores, means over replicates, and the gap to training rows."""
    shown = [name for name in SHOWN if name in registry(study.outputs)]
    values = {name: measure(name, study.labels.test, arm.test).mean() for name in shown}
    return round_all(values | {"gap": measure_gap(study, arm)})


def measure_gap(study: Study, arm: Arm) -> float:
    """The primary score on training rows less that on held-out rows."""
    name, labels = study.plan.primary, study.labels
    training, test = measure(name, labels.training, arm.training), measure(name, labels.test, arm.test)
    return float(training.mean() - test.mean())


def compare_arms(study: Study, arms: dict[tuple[str, str], Arm]) -> Json:
    """Every arm against the baseline at its knob. Networks are one family of Holm's, reference models another."""
    baseline = (study.plan.baseline, AT_KNOB)
    comparison: Json = {}
    for family in ({AT_KNOB, TUNED}, {REFERENCE}):
        members = {key: arm for key, arm in arms.items() if key[1] in family and key != baseline}
        entries = compare_family(study, members, arms[baseline])
        for (variant, kind), entry in entries.items():
            comparison.setdefault(variant, {})[kind] = entry
    own = {AT_KNOB: describe_arm(study, arms[baseline]) | {"verdict": "baseline"}}
    return {baseline[0]: own | comparison.pop(baseline[0], {})} | comparison


def compare_family(study: Study, members: dict[tuple[str, str], Arm], baseline: Arm) -> dict[tuple[str, str], Json]:
    against, margin = study.primary(baseline), getattr(study.statistics.equivalence, study.plan.primary)
    found = [
        statistics.compare(study.primary(arm), against, test_train_ratio=study.test_train_ratio, alpha=study.alpha)
        for arm in members.values()
    ]
    adjusted = statistics.adjust([entry.p_value for entry in found])
    entries = {}
    for (key, arm), comparison, p_adjusted in zip(members.items(), found, adjusted, strict=True):
        verdict = statistics.verdict(
            comparison,
            p_adjusted,
            margin=margin,
            greater_is_better=registry(study.outputs)[study.plan.primary].greater_is_better,
            alpha=study.alpha,
        )
        numbers = round_all(vars(comparison) | {"p_adjusted": p_adjusted})
        entries[key] = describe_arm(study, arm) | numbers | {"verdict": verdict}
    return entries


def describe_arm(study: Study, arm: Arm) -> Json:
    """What an entry of comparison.json says of an arm by itself."""
    values = measure(study.plan.primary, study.labels.test, arm.test)
    return {
        "metric": study.plan.primary,
        "value": round_number(values.mean()),
        "scores": measure_arm(study, arm),
        "strength": sorted({round_number(strength) for strength in arm.strength}),
        "mechanisms": round_all({name: finite_mean(values) for name, values in arm.mechanisms.items()}),
        "protocol": study.plan.describe_protocol(),
        "test_train_ratio": study.test_train_ratio,
        "replicates": [round_number(value) for value in values],
    }


def trace_paths(study: Study) -> Json:
    """The primary score at every strength of every path, from the weakest strength's number to the strongest's."""
    paths = {}
    for variant, predictions in study.predictions.items():
        repeats = num_strengths(predictions, study.labels)
        if repeats > 1:
            arms = [arm_at(predictions, np.full(len(study.labels.test), number)) for number in range(repeats)]
            points = [trace_point(study, arm) for arm in arms]
            paths[variant] = sorted(points, key=lambda point: point["strength"])
    return paths


def trace_point(study: Study, arm: Arm) -> Json:
    estimate = statistics.estimate_mean(study.primary(arm), test_train_ratio=study.test_train_ratio)
    low, high = estimate.interval(study.statistics.confidence)
    numbers = {"strength": arm.strength[0], "mean": estimate.value, "ci_low": low, "ci_high": high}
    return round_all(numbers | {"gap": measure_gap(study, arm)})


def finite_mean(values: np.ndarray) -> float:
    """The mean of the lanes whose weights are finite; 0 where none are."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else 0.0


def main() -> None:
    parse_arguments(__doc__)
    settings = artifacts.load_statistics_plan()
    outcome: dict[str, tuple[Json, Json, Json]] = {}
    for plan in artifacts.load_study_plans():
        predictions = {variant: artifacts.load_predictions(plan.study, variant) for variant in plan.variants}
        references = {name: artifacts.load_reference(plan.study, name) for name in plan.references}
        study = Study(plan, settings, artifacts.load_labels(plan.study), predictions, references)
        outcome[plan.study] = run(study)
    results.prune_studies(list(outcome))
    for name, part in zip(("metrics", "comparison", "paths"), zip(*outcome.values(), strict=True), strict=True):
        results.save_result(name, dict(zip(outcome, part, strict=True)))
    results.save_paths_table({study: paths for study, (_, _, paths) in outcome.items()})


if __name__ == "__main__":
    run_main(main)
