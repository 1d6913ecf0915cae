"""The versions of the numeric libraries, which are an input of the stages that use them.

`plan` writes them, one file for each such stage, and runs anew when requirements/base.txt changes. So an upgrade reruns
the stages that use what was upgraded, and an upgrade of anything else none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

# `draw` and `report` depend on all of them. Stage -> the libraries that compute its results (tests/test_pipeline.py).
USED: dict[str, tuple[str, ...]] = {
    "preprocess": ("numpy", "pandas", "scikit-learn"),
    **dict.fromkeys(("train", "evaluate"), ("keras", "numpy", "pandas", "tensorflow")),
    "experiment": ("keras", "numpy", "pandas", "scikit-learn", "tensorflow"),
    **dict.fromkeys(("compare", "audit", "reference"), ("numpy", "scikit-learn", "scipy")),
}
NUMERIC = sorted(set().union(*USED.values()))
PACKAGES = {"tensorflow": ("tensorflow-cpu", "tensorflow")}  # that install a library, where it is not of its name
REQUIREMENTS = "requirements/base.txt"

Versions = dict[str, str]


def find_version(library: str) -> str:
    """The installed version; `missing` where there is none, which the stage that needs it will tell."""
    for package in PACKAGES.get(library, (library,)):
        with suppress(PackageNotFoundError):
            return version(package)
    return "missing"


def find_versions(libraries: Iterable[str] = NUMERIC) -> Versions:
    """The installed version of each library."""
    return {name: find_version(name) for name in libraries}


def plan_versions() -> dict[str, Versions]:
    """The libraries of each stage with their versions, by the name of the plan."""
    return {f"_versions/{stage}": find_versions(names) for stage, names in USED.items()}


def find_other_versions(requirements: str) -> Iterator[str]:
    """Libraries that are installed in another version than any that is pinned, in words; requirements: the text."""
    for library in NUMERIC:
        packages = "|".join(PACKAGES.get(library, (library,)))
        pinned = re.findall(rf"^(?:{packages})==([^ ;\\]+)", requirements, re.MULTILINE)
        if pinned and find_version(library) not in pinned:
            found, expected = f"{library} {find_version(library)} is installed", " or ".join(dict.fromkeys(pinned))
            mend = "`make setup` installs it, `make lock` pins another"
            yield f"{found}, expected {expected} of {REQUIREMENTS}: {mend}"
