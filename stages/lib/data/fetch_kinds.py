"""The table of kinds of data set, and where the raw files of each come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stages.lib.data import fashion_source as fashion_mnist
from stages.lib.data import table_source as table
from stages.lib.data import thoracic_source as thoracic_surgery
from stages.lib.data.fetch_plan import FetchPlan
from stages.lib.data.pins import Pin, Source


@dataclass(frozen=True)
class Options:
    """What the user chooses on the command line, None where nothing was chosen; `scratch` is a temporary folder."""

    source: str | None
    folder: str | None
    scratch: Path


class Kind(NamedTuple):
    """How one kind of data set is fetched.

    pins: the raw files. chain: the sources to ask, in order. options: those of the command line that it knows.
    """

    pins: Callable[[FetchPlan], Mapping[str, Pin]]
    chain: Callable[[FetchPlan, Options], list[Source]]
    how_to_mend: str
    options: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "thoracic_surgery": Kind(
        pins=lambda plan: thoracic_surgery.PINS,
        chain=lambda plan, options: [thoracic_surgery.CHOICES[options.source or "committed"]()],
        how_to_mend=thoracic_surgery.HOW_TO_MEND,
        options=("source",),
    ),
    "fashion_mnist": Kind(
        pins=lambda plan: fashion_mnist.PINS,
        chain=lambda plan, options: fashion_mnist.make_chain(options.folder, options.scratch),
        how_to_mend=fashion_mnist.HOW_TO_MEND,
        options=("folder",),
    ),
    "table": Kind(
        pins=table.make_pins,
        chain=lambda plan, options: [table.from_plan(plan)],
        how_to_mend=table.HOW_TO_MEND,
    ),
}
