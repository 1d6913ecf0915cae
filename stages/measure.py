"""Measure what the trained networks of a study show apart from its two scores: gaps, norms, zeros, units at a bound.

Reads   data/plan/{_statistics.json,<study>/}, data/predictions/<study>/, models/<study>/
Writes  data/evidence/studies/<study>/measurements.json

No network is run here, so a new quantity trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from stages.lib.claims.measurements import Addition, Measured, Measurements, Point, save_measurements
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.values import Values, keep, round_number
from stages.lib.judge.arms import AT_KNOB, Arm, ArmKey, arm_at, choose_points, predict_no_skill
from stages.lib.judge.judge import Judge
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plan
from stages.lib.judge.predictions import Labels, Predictions, load_labels, load_predictions
from stages.lib.judge.scores import commonest_share, measure, squeeze
from stages.lib.lanes.mechanisms import BOUND_TOLERANCE
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import RegularizerPlan, RunPlan, load_run_plan
from stages.lib.lanes.trained import TrainedRun, load_run

SCORES = ("log_loss", "accuracy")  # on training and on held-out rows
MECHANISMS = ("kernel_norm", "zero_share", "near_zero_share", "bound_share", "epochs_run")


def run(
    plan: StudyPlan,
    settings: StatisticsPlan,
    labels: Labels,
    variants: Mapping[str, tuple[RunPlan, Predictions, TrainedRun]],
) -> Measurements:
    """All quantities of all variants of one study."""
    measured, arms = {}, {}
    for name, (run_plan, predicted, trained) in variants.items():
        arms[ArmKey(name, AT_KNOB)] = arm_at(predicted, 0)
        measured[name] = measure_variant(plan, labels, run_plan, predicted, trained)
    plans = {name: run_plan for name, (run_plan, _, _) in variants.items()}
    return Measurements(
        test_train_ratio=plan.protocol.test_train_ratio,
        no_skill=measure_scores(labels, predict_no_skill(labels.shares, labels)),
        variants=measured,
        additions=list(compare_additions(Judge(plan, settings, labels, arms), plans)),
    )


def measure_variant(
    plan: StudyPlan, labels: Labels, run_plan: RunPlan, predicted: Predictions, trained: TrainedRun
) -> Measured:
    grid = predicted.grid
    of_lanes = {name: predicted.mechanisms[name] for name in MECHANISMS} | measure_bounds(run_plan, trained)
    of_lanes["learning_loss"] = trained.history.groupby("lane")["loss"].mean().to_numpy()
    points = []
    for point in range(grid.num_points):
        lanes = grid.lanes_at(point)
        values = measure_scores(labels, arm_at(predicted, point)) | to_values(
            {name: values[lanes] for name, values in of_lanes.items()}
        )
        points.append(Point({name: float(values[lanes[0]]) for name, values in predicted.strengths.items()}, values))
    chosen = choose_points(predicted, labels, select_by=plan.select_by)
    return Measured(points, chosen.tolist(), sum(weight[0].size for weight in trained.weights.values()))


def measure_scores(labels: Labels, arm: Arm) -> Values:
    """Every score on training and on held-out rows, and the gap of the loss between them, [replicate]."""
    found = {}
    for score in SCORES:
        found[f"training_{score}"] = measure(score, labels.training, arm.training)
        found[f"held_out_{score}"] = measure(score, labels.test, arm.test)
    found["commonest_answer"] = commonest_share(squeeze(arm.test))
    return to_values(found | {"gap": found["held_out_log_loss"] - found["training_log_loss"]})


def measure_bounds(plan: RunPlan, trained: TrainedRun) -> dict[str, np.ndarray]:
    """Of units that max_norm bounds [lane]: their number, how many are over it, and their largest norm at the start."""
    for entry in plan.regularizers:
        if entry.name == "max_norm":
            bounds = plan.lane_strengths(entry)[:, None]
            norms = unit_norms(trained.weights, entry)
            start = draw_weights(
                plan.network,
                trained.weights["kernel_1"].shape[1],
                seed=plan.seed,
                replicates=list(plan.replicates),
                normalized=[],
            )
            return {
                "num_bounded": np.full(len(norms), norms.shape[1]),
                "num_over_bound": np.where(
                    np.isfinite(norms).all(axis=1), (norms > bounds * (1 + BOUND_TOLERANCE)).sum(axis=1), np.nan
                ),
                "start_norm": plan.grid.over_points(unit_norms(start, entry).max(axis=1)),
            }
    return {}


def unit_norms(weights: Mapping[str, np.ndarray], entry: RegularizerPlan) -> np.ndarray:
    """L2 norms of the weights into each unit of the layers that a regulariser acts on, [lane, unit]."""
    kernels = [weights[f"kernel_{layer}"].astype(float) for layer in entry.layers]
    return np.concatenate([np.linalg.norm(kernel, axis=1) for kernel in kernels], axis=1)


def compare_additions(judge: Judge, plans: Mapping[str, RunPlan]) -> Iterator[Addition]:
    """Every pair of variants of which one has a single regulariser more, the baseline's pairs left to `compare`."""
    used = {name: {entry.name for entry in plan.regularizers} for name, plan in plans.items()}
    for variant, more in used.items():
        for without, fewer in used.items():
            same = plans[variant].network == plans[without].network and plans[variant].epochs == plans[without].epochs
            if same and fewer < more and len(more - fewer) == 1 and without != judge.plan.baseline:
                for score in judge.scores:
                    difference = judge.compare(score, ArmKey(variant, AT_KNOB), ArmKey(without, AT_KNOB))
                    interval = difference.interval(judge.settings.confidence)
                    numbers = map(round_number, (difference.value, *interval))
                    yield Addition(variant, without, score, *numbers)


def to_values(arrays: Mapping[str, np.ndarray]) -> Values:
    return {name: keep(values) for name, values in arrays.items()}


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    plan = load_study_plan(study)
    variants = {
        variant.name: (
            load_run_plan(study, variant.name),
            load_predictions(study, variant.name),
            load_run(study, variant.name),
        )
        for variant in plan.variants
    }
    save_measurements(study, run(plan, load_statistics_plan(), load_labels(study), variants))


if __name__ == "__main__":
    run_main(main)
