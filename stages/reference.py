"""Fit models of scikit-learn on the splits of a study's networks, and predict its held-out rows with them.

Reads   data/plan/<study>/_reference.json, data/{development,held_out}/<study>/
Writes  data/reference/<study>/<model>.npz

They are tuned as networks with a path are: each replicate keeps the strength that does best on its validation rows.
"""

from __future__ import annotations

import numpy as np
import sklearn.ensemble  # noqa: F401  # it brings OpenMP, which has to be there when its threads are limited
from threadpoolctl import threadpool_limits

from stages.lib.core.cli import Progress, parse_arguments, run_main
from stages.lib.data.protocols import state_of
from stages.lib.data.samples import Development, HeldOut, Samples, load_samples
from stages.lib.judge.plans import ReferencePlan, load_reference_plans
from stages.lib.judge.predictions import NUM_TRAINING_ROWS, ReferencePredictions, save_references
from stages.lib.judge.references import fit_reference, predict_reference
from stages.lib.judge.scores import SCORES, measure


def run(plan: ReferencePlan, development: Development, held_out: HeldOut) -> dict[str, ReferencePredictions]:
    """Model -> its predictions. One thread, so that no result depends on the number of cores."""
    num_replicates = len(development.training)
    references = {}
    with (
        threadpool_limits(limits=1),
        Progress(len(plan.models) * num_replicates, label=plan.task, unit="tuned models") as progress,
    ):
        for position, name in enumerate(plan.models):
            parts = []
            for replicate in range(num_replicates):
                parts.append(predict(plan, name, development, held_out, replicate=replicate))
                progress.report(position * num_replicates + replicate + 1)
            references[name] = ReferencePredictions(*map(np.stack, zip(*parts, strict=True)))
    return references


def predict(
    plan: ReferencePlan, name: str, development: Development, held_out: HeldOut, *, replicate: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """One replicate's fields of ReferencePredictions, in their order.

    Of the model at the strength with the best validation score, the first of equals. The random state depends on
    (seed, replicate) alone, so all strengths share it.
    """
    training, validation = development.training[replicate], development.validation[replicate]
    state = state_of(plan.seed, replicate)
    inputs, labels = take_inputs(development, training, replicate), development.labels[training]
    tried = plan.models[name]
    fitted = [fit_reference(name, inputs, labels, strength=strength, random_state=state) for strength in tried]
    seen = take_inputs(development, validation, replicate)
    probability = np.stack([predict_reference(each, seen, outputs=plan.outputs) for each in fitted])
    values = measure(plan.select_by, development.labels[validation], probability)
    best = int((SCORES[plan.select_by].sign * values).argmax())
    parts = inputs[:NUM_TRAINING_ROWS], take_inputs(held_out, held_out.test[replicate], replicate)
    known, unknown = (predict_reference(fitted[best], part, outputs=plan.outputs) for part in parts)
    return tried[best], known, unknown


def take_inputs(samples: Samples, rows: np.ndarray, replicate: int) -> np.ndarray:
    """float32 [row, feature], as networks get them."""
    return samples.take(rows[None], [replicate])[0]


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    for task, plan in load_reference_plans(study).items():
        development, held_out = load_samples(task)
        save_references(task, run(plan, development, held_out))


if __name__ == "__main__":
    run_main(main)
