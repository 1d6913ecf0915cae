"""The record of the audit: what `audit` writes to metrics/audit.json, and what the report reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import FiniteFloat, TypeAdapter

from stages.lib.claims.rules import Finding, Verdict
from stages.lib.core.files import read_bytes, write_json

AUDIT = Path("metrics/audit.json")


@dataclass(frozen=True)
class Figure:
    """A number with its interval, and where it comes from.

    label: what it is, in words. unit: empty for a share or a score.
    study, variant, arm: what it was measured on; empty where it is of no single one.
    file: that holds it, or what it is computed from.
    quantity: the rule of params.yaml that judges it, and finding: what that says; empty where it only informs.
    """

    label: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    unit: str
    study: str
    variant: str
    arm: str
    file: str
    quantity: str = ""
    finding: Finding | None = None


@dataclass(frozen=True)
class ClaimResult:
    """One claim, defect or printed figure.

    condition: of a verdict `depends`, where it holds and where not; of one without figures, what is missing.
    decisive: place in `figures` of the one to show; None where there is none.
    """

    id: str
    claim: str
    experiment: str
    verdict: Verdict
    condition: str
    figures: list[Figure]
    decisive: int | None

    @property
    def decisive_figure(self) -> Figure | None:
        return None if self.decisive is None else self.figures[self.decisive]


LAYOUT = TypeAdapter(list[ClaimResult])


def save_audit(results: list[ClaimResult]) -> None:
    write_json(AUDIT, LAYOUT.dump_python(results, mode="json"))


def load_audit() -> list[ClaimResult]:
    return parse_audit(read_bytes(AUDIT, written_by="audit"))


def parse_audit(text: bytes | str) -> list[ClaimResult]:
    """pydantic's ValidationError where the text is not what `save_audit` writes."""
    return LAYOUT.validate_json(text)
