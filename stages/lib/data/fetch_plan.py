"""The plan of a data set: what `fetch` needs to know of it.

It holds the SHA-256 of every file that comes from the project, so that an edited table is fetched again and no other
data set is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stages.lib.core.records import load_plan
from stages.lib.data.pins import hash_data


@dataclass(frozen=True)
class ProjectFile:
    """A file in the project: its path, its size in bytes and its SHA-256 when `plan` read it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class FetchPlan:
    """A data set's name and kind, and its raw files that are copies of project files: raw name -> file."""

    dataset: str
    kind: str
    files: dict[str, ProjectFile]


def make_fetch_plan(dataset: str, kind: str, files: Mapping[str, str], read: Callable[[str], bytes]) -> FetchPlan:
    """files: raw name -> path in the project; `read` gives the content of a file by its path."""
    content = {name: (path, read(path)) for name, path in files.items()}
    return FetchPlan(
        dataset,
        kind,
        {name: ProjectFile(path, len(data), hash_data(data)) for name, (path, data) in content.items()},
    )


def load_fetch_plan(dataset: str) -> FetchPlan:
    return load_plan(FetchPlan, f"_datasets/{dataset}")
