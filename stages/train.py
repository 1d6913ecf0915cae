"""Train one variant of a study on all its data sets: all lanes of a data set in one graph.

Reads   data/plan/<study>/<variant>.json, data/development/<study>/
Writes  models/<study>/<variant>/{model.keras,lanes.npz,history.csv}, in a folder each where there are several data sets

Blocks of lanes that are trained are kept in .dvc/tmp/unfinished until all are: a run that was stopped goes on there.
"""

from __future__ import annotations

from stages.lib.core.cli import Progress, parse_arguments, run_main
from stages.lib.core.records import find_plan
from stages.lib.data.samples import Development, find_development, load_development
from stages.lib.lanes import runtime
from stages.lib.lanes.export import build_keras, to_file
from stages.lib.lanes.plan import MODELS, RunPlan, load_run_plans
from stages.lib.lanes.run import TrainedRun, UnfinishedRun, save_run
from stages.lib.lanes.training import train_lanes


def run(plan: RunPlan, development: Development, unfinished: UnfinishedRun) -> tuple[TrainedRun, bytes]:
    """The trained lanes, and the first replicate at its knobs, all its members, as a .keras file."""
    num_rows = plan.epochs * development.training.shape[1]
    with Progress(num_rows, label=f"{plan.task} {plan.variant}", unit="rows") as progress:
        trained = train_lanes(plan, development, report=progress.report, unfinished=unfinished)
    weights = trained.stopped or trained.weights
    lanes = plan.grid.lanes_at(0)[:: len(plan.replicates)].tolist()
    return trained, to_file(build_keras(plan, weights, lanes=lanes, scale=development.scale))


def main() -> None:
    study, variant = parse_arguments(__doc__, "study", "variant")
    plans = load_run_plans(study, variant)
    if not plans:  # the study leaves the variant out
        (MODELS / study / variant).mkdir(parents=True, exist_ok=True)
        return
    runtime.configure()
    for task, plan in plans.items():
        unfinished = UnfinishedRun(task, variant, inputs=(find_plan(f"{study}/{variant}"), find_development(task)))
        trained, model = run(plan, load_development(task), unfinished)
        save_run(trained, model, task, variant)
        unfinished.forget()


if __name__ == "__main__":
    run_main(main)
