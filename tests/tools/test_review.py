"""The review on two revisions made by hand: what it names, what it concludes, with which status it ends."""

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages.lib.params import parse_params
from tests.conftest import ROOT
from tools.review import changes, sides

Json = dict[str, Any]
RATIO = 0.25  # held-out rows / development rows of five folds


def make_arm(mean: float, *, noise_of: int, protocol: str = "five folds, seed 3") -> Json:
    """Fifty replicates around a mean; arms of one noise are paired."""
    scores = mean + np.random.Generator(np.random.PCG64(noise_of)).normal(0, 0.05, 50)
    replicates = scores.round(6).tolist()
    return {"metric": "auc", "protocol": protocol, "test_train_ratio": RATIO, "replicates": replicates, "verdict": "-"}


BASE = {
    "made": {
        "none": {"at_knob": make_arm(0.6, noise_of=0)},
        "dropout": {"at_knob": make_arm(0.65, noise_of=1), "tuned": make_arm(0.66, noise_of=2)},
        "l2": {"at_knob": make_arm(0.66, noise_of=3)},
    }
}


def shift(comparison: Json, variant: str, difference: float) -> Json:
    """The same with all replicates of one variant at the knob moved by a difference, give or take a little."""
    changed = copy.deepcopy(comparison)
    arm = changed["made"][variant]["at_knob"]
    wobble = np.random.Generator(np.random.PCG64(9)).normal(0, 0.002, 50)
    arm["replicates"] = (np.array(arm["replicates"]) + difference + wobble).tolist()
    return changed


def arms(comparison: Json) -> dict[sides.Key, sides.Arm]:
    return sides.parse_comparison(json.dumps(comparison))


def judge(base: Json, head: Json, params_text: str) -> changes.Review:
    return changes.review(arms(base), arms(head), settings=parse_params(params_text).statistics)


