"""Run one experiment of the audit: train on development rows of a study, and measure on its validation rows.

An experiment is what a claim needs beside the studies. It is no experiment of DVC, which is a run of the whole pipeline
with other numbers.

Reads   data/plan/_experiments/<experiment>.json, data/development/<study>/
Writes  data/evidence/<experiment>/evidence.json
"""

from __future__ import annotations

from math import inf

from stages.lib.claims.experiment_kinds import EXPERIMENTS, ExperimentPlan, load_experiment_plan, take_rows
from stages.lib.claims.measurements import Measured, find_experiment, save_measured
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.data.samples import Development, load_development
from stages.lib.lanes import runtime


def run(plan: ExperimentPlan, development: Development) -> Measured:
    """What the experiment has measured."""
    rows = take_rows(development, plan)
    ratio = rows.validation.shape[1] / rows.training.shape[1] if plan.shared_rows else 0.0
    return Measured(ratio, EXPERIMENTS[plan.kind](plan, rows))


def main() -> None:
    (experiment,) = parse_arguments(__doc__, "experiment")
    runtime.configure()
    plan = load_experiment_plan(experiment)
    save_measured(run(plan, load_development(plan.study, most=inf)), find_experiment(experiment))


if __name__ == "__main__":
    run_main(main)
