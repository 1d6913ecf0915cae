"""The table of all kinds of data set, and the plan of a study's split; `kind` in params.yaml chooses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args

from pydantic import Field

from stages.lib.data.dataset import Dataset
from stages.lib.data.fashion_mnist import FashionMnist
from stages.lib.data.protocols import Protocol
from stages.lib.data.table import Table
from stages.lib.data.thoracic_surgery import ThoracicSurgery

DataKind = ThoracicSurgery | FashionMnist | Table
Declaration = Annotated[DataKind, Field(discriminator="kind")]
KINDS: dict[str, type[Dataset]] = {kind.model_fields["kind"].default: kind for kind in get_args(DataKind)}


@dataclass(frozen=True)
class SplitPlan:
    """What `preprocess` needs to know of a task: its data set, its encoding, its protocol and its seed.

    features: one of the declaration's `encodings`. raw: raw file -> its SHA-256.
    """

    task: str
    dataset: str
    declaration: Declaration
    features: str
    protocol: Protocol
    seed: int
    raw: dict[str, str]
