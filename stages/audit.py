"""Judge the tutorial's claims and defects by what the studies and the experiments have measured.

Reads   data/plan/{_audit,_experiments,_statistics,_tasks}.json, data/points/<study>/comparison.json,
        data/predictions/<study>/_measurements.json, data/evidence/<experiment>/evidence.json
Writes  metrics/audit.json
"""

from __future__ import annotations

from stages.lib.claims import measurements
from stages.lib.claims.claims import CLAIMS
from stages.lib.claims.judging import AuditParams, ClaimResult, judge_claim, load_audit_plan, save_audit
from stages.lib.claims.quantities import Records
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.judge.comparison import COMPARISON, find_comparison, load_comparison
from stages.lib.judge.plans import load_statistics_plan, load_studies, load_tasks
from stages.lib.lock import prune_outputs


def run(plan: AuditParams, records: Records) -> list[ClaimResult]:
    """Every claim of the table, in its order."""
    return [judge_claim(name, claim, records, plan) for name, claim in CLAIMS.items()]


def load_records() -> Records:
    """All that claims read; files that the plan does not name are not looked at."""
    files = {task: (measurements.find_study(task), "evaluate") for task in load_tasks()}
    for name in measurements.load_experiments():
        files[name] = measurements.find_experiment(name), f"experiment@{name}"
    measured = {name: measurements.load_measured(path, written_by=stage) for name, (path, stage) in files.items()}
    return Records(load_statistics_plan().confidence, load_comparison(*load_studies(), whole=True), measured)


def main() -> None:
    parse_arguments(__doc__)
    records = load_records()
    prune_outputs(measurements.EXPERIMENTS, measurements.load_experiments())
    prune_outputs(measurements.STUDIES, load_studies())
    prune_outputs(COMPARISON, [find_comparison(study).name for study in load_studies()])
    save_audit(run(load_audit_plan(), records))


if __name__ == "__main__":
    run_main(main)
