"""The review on two revisions made by hand: what it names, what it concludes, with which status it ends."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.utils.serialize import dumps_yaml

from stages.lib.commands import UserError
from stages.lib.params import parse_yaml
from tests.conftest import ROOT
from tools.review import changes, wording
from tools.review.sides import Side, parse_comparison

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
        "forest": {"reference": make_arm(0.67, noise_of=6)},
    }
}


def shift(comparison: Json, variant: str, difference: float, *, noise: float = 0.002) -> Json:
    """The same with all replicates of one variant at the knob moved by a difference, give or take some noise."""
    changed = copy.deepcopy(comparison)
    arm = changed["made"][variant]["at_knob"]
    wobble = np.random.Generator(np.random.PCG64(9)).normal(0, noise, 50)
    arm["replicates"] = (np.array(arm["replicates"]) + difference + wobble).tolist()
    return changed


def make_lock(comparison: Json, params: Json, changed: set[str], *, text: str) -> str:
    """The text of a dvc.lock with the stages that these results need."""

    def hashed(*paths: str) -> list[Json]:
        return [{"path": path, "hash": "md5", "md5": "b" * 32 if path in changed else "a" * 32} for path in paths]

    result = {"path": "metrics/comparison.json", "hash": "md5", "md5": hashlib.md5(text.encode()).hexdigest()}
    stages: Json = {
        "plan": {"cmd": "plan", "params": {"params.yaml": params}, "outs": hashed("data/plan")},
        "compare": {"cmd": "compare", "deps": hashed("data/plan", "stages/compare.py"), "outs": [result]},
    }
    for study, variants in comparison.items():
        held_out = f"data/processed/{study}/held_out.npz"
        stages[f"preprocess@{study}"] = {"cmd": "preprocess", "outs": hashed(held_out)}
        stages[f"evaluate@{study}"] = {
            "cmd": "evaluate",
            "deps": hashed("stages/evaluate.py", f"models/{study}", f"data/plan/{study}", held_out),
        }
        stages[f"reference@{study}"] = {"cmd": "reference", "deps": hashed("stages/reference.py", held_out)}
        for variant in variants:
            deps = hashed(f"data/plan/{study}/{variant}.json", "stages/train.py")
            stages[f"train_{study}@{variant}"] = {"cmd": f"train {variant}", "deps": deps}
    return dumps_yaml({"schema": "2.0", "stages": stages})


class Repository:
    """A git repository with the files that a review reads, and main as its base."""

    def __init__(self, folder: Path, params: str):
        self.folder = folder
        self.write(BASE, params)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--message", "state")

    def write(self, comparison: Json, params: str | None = None) -> None:
        (self.folder / "metrics").mkdir(exist_ok=True)
        (self.folder / "metrics/comparison.json").write_text(json.dumps(comparison))
        if params is not None:
            (self.folder / "params.yaml").write_text(params)

    def write_lock(self, *changed: str) -> None:
        """dvc.lock after a whole run that wrote the present files; the contents of paths in `changed` are others."""
        text = (self.folder / "metrics/comparison.json").read_text()
        params = parse_yaml((self.folder / "params.yaml").read_text())
        (self.folder / "dvc.lock").write_text(make_lock(json.loads(text), params, set(changed), text=text))

    def compare(self, head: Json, params: str | None = None) -> changes.Review:
        """The review of these results, in the working tree, against main."""
        self.write(head, params)
        return changes.review(Side("main"), Side(None))

    def review(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.review", *arguments]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path, params_text: str, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
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
    ("difference", "noise", "verdict"),
    [
        (0.1, 0.002, "better"),
        (-0.1, 0.002, "worse"),
        (0.0, 0.002, "equivalent"),
        (0.0, 0.05, "undecided"),
        (0.02, 0.05, "undecided"),
        (0.02, 0.002, "better"),
    ],
)
def test_verdicts_know_the_noise(difference: float, noise: float, verdict: str, repository: Repository) -> None:
    (change,) = repository.compare(shift(BASE, "l2", difference, noise=noise)).changes
    assert (change.variant, change.verdict) == ("l2", verdict)
    assert change.ci_low < change.difference < change.ci_high
    assert change.difference == pytest.approx(change.head - change.base)


def test_the_first_line_counts_every_verdict(repository: Repository) -> None:
    head = shift(shift(shift(BASE, "l2", 0.1), "none", -0.1), "dropout", 0.0)
    assert wording.conclude(repository.compare(head), base="main") == (
        "**Worse**: 1 of 3 changed arms lost more than noise explains (1 better, 1 equivalent)."
    )


def test_another_protocol_is_compared_unpaired_and_says_so(repository: Repository) -> None:
    head = shift(BASE, "none", 0.0)
    (paired,) = repository.compare(head).changes
    head["made"]["none"]["at_knob"]["protocol"] = "five folds, seed 4"
    found = repository.compare(head)
    (change,) = found.changes
    assert (paired.paired, change.paired) == (True, False)
    assert change.ci_high - change.ci_low > 10 * (paired.ci_high - paired.ci_low)
    assert "replicates are compared unpaired" in wording.render(found, base="main")


def test_another_number_of_replicates_is_compared_unpaired(repository: Repository) -> None:
    head = shift(BASE, "l2", -0.2)
    head["made"]["l2"]["at_knob"]["replicates"].pop()
    (change,) = repository.compare(head).changes
    assert (change.paired, change.verdict) == (False, "worse")


def test_new_removed_and_incomparable_arms_are_listed(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    mine = make_arm(0.7, noise_of=5) | {"difference": 0.1, "verdict": "better"}
    head["made"]["mine"] = {"at_knob": mine}
    del head["made"]["dropout"]
    head["made"]["none"]["at_knob"]["metric"] = "accuracy"
    found = repository.compare(head)
    assert found.changes == []
    told = wording.render(found, base="main")
    assert told.startswith("**Not comparable**: 1 arm with another primary score now.")
    score = np.mean(mine["replicates"])
    assert f"- made mine at the knob: auc {score:.4f}, +0.1000 from the baseline of its study: better\n" in told
    assert "Removed arms:\n\n- made dropout at the knob\n- made dropout tuned\n" in told
    assert told.endswith("\n- made none at the knob")


def test_arms_that_only_come_and_go_are_told_in_the_first_line(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["mine"] = head["made"].pop("dropout")
    assert wording.conclude(repository.compare(head), base="main").endswith("Besides: 2 arms new, 2 arms removed.")


def test_another_verdict_within_a_study_is_told(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["l2"]["at_knob"]["verdict"] = "better"
    told = wording.render(repository.compare(head), base="main")
    assert told.startswith("No arm whose inputs changed has other held-out scores. Besides: 1 arm with another verdict")
    assert told.endswith("Other verdicts against the baseline of the study:\n\n- made l2 at the knob: - -> better")


def test_many_changes_are_one_family_adjusted_step_by_step(repository: Repository) -> None:
    (small,) = repository.compare(shift(BASE, "l2", -0.003)).changes
    (large,) = repository.compare(shift(BASE, "none", -0.1)).changes
    both = {
        change.variant: change for change in repository.compare(shift(shift(BASE, "l2", -0.003), "none", -0.1)).changes
    }
    assert large.p_adjusted < small.p_adjusted
    assert both["none"].p_adjusted == pytest.approx(2 * large.p_adjusted, rel=1e-6)
    assert both["l2"].p_adjusted == pytest.approx(small.p_adjusted, rel=1e-6)


def test_what_another_machine_computed_anew_does_not_blur_what_changed(
    repository: Repository, params_text: str
) -> None:
    repository.write_lock()
    repository.commit()
    elsewhere = shift(shift(BASE, "l2", 0.0), "none", 0.0)
    repository.write(elsewhere)
    repository.write_lock()
    done = repository.review()
    (line,) = done.stdout.splitlines()
    assert line.startswith("Nothing that shapes a result has changed since main. Computed anew with nothing")

    repository.write(shift(elsewhere, "dropout", -0.1), params_text.replace("dropout: 0.5", "dropout: 0.3"))
    repository.write_lock("data/plan/made/dropout.json", "data/plan", "data/plan/made", "models/made")
    done = repository.review()
    assert done.returncode == 1
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms")
    assert (
        "Computed anew with nothing changed that DVC tracks (another machine or library version): 2 arms."
        in done.stdout
    )
    assert "| l2 |" not in done.stdout


def test_what_another_machine_computed_worse_is_told_all_the_same(repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    repository.write(shift(shift(BASE, "l2", -0.1), "none", 0.0))
    repository.write_lock()
    done = repository.review()
    assert done.returncode == 1
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms")
    assert "‡ | " in done.stdout
    assert "library version): 1 arm." in done.stdout


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("stages/train.py", ["none", "l2"]),
        ("stages/evaluate.py", ["none", "l2"]),
        ("stages/reference.py", ["forest"]),
        ("stages/compare.py", ["none", "l2", "forest"]),
        ("data/processed/made/held_out.npz", ["none", "l2", "forest"]),
        ("data/plan/made/l2.json", ["l2"]),
        ("data/plan/made/dropout.json", []),
    ],
)
def test_what_an_arm_depends_on_touches_it(path: str, touched: list[str], repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    head = shift(shift(BASE, "l2", 0.0), "none", 0.0)
    head["made"]["forest"]["reference"]["replicates"][0] += 0.001
    repository.write(head)
    repository.write_lock(path)
    found = changes.review(Side("main"), Side(None))
    assert [change.variant for change in found.changes] == touched
    assert len(found.changes) + len(found.recomputed) == 3
    assert not wording.render(found, base="main").startswith("Nothing that shapes")


def test_another_command_touches_its_arm(repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    repository.write(shift(BASE, "l2", 0.0))
    repository.write_lock()
    lock = repository.folder / "dvc.lock"
    lock.write_text(lock.read_text().replace("cmd: train l2", "cmd: env THREADS=2 train l2"))
    assert [change.variant for change in changes.review(Side("main"), Side(None)).changes] == ["l2"]


def test_verdicts_that_another_machine_turned_are_counted(repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    head = shift(BASE, "l2", 0.0)
    head["made"]["l2"]["at_knob"]["verdict"] = "better"
    repository.write(head)
    repository.write_lock()
    assert repository.review().stdout.endswith("none by more than noise. Other verdicts within a study: 1.\n")


def test_a_setting_of_the_study_touches_its_arms(repository: Repository, params_text: str) -> None:
    params = params_text.replace("  thoracic:\n", "  made:\n")
    repository.write(BASE, params)
    repository.write_lock()
    repository.commit()
    repository.write(shift(BASE, "l2", 0.0), params.replace("select_by: log_loss", "select_by: auc"))
    repository.write_lock()
    found = changes.review(Side("main"), Side(None))
    assert [change.variant for change in found.changes] == ["l2"]


def test_results_of_other_parameters_are_told_first(repository: Repository, params_text: str) -> None:
    repository.write_lock()
    assert repository.review().stdout.startswith("Nothing has changed")
    repository.write(BASE, params_text.replace("dropout: 0.5", "dropout: 0.3"))
    done = repository.review()
    assert done.returncode == 0
    assert done.stdout.startswith("**Out of date** (dropout: 0.5 -> 0.3): run make. As the results stand: No arm")


def test_a_run_that_did_not_reach_its_end_is_told_first(repository: Repository, params_text: str) -> None:
    repository.write(BASE, params_text.replace("dropout: 0.5", "dropout: 0.3"))
    repository.write_lock()
    lock = repository.folder / "dvc.lock"
    whole = lock.read_text()
    for stage in ("plan", "preprocess@made"):  # it has written anew, and nobody has read it yet
        before, behind = whole.split(f"  {stage}:\n")
        lock.write_text(f"{before}  {stage}:\n{behind.replace('a' * 32, 'c' * 32, 1)}")
        assert repository.review().stdout.startswith("**Out of date** (the last run did not reach its end): run make.")


def test_results_that_the_last_run_did_not_write_are_told_first(repository: Repository) -> None:
    repository.write_lock()
    repository.write(shift(BASE, "l2", 0.1))
    assert repository.review().stdout.startswith("**Out of date** (metrics/comparison.json is not what the last run")


def test_a_base_that_is_out_of_date_is_told(repository: Repository, params_text: str) -> None:
    repository.write_lock()
    repository.write(BASE, params_text.replace("dropout: 0.5", "dropout: 0.3"))
    repository.commit()
    repository.write(shift(BASE, "l2", 0.1))
    repository.write_lock()
    assert "The results of main are themselves out of date (dropout: 0.5 -> 0.3)." in repository.review().stdout


def test_a_base_that_has_gone_on_is_told_with_the_commit_to_compare_with(
    repository: Repository, params_text: str
) -> None:
    repository.git("branch", "mine")
    repository.write(shift(BASE, "l2", 0.1))
    repository.commit()
    repository.git("checkout", "--quiet", "mine")
    done = repository.review()
    assert done.stdout.startswith("**Worse**"), "what main has gained this branch lacks"
    assert "has gone on" not in done.stdout, "only its results, and they may be another machine's"

    repository.git("checkout", "--quiet", "main")
    repository.write(shift(BASE, "l2", 0.1), params_text.replace("l2: 0.01 ", "l2: 0.02 "))
    repository.commit()
    repository.git("checkout", "--quiet", "mine")
    fork = subprocess.check_output(["git", "rev-parse", "mine"], cwd=repository.folder, text=True)[:10]
    assert f"`make review BASE={fork}` leaves it out." in repository.review().stdout
    command = f"`python -m tools.review {fork} --head mine` leaves it out."
    assert command in repository.review("main", "--head", "mine").stdout
    assert repository.review(fork).stdout.startswith("Nothing has changed")


def test_parameters_are_compared_leaf_by_leaf(repository: Repository, params_text: str) -> None:
    told = repository.compare(BASE, params_text.replace("none: {}", "none: {epochs: 9}", 1)).params
    assert told == ["studies.thoracic.variants.none.epochs: (none) -> 9"]


def test_of_a_fixed_test_set_the_interval_says_what_it_stands_for(repository: Repository) -> None:
    base, head = copy.deepcopy(BASE), shift(BASE, "l2", 0.01)
    assert "†" not in wording.render(repository.compare(head), base="main")
    for side in (base, head):
        side["made"]["l2"]["at_knob"]["test_train_ratio"] = 0.0
    repository.write(base)
    repository.commit()
    assert " † |" in wording.render(repository.compare(head), base="main")


def test_json_for_machines(repository: Repository) -> None:
    repository.write(shift(BASE, "l2", 0.1))
    found = json.loads(repository.review("--json").stdout)
    assert found["changes"][0]["verdict"] == "better"
    assert (found["base"], found["head"], found["verdict"]) == ("main", "the working tree", "better")
    assert found["conclusion"].startswith("Better: 1 of 1 changed arms")


def test_a_review_reads_what_compare_writes() -> None:
    assert parse_comparison((ROOT / "metrics/comparison.json").read_text())


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
    repository: Repository, field: str, value: object, message: str
) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["l2"]["at_knob"][field] = value
    repository.write(head)
    done = repository.review()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"metrics/comparison.json of the working tree cannot be used ({message}" in done.stderr


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("seed: [", "error: params.yaml of the working tree is not YAML"),
        ("seed: 3", "error: params.yaml of the working tree has mistakes"),
        ("a: &a {b: *a}", "Traceback"),  # nobody has thought of that one, but it is no 1 either
    ],
)
def test_a_side_whose_params_are_broken_is_named(repository: Repository, params: str, message: str) -> None:
    repository.write(BASE, params)
    done = repository.review()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)


def test_a_project_in_a_folder_of_a_repository(repository: Repository) -> None:
    inner = repository.folder / "inner"
    inner.mkdir()
    for name in ("metrics", "params.yaml"):
        (repository.folder / name).rename(inner / name)
    repository.commit()
    repository.folder = inner
    assert repository.review().stdout.startswith("Nothing has changed since main")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "metrics/comparison.json of nowhere cannot be read"),
        (("main", "--head", "HEAD~9"), "of HEAD~9 cannot be read"),
        (("main", "--nonsense"), "unrecognized arguments"),
        (("",), "an empty text given, expected a git revision"),
    ],
)
def test_what_cannot_be_read_ends_with_status_2(
    repository: Repository, arguments: tuple[str, ...], message: str
) -> None:
    done = repository.review(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_printed_ends_with_status_2_and_a_mark_that_cannot_with_another(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.01)
    head["made"]["l2"]["at_knob"]["test_train_ratio"] = 0.0
    repository.write(head)
    command = [sys.executable, "-m", "tools.review"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"}
    assert " ? |" in subprocess.check_output(command, cwd=repository.folder, env=environment, text=True)
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, cwd=repository.folder, env=environment, stdout=full).returncode == 2

    pipe = subprocess.Popen(command, cwd=repository.folder, env=environment, stdout=subprocess.PIPE)
    assert pipe.stdout is not None
    pipe.stdout.close()
    assert pipe.wait() == 0


def test_outside_a_repository_it_says_so(repository: Repository) -> None:
    (repository.folder / ".git").rename(repository.folder / "git")
    done = repository.review()
    assert done.returncode == 2
    assert "is not in a git repository, expected a clone of the project" in done.stderr


def test_without_git_it_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="git is missing, expected it on the PATH: install the package git"):
        changes.review(Side("main"), Side(None))


def test_no_tensorflow_is_imported() -> None:
    code = "import tools.review.__main__, sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
