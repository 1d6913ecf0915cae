"""The shrunken pipeline through DVC itself: real stages, the real table, images in the real format."""

import json
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from stages.lib.data.fashion_mnist import PINS
from tests.browser import needs_chromium, open_page, start_browser
from tests.conftest import keep_experiments, shrink_params
from tests.project import Project, load_yaml, make_project, save_yaml

STUDIES = ("tutorial_thoracic", "tutorial_fashion")  # with two variants each: TensorFlow's start is what a run costs


def keep_few(params: dict) -> dict:
    """The kept studies with two of their variants each."""
    params["studies"] = {name: params["studies"][name] for name in STUDIES}
    for study in params["studies"].values():
        names = list(study["variants"])
        study["variants"] = {name: study["variants"][name] for name in (names[0], names[-1])}
        study["baseline"] = names[0]
    return keep_experiments(params)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, params_text: str, fashion_files: dict[str, bytes]) -> Project:
    """After one whole run, committed."""
    project = make_project(tmp_path_factory.mktemp("clone"), keep_few(shrink_params(params_text)))
    # The images are generated, so they have hashes of their own; what fetches them is put to rest.
    raw = project.folder / "data/raw/fashion_mnist"
    raw.mkdir(parents=True)
    pins = project.folder / "stages/lib/data/fashion_mnist.py"
    for name, content in fashion_files.items():
        (raw / name).write_bytes(content)
        pins.write_text(pins.read_text().replace(PINS[name].sha256, sha256(content).hexdigest()))
    project.call("dvc", "repro", "--quiet", "plan")
    project.call("dvc", "commit", "--force", "--quiet", "fetch@fashion_mnist")
    project.commit()
    project.ran = project.stages_run("repro")
    project.commit()
    return project


def go_back(project: Project, commits: int) -> None:
    """As `git checkout` and `dvc checkout` do."""
    project.call("git", "reset", "--quiet", "--hard", f"HEAD~{commits}")
    project.call("dvc", "checkout", "--quiet")


def test_one_run_fills_the_metrics(project: Project) -> None:
    metrics = json.loads(project.read("metrics/metrics.json"))
    params = load_yaml(project.folder / "params.yaml")
    for study, settings in params["studies"].items():
        assert set(metrics[study]) == {*settings["variants"], *settings["references"], "no_skill"}
        values = [value for scores in metrics[study].values() for value in scores.values()]
        assert np.isfinite([value for value in values if not isinstance(value, str)]).all()
    assert len([name for name in project.ran if name.startswith("train_")]) == 2 * len(STUDIES)


def test_a_second_run_finds_nothing_to_do(project: Project) -> None:
    assert project.stages_run("repro") == set()
    assert project.call("git", "status", "--porcelain") == ""


def test_a_fresh_clone_without_data_knows_that_it_is_in_step(project: Project, tmp_path: Path) -> None:
    project.call("git", "clone", "--quiet", str(project.folder), str(tmp_path / "fresh"))
    fresh = Project(tmp_path / "fresh")
    assert fresh.stages_run("repro", "--allow-missing", "--dry") == set()
    assert "tutorial_thoracic" in fresh.call("dvc", "metrics", "show")
    assert fresh.call_tool("in_step").returncode == 0
    fresh.change_params("confidence: 0.95", "confidence: 0.9")
    done = fresh.call_tool("in_step")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "dvc.lock is out of step: plan" in done.stderr


def test_forced_runs_repeat_every_byte(project: Project) -> None:
    kept = ("dvc.lock", "metrics/metrics.json", "metrics/comparison.json", "metrics/paths.csv", "metrics/report.md")
    kept += ("metrics/audit.json", "metrics/report.html", "metrics/series/tutorial_fashion/pictures.json")
    before = [project.read(path) for path in kept]
    stages = {
        "plan",
        "preprocess@tutorial_fashion",
        "train_tutorial_fashion@l2_activity_l1_dropout",
        "train_tutorial_thoracic@poisson",
        "evaluate@tutorial_fashion",
        "reference@tutorial_thoracic",
        "experiment@patients",
        "compare",
        "audit",
        "summarize@tutorial_fashion",
        "report",
    }
    assert project.stages_run("repro", "--force", "--single-item", *stages) == stages
    assert [project.read(path) for path in kept] == before
    assert project.call_tool("review", "HEAD").stdout.startswith("Nothing has changed since HEAD")
    assert len(project.call("dvc", "metrics", "diff", "--md", "HEAD").splitlines()) <= 3, "a table's head, no row"


