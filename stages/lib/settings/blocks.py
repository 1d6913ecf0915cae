"""The train blocks of dvc.yaml against the studies of params.yaml: each study has one, which names no other study."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import yaml

from stages.lib.settings.fields import shorten
from stages.lib.settings.mistakes import Mistake, raise_all
from stages.lib.settings.yaml_text import Loader, TextError, compose

PREFIX = "train_"
GRAPH = "dvc.yaml"


class Examined(NamedTuple):
    """The mistakes of dvc.yaml, and its nodes, which know their lines."""

    mistakes: list[Mistake]
    root: yaml.Node | None


def examine_graph(text: str, studies: Collection[str]) -> Examined:
    """Where the blocks of a dvc.yaml and these studies do not go together."""
    try:
        root = compose(text)
        stages = parse_stages(text)
    except TextError as error:
        return Examined([Mistake((), error.text, file=GRAPH, line=error.line or 1)], None)
    return Examined(list(find_wrong_blocks(stages, studies)), root)


def check_blocks(text: str, studies: Collection[str]) -> None:
    """Raise ParamsError where they do not; the studies have no lines."""
    mistakes, root = examine_graph(text, studies)
    raise_all(mistakes, {GRAPH: root})


def find_wrong_blocks(stages: Mapping[str, dict], studies: Collection[str]) -> Iterator[Mistake]:
    blocks = {name.removeprefix(PREFIX): stage for name, stage in stages.items() if name.startswith(PREFIX)}
    for study, block in blocks.items():
        if study in studies:
            yield from check_block(study, block)
        else:
            text = f"expected a study {study} in params.yaml: remove the block"
            yield Mistake(("stages", f"{PREFIX}{study}"), text, file=GRAPH)
    for study in studies:
        if study not in blocks:
            text = (
                f"has no block {PREFIX}{study} in dvc.yaml, expected one: copy the last train block, and put {study} "
                "in place of its study"
            )
            yield Mistake(("studies", study), text)


def parse_stages(text: str) -> dict[str, dict]:
    """The stages of dvc.yaml; TextError where it has none that are mappings."""
    try:
        stages = (yaml.load(text, Loader) or {}).get("stages")
    except (yaml.YAMLError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TextError(f"is not a mapping in YAML ({reason}), expected one: restore or correct it") from None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise TextError("has no stages that are mappings, expected `stages:` with a block each: restore it")
    return {str(name): stage for name, stage in stages.items()}


def check_block(study: str, block: dict) -> Iterator[Mistake]:
    """The places in which a block names its study."""
    for field, found, expected in (
        ("vars", block.get("vars"), [{"study": study}]),
        ("matrix", block.get("matrix"), {"variant": f"${{studies.{study}.variants}}"}),
    ):
        if found != expected:
            text = f"has {field} {shorten(found)}, expected {expected}: change it"
            yield Mistake(("stages", f"{PREFIX}{study}"), text, (field,), file=GRAPH)
