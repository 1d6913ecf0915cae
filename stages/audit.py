"""Judge the tutorial's claims and defects by what the studies and the experiments have measured.

Reads   data/plan/{_audit,_experiments,_statistics,_studies}.json, metrics/{comparison.json,paths.csv},
        data/evidence/studies/<study>/measurements.json, data/evidence/experiments/<experiment>/evidence.json
Writes  metrics/audit.json
"""

from __future__ import annotations

from stages.lib.claims import evidence, measurements
from stages.lib.claims.claims import CLAIMS
from stages.lib.claims.evidence import load_evidence
from stages.lib.claims.experiment_plan import load_experiments
from stages.lib.claims.inputs import Records
from stages.lib.claims.judging import judge_claim
from stages.lib.claims.measurements import load_measurements
from stages.lib.claims.record import ClaimResult, save_audit
from stages.lib.claims.rules import AuditParams, load_audit_plan
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.lock import prune_folders
from stages.lib.judge.comparison import load_comparison, load_paths
from stages.lib.judge.plans import load_statistics_plan, load_studies


def run(plan: AuditParams, records: Records) -> list[ClaimResult]:
    """Every claim of the table, in its order."""
    return [
        judge_claim(name, claim, records, plan.rules[name], confidence=plan.confidence)
        for name, claim in CLAIMS.items()
    ]


def load_records() -> Records:
    """All that claims read; files that the plan does not name are not looked at."""
    return Records(
        confidence=load_statistics_plan().confidence,
        comparison=load_comparison(),
        paths=load_paths(),
        measurements={study: load_measurements(study) for study in load_studies()},
        evidence={name: load_evidence(name) for name in load_experiments()},
    )


def main() -> None:
    parse_arguments(__doc__)
    records = load_records()
    prune_folders(measurements.FOLDER, records.measurements)
    prune_folders(evidence.FOLDER, records.evidence)
    save_audit(run(load_audit_plan(), records))


if __name__ == "__main__":
    run_main(main)
