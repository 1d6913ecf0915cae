"""Expand params.yaml into one resolved file per run, so that a changed knob changes just the files of runs that use it.

Reads   params.yaml, the tables in data/source that params.yaml declares, requirements/base.txt
Writes  data/plan/_datasets/<entry>.json, data/plan/<study>/{<variant>,_split,_study,_reference}.json,
        data/plan/{_tasks,_statistics,_audit,_experiments}.json, data/plan/_experiments/<experiment>.json,
        data/plan/_versions/<stage>.json

Every mistake is found here, before any work starts.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import yaml

from stages.lib.claims.measurements import EXPERIMENT_PLANS, EXPERIMENTS
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import MissingArtifactError, read_plain
from stages.lib.core.records import save_plans
from stages.lib.data.dataset import Facts
from stages.lib.settings.checks import find_facts, find_mistakes
from stages.lib.settings.expansion import make_plans
from stages.lib.settings.machine import Room, find_room, find_too_large
from stages.lib.settings.mistakes import PARAMS, ParamsError, raise_all
from stages.lib.settings.schema import Params, read_params
from stages.lib.settings.yaml_text import MAX_BYTES, TextError, decode, load_document
from stages.lib.versions import REQUIREMENTS, find_other_versions, plan_versions

LARGEST_TABLE = 2**25  # bytes


def run(text: str, read: Callable[[str], bytes], *, room: Room | None = None) -> dict[str, object]:
    """Every plan in the text of params.yaml by its name in the plan folder; ParamsError with every mistake.

    read: gives the content of a file by its path in the project. room: has to hold the runs.
    """
    params, facts, root = check(text, read)
    plans = make_plans(params, facts, read)
    if room:
        raise_all(find_too_large(params, plans, facts, room), root)
    return plans


def check(text: str, read: Callable[[str], bytes] | None) -> tuple[Params, dict[str, Facts], yaml.Node | None]:
    """What params.yaml holds, the facts of its data sets, and its nodes; ParamsError with every mistake.

    read: as in `run`; without it data sets are not looked at.
    """
    try:
        values, root = load_document(text)
    except TextError as error:
        raise ParamsError(f"{PARAMS}, {error}" if error.line else f"{PARAMS}: {error}") from None
    params, mistakes = read_params(values)
    facts, faults = find_facts(params, read) if read else ({}, [])
    mistakes += faults
    mistakes += find_mistakes(params, facts, whole=not mistakes)
    raise_all(mistakes, root)
    return params, facts, root


def read_text(name: str) -> str:
    """A settings file; ParamsError where it is missing, no plain file, too long or not UTF-8."""
    try:
        return decode(read_plain(Path(name), most=MAX_BYTES))
    except FileNotFoundError:
        raise MissingArtifactError(f"{name} is missing, expected it beside dvc.yaml: git checkout {name}") from None
    except OSError as error:
        raise ParamsError(f"{name} {error.strerror}, expected a short text file: git checkout {name}") from None
    except TextError as error:
        raise ParamsError(f"{name}, {error}" if error.line else f"{name} {error}") from None


def read_source(path: str) -> bytes:
    """A file of the project; OSError where a link leads out of it: a colleague's clone would have the link alone."""
    if not Path(path).resolve().is_relative_to(Path.cwd()):
        raise OSError(errno.ELOOP, "leads out of the project", path)
    return read_plain(Path(path), most=LARGEST_TABLE)


def main() -> None:
    parse_arguments(__doc__)
    plans = run(read_text(PARAMS), read_source, room=find_room())
    requirements = Path(REQUIREMENTS)
    for remark in find_other_versions(requirements.read_text(encoding="utf-8")) if requirements.is_file() else ():
        print(f"note: {remark}")
    save_plans(plans | plan_versions())
    if not any(name.startswith(f"{EXPERIMENT_PLANS}/") for name in plans):
        EXPERIMENTS.mkdir(parents=True, exist_ok=True)  # DVC expects it of `audit`, and nothing else makes it


if __name__ == "__main__":
    run_main(main)
