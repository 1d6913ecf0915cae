"""The shrunken pipeline through DVC itself: real stages, the real table, images in the real format."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import plan
from stages.lib.catalogue import REGULARIZERS
from stages.lib.plans import RunPlan
from tests.conftest import ROOT, shrink_params

CARRIED = (
    "stages",
    "data/source",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    ".gitattributes",
)
STUDIES = ("tutorial_thoracic", "tutorial_fashion")  # with two variants each: TensorFlow's start is what a run costs


class Project:
    """A clone of this project in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "GIT_AUTHOR_NAME": "a", "GIT_COMMITTER_NAME": "a"}
        self.environment |= {"GIT_AUTHOR_EMAIL": "a@localhost", "GIT_COMMITTER_EMAIL": "a@localhost"}

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def stages_run(self, *command: str) -> set[str]:
        """The stages that a dvc command executed, not restored."""
        return set(re.findall(r"Running stage '([^']*)'", self.call("dvc", *command)))

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def change_params(self, old: str, new: str) -> None:
        path = self.folder / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def commit(self) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--allow-empty", "--message", "state")


def load_yaml(path: Path) -> dict:
    return YAML(typ="safe", pure=True).load(path.read_text())


def save_yaml(path: Path, content: dict) -> None:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    with path.open("w") as file:
        yaml.dump(content, file)


def keep_studies(project: Project, params: dict) -> None:
    """Leave the kept studies, with few variants each, in params.yaml and in dvc.yaml."""
    params["studies"] = {name: params["studies"][name] for name in STUDIES}
    for study in params["studies"].values():
        names = list(study["variants"])
        study["variants"] = {name: study["variants"][name] for name in (names[0], names[-1])}
        study["baseline"] = names[0]
    graph = load_yaml(project.folder / "dvc.yaml")
    trained = {f"train_{name}" for name in STUDIES}
    graph["stages"] = {
        name: stage for name, stage in graph["stages"].items() if name in trained or not name.startswith("train_")
    }
    save_yaml(project.folder / "params.yaml", params)
    save_yaml(project.folder / "dvc.yaml", graph)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, params_text: str, fashion_files: dict[str, bytes]) -> Project:
    """After one whole run, committed."""
    project = Project(tmp_path_factory.mktemp("clone"))
    for name in CARRIED:
        source, target = ROOT / name, project.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    keep_studies(project, shrink_params(params_text))
    project.call("git", "init", "--quiet")
    # The images are generated, so they cannot have the pinned hashes: what fetches them is put to rest.
    raw = project.folder / "data/raw/fashion_mnist"
    raw.mkdir(parents=True)
    for name, content in fashion_files.items():
        (raw / name).write_bytes(content)
    project.call("dvc", "commit", "--force", "--quiet", "fetch@fashion_mnist")
    project.commit()
    project.ran = project.stages_run("repro")
    project.commit()
    return project


def test_one_run_fills_the_metrics(project: Project) -> None:
    metrics = json.loads(project.read("metrics/metrics.json"))
    params = load_yaml(project.folder / "params.yaml")
    for study, settings in params["studies"].items():
        assert set(metrics[study]) == {*settings["variants"], *settings["references"], "no_skill"}
        values = [value for scores in metrics[study].values() for value in scores.values()]
        assert np.isfinite(values).all()
    assert len([name for name in project.ran if name.startswith("train_")]) == 2 * len(STUDIES)


def test_a_second_run_finds_nothing_to_do(project: Project) -> None:
    assert project.stages_run("repro") == set()
    assert project.call("git", "status", "--porcelain") == ""


