"""A claim's verdict from its figures, by the rules of params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stages.lib.claims.figures import Draft
from stages.lib.claims.inputs import MissingError, Records
from stages.lib.claims.record import ClaimResult, Figure
from stages.lib.claims.rules import Finding, Threshold, Verdict
from stages.lib.core.values import round_number

WORDS = {"supported": "holds", "refuted": "fails", "undecided": "open"}


@dataclass(frozen=True)
class Claim:
    """A claim, a defect or a printed figure of the tutorial.

    text: one sentence that can be true or false. experiment: how it is measured.
    collect: takes its figures from the records, those that decide first.
    quantities: the rules of params.yaml that judge them.
    """

    text: str
    experiment: str
    collect: Callable[[Records], Sequence[Draft]]
    quantities: tuple[str, ...]


def judge_claim(
    name: str, claim: Claim, records: Records, thresholds: Mapping[str, Threshold], *, confidence: float
) -> ClaimResult:
    """Judge one claim; confidence: of all intervals together that decide on it."""
    try:
        drafts = claim.collect(records)
    except MissingError as missing:
        return ClaimResult(name, claim.text, claim.experiment, "undecided", f"missing: {missing}", [], None)
    num_deciding = sum(bool(draft.quantity) for draft in drafts)
    each = 1 - (1 - confidence) / max(num_deciding, 1)
    figures = [finish(draft, thresholds, each if draft.quantity else confidence) for draft in drafts]
    verdict = combine([figure.finding for figure in figures if figure.finding])
    return ClaimResult(
        id=name,
        claim=claim.text,
        experiment=claim.experiment,
        verdict=verdict,
        condition=tell_condition(figures) if verdict == "depends" else "",
        figures=figures,
        decisive=find_decisive(figures, verdict),
    )


def finish(draft: Draft, thresholds: Mapping[str, Threshold], confidence: float) -> Figure:
    """The figure of a draft, judged by what is kept of it, so that a reader of the record finds the same."""
    value, low, high = (round_number(number) for number in draft.interval(confidence))
    finding: Finding | None = None
    if draft.quantity:
        finding = thresholds[draft.quantity].judge(low, high)
        is_altered = not low <= value <= high  # by somebody, in the record that it comes from
        if is_altered or (finding == "supported" and not draft.stands):
            finding = "undecided"
    source = draft.source
    return Figure(
        label=draft.label,
        value=value,
        low=low,
        high=high,
        unit=draft.unit,
        study=source.study,
        variant=source.variant,
        arm=source.arm,
        file=source.file,
        quantity=draft.quantity,
        finding=finding,
    )


def combine(findings: Sequence[Finding]) -> Verdict:
    """One verdict of all figures that decide: what all of them say, or `depends` where some support and some refute."""
    found = set(findings)
    if {"supported", "refuted"} <= found:
        return "depends"
    return found.pop() if len(found) == 1 else "undecided"


def find_decisive(figures: Sequence[Figure], verdict: Verdict) -> int | None:
    """The first figure that says what the verdict says; of `depends`, the first that refutes."""
    wanted = "refuted" if verdict == "depends" else verdict
    return next((place for place, figure in enumerate(figures) if figure.finding == wanted), None)


def tell_condition(figures: Sequence[Figure]) -> str:
    """`holds: ... (thoracic); fails: ...`: the figures that decide, by what they say."""
    parts = []
    for finding, word in WORDS.items():
        told = [
            figure.label + (f" ({figure.study})" if figure.study else "")
            for figure in figures
            if figure.finding == finding
        ]
        if told:
            parts.append(f"{word}: {', '.join(told)}")
    return "; ".join(parts)
