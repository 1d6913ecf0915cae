"""Let every network of a study answer for its held-out rows, and for rows it knows.

Reads   data/plan/<study>/, models/<study>/, data/processed/<study>/{development,held_out}.npz
Writes  data/predictions/<study>/{<variant>,_labels}.npz

One process for a whole study: starting TensorFlow takes seconds, answering does not.
"""

from stages.lib.lanes import runtime  # isort: skip -- before anything that imports TensorFlow
import numpy as np

from stages.lib import artifacts
from stages.lib.commands import Progress, parse_arguments, run_main
from stages.lib.inference import predict_lanes
from stages.lib.plans import RunPlan
from stages.lib.predictions import NUM_TRAINING_ROWS, Labels, Predictions
from stages.lib.runs import TrainedRun
from stages.lib.samples import Development, HeldOut, check_no_leak

ABOUT_LANES = ("replicate", "strength", "epochs_run", "best_epoch", "stopped_early", "diverged")


def run(plan: RunPlan, trained: TrainedRun, development: Development, held_out: HeldOut) -> Predictions:
    replicates = list(plan.replicates)
    training = development.training[replicates, :NUM_TRAINING_ROWS]
    parts = {
        "training": (development.inputs, training),
        "validation": (development.inputs, development.validation[replicates]),
        "test": (held_out.inputs, held_out.test[replicates]),
    }
    shares = class_shares(development.labels[development.training[replicates]], plan.network.outputs)
    ignorant = np.tile(shares, (plan.num_strengths, 1))[:, None, :]
    answers = {}
    for part, (inputs, rows) in parts.items():
        probability = predict_lanes(plan, trained.weights, inputs=inputs, rows=rows, scale=development.scale)
        answers[part] = np.where(np.isfinite(probability), probability, ignorant)
    about = {name: getattr(trained, name) for name in ABOUT_LANES}
    return Predictions(**answers, **about, **trained.mechanisms)


def class_shares(labels: np.ndarray, outputs: int) -> np.ndarray:
    """Share of each class among the rows [replicate, output]; for one output, of class 1."""
    classes = [1] if outputs == 1 else range(outputs)
    return np.stack([(labels == number).mean(axis=1) for number in classes], axis=1).astype(np.float32)


def collect_labels(development: Development, held_out: HeldOut) -> Labels:
    return Labels(
        training=development.labels[development.training[:, :NUM_TRAINING_ROWS]],
        validation=development.labels[development.validation],
        test=held_out.labels[held_out.test],
    )


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    runtime.configure()
    variants = artifacts.load_study_plan(study).variants
    artifacts.prune_runs(study, variants)
    development, held_out = artifacts.load_development(study), artifacts.load_held_out(study)
    check_no_leak(development, held_out)
    predictions = {}
    with Progress(len(variants), label=study, unit="variants") as progress:
        for done, variant in enumerate(variants, start=1):
            plan = artifacts.load_run_plan(study, variant)
            predictions[variant] = run(plan, artifacts.load_run(study, variant), development, held_out)
            progress.report(done)
    artifacts.save_predictions(study, collect_labels(development, held_out), predictions)


if __name__ == "__main__":
    run_main(main)
