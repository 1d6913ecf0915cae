"""Judge claims by their quantities and the rules of params.yaml, and keep what comes out in metrics/audit.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, TypeAdapter, model_validator

from stages.lib.claims.claims import Claim, Quantity
from stages.lib.claims.quantities import MissingEvidenceError, Records
from stages.lib.core.fields import Share, Strict
from stages.lib.core.files import read_bytes, write_json
from stages.lib.core.records import load_plan, round_number

AUDIT = Path("metrics/audit.json")

Verdict = Literal["supported", "refuted", "undecided"]


class Threshold(Strict):
    """One of four kinds of threshold, by which the interval (low, high) of a quantity is judged. Undecided is the rest.

    matters: an effect in the direction of the claim. Supported above 0, unless surely below this size; refuted if so.
    more_than: supported wholly above, refuted wholly below.
    less_than: supported wholly below, refuted wholly above.
    within: supported wholly between minus and plus this size, refuted wholly outside.
    """

    matters: float | None = Field(default=None, gt=0)
    more_than: float | None = None
    less_than: float | None = None
    within: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def check(self) -> Threshold:
        if len(self.given) != 1:
            given, known = ", ".join(self.given) or "nothing", ", ".join(type(self).model_fields)
            raise ValueError(f"holds {given}, expected exactly one of {known}: leave one")
        return self

    @property
    def given(self) -> dict[str, float]:
        return self.model_dump(exclude_none=True)

    def judge(self, low: float, high: float) -> Verdict:
        """What an interval says of the claim."""
        ((kind, size),) = self.given.items()
        supported, refuted = {
            "matters": (low > 0 and high >= size, high < size),
            "more_than": (low > size, high < size),
            "less_than": (high < size, low > size),
            "within": (-size < low and high < size, high < -size or low > size),
        }[kind]
        return "supported" if supported else "refuted" if refuted else "undecided"


class AuditParams(Strict):
    """Confidence of the intervals that decide on a claim, and claim or defect -> quantity -> threshold."""

    confidence: Share
    rules: dict[str, dict[str, Threshold]]


@dataclass(frozen=True)
class QuantityResult:
    """What a quantity has turned out to be, and what its rule says of it.

    rule, label, where: as in the table of claims. sources: the studies or experiments that it is computed from.
    """

    rule: str
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
        quantities = [judge_quantity(one, evidence, plan.rules[name][one.rule]) for one in claim.quantities]
    except MissingEvidenceError as missing:
        return ClaimResult(name, claim.text, "undecided", [], missing.args[0])
    return ClaimResult(name, claim.text, combine([quantity.verdict for quantity in quantities]), quantities)


def judge_quantity(quantity: Quantity, records: Records, threshold: Threshold) -> QuantityResult:
    """Judged by the digits that are kept, so that a reader of the record comes to the same verdict."""
    value, low, high = map(round_number, quantity.over_sources(records))
    sources, verdict = list(quantity.sources), threshold.judge(low, high)
    return QuantityResult(quantity.rule, quantity.label, sources, value, low, high, verdict, quantity.where)


def combine(verdicts: Sequence[Verdict]) -> Verdict | Literal["depends"]:
    """What all quantities say; `depends` where some support and some refute; else undecided."""
    if {"supported", "refuted"} <= set(verdicts):
        return "depends"
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def load_audit_plan() -> AuditParams:
    return load_plan(AuditParams, "_audit")


def save_audit(results: list[ClaimResult]) -> None:
    write_json(AUDIT, LAYOUT.dump_python(results, mode="json"))


def load_audit() -> list[ClaimResult]:
    return LAYOUT.validate_json(read_bytes(AUDIT, written_by="audit"))
