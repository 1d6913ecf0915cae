"""A changed knob retrains the runs that use it, new data rerun what reads them, and neither anything else.

`plan` writes a file for each plan; what DVC runs again are the stages that depend on one that differs.
"""

import copy
import json
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages import plan
from stages.lib.core.records import find_plan
from tests.conftest import ROOT, keep_studies
from tests.project import find_users, load_yaml, save_yaml

STUDIES = ("thoracic", "tutorial_thoracic")  # the first of the catalogue, here on a collection of one data set
LATER = ("compare", "audit", "draw", "report")  # they train nothing


@pytest.fixture
def params(params_text: str) -> dict:
    params = keep_studies(load_yaml(params_text), *STUDIES) | {"experiments": {}}
    params["datasets"]["patients"] = {"some": {"kind": "thoracic_surgery"}}
    params["studies"]["thoracic"]["data"] = "patients"
    return params


def find_stale(before: dict, after: dict, folder: Path) -> set[str]:
    """The stages, as DVC expands dvc.yaml, that depend on a plan that differs `after`; those of `LATER` left out."""
    old, new = (plan.run(json.dumps(params), lambda path: (ROOT / path).read_bytes()) for params in (before, after))
    changed = [find_plan(name) for name in new if new[name] != old.get(name)]
    shutil.copy(ROOT / "dvc.yaml", folder)
    save_yaml(folder / "params.yaml", after)
    with chdir(folder), Repo(uninitialized=True) as repo:
        stages = {stage.addressing: [dependency.def_path for dependency in stage.deps] for stage in repo.index.stages}
    reads = {
        name for name, paths in stages.items() for path in paths if any(file.is_relative_to(path) for file in changed)
    }
    return {name for name in reads if not name.startswith(LATER)}


def test_a_knob_retrains_the_runs_that_use_it(params: dict, tmp_path: Path) -> None:
    users = find_users(params, "dropout")
    assert {study for study, _ in users} == set(STUDIES), "else there would be nothing to show"
    trained = {f"train@{study}-{name}" if study == STUDIES[0] else f"train_own@{name}" for study, name in users}
    evaluated = {"evaluate@thoracic", "evaluate_tutorial@tutorial_thoracic"}
    assert find_stale(params, params | {"dropout": 0.3}, tmp_path) == trained | evaluated
    sure = params | {"statistics": params["statistics"] | {"confidence": 0.9}}
    assert find_stale(params, sure, tmp_path) == set()


@pytest.mark.parametrize(("data", "study"), [("mine", "mine"), ("patients", "thoracic")])
def test_new_data_rerun_what_reads_them(params: dict, data: str, study: str, tmp_path: Path) -> None:
    """A study of a new data set, and another data set of the collection that a study judges."""
    after, added = copy.deepcopy(params), {"kind": "thoracic_surgery"}
    after["datasets"][data] = added if data == study else params["datasets"][data] | {"more": added}
    after["studies"][study] = params["studies"]["thoracic"] | {"data": data}
    trained = {f"train@{study}-{variant}" for variant in params["variants"]}
    own = {f"{verb}@{study}" for verb in ("preprocess", "evaluate", "reference")}
    assert find_stale(params, after, tmp_path) == {f"fetch@{data}"} | own | trained
