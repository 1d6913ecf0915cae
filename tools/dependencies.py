"""Print the names of the packages that pyproject.toml asks for directly: `python -m tools.dependencies`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def list_dependencies(text: str) -> list[str]:
    """Names without versions and markers, of the text of a pyproject.toml: what the pipeline itself needs."""
    project = tomllib.loads(text)["project"]
    entries = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    return sorted({re.split(r"[^A-Za-z0-9._-]", entry)[0] for entry in entries})


if __name__ == "__main__":
    print(*list_dependencies(Path("pyproject.toml").read_text(encoding="utf-8")))
