"""Fit models of scikit-learn on the very splits of a study's networks, and let them answer for its held-out rows.

Reads   data/plan/<study>/_reference.json, data/processed/<study>/{development,held_out}.npz
Writes  data/reference/<study>/<model>.npz

They are tuned as networks with a path are: each replicate keeps the strength that does best on its validation rows.
"""

import numpy as np
from sklearn.base import ClassifierMixin
from threadpoolctl import threadpool_limits

from stages.lib import artifacts, scores
from stages.lib.commands import Progress, parse_arguments, run_main
from stages.lib.plans import ReferenceModel, ReferencePlan
from stages.lib.predictions import NUM_TRAINING_ROWS, ReferencePredictions
from stages.lib.references import fit_reference, predict_reference
from stages.lib.samples import Development, HeldOut, check_no_leak


def run(plan: ReferencePlan, development: Development, held_out: HeldOut) -> dict[str, ReferencePredictions]:
    """Model -> its answers. One thread, so that no result depends on the number of cores."""
    num_replicates = len(development.training)
    references = {}
    with (
        threadpool_limits(limits=1),
        Progress(len(plan.models) * num_replicates, label=plan.study, unit="tuned models") as progress,
    ):
        for position, model in enumerate(plan.models):
            answers = []
            for replicate in range(num_replicates):
                answers.append(answer(plan, model, development, held_out, replicate=replicate))
                progress.report(position * num_replicates + replicate + 1)
            references[model.name] = ReferencePredictions(*map(np.stack, zip(*answers, strict=True)))
    return references


def answer(
    plan: ReferencePlan, model: ReferenceModel, development: Development, held_out: HeldOut, *, replicate: int
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """One replicate's fields of ReferencePredictions, in their order."""
    fitted, strength, validation_score = tune(plan, model, development, replicate=replicate)
    training = take_inputs(development, development.training[replicate, :NUM_TRAINING_ROWS])
    test = held_out.inputs[held_out.test[replicate]] * np.float32(development.scale)
    known, unknown = (predict_reference(fitted, inputs, outputs=plan.outputs) for inputs in (training, test))
    return strength, validation_score, known, unknown


def tune(
    plan: ReferencePlan, model: ReferenceModel, development: Development, *, replicate: int
) -> tuple[ClassifierMixin, float, float]:
    """The fitted model whose strength has the best validation score, the first of equals; that strength; that score.

    The random state depends on (seed, replicate) alone, so all strengths share it.
    """
    random_state = int(np.random.SeedSequence([plan.seed, replicate]).generate_state(1)[0])
    rows, validation = development.training[replicate], development.validation[replicate]
    inputs, labels = take_inputs(development, rows), development.labels[rows]
    fitted = [
        fit_reference(model.name, inputs, labels, strength=strength, random_state=random_state)
        for strength in model.strengths
    ]
    inputs = take_inputs(development, validation)
    probability = np.stack([predict_reference(each, inputs, outputs=plan.outputs) for each in fitted])
    score = (scores.BINARY if plan.outputs == 1 else scores.MULTICLASS)[plan.select_by]
    values = score.function(development.labels[validation], probability[..., 0] if plan.outputs == 1 else probability)
    best = int((values if score.greater_is_better else -values).argmax())
    return fitted[best], model.strengths[best], float(values[best])


def take_inputs(development: Development, rows: np.ndarray) -> np.ndarray:
    """float32 [row, feature], scaled as for the networks."""
    return development.inputs[rows] * np.float32(development.scale)


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    development, held_out = artifacts.load_development(study), artifacts.load_held_out(study)
    check_no_leak(development, held_out)
    artifacts.save_references(study, run(artifacts.load_reference_plan(study), development, held_out))


if __name__ == "__main__":
    run_main(main)
