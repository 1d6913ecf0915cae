"""Expand params.yaml into one resolved file per run, so that a changed knob changes just the files of runs that use it.

Reads   params.yaml, dvc.yaml, the tables in data/source that params.yaml declares
Writes  data/plan/_datasets/<dataset>.json, data/plan/<study>/{<variant>,_split,_study,_reference}.json,
        data/plan/{_studies,_statistics}.json

Every mistake is found here, before any work starts. Settings without effect are told.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.lib.base.commands import parse_arguments, run_main
from stages.lib.base.plan_files import save_plans
from stages.lib.base.store import read_bytes
from stages.lib.settings.blocks import check_blocks
from stages.lib.settings.expansion import make_plans
from stages.lib.settings.params import parse_params
from stages.lib.settings.rules import check_data, find_facts, find_idle


def run(text: str, read: Callable[[str], bytes]) -> tuple[dict[str, object], list[str]]:
    """Every plan in the text of params.yaml, by its name in the plan folder; and its settings without effect, in words.

    read: gives the content of a file by its path in the project.
    """
    params = parse_params(text)
    facts = find_facts(params, read)
    check_data(params, facts)
    return make_plans(params, facts, read), find_idle(params, facts)


def main() -> None:
    parse_arguments(__doc__)
    text, graph = (
        read_bytes(Path(name), written_by=f"git checkout {name}").decode() for name in ("params.yaml", "dvc.yaml")
    )
    check_blocks(graph, parse_params(text).studies)
    plans, remarks = run(text, lambda path: Path(path).read_bytes())
    for remark in remarks:
        print(f"note: {remark}")
    save_plans(plans)


if __name__ == "__main__":
    run_main(main)
