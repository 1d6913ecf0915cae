"""Small runs of everything that a study can use, each with a digest of its result.

`python -m tools.processors.work` prints a JSON object, name -> digest; the processor that it runs on may be emulated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from threadpoolctl import threadpool_limits

from stages.lib.data.samples import Development, load_development
from stages.lib.judge.references import REFERENCES, fit_reference, predict_reference
from stages.lib.lanes import runtime
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.plan import OptimizerPlan, RunPlan, load_run_plan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.lanes.training import train_lanes
from stages.lib.settings.schema import Activation
from stages.reference import take_inputs

STUDIES = {"thoracic": 4, "fashion_small": 2}  # study -> epochs
NUM_TRAINING, NUM_VALIDATION, NUM_REPLICATES = 150, 40, 2
OPTIMIZERS = [("sgd", 0.0), ("sgd", 0.9), ("rmsprop", 0.0), ("rmsprop", 0.9), ("adam", 0.0)]
REFERENCE_STRENGTHS = {"logistic_regression": 0.01, "gradient_boosting": 0.1, "mlp": 20.0}  # others: 1


def shrink(study: str) -> Development:
    development = load_development(study)
    return replace(
        development,
        training=development.training[:NUM_REPLICATES, :NUM_TRAINING],
        validation=development.validation[:NUM_REPLICATES, :NUM_VALIDATION],
    )


def list_runs(study: str, development: Development) -> Iterator[tuple[str, RunPlan]]:
    """Every regulariser of the study, and on its unregularised network every loss, optimiser and activation."""

    def load(variant: str) -> RunPlan:
        return replace(load_run_plan(study, variant), replicates=tuple(range(NUM_REPLICATES)), epochs=STUDIES[study])

    plain = load("unregularized")
    for name in CATALOGUE:
        yield f"regulariser {name}", load(name)
    for name, loss in LOSSES.items():
        if plain.network.outputs > 1 or not loss.needs_classes:
            yield f"loss {name}", replace(plain, loss=name)
    for name, momentum in OPTIMIZERS:
        yield f"optimiser {name} {momentum:g}", replace(plain, optimizer=OptimizerPlan(name, 0.01, momentum))
    for activation in get_args(Activation):
        yield f"activation {activation}", replace(plain, network=replace(plain.network, activation=activation))


def digest_run(plan: RunPlan, development: Development) -> str:
    """Of the weights, the history and the predictions of a run."""
    run = train_lanes(plan, development)
    predicted = predict_lanes(
        plan, run.weights, inputs=development.inputs, rows=development.validation, scale=development.scale
    )
    history = run.history.to_csv(float_format="%.7g").encode()
    return digest(*(value.tobytes() for value in run.weights.values()), history, predicted.tobytes())


def digest_reference(name: str, development: Development, *, outputs: int) -> str:
    """Of the predictions of a reference model."""
    rows = development.training[0]
    inputs, labels = take_inputs(development, rows), development.labels[rows]
    model = fit_reference(name, inputs, labels, strength=REFERENCE_STRENGTHS.get(name, 1.0), random_state=3)

    predicted = predict_reference(model, take_inputs(development, development.validation[0]), outputs=outputs)
    return digest(predicted.tobytes())


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def main() -> None:
    runtime.configure()
    found = {}
    for study in STUDIES:
        development, outputs = shrink(study), load_run_plan(study, "unregularized").network.outputs
        for name, plan in list_runs(study, development):
            found[f"{study}, {name}"] = digest_run(plan, development)
        with threadpool_limits(limits=1):
            for name in REFERENCES:
                found[f"{study}, model {name}"] = digest_reference(name, development, outputs=outputs)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
