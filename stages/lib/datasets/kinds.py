"""The table of all kinds of data set; `kind` in params.yaml chooses one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.lib.datasets.dataset import DataError, Dataset, Rows
from stages.lib.datasets.fashion_mnist import FashionMnist
from stages.lib.datasets.table import Table
from stages.lib.datasets.thoracic_surgery import ThoracicSurgery
from stages.lib.studies.facts import Facts

__all__ = ["KINDS", "DataError", "Dataset", "Declaration", "Facts", "Rows"]

KINDS: dict[str, type[Dataset]] = {
    "thoracic_surgery": ThoracicSurgery,
    "fashion_mnist": FashionMnist,
    "table": Table,
}
Declaration = Annotated[ThoracicSurgery | FashionMnist | Table, Field(discriminator="kind")]
