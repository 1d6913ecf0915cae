"""Predict the held-out, the validation and some training rows of a study with every network, and measure it.

Reads   data/plan/<study>/, models/<study>/, data/{development,held_out}/<study>/
Writes  data/predictions/<study>/{<variant>.npz,_labels.npz,_measurements.json}

One process works on a whole study: starting TensorFlow takes seconds, predicting does not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.claims.measurements import At, Case, Measured, find_study, load_measured, save_measured, to_values
from stages.lib.core.cli import Progress, parse_arguments, run_main
from stages.lib.core.records import find_plan, to_json
from stages.lib.data.samples import Development, HeldOut, Samples, find_development, find_held_out, load_samples
from stages.lib.judge import predictions as stored
from stages.lib.judge.arms import choose_points, measure_lanes, rate_points
from stages.lib.judge.plans import StudyPlan, load_study_plans
from stages.lib.judge.predictions import NUM_TRAINING_ROWS, Labels, Predictions, class_shares
from stages.lib.lanes import runtime
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.kept import recall
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import MODELS, Grid, RegularizerPlan, RunPlan, find_run, load_run_plan
from stages.lib.lanes.run import Arrays, TrainedRun, Weights, load_run, stop_in_time
from stages.lib.lock import prune_outputs

BOUND_TOLERANCE = 1e-4  # relative distance from the max-norm bound within which a unit counts as held by it
PIECE = 128  # rows that are predicted at a time where each replicate encodes them: all at once would fill the memory
TRAINING_HISTORY = ("epochs_run", "best_epoch", "stopped_early", "diverged")  # fields of a run


def run(
    plan: RunPlan, trained: TrainedRun, development: Development, held_out: HeldOut, *, select_by: str = ""
) -> Predictions:
    """The predictions of one run: of all its lanes, or of those at each replicate's best point on validation rows.

    select_by: the score by which the best is chosen, that of the members' average; empty for all lanes.
    """
    replicates = list(plan.replicates)
    of_training, of_validation = development.training[replicates], development.validation[replicates]
    shares = class_shares(development.labels[of_training], plan.network.outputs).astype(np.float32)[:, None, :]

    def predict(samples: Samples, rows: np.ndarray, lanes: np.ndarray) -> np.ndarray:
        pieces = np.split(rows, range(PIECE, rows.shape[1], PIECE), axis=1) if development.encoders else [rows]
        answers = [predict_lanes(plan, trained.weights, samples, piece, lanes=lanes) for piece in pieces]
        probability = np.concatenate(answers, axis=1)
        np.copyto(probability, np.tile(shares, (len(lanes) // len(shares), 1, 1)), where=~np.isfinite(probability))
        return probability

    grid, lanes, chosen = plan.grid, np.arange(plan.grid.num_lanes), {"knob": plan.knob, "tried": plan.tried}
    validation = predict(development, of_validation, lanes)
    if select_by:
        points, averaged = Grid(grid.num_points, grid.num_replicates), grid.average_members(validation)
        rated = rate_points(points, averaged, development.labels[of_validation], select_by=select_by)
        lanes, chosen = grid.lanes_at(rated[: plan.tried or None].argmax(axis=0)), {}
    mechanisms = {name: getattr(trained, name) for name in TRAINING_HISTORY} | measure_mechanisms(plan, trained.weights)
    return Predictions(
        replicate=trained.replicate[lanes],
        member=trained.member[lanes],
        strengths={name: strength[lanes] for name, strength in trained.strengths.items()},
        mechanisms={name: values[lanes] for name, values in mechanisms.items()},
        training=predict(development, of_training[:, :NUM_TRAINING_ROWS], lanes),
        validation=validation[lanes] if select_by else validation,
        test=predict(held_out, held_out.test[replicates], lanes),
        **chosen,
    )


# What networks show beside their scores -------------------------------------------------------------------------------


def measure_variant(
    run: RunPlan, trained: TrainedRun, predicted: Predictions, labels: Labels, select_by: str
) -> list[Case]:
    """All quantities at the knob, at every point that is tried, and tuned; select_by: the score that chooses the point.

    Of the first member alone. Of the weights that are handed in; the loss of training alone is that of all epochs.
    """
    predicted = predicted.average(1)
    grid, own = predicted.grid, predicted.strengths.get(run.variant, np.zeros(len(predicted.replicate)))
    losses, bounds = trained.history.groupby("lane")["loss"].mean().to_numpy(), measure_bounds(run, trained.weights)
    of_lanes = measure_fit(labels, predicted)
    of_lanes |= {name: run.grid.average_members(values, 1) for name, values in bounds.items()}
    of_lanes["zero_share"] = predicted.mechanisms["zero_share"]
    of_lanes["learning_loss"] = run.grid.average_members(losses, 1)
    of_lanes["num_weights"] = np.full(len(own), sum(weight[0].size for weight in trained.weights.values()))

    def measure_at(points: Any, at: At) -> Case:
        lanes = grid.lanes_at(points)
        level = 0.0 if at == "tuned" else float(own[lanes[0]])
        return Case(run.variant, to_values({name: values[lanes] for name, values in of_lanes.items()}), level, at)

    cases = [measure_at(run.knob, "knob"), *(measure_at(point, "tried") for point in range(run.tried))]
    if run.tried:
        cases.append(measure_at(choose_points(predicted, labels, select_by=select_by), "tuned"))
    return cases


def measure_fit(labels: Labels, predicted: Predictions) -> dict[str, np.ndarray]:
    """Accuracy on training and on held-out rows, and how much higher the log loss is on the latter, [lane]."""
    training, held_out = (
        {score: measure_lanes(score, predicted.grid, truth, rows) for score in ("accuracy", "log_loss")}
        for truth, rows in ((labels.training, predicted.training), (labels.test, predicted.test))
    )
    gap = held_out["log_loss"] - training["log_loss"]
    return {"training_accuracy": training["accuracy"], "held_out_accuracy": held_out["accuracy"], "gap": gap}


def measure_mechanisms(run: RunPlan, weights: Weights) -> Arrays:
    """What regularisers did to the kernels, each [lane].

    zero_share: of the weights those that are 0. kernel_norm: sqrt(sum w^2).
    bound_share: of the units that max_norm bounds those that are at the bound; 0 without it.
    """
    kernels = [weights[f"kernel_{layer}"] for layer in range(1, len(run.network.hidden) + 2)]
    # One lane at a time: all of them in float64 would take several times the memory of the weights.
    lanes = (np.concatenate([*map(np.ravel, lane)]).astype(float)[None] for lane in zip(*kernels, strict=True))
    zero_share, kernel_norm = np.array([((lane == 0).mean(), np.linalg.norm(lane, axis=1)[0]) for lane in lanes]).T
    at_bound = np.zeros(len(kernel_norm))
    if bound := find_bound(run):
        at_bound = (np.abs(compare_with_bound(run, weights, bound)) <= BOUND_TOLERANCE).mean(axis=1)
    return {"zero_share": zero_share, "kernel_norm": kernel_norm, "bound_share": at_bound}


def measure_bounds(run: RunPlan, weights: Weights) -> Arrays:
    """Of units that max_norm bounds [lane]: their number, how many are at it and over it, and their largest norm at
    the start."""
    bound = find_bound(run)
    if not bound:
        return {}
    ratio = compare_with_bound(run, weights, bound)
    start = draw_weights(run.network, weights["kernel_1"].shape[1], seed=run.seed, starts=run.starts, normalized=[])
    return {
        "num_bounded": np.full(len(ratio), ratio.shape[1]),
        "num_at_bound": count_units(np.abs(ratio) <= BOUND_TOLERANCE, ratio),
        "num_over_bound": count_units(ratio > BOUND_TOLERANCE, ratio),
        "start_norm": run.grid.over_points(unit_norms(start, bound).max(axis=1)),
    }


def find_bound(run: RunPlan) -> RegularizerPlan | None:
    return next((entry for entry in run.regularizers if entry.name == "max_norm"), None)


def compare_with_bound(run: RunPlan, weights: Weights, bound: RegularizerPlan) -> np.ndarray:
    """norm / bound - 1 of each unit [lane, unit]; NaN in lanes whose weights are not finite."""
    norms = unit_norms(weights, bound)
    finite = np.isfinite(norms).all(axis=1, keepdims=True)
    return np.where(finite, norms, np.nan) / run.lane_strengths(bound)[:, None] - 1


def unit_norms(weights: Weights, entry: RegularizerPlan) -> np.ndarray:
    """L2 norms of the weights into each unit of the layers that a regulariser acts on, [lane, unit]."""
    kernels = [weights[f"kernel_{layer}"].astype(float) for layer in entry.layers]
    return np.concatenate([np.linalg.norm(kernel, axis=1) for kernel in kernels], axis=1)


def count_units(chosen: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """How many units of a lane, [lane]; NaN where its weights are not finite."""
    return np.where(np.isnan(ratio).any(axis=1), np.nan, chosen.sum(axis=1))


# All variants ---------------------------------------------------------------------------------------------------------


def collect_labels(development: Development, held_out: HeldOut, *, outputs: int) -> Labels:
    """The labels of the predicted rows."""
    return Labels(
        training=development.labels[development.training[:, :NUM_TRAINING_ROWS]],
        validation=development.labels[development.validation],
        test=held_out.labels[held_out.test],
        test_numbers=held_out.identifiers[held_out.test],
        training_numbers=development.identifiers[development.training],
        test_groups=held_out.groups[held_out.test] if held_out.groups.size else held_out.groups,
        shares=class_shares(development.labels[development.training], outputs).astype(np.float32),
    )


def evaluate_variant(
    plan: StudyPlan, name: str, samples: tuple[Development, HeldOut], labels: Labels, folder: Path
) -> None:
    """Predict by one variant of a task and measure it; the files are kept until its networks change."""
    run_plan, trained = load_run_plan(plan.task, name), load_run(plan.task, name)
    if run_plan.stopped:
        # To the end a variant is judged at the strength that validation rows choose, and at no other.
        stored.save_predictions(run(run_plan, trained, *samples, select_by=plan.select_by), folder, f"{name}-end")
        trained = stop_in_time(trained)
    predicted = run(run_plan, trained, *samples)
    stored.save_predictions(predicted, folder, name)
    cases = measure_variant(run_plan, trained, predicted, labels, plan.select_by)
    save_measured(Measured(plan.protocol.test_train_ratio, cases), folder / f"_{name}.json")


def evaluate_task(plan: StudyPlan) -> None:
    """`evaluate_variant` on every variant of a task whose networks have changed."""
    development, held_out = load_samples(plan.task)
    if np.array_equal(development.inputs, held_out.inputs, equal_nan=True):  # cross-validation, before the encoding
        held_out = replace(held_out, inputs=development.inputs)
    samples, labels = (development, held_out), collect_labels(development, held_out, outputs=plan.outputs)
    folder, measured = stored.FOLDER / plan.task, list[Measured]()
    rows = find_development(plan.task), find_held_out(plan.task)
    with Progress(len(plan.variants), label=plan.task, unit="variants") as progress:
        for done, variant in enumerate(plan.variants, start=1):
            name = variant.name
            networks = sorted(find_run(plan.task, name).glob("*lanes.npz"))
            inputs: list[str | Path] = [to_json(load_run_plan(plan.task, name)), plan.select_by, *networks, *rows]
            make = partial(evaluate_variant, plan, name, samples, labels)
            recall(f"evaluate/{plan.task}/{name}", inputs, make, folder)
            path = folder / f"_{name}.json"
            measured.append(load_measured(path, written_by="evaluate"))
            path.unlink()
            progress.report(done)
    stored.save_labels(plan.task, labels)
    cases = [case for one in measured for case in one.cases]
    save_measured(Measured(plan.protocol.test_train_ratio, cases), find_study(plan.task))


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    runtime.configure()
    plans = list(load_study_plans(study).values())
    # What has a plan has a stage, and its folder, also where the study leaves a variant out.
    prune_outputs(MODELS / study, [path.stem for path in find_plan(f"{study}/_study").parent.iterdir()])
    for plan in plans:
        evaluate_task(plan)


if __name__ == "__main__":
    run_main(main)
