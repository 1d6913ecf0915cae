"""Fit one run of the plan: one variant of one study, all its lanes in one graph.

Reads   data/plan/<study>/<variant>.json, data/processed/<study>/development.npz
Writes  models/<study>/<variant>/{model.keras,lanes.npz,history.csv}
"""

from stages.lib.lanes import runtime  # isort: skip -- before anything that imports TensorFlow
from stages.lib import artifacts
from stages.lib.commands import Progress, parse_arguments, run_main
from stages.lib.lanes.export import build_keras, to_file
from stages.lib.lanes.training import train_lanes
from stages.lib.plans import RunPlan
from stages.lib.runs import TrainedRun
from stages.lib.samples import Development


def run(plan: RunPlan, development: Development) -> tuple[TrainedRun, bytes]:
    """The trained lanes, and the first replicate at the knob as a .keras file."""
    num_rows = plan.epochs * development.training.shape[1]
    with Progress(num_rows, label=f"{plan.study} {plan.variant}", unit="rows") as progress:
        trained = train_lanes(plan, development, report=progress.report)
    return trained, to_file(build_keras(plan, trained.weights, lane=0, scale=development.scale))


def main() -> None:
    study, variant = parse_arguments(__doc__, "study", "variant")
    runtime.configure()
    plan = artifacts.load_run_plan(study, variant)
    trained, model = run(plan, artifacts.load_development(study))
    artifacts.save_run(trained, model, study, variant)


if __name__ == "__main__":
    run_main(main)
