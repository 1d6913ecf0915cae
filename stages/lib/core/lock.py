"""Folders that stages which are gone have left: removed where dvc.lock says that a stage made them, and nowhere else.

DVC leaves them on disk, and would count them as an input of the next stage. What else lies there is somebody's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("dvc.lock")
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def prune_folders(root: Path, names: Collection[str]) -> None:
    """Remove the folders in `root` that have another name and are outputs by dvc.lock; never through a link."""
    if any(path.is_symlink() for path in (root, *root.parents)):
        return
    gone = [folder for folder in sorted(root.glob("*")) if folder.name not in names]
    gone = [folder for folder in gone if folder.is_dir() and not folder.is_symlink()]
    made = list_outputs() if gone else set()
    for folder in gone:
        if folder.as_posix() in made:
            shutil.rmtree(folder)


def list_outputs() -> set[str]:
    """The paths that dvc.lock names as outputs, also of stages that are gone; none where it cannot be read."""
    try:
        root = yaml.compose(LOCK.read_text(encoding="utf-8"), Loader=Loader)
    except (OSError, ValueError, yaml.YAMLError):
        return set()
    stages = [stage for all_stages in pick(root, "stages") for _, stage in list_pairs(all_stages)]
    outputs = [outs for stage in stages for outs in pick(stage, "outs") if isinstance(outs, yaml.SequenceNode)]
    paths = [path for outs in outputs for out in outs.value for path in pick(out, "path")]
    return {path.value for path in paths if isinstance(path, yaml.ScalarNode)}


def pick(node: Any, key: str) -> list[Any]:
    """The value of a key, if the node has it."""
    return [value for name, value in list_pairs(node) if name == key]


def list_pairs(node: Any) -> list[tuple[Any, Any]]:
    """The keys and values of a mapping; none of what is not one."""
    return [(key.value, value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []
