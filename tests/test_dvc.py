"""The shrunken pipeline through DVC itself: real stages, the real table, few images in the real format."""

import json
import re
import shlex
from contextlib import chdir
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from stages.lib.data.fashion_mnist import PINS
from tests.browser import needs_chromium, open_page, start_browser
from tests.conftest import ROOT, keep_studies, keep_variants, make_fashion_files, shrink_params
from tests.project import Project, find_users, load_yaml, make_project, save_yaml
from tests.test_docs import list_commands
from tests.tools.test_repro import wait_until
from tools.review.judging import review
from tools.review.snapshot import Snapshot

# The first compares the catalogue, the second, one of the tutorial, variants of its own: two each, since TensorFlow's
# start is what a run costs.
PATIENTS, IMAGES = "tutorial_thoracic", "tutorial_fashion"
T1, POISSON, PLAIN, DROPOUT = ("mean_squared_logarithmic_error", "poisson", "unregularized", "l2_activity_l1_dropout")
TRAINED = {
    (PATIENTS, T1): f"train@{PATIENTS}-{T1}",
    (PATIENTS, POISSON): f"train@{PATIENTS}-{POISSON}",
    (IMAGES, PLAIN): f"train_own@{PLAIN}",
    (IMAGES, DROPOUT): f"train_own@{DROPOUT}",
}
# Commands of docs/experiments.md that nothing else here runs.
OTHERS = (
    r"dvc (params diff|exp (save|run --queue|show|apply|branch|remove)|queue (start|status|logs|remove)|remote list)"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, params_text: str) -> Project:
    """Two variants of each study, one of them with a path, after one whole run; committed."""
    params = keep_studies(shrink_params(params_text), PATIENTS, IMAGES)
    params = keep_variants(params, T1, POISSON, PLAIN, DROPOUT)
    params["variants"][POISSON]["path"] = [0.1, 0.2]
    project = make_project(tmp_path_factory.mktemp("clone"), params)
    # The images are few and generated, so they have hashes of their own; what fetches them is put to rest.
    raw = project.folder / "data/raw/fashion_mnist"
    raw.mkdir(parents=True)
    module = project.folder / "stages/lib/data/fashion_mnist.py"
    text = module.read_text().replace("60_000, 10_000", "2_000, 1_000")
    for name, content in make_fashion_files(2000, 1000).items():
        (raw / name).write_bytes(content)
        text = text.replace(PINS[name].sha256, sha256(content).hexdigest())
    module.write_text(text)
    project.call("dvc", "repro", "--quiet", "plan")
    project.call("dvc", "commit", "--force", "--quiet", "fetch@fashion_mnist")
    project.commit()
    project.ran = project.make()
    project.commit()
    return project


def test_one_run_fills_the_metrics(project: Project) -> None:
    metrics = json.loads(project.read("metrics/metrics.json"))
    assert set(metrics[PATIENTS]) == {T1, POISSON, "logistic_regression", "no_skill"}
    assert set(metrics[IMAGES]) == {PLAIN, DROPOUT, "no_skill"}
    arms = [arm for study in metrics.values() for arms in study.values() for arm in arms.values()]
    assert all(np.isfinite(value) for arm in arms for value in arm.values() if not isinstance(value, str))
    assert {name for name in project.ran if name.startswith("train")} == set(TRAINED.values())


def test_a_second_run_finds_nothing_to_do_nor_does_one_after_a_comment(project: Project) -> None:
    assert project.stages_run("repro") == set()
    assert project.call("git", "status", "--porcelain") == ""
    path = project.folder / "params.yaml"
    path.write_text(f"# a remark\n{path.read_text()}")
    assert project.stages_run("repro") == set()
    project.call("git", "checkout", "--quiet", "params.yaml")
    (project.folder / "data/source/.my.csv.x1").touch()  # as a kill leaves it that comes while a table is written
    assert project.stages_run("repro") == set()
    assert project.call("git", "status", "--porcelain") == ""


