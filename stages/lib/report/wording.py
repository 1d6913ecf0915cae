"""How results are named in what a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stages.lib.judge.comparison import StudyResult

QUESTIONS = {
    "discrimination": "Does it rank or classify better?",
    "probabilities": "Are its probabilities better?",
}


def describe_rows(study: StudyResult) -> str:
    """Data set, protocol and seed in one line."""
    return f"{study.dataset}: {study.protocol.describe()}; seed {study.seed}"


def name_strengths(strengths: Mapping[str, Sequence[float]]) -> str:
    """`l2 0.01, dropout 0.1 to 0.5`: the range of the strengths that the replicates use."""
    return ", ".join(f"{name} {describe_range(found)}" for name, found in strengths.items())


def describe_range(strengths: Sequence[float]) -> str:
    return f"{strengths[0]:g}" if strengths[0] == strengths[-1] else f"{strengths[0]:g} to {strengths[-1]:g}"


def sign_number(value: float) -> str:
    """Four decimals with the sign."""
    return f"{value:+.4f}"
