"""Judge claims by their quantities, and keep what comes out in metrics/audit.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import FiniteFloat, TypeAdapter

from stages.lib.claims.claims import Claim, Quantity, Verdict
from stages.lib.claims.quantities import MissingEvidenceError, Records
from stages.lib.core.fields import Share, Strict
from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.records import load_plan, round_number

AUDIT = Path("metrics/audit.json")


class AuditParams(Strict):
    """confidence: of the intervals that decide on one claim, together."""

    confidence: Share


@dataclass(frozen=True)
class QuantityResult:
    """What a quantity has turned out to be, and what its rule says of it.

    name, label, where: as in the table of claims. sources: the studies or experiments that it is computed from.
    """

    name: str
    label: str
    sources: list[str]
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    verdict: Verdict
    where: str = ""


@dataclass(frozen=True)
class ClaimResult:
    """A claim, a defect or a printed figure, judged. missing: what a claim without quantities is to be judged by."""

    id: str
    claim: str
    verdict: Verdict | Literal["depends"]
    quantities: list[QuantityResult]
    missing: str = ""

    @property
    def depends_on(self) -> str:
        """What a verdict of `depends` depends on, in one sentence; empty for the other verdicts."""
        where = {quantity.verdict: quantity.where for quantity in self.quantities if quantity.where}
        if self.verdict != "depends" or not {"supported", "refuted"} <= set(where):
            return ""
        return f"It holds {where['supported']}, but not {where['refuted']}."


LAYOUT = TypeAdapter(list[ClaimResult])


def judge_claim(name: str, claim: Claim, records: Records, plan: AuditParams) -> ClaimResult:
    """Judge one claim. All intervals together that decide on it have the confidence of the plan."""
    each = 1 - (1 - plan.confidence) / len(claim.quantities)
    try:
        evidence = replace(records, confidence=each)
        quantities = [judge_quantity(one, evidence) for one in claim.quantities]
    except MissingEvidenceError as missing:
        return ClaimResult(name, claim.text, "inconclusive", [], missing.args[0])
    return ClaimResult(name, claim.text, combine([quantity.verdict for quantity in quantities]), quantities)


def judge_quantity(quantity: Quantity, records: Records) -> QuantityResult:
    """Judged by the digits that are kept, so that a reader of the record comes to the same verdict."""
    value, low, high = map(round_number, quantity.over_sources(records))
    sources, verdict = list(quantity.sources), quantity.threshold.judge(low, high)
    return QuantityResult(quantity.name, quantity.label, sources, value, low, high, verdict, quantity.where)


def combine(verdicts: Sequence[Verdict]) -> Verdict | Literal["depends"]:
    """What all quantities say; `depends` where some support and some refute; else inconclusive."""
    if {"supported", "refuted"} <= set(verdicts):
        return "depends"
    return verdicts[0] if len(set(verdicts)) == 1 else "inconclusive"


def load_audit_plan() -> AuditParams:
    return load_plan(AuditParams, "_audit")


def save_audit(results: list[ClaimResult]) -> None:
    write_json(AUDIT, LAYOUT.dump_python(results, mode="json"))


def load_audit() -> list[ClaimResult]:
    return LAYOUT.validate_json(read_bytes(AUDIT, written_by="audit"))
