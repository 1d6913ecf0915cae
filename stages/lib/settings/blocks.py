"""The train blocks of dvc.yaml against the studies of params.yaml: each study has one, which names no other study."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import yaml

from stages.lib.settings.mistakes import ParamsError

PREFIX = "train_"


def check_blocks(graph: str, studies: Collection[str]) -> None:
    """Raise ParamsError where blocks and studies do not go together; graph: the text of dvc.yaml."""
    blocks = {name.removeprefix(PREFIX): stage for name, stage in parse_graph(graph).items() if name.startswith(PREFIX)}
    mistakes = [text for study, block in blocks.items() if study in studies for text in check_block(study, block)]
    mistakes += [
        f"studies.{study} has no block {PREFIX}{study} in dvc.yaml, expected one: copy the last train block, and put "
        f"{study} in place of its study"
        for study in studies
        if study not in blocks
    ]
    mistakes += [
        f"dvc.yaml has {PREFIX}{study}, expected a study {study} in params.yaml: remove the block"
        for study in blocks
        if study not in studies
    ]
    if mistakes:
        raise ParamsError("\n".join(mistakes))


def parse_graph(graph: str) -> dict[str, dict]:
    """The stages of dvc.yaml; ParamsError where it has none that are mappings."""
    try:
        stages = (yaml.safe_load(graph) or {}).get("stages")
    except (yaml.YAMLError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ParamsError(
            f"dvc.yaml is not a mapping in YAML ({reason}), expected one: restore or correct it"
        ) from None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise ParamsError("dvc.yaml has no stages that are mappings, expected `stages:` with a block each: restore it")
    return stages


def check_block(study: str, block: dict) -> Iterator[str]:
    """The places in which a block names its study."""
    for field, found, expected in (
        ("vars", block.get("vars"), [{"study": study}]),
        ("matrix", block.get("matrix"), {"variant": f"${{studies.{study}.variants}}"}),
    ):
        if found != expected:
            yield f"{PREFIX}{study} in dvc.yaml has {field} {found}, expected {expected}: change it"
