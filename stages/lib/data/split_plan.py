"""The plan of a study's split: what `preprocess` needs to know of a study."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lib.core.records import load_plan
from stages.lib.data.kinds import Declaration
from stages.lib.data.protocols import Protocol


@dataclass(frozen=True)
class SplitPlan:
    """One study's data set, its encoding (one of the declaration's `encodings`), its protocol and its seed.

    raw: raw file -> its SHA-256.
    """

    task: str
    dataset: str
    declaration: Declaration
    features: str
    protocol: Protocol
    seed: int
    raw: dict[str, str]


def load_split_plans(study: str) -> dict[str, SplitPlan]:
    """Task of the study -> its plan."""
    return load_plan(dict[str, SplitPlan], f"{study}/_split")
