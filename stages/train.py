"""Train one variant of a study on all its data sets: all lanes of a data set in one graph.

Reads   data/plan/<study>/<variant>.json, data/development/<study>/
Writes  models/<study>/<variant>/{model.keras,lanes.npz,history.csv}, and knob_{lanes.npz,history.csv} of a knob that is
        no point of its path; in a folder each where there are several data sets

A path does not depend on the knob: where that alone has changed, its own lanes are trained, and the others kept. Blocks
of lanes that are trained are kept in .dvc/tmp/unfinished until all are: a run that was stopped goes on there.
"""

from __future__ import annotations

from pathlib import Path

from stages.lib.core.cli import Progress, parse_arguments, run_main
from stages.lib.core.files import write_bytes
from stages.lib.core.records import to_json
from stages.lib.data.samples import Development, find_development, load_development
from stages.lib.lanes import runtime
from stages.lib.lanes.export import build_keras, to_file
from stages.lib.lanes.kept import recall
from stages.lib.lanes.plan import MODELS, RunPlan, find_run, load_run_plans
from stages.lib.lanes.run import PARTS, TrainedRun, UnfinishedRun, load_run, save_part
from stages.lib.lanes.training import train_lanes


def run(plan: RunPlan, development: Development, unfinished: UnfinishedRun) -> TrainedRun:
    """The trained lanes of a part of a run."""
    num_rows = plan.epochs * development.training.shape[1]
    with Progress(num_rows, label=f"{plan.task} {plan.variant}", unit="rows") as progress:
        return train_lanes(plan, development, report=progress.report, unfinished=unfinished)


def export(plan: RunPlan, trained: TrainedRun, development: Development) -> bytes:
    """The first replicate at its knobs, the average of its members, as a .keras file."""
    weights, lanes = trained.stopped or trained.weights, plan.grid.lanes_at(plan.knob)[:: len(plan.replicates)]
    return to_file(build_keras(plan.at_knob, weights, lanes=lanes.tolist(), scale=development.scale))


def train_task(plan: RunPlan) -> None:
    """Train a run in its parts, or take those that are kept."""
    development, folder = load_development(plan.task), find_run(plan.task, plan.variant)
    for name in PARTS:
        (folder / f"{name}lanes.npz").unlink(missing_ok=True)  # of a knob that is now on its path
    for name, part in zip(PARTS, plan.parts, strict=False):
        kept_as, inputs = f"train/{plan.task}/{plan.variant}/{name}lanes", (to_json(part), find_development(plan.task))
        unfinished = UnfinishedRun(kept_as, inputs)

        def make(target: Path, part: RunPlan = part, name: str = name, unfinished: UnfinishedRun = unfinished) -> None:
            save_part(run(part, development, unfinished), target, name)

        recall(kept_as, inputs, make, folder)
        unfinished.forget()
    write_bytes(folder / "model.keras", export(plan, load_run(plan.task, plan.variant), development))


def main() -> None:
    study, variant = parse_arguments(__doc__, "study", "variant")
    plans = load_run_plans(study, variant)
    if not plans:  # the study leaves the variant out
        (MODELS / study / variant).mkdir(parents=True, exist_ok=True)
        return
    runtime.configure()
    for plan in plans.values():
        train_task(plan)


if __name__ == "__main__":
    run_main(main)