def test_a_fresh_clone_without_data_knows_that_it_is_in_step(project: Project, tmp_path: Path) -> None:
    project.call("git", "clone", "--quiet", str(project.folder), str(tmp_path / "fresh"))
    fresh = Project(tmp_path / "fresh")
    assert fresh.stages_run("repro", "--allow-missing", "--dry") == set()
    assert "tutorial_thoracic" in fresh.call("dvc", "metrics", "show")
    command = [sys.executable, "-m", "tools.in_step"]
    options = {"cwd": fresh.folder, "env": fresh.environment | {"PYTHONPATH": str(ROOT)}, "capture_output": True}
    assert subprocess.run(command, **options).returncode == 0
    fresh.change_params("confidence: 0.95", "confidence: 0.9")
    done = subprocess.run(command, **options, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "dvc.lock is out of step: plan" in done.stderr


def test_forced_runs_repeat_every_byte(project: Project) -> None:
    before = [project.read(path) for path in ("dvc.lock", "metrics/metrics.json", "metrics/comparison.json")]
    stages = [
        "train_tutorial_fashion@dropout",
        "evaluate@tutorial_fashion",
        "compare",
    ]
    ran = project.stages_run("repro", "--force", "--single-item", *stages)
    assert ran == set(stages)
    assert [project.read(path) for path in ("dvc.lock", "metrics/metrics.json", "metrics/comparison.json")] == before


def test_an_experiment_retrains_just_the_runs_that_use_its_knob(project: Project) -> None:
    ran = project.stages_run("exp", "run", "-S", "dropout=0.3")
    follow = {"plan", "evaluate@tutorial_fashion", "evaluate@tutorial_thoracic", "compare", "report"}
    trained = {"train_tutorial_fashion@dropout", "train_tutorial_thoracic@poisson"}
    trained |= {"train_tutorial_thoracic@mean_squared_logarithmic_error"}
    assert ran == trained | follow
    project.change_params("dropout: 0.3", "dropout: 0.5")
    assert project.stages_run("repro") == {"report"}, (
        "the rest comes back; what lies in git alone is not in DVC's cache"
    )
    assert project.call("git", "status", "--porcelain") == ""


def test_a_new_variant_trains_alone_and_leaves_no_trace_when_it_goes(project: Project) -> None:
    variant = "+studies.tutorial_fashion.variants.mine={regularizers: [l2]}"
    ran = project.stages_run("exp", "run", "-S", variant)
    assert ran == {"plan", "train_tutorial_fashion@mine", "evaluate@tutorial_fashion", "compare", "report"}
    assert "mine" in json.loads(project.read("metrics/metrics.json"))["tutorial_fashion"]
    project.call("git", "checkout", "--quiet", "params.yaml")
    trained = {name for name in project.stages_run("repro") if name.startswith("train_")}
    assert trained == set()
    assert "mine" not in json.loads(project.read("metrics/metrics.json"))["tutorial_fashion"]
    assert project.call("git", "status", "--porcelain") == " M dvc.lock\n"
    lock = load_yaml(project.folder / "dvc.lock")
    del lock["stages"]["train_tutorial_fashion@mine"]  # DVC keeps what it knows of stages that are gone
    project.call("git", "checkout", "--quiet", "dvc.lock")
    assert lock == load_yaml(project.folder / "dvc.lock")


def test_another_confidence_trains_nothing(project: Project) -> None:
    assert project.stages_run("exp", "run", "-S", "statistics.confidence=0.9") == {"plan", "compare", "report"}
    project.call("git", "checkout", "--quiet", ".")
    assert project.stages_run("repro") <= {"report"}
    assert project.call("git", "status", "--porcelain") == ""


FIND_CHANGED = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

original, found = Path("params.yaml").read_text(), {}
for knob, line in json.loads(sys.argv[1]).items():
    Path("params.yaml").write_text(original.replace(line, f"{knob}: 0.123"))
    with Repo() as repo:
        repo.reproduce("plan")
        found[knob] = [name for name in repo.status() if name.startswith("train_")]
Path("params.yaml").write_text(original)
with Repo() as repo:
    repo.reproduce("plan")
Path("found.json").write_text(json.dumps(found))
"""


def test_a_knob_drawn_at_random_changes_exactly_the_runs_whose_plan_names_it(project: Project) -> None:
    text = project.read("params.yaml").decode()
    plans = {run: entry for run, entry in plan.run(text).items() if isinstance(entry, RunPlan)}
    knobs = [name for name in REGULARIZERS if name != "early_stopping"]
    drawn = np.random.Generator(np.random.PCG64(5)).permutation(knobs)[:10]
    lines = {knob: next(line for line in text.splitlines() if line.startswith(f"{knob}:")) for knob in drawn}
    project.call("python", "-c", FIND_CHANGED, json.dumps(lines))
    found = json.loads(project.read("found.json"))
    (project.folder / "found.json").unlink()
    for knob in lines:
        using = [entry for entry in plans.values() if knob in [item.name for item in entry.regularizers]]
        assert set(found[knob]) == {f"train_{entry.study}@{entry.variant}" for entry in using}
    assert project.call("git", "status", "--porcelain") == ""


def test_a_colleague_pulls_and_has_nothing_to_train(project: Project, tmp_path: Path) -> None:
    project.call("dvc", "remote", "add", "--force", "--default", "shared", str(tmp_path / "remote"))
    project.call("git", "commit", "--quiet", "--message", "share", ".dvc/config")
    project.call("dvc", "push", "--quiet", "--run-cache")
    project.call("git", "clone", "--quiet", str(project.folder), str(tmp_path / "colleague"))
    colleague = Project(tmp_path / "colleague")
    colleague.call("dvc", "pull", "--quiet", "--run-cache")
    assert colleague.stages_run("repro") == set()
    assert colleague.read("models/tutorial_fashion/dropout/model.keras")
    project.call("git", "reset", "--quiet", "--hard", "HEAD~1")


def test_dvc_plots_the_paths_one_by_one(project: Project) -> None:
    for name in ("mine", "other"):
        variant = f"+studies.tutorial_fashion.variants.{name}={{regularizers: [dropout], path: [0.1, 0.2]}}"
        project.call("dvc", "exp", "run", "--quiet", "-S", variant)
        project.commit()
    command = ("dvc", "plots", "diff", "--targets", "metrics/paths.csv", "--show-vega", "HEAD~1", "HEAD")
    shown = json.loads(project.call(*command))
    points = [(row["rev"], row["variant"], row["strength"]) for row in shown["data"]["values"]]
    before = [("HEAD~1", "mine", strength) for strength in ("0.1", "0.2", "0.5")]
    after = [("HEAD", name, strength) for name in ("mine", "other") for strength in ("0.1", "0.2", "0.5")]
    assert sorted(points) == sorted(before + after)
    assert shown["spec"]["encoding"]["x"]["field"] == "strength"
    project.call("git", "reset", "--quiet", "--hard", "HEAD~2")
    project.call("dvc", "repro", "--quiet")


def test_a_comment_reruns_nothing(project: Project) -> None:
    path = project.folder / "params.yaml"
    path.write_text(f"# a remark\n{path.read_text()}")
    assert project.stages_run("repro") == set()
    project.call("git", "checkout", "--quiet", "params.yaml")


def test_a_mistake_stops_before_any_work(project: Project) -> None:
    project.change_params("dropout: 0.5", "dropout: 1.5")
    done = subprocess.run(["dvc", "repro"], cwd=project.folder, env=project.environment, text=True, capture_output=True)
    assert done.returncode != 0
    assert "error: dropout: is 1.5, expected a number under 1: change it" in done.stderr
    assert "Running stage 'train" not in done.stdout
    project.call("git", "checkout", "--quiet", "params.yaml")
    assert project.stages_run("repro") == set()
