"""Compare the bytes of small runs on this processor with those on emulated ones.

Every regulariser, loss, optimiser, activation and reference model is run here and under qemu's user mode (the Debian
package qemu-user). Run the pipeline first, since its data are used. It takes some minutes a processor.

exit status:
  0    all results are those of this processor
  1    some differ, and are named; or something is missing
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

from threadpoolctl import threadpool_limits

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.data.samples import Development, load_development
from stages.lib.judge.plans import load_study_plan
from stages.lib.judge.references import REFERENCES, fit_reference, predict_reference
from stages.lib.lanes import runtime
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.plan import OptimizerPlan, RunPlan, load_run_plan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.lanes.training import train_lanes
from stages.lib.settings.schema import Activation
from stages.reference import take_inputs

EMULATOR = "qemu-x86_64"
PROCESSORS = ["Haswell", "Skylake-Server", "EPYC"]  # of `qemu-x86_64 -cpu help`
WORK = "import json; from tools.processors import digest_all; print(json.dumps(digest_all()))"
STUDIES = {"thoracic": 4, "images_2000": 2}  # study -> epochs
NUM_TRAINING, NUM_VALIDATION, NUM_REPLICATES = 150, 40, 2
OPTIMIZERS = [("sgd", 0.0), ("sgd", 0.9), ("rmsprop", 0.0), ("rmsprop", 0.9), ("adam", 0.0)]
REFERENCE_STRENGTHS = {"logistic_regression": 0.01, "gradient_boosting": 0.1, "mlp": 20.0}  # others: 1


def shrink(study: str) -> Development:
    development = load_development(study)
    training = development.training[:NUM_REPLICATES, :NUM_TRAINING]
    return replace(development, training=training, validation=development.validation[:NUM_REPLICATES, :NUM_VALIDATION])


def list_runs(study: str) -> Iterator[tuple[str, RunPlan]]:
    """Every regulariser of the study, and on its unregularised network every loss, optimiser and activation."""

    def load(variant: str) -> RunPlan:
        return replace(load_run_plan(study, variant), replicates=tuple(range(NUM_REPLICATES)), epochs=STUDIES[study])

    plain, compared = load("unregularized"), {variant.name for variant in load_study_plan(study).variants}
    for name in [name for name in CATALOGUE if name in compared]:
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
    predicted = predict_lanes(plan, run.weights, development, development.validation)
    history = run.history.to_csv(float_format="%.7g").encode()
    return digest(*(value.tobytes() for value in run.weights.values()), history, predicted.tobytes())


def digest_reference(name: str, development: Development, *, outputs: int) -> str:
    """Of the predictions of a reference model."""
    rows = development.training[0]
    inputs, labels = take_inputs(development, rows, 0), development.labels[rows]
    model = fit_reference(name, inputs, labels, strength=REFERENCE_STRENGTHS.get(name, 1.0), random_state=3)

    predicted = predict_reference(model, take_inputs(development, development.validation[0], 0), outputs=outputs)
    return digest(predicted.tobytes())


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def digest_all() -> dict[str, str]:
    """Name -> digest of every small run, on the processor that this process sees."""
    runtime.configure()
    digests = {}
    for study in STUDIES:
        development, outputs = shrink(study), load_run_plan(study, "unregularized").network.outputs
        for name, plan in list_runs(study):
            digests[f"{study}, {name}"] = digest_run(plan, development)
        with threadpool_limits(limits=1):
            for name in REFERENCES:
                digests[f"{study}, model {name}"] = digest_reference(name, development, outputs=outputs)
    return digests


def run_work(processor: str | None) -> dict[str, str]:
    """Name -> digest, on an emulated processor or, for None, on this one."""
    # The emulator takes no virtual environment's link to Python, only what it points to.
    emulated = [] if processor is None else [EMULATOR, "-cpu", processor]
    command = [*emulated, str(Path(sys.executable).resolve()), "-c", WORK]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed, expected digests: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout))


def main() -> None:
    make_parser("tools.processors", __doc__).parse_args()
    if shutil.which(EMULATOR) is None:
        raise UserError(f"{EMULATOR} is not installed: install the package qemu-user")
    here, differing = run_work(None), 0
    for processor in PROCESSORS:
        there = run_work(processor)
        different = [name for name in here if there[name] != here[name]]
        differing += len(different)
        print(f"{processor}: {len(here) - len(different)} of {len(here)} results are those of this processor")
        print(*(f"  differs: {name}\n" for name in different), sep="", end="", flush=True)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    run_main(main)
