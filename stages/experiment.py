"""Run one experiment of the audit: train on development rows of a study, and measure on its validation rows.

Reads   data/plan/_experiments/<experiment>.json, data/processed/<study>/development.npz
Writes  data/evidence/experiments/<experiment>/evidence.json
"""

from __future__ import annotations

from stages.lib.claims.evidence import Evidence, save_evidence
from stages.lib.claims.experiment_plan import ExperimentPlan, load_experiment_plan
from stages.lib.claims.experiments import EXPERIMENTS
from stages.lib.claims.networks import take_rows
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.data.samples import Development, load_development
from stages.lib.lanes import runtime


def run(plan: ExperimentPlan, development: Development) -> Evidence:
    """What the experiment has measured."""
    rows = take_rows(development, plan)
    ratio = rows.validation.shape[1] / rows.training.shape[1] if plan.shared_rows else 0.0
    return Evidence(plan.study, ratio, *EXPERIMENTS[plan.kind](plan, rows))


def main() -> None:
    (experiment,) = parse_arguments(__doc__, "experiment")
    runtime.configure()
    plan = load_experiment_plan(experiment)
    save_evidence(experiment, run(plan, load_development(plan.study)))


if __name__ == "__main__":
    run_main(main)
