"""The rules of the audit: what turns a figure with its interval into support for a claim, or into its refutation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stages.lib.core.fields import Share, Strict
from stages.lib.core.records import load_plan

Finding = Literal["supported", "refuted", "undecided"]
Verdict = Literal["supported", "refuted", "undecided", "depends"]


class Threshold(Strict):
    """One of four kinds of threshold, by which an interval (low, high) of a figure is judged. Undecided is the rest.

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
            found, known = ", ".join(self.given) or "nothing", ", ".join(type(self).model_fields)
            raise ValueError(f"holds {found}, expected exactly one of {known}: leave one")
        return self

    @property
    def given(self) -> dict[str, float]:
        return self.model_dump(exclude_none=True)

    def judge(self, low: float, high: float) -> Finding:
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


def load_audit_plan() -> AuditParams:
    return load_plan(AuditParams, "_audit")