def test_an_experiment_retrains_just_the_runs_that_use_its_knob(project: Project) -> None:
    ran = project.stages_run("exp", "run", "-S", "dropout=0.3")
    follow = {"plan", "compare", "audit", "report", "experiment@patients"}
    follow |= {f"{stage}@{study}" for stage in ("evaluate", "summarize") for study in STUDIES}
    trained = {"train_tutorial_fashion@l2_activity_l1_dropout", "train_tutorial_thoracic@poisson"}
    trained |= {"train_tutorial_thoracic@mean_squared_logarithmic_error"}
    assert ran == trained | follow

    review = json.loads(project.call_tool("review", "HEAD", "--json").stdout)
    assert {f"train_{change['study']}@{change['variant']}" for change in review["changes"]} == trained
    assert (review["params"], review["recomputed"], review["stale"]) == (["dropout: 0.5 -> 0.3"], [], [])

    shown = project.call("dvc", "metrics", "diff", "--md", "HEAD")
    assert shown == project.call("dvc", "metrics", "diff", "--md", "HEAD")
    rows = [re.split(r" *\| *", line.strip("| ")) for line in shown.splitlines()[2:] if line]
    scores = [row[1] for row in rows]
    assert scores == sorted(scores)
    numbers = [row for row in rows if ".verdict_" not in row[1]]  # a reference model's verdict follows its baseline
    assert {"train_{}@{}".format(*row[1].split(".")) for row in numbers} == trained
    changes = [row[-1] for row in numbers]
    assert all(np.isfinite(float(change)) and float(change) != 0 for change in changes)

    project.change_params("dropout: 0.3", "dropout: 0.5")
    assert project.stages_run("repro") == {"report"}, (
        "the rest comes back; what lies in git alone is not in DVC's cache"
    )
    assert project.call("git", "status", "--porcelain") == ""


def test_a_new_variant_trains_alone_and_leaves_no_trace_when_it_goes(project: Project) -> None:
    variant = "+studies.tutorial_fashion.variants.mine={regularizers: [l2]}"
    ran = project.stages_run("exp", "run", "-S", variant, "compare")
    assert ran == {"plan", "train_tutorial_fashion@mine", "evaluate@tutorial_fashion", "compare"}
    assert "mine" in json.loads(project.read("metrics/metrics.json"))["tutorial_fashion"]
    project.call("git", "checkout", "--quiet", "params.yaml")
    assert not [name for name in project.stages_run("repro", "compare") if name.startswith("train_")]
    assert "mine" not in json.loads(project.read("metrics/metrics.json"))["tutorial_fashion"]
    assert project.call("git", "status", "--porcelain") == " M dvc.lock\n"
    lock = load_yaml(project.folder / "dvc.lock")
    del lock["stages"]["train_tutorial_fashion@mine"]  # DVC keeps what it knows of stages that are gone
    project.call("git", "checkout", "--quiet", "dvc.lock")
    assert lock == load_yaml(project.folder / "dvc.lock")


def test_another_confidence_trains_nothing(project: Project) -> None:
    ran = project.stages_run("exp", "run", "-S", "statistics.confidence=0.9")
    follow = {f"summarize@{study}" for study in STUDIES}
    assert ran == {"plan", *follow, "compare", "audit", "report"}
    project.call("git", "checkout", "--quiet", ".")
    assert project.stages_run("repro") <= {"report"}
    assert project.call("git", "status", "--porcelain") == ""


def test_another_threshold_of_the_audit_trains_nothing(project: Project) -> None:
    before = {claim["id"]: claim["verdict"] for claim in json.loads(project.read("metrics/audit.json"))}
    ran = project.stages_run("exp", "run", "-S", "audit.rules.D4.risk.matters=0.9")
    assert ran == {"plan", "compare", "audit", "report"}
    after = {claim["id"]: claim["verdict"] for claim in json.loads(project.read("metrics/audit.json"))}
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert changed == {"D4": ("supported", "refuted")}
    project.call("git", "checkout", "--quiet", ".")
    assert project.stages_run("repro") <= {"report"}