def test_a_fresh_clone_without_data_knows_that_it_is_in_step(project: Project, tmp_path: Path) -> None:
    project.call("git", "clone", "--quiet", str(project.folder), str(tmp_path / "fresh"))
    fresh = Project(tmp_path / "fresh")
    assert fresh.stages_run("repro", "--allow-missing", "--dry") == set()
    assert "tutorial_thoracic" in fresh.call("dvc", "metrics", "show")
    assert fresh.call_tool("guard", "--in-step").returncode == 0
    (fresh.folder / "data/predictions").mkdir()  # some are there, as after `make judge`, but no evidence for the audit
    assert "dvc.lock is out of step: audit would run" in fresh.call_tool("guard", "--in-step").stderr
    params = load_yaml(fresh.folder / "params.yaml")
    params["statistics"]["confidence"] = 0.9
    save_yaml(fresh.folder / "params.yaml", params)
    done = fresh.call_tool("guard", "--in-step")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "dvc.lock is out of step: plan" in done.stderr


def test_forced_runs_repeat_every_byte(project: Project) -> None:
    """By DVC after tools.repro, on images; tests/tools has whole runs of a table by either, to the last stage."""

    def read_all() -> dict[Path, bytes]:
        files = [project.folder / "dvc.lock", *(project.folder / "metrics").rglob("*")]
        return {path: path.read_bytes() for path in files if path.is_file()}

    before = read_all()
    stages = {f"{verb}_tutorial@{IMAGES}" for verb in ("preprocess", "evaluate", "draw")} | {TRAINED[IMAGES, DROPOUT]}
    assert project.stages_run("repro", "--force", "--single-item", *stages) == stages
    assert read_all() == before
    assert project.call_tool("review", "HEAD").stdout.startswith("Nothing has changed since HEAD")
    assert len(project.call("dvc", "metrics", "diff", "--md", "HEAD").splitlines()) <= 3, "a table's head, no row"


def test_a_changed_knob_retrains_just_the_runs_that_use_it(project: Project) -> None:
    """Nor is anything predicted, judged or drawn again of the other study."""
    users = find_users(load_yaml(project.folder / "params.yaml"), "l2")
    assert users == {(IMAGES, DROPOUT)}, "else there would be nothing to show"
    ran = project.make("--set", "l2=0.02")
    follow = {f"{verb}_tutorial@{IMAGES}" for verb in ("evaluate", "compare", "draw")}
    assert ran == {"plan", *(TRAINED[user] for user in users), *follow, "audit", "report"}

    with chdir(project.folder):
        result = review(Snapshot("HEAD"), Snapshot(None))
        assert {change.key.arm[:2] for change in result.changes} == users
        assert not any(change.recomputed for change in result.changes)
        assert (result.params, result.head.find_stale()) == (["l2: 0.01 -> 0.02"], [])

    shown = project.call("dvc", "metrics", "diff", "--md", "HEAD")
    rows = [re.split(r" *\| *", line.strip("| ")) for line in shown.splitlines()[2:] if line]
    scores = [row[1] for row in rows]
    assert scores == sorted(scores)
    numbers = [row for row in rows if not row[1].endswith("_verdict")]
    assert {tuple(row[1].split(".")[:3]) for row in numbers} == {(*user, "at_knob") for user in users}
    assert {f"{row[1]}_verdict" for row in numbers} == {row[1] for row in rows} - {row[1] for row in numbers}
    changes = [row[-1] for row in numbers]
    assert all(np.isfinite(float(change)) and float(change) != 0 for change in changes)

    project.call("dvc", "dag", "--collapse-foreach-matrix")
    queued = ""
    for command in filter(re.compile(OTHERS).match, list_commands(ROOT / "docs/experiments.md")):
        command = command.replace("0.1,0.3,0.5", "0.5").replace("<name>", queued)  # an experiment that trains nothing
        told = project.call(*shlex.split(command))
        queued = "".join(re.findall("Queued experiment '(.*?)'", told)) or queued
        if command.startswith("dvc queue start"):
            wait_until(lambda: re.search("Success|Failed", project.call("dvc", "queue", "status")))
            assert "Success" in project.call("dvc", "queue", "status")
    project.call("git", "restore", "params.yaml")
    assert project.stages_run("repro") == {"report"}, "the rest comes back; its files lie in git, not in DVC's cache"
    assert project.call("git", "status", "--porcelain") == ""


