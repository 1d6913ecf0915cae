"""The table of all kinds of data set; `kind` in params.yaml chooses one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.lib.data.dataset import DataError, Dataset, Rows
from stages.lib.data.facts import Facts
from stages.lib.data.fashion_mnist import FashionMnist
from stages.lib.data.table import Table
from stages.lib.data.thoracic_surgery import ThoracicSurgery

__all__ = ["KINDS", "DataError", "Dataset", "Declaration", "Facts", "Rows"]

KINDS: dict[str, type[Dataset]] = {
    "thoracic_surgery": ThoracicSurgery,
    "fashion_mnist": FashionMnist,
    "table": Table,
}
Declaration = Annotated[ThoracicSurgery | FashionMnist | Table, Field(discriminator="kind")]