def test_a_colleague_pulls_and_has_nothing_to_train(project: Project, tmp_path: Path) -> None:
    project.call("dvc", "remote", "add", "--force", "--default", "shared", str(tmp_path / "remote"))
    project.call("git", "commit", "--quiet", "--message", "share", ".dvc/config")
    project.call("dvc", "push", "--quiet", "--run-cache")
    project.call("git", "clone", "--quiet", str(project.folder), str(tmp_path / "colleague"))
    colleague = Project(tmp_path / "colleague")
    colleague.call("dvc", "pull", "--quiet", "--run-cache")
    assert colleague.stages_run("repro") == set()
    assert colleague.read("models/tutorial_fashion/l2_activity_l1_dropout/model.keras")
    project.call("git", "reset", "--quiet", "--hard", "HEAD~1")


def test_dvc_plots_the_paths_one_by_one(project: Project) -> None:
    for name in ("mine", "other"):
        params = load_yaml(project.folder / "params.yaml")
        params["studies"]["tutorial_fashion"]["variants"][name] = {"regularizers": ["dropout"], "path": [0.1, 0.2]}
        save_yaml(project.folder / "params.yaml", params)
        project.call("dvc", "repro", "--quiet", "compare")
        project.commit()
    command = ("dvc", "plots", "diff", "--targets", "metrics/paths.csv", "--show-vega", "HEAD~1", "HEAD")
    shown = json.loads(project.call(*command))
    points = [(row["rev"], row["score"], row["variant"], row["strength"]) for row in shown["data"]["values"]]
    names = {"HEAD~1": ("mine",), "HEAD": ("mine", "other")}
    expected = {
        (revision, score, name, strength)
        for revision, variants in names.items()
        for score in ("accuracy", "log_loss")
        for name in variants
        for strength in ("0.1", "0.2", "0.5")
    }
    assert sorted(points) == sorted(expected)
    assert shown["spec"]["encoding"]["x"]["field"] == "strength"
    go_back(project, 2)


@needs_chromium
def test_plots_of_two_revisions_open_offline_with_every_chart(project: Project) -> None:
    project.change_params("dropout: 0.5", "dropout: 0.4")
    project.make()
    project.commit()
    project.call("dvc", "plots", "diff", "--quiet", "HEAD~1", "HEAD")
    with start_browser() as browser:
        opened = open_page(browser, project.folder / "dvc_plots/index.html", width=1280, theme="light")
        charts = "[...document.querySelectorAll('body > div')].map((one) => [one.id, one.querySelector('canvas, svg')])"
        opened.page.wait_for_function(f"{charts}.every((entry) => entry[1])", polling=100)
        sizes = dict(opened.page.evaluate(f"{charts}.map(([name, chart]) => [name, chart.clientHeight])"))
        assert opened.requests == []
    assert {name for name, height in sizes.items() if height < 50} == set()
    for study in STUDIES:
        for name in ("forest_csv", "learning_csv", "reliability_csv", "confusion_csv", "weights_csv"):
            assert f"metrics_series_{study}_{name}" in sizes
    assert "metrics_series_tutorial_thoracic_curves_csv" in sizes
    go_back(project, 1)


def test_a_comment_reruns_nothing(project: Project) -> None:
    path = project.folder / "params.yaml"
    path.write_text(f"# a remark\n{path.read_text()}")
    assert project.stages_run("repro") == set()
    project.call("git", "checkout", "--quiet", "params.yaml")


def test_a_mistake_stops_before_any_work(project: Project) -> None:
    project.change_params("dropout: 0.5", "dropout: 1.5")
    done = subprocess.run(["dvc", "repro"], cwd=project.folder, env=project.environment, text=True, capture_output=True)
    assert done.returncode != 0
    told = r"error: params.yaml, line \d+: dropout: is 1.5, expected a number less than 1: change it"
    assert re.search(told, done.stderr)
    assert "Running stage 'train" not in done.stdout
    project.call("git", "checkout", "--quiet", "params.yaml")
    assert project.stages_run("repro") == set()