def test_a_new_variant_trains_alone_is_plotted_and_leaves_no_trace_when_it_goes(project: Project) -> None:
    mine = f"+own_variants.mine={{study: {IMAGES}, regularizers: [dropout], path: [0.1, 0.2]}}"
    ran = project.stages_run("exp", "run", "-S", mine)
    follow = {f"{verb}_tutorial@{IMAGES}" for verb in ("evaluate", "compare", "draw")}
    assert ran == {"plan", "train_own@mine", *follow, "audit", "report"}
    assert "mine" in json.loads(project.read("metrics/metrics.json"))[IMAGES]

    plotted = project.call("dvc", "plots", "diff", "--targets", "metrics/paths.csv", "--show-vega", "HEAD", "workspace")
    shown = json.loads(plotted)
    points = [(row["rev"], row["score"], row["variant"], row["strength"]) for row in shown["data"]["values"]]
    paths = [("HEAD", "auc", POISSON), ("workspace", "auc", POISSON), ("workspace", "accuracy", "mine")]
    paths += [(revision, "log_loss", name) for revision, _, name in paths]
    assert sorted(points) == sorted((*path, strength) for path in paths for strength in ("0.1", "0.2", "0.5"))
    assert shown["spec"]["encoding"]["x"]["field"] == "strength"

    project.call("git", "checkout", "--quiet", "params.yaml")
    assert not [name for name in project.stages_run("repro") if name.startswith("train")]
    assert "mine" not in json.loads(project.read("metrics/metrics.json"))[IMAGES]
    assert project.call("git", "status", "--porcelain") == " M dvc.lock\n"
    lock = load_yaml(project.folder / "dvc.lock")
    del lock["stages"]["train_own@mine"]  # DVC keeps what it knows of stages that are gone
    project.call("git", "checkout", "--quiet", "dvc.lock")
    assert lock == load_yaml(project.folder / "dvc.lock")


def test_a_colleague_pulls_and_has_nothing_to_train(project: Project, tmp_path: Path) -> None:
    project.call("dvc", "remote", "add", "--force", "--default", "shared", str(tmp_path / "remote"))
    project.call("git", "commit", "--quiet", "--message", "share", ".dvc/config")
    project.call("dvc", "push", "--quiet", "--run-cache")
    project.call("git", "clone", "--quiet", str(project.folder), str(tmp_path / "colleague"))
    colleague = Project(tmp_path / "colleague")
    colleague.call("dvc", "pull", "--quiet", "--run-cache")
    assert colleague.stages_run("repro") == set()
    assert colleague.read(f"models/{IMAGES}/{DROPOUT}/model.keras")
    colleague.call("dvc", "unprotect", "data/raw/fashion_mnist")
    assert {file.stat().st_nlink for file in (colleague.folder / "data/raw/fashion_mnist").iterdir()} == {1}
    project.call("git", "reset", "--quiet", "--hard", "HEAD~1")


@needs_chromium
def test_plots_of_two_revisions_open_offline_with_every_chart(project: Project) -> None:
    project.make("--set", "l2=0.02")  # most of it comes from DVC's cache
    project.commit()
    project.call("dvc", "plots", "diff", "--quiet", "HEAD~1", "HEAD")
    with start_browser() as browser:
        opened = open_page(browser, project.folder / "dvc_plots/index.html", width=1280, theme="light")
        charts = "[...document.querySelectorAll('body > div')].map((one) => [one.id, one.querySelector('canvas, svg')])"
        opened.page.wait_for_function(f"{charts}.every((entry) => entry[1])", polling=100)
        sizes = dict(opened.page.evaluate(f"{charts}.map(([name, chart]) => [name, chart.clientHeight])"))
        assert (opened.requests, opened.errors) == ([], []) and "metrics_comparison" not in str(sizes)
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 1280
    assert {name for name, height in sizes.items() if height < 50} == set()
    for name in ("forest", "learning"):
        assert {f"metrics_series_{name}_{study}_csv" for study in (PATIENTS, IMAGES)} <= sizes.keys()
    project.call("git", "reset", "--quiet", "--hard", "HEAD~1")
    project.call("dvc", "checkout", "--quiet")
