"""A changed knob retrains the runs that use it, new data what reads them, and neither anything else: through DVC."""

import json
import sys
from collections.abc import Callable
from contextlib import chdir

import numpy as np
import pytest
from dvc.repo import Repo

from stages.lib.core.files import write_bytes
from stages.lib.lanes.regularizers import CATALOGUE
from tests.conftest import keep_studies, list_variants, shrink_params
from tests.forked import run_module
from tests.project import Project, load_yaml, make_project, save_yaml

STUDIES = ("thoracic", "tutorial_thoracic")  # the first uses every regulariser, alone, with a path, and together
NUM_CHANGES = 10
OF_STUDIES = ("train", "train_own", "evaluate", "evaluate_tutorial", "reference", "reference_tutorial")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, params_text: str) -> Project:
    """With files in the place of what each run and study leave: DVC takes them for done, and nothing here trains.

    The first study is of a collection of one data set.
    """
    params = keep_studies(shrink_params(params_text), *STUDIES) | {"experiments": {}}
    params["datasets"]["patients"] = {"some": {"kind": "thoracic_surgery"}}
    params["studies"]["thoracic"]["data"] = "patients"
    project = make_project(tmp_path_factory.mktemp("clone"), params)
    project.call("dvc", "repro", "--quiet", "preprocess", "preprocess_tutorial")
    for study in STUDIES:
        for variant in list_variants(params, study):
            write_bytes(project.folder / "models" / study / variant / "networks", variant.encode())
        for folder in ("predictions", "reference"):
            write_bytes(project.folder / "data" / folder / study / "of_rows", study.encode())
    project.call("dvc", "commit", "--quiet", "--force", *OF_STUDIES)
    return project


def list_stale(project: Project) -> set[str]:
    """What DVC would plan and train now; nothing is trained: to start TensorFlow for each run takes minutes."""
    assert run_module("stages.plan", folder=project.folder, environment=project.environment).returncode == 0
    with chdir(project.folder), Repo() as repo, repo.lock:
        stages = [stage for stage in repo.index.stages if stage.addressing.startswith(("plan", "train"))]
        return {stage.addressing for stage in stages if stage.status()}


def change_knob(params: dict, knob: str, share: float) -> None:
    """Make the strength that share of what it is: that leaves every one in its range."""
    changed = share * params[knob]
    params[knob] = int(changed) if CATALOGUE[knob].whole_number else float(f"{changed:.4g}")


def find_users(params: dict, knob: str) -> set[str]:
    """The train stages of the variants that name the knob; no study changes any of them here."""
    first, second = STUDIES
    stages = {name: f"train@{first}-{name}" for name in list_variants(params, first)}
    stages |= {name: f"train_own@{name}" for name in list_variants(params, second)}
    variants = params["variants"] | params["own_variants"]
    return {
        stage
        for name, stage in stages.items()
        if knob in variants[name].get("regularizers", []) and knob not in variants[name].get("strengths", {})
    }


def add_study(params: dict) -> None:
    params["datasets"]["mine"] = {"kind": "thoracic_surgery"}
    params["studies"]["mine"] = params["studies"]["thoracic"] | {"data": "mine"}


def add_to_collection(params: dict) -> None:
    params["datasets"]["patients"]["more"] = {"kind": "thoracic_surgery"}


@pytest.mark.parametrize(
    ("add", "data", "study"), [(add_study, "mine", "mine"), (add_to_collection, "patients", "thoracic")]
)
def test_new_data_rerun_what_reads_them_and_nothing_else(
    project: Project, add: Callable[[dict], None], data: str, study: str
) -> None:
    path = project.folder / "params.yaml"
    original, params = load_yaml(path), load_yaml(path)
    add(params)
    save_yaml(path, params)
    project.call(sys.executable, "-m", "stages.plan")
    stale = json.loads(
        project.call("dvc", "status", "--json", "fetch", "preprocess", "preprocess_tutorial", *OF_STUDIES)
    )
    save_yaml(path, original)
    project.call("dvc", "checkout", "--quiet", "--force", "plan")
    own = {f"{verb}@{study}" for verb in ("preprocess", "evaluate", "reference")}
    trained = {f"train@{study}-{variant}" for variant in list_variants(params, study)}
    assert set(stale) == {f"fetch@{data}"} | own | trained


def test_ten_knobs_drawn_at_random_retrain_exactly_the_runs_that_name_them(project: Project) -> None:
    path = project.folder / "params.yaml"
    original = load_yaml(path)
    generator = np.random.Generator(np.random.PCG64(5))
    for knob in generator.permutation(list(CATALOGUE))[:NUM_CHANGES]:
        params = load_yaml(path)
        change_knob(params, knob, generator.uniform(0.4, 0.9))
        save_yaml(path, params)
        stale = list_stale(project)
        save_yaml(path, original)
        users = find_users(original, knob)
        assert users, "else there would be nothing to show"
        assert stale == {"plan"} | users, knob
    assert list_stale(project) == set()


def test_another_number_of_points_retrains_that_search_alone(project: Project) -> None:
    path = project.folder / "params.yaml"
    original = load_yaml(path)
    params = load_yaml(path)
    params["variants"]["cocktail"]["search"]["points"] += 2
    save_yaml(path, params)
    assert list_stale(project) == {"plan", "train@thoracic-cocktail"}
    save_yaml(path, original)