class Repository:
    """A git repository with the two files that a review reads, and main as its base."""

    def __init__(self, folder: Path, params: str):
        self.folder = folder
        self.write(BASE, params)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--message", "base")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True)

    def write(self, comparison: Json, params: str) -> None:
        (self.folder / "metrics").mkdir(exist_ok=True)
        (self.folder / "metrics/comparison.json").write_text(json.dumps(comparison))
        (self.folder / "params.yaml").write_text(params)

    def review(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.review", *arguments]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path, params_text: str) -> Repository:
    return Repository(tmp_path, params_text)


def test_nothing_changed_is_one_line_even_with_a_new_comment(repository: Repository, params_text: str) -> None:
    repository.write(BASE, f"# a remark\n{params_text}")
    done = repository.review()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Nothing has changed since main: neither a parameter nor a held-out score.\n"


def test_a_regression_ends_with_status_1_and_names_just_what_changed(repository: Repository, params_text: str) -> None:
    repository.write(shift(BASE, "dropout", -0.1), params_text.replace("dropout: 0.5", "dropout: 0.3"))
    done = repository.review("main")
    assert done.returncode == 1
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms")
    assert "| made | dropout | at the knob | auc |" in done.stdout
    assert "- dropout: 0.5 -> 0.3" in done.stdout
    assert "| l2 |" not in done.stdout
    assert "tuned" not in done.stdout


@pytest.mark.parametrize(
    ("difference", "verdict"), [(0.1, "better"), (-0.1, "worse"), (0.0, "equivalent"), (0.0105, "undecided")]
)
def test_verdicts_know_the_noise(difference: float, verdict: str, params_text: str) -> None:
    head = shift(BASE, "l2", difference)
    if verdict == "undecided":  # as large a difference, but other replicates
        head["made"]["l2"]["at_knob"] = make_arm(0.6605, noise_of=4)
    (change,) = judge(BASE, head, params_text).changes
    assert (change.variant, change.verdict) == ("l2", verdict)
    assert change.ci_low < change.difference < change.ci_high
    assert change.difference == pytest.approx(change.head - change.base)


def test_another_protocol_is_compared_unpaired_and_says_so(params_text: str) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["none"]["at_knob"] = make_arm(0.6, noise_of=0, protocol="five folds, seed 4")
    head["made"]["none"]["at_knob"]["replicates"][0] += 0.01
    found = judge(BASE, head, params_text)
    (change,) = found.changes
    key = ("made", "none", "at_knob")
    same = dataclasses.replace(arms(head)[key], protocol=arms(BASE)[key].protocol)
    paired = changes.compare_sides(arms(BASE)[key], same, alpha=0.05)
    assert not change.paired
    assert change.ci_high - change.ci_low > 10 * (paired.ci_high - paired.ci_low)
    assert "replicates are compared unpaired" in changes.render(found, base="main")


def test_new_removed_and_incomparable_arms_are_listed(params_text: str) -> None:
    head = shift(BASE, "none", 0.01)
    mine = make_arm(0.7, noise_of=5) | {"difference": 0.1, "verdict": "better"}
    head["made"]["mine"] = {"at_knob": mine}
    del head["made"]["dropout"]
    head["made"]["none"]["at_knob"]["metric"] = "accuracy"
    found = judge(BASE, head, params_text)
    score = np.mean(mine["replicates"])
    assert found.added == [f"made mine at the knob: auc {score:.4f}, +0.1000 from the baseline of its study: better"]
    assert found.removed == ["made dropout at the knob", "made dropout tuned"]
    assert found.incomparable == ["made none at the knob"]
    assert found.changes == []


def test_many_changes_are_one_family(params_text: str) -> None:
    alone = judge(BASE, shift(BASE, "l2", -0.02), params_text).changes[0]
    both = judge(BASE, shift(shift(BASE, "l2", -0.02), "none", -0.02), params_text).changes
    assert len(both) == 2
    assert max(change.p_adjusted for change in both) == pytest.approx(2 * alone.p_adjusted, rel=1e-6)


def write_lock(folder: Path, params: str) -> None:
    values = sides.parse_yaml(params)
    entry = {"cmd": "python -m stages.plan", "params": {"params.yaml": values}}
    YAML().dump({"schema": "2.0", "stages": {"plan": entry, "train": {"cmd": "true"}}}, folder / "dvc.lock")


def test_results_of_other_parameters_are_told_first(repository: Repository, params_text: str) -> None:
    write_lock(repository.folder, params_text)
    assert repository.review().stdout.startswith("Nothing has changed")
    repository.write(BASE, params_text.replace("dropout: 0.5", "dropout: 0.3"))
    done = repository.review()
    assert done.returncode == 0
    assert done.stdout.startswith("**Out of date**: the results are not of these parameters (dropout: 0.5 -> 0.3)")


def test_of_a_fixed_test_set_the_interval_says_what_it_stands_for(params_text: str) -> None:
    base, head = copy.deepcopy(BASE), shift(BASE, "l2", 0.01)
    for side in (base, head):
        side["made"]["l2"]["at_knob"]["test_train_ratio"] = 0.0
    assert " † |" in changes.render(judge(base, head, params_text), base="main")
    assert "†" not in changes.render(judge(BASE, shift(BASE, "l2", 0.01), params_text), base="main")


def test_json_for_machines(repository: Repository, params_text: str) -> None:
    repository.write(shift(BASE, "l2", 0.1), params_text)
    found = json.loads(repository.review("--json").stdout)
    assert found["changes"][0]["verdict"] == "better"
    assert found["conclusion"].startswith("**Better**")


def test_another_number_of_replicates_is_compared_unpaired(params_text: str) -> None:
    head = shift(BASE, "l2", -0.2)
    head["made"]["l2"]["at_knob"]["replicates"].pop()
    (change,) = judge(BASE, head, params_text).changes
    assert (change.paired, change.verdict) == (False, "worse")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("replicates", [0.5], "made.l2.at_knob.replicates: List should have at least 2 items"),
        ("replicates", [0.5, None], "made.l2.at_knob.replicates.1: Input should be a valid number"),
        ("replicates", [0.5, float("nan")], "made.l2.at_knob.replicates.1: Input should be a finite number"),
        ("metric", "brier", "made.l2.at_knob.metric: Input should be 'auc' or 'accuracy'"),
        ("protocol", None, "made.l2.at_knob.protocol: Input should be a valid string"),
    ],
)
def test_results_of_another_layout_are_refused_in_one_line(
    repository: Repository, params_text: str, field: str, value: object, message: str
) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["l2"]["at_knob"][field] = value
    repository.write(head, params_text)
    done = repository.review()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"metrics/comparison.json of the working tree cannot be used ({message}" in done.stderr


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("seed: [", "params.yaml of the working tree is not YAML"),
        ("seed: 3", "params.yaml of the working tree has mistakes"),
    ],
)
def test_a_side_whose_params_are_broken_is_named(repository: Repository, params: str, message: str) -> None:
    repository.write(BASE, params)
    done = repository.review()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")


def test_a_project_in_a_folder_of_a_repository(tmp_path: Path, params_text: str) -> None:
    repository = Repository(tmp_path, params_text)
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("metrics", "params.yaml"):
        (tmp_path / name).rename(inner / name)
    repository.git("add", "--all")
    repository.git("-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--message", "moved")
    repository.folder = inner
    assert repository.review().stdout.startswith("Nothing has changed since main")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "metrics/comparison.json of nowhere cannot be read"),
        (("main", "--head", "HEAD~9"), "of HEAD~9 cannot be read"),
        (("main", "--nonsense"), "unrecognized arguments"),
    ],
)
def test_what_cannot_be_read_ends_with_status_2(
    repository: Repository, arguments: tuple[str, ...], message: str
) -> None:
    done = repository.review(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_tensorflow_is_imported() -> None:
    code = "import tools.review.__main__, sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
