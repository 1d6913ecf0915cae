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

from stages.lib.base.commands import UserError
from stages.lib.comparison import LAYOUT, ArmResult, StudyResult
from stages.lib.settings.params import parse_yaml
from stages.lib.studies.protocols import FixedTest, RepeatedStratifiedKFold
from tests.conftest import ROOT
from tools.review import changes, wording
from tools.review.record import Key, read_record
from tools.review.sides import Side

Json = dict[str, Any]
NUM_REPLICATES = 50
DIFFERENCE = {
    "value": 0.1,
    "ci_low": 0.05,
    "ci_high": 0.15,
    "equivalence_low": 0.06,
    "equivalence_high": 0.14,
    "p_value": 0.001,
    "p_adjusted": 0.002,
    "verdict": "better",
}


def make_arm(mean: float, *, noise_of: int) -> ArmResult:
    """Replicates around a mean; arms of one noise are paired."""
    scores = mean + np.random.Generator(np.random.PCG64(noise_of)).normal(0, 0.05, NUM_REPLICATES)
    return ArmResult(float(scores.mean()), scores.round(6).tolist(), None, {}, {}, {})


def make_comparison() -> Json:
    """The content of a comparison.json with one study."""
    study = StudyResult(
        dataset="thoracic_surgery",
        features="encoded",
        protocol=RepeatedStratifiedKFold(folds=5, repeats=10, validation=0.2),
        seed=3,
        primary="auc",
        baseline="unregularized",
        no_skill={},
        arms={
            "unregularized": {"at_knob": make_arm(0.6, noise_of=0)},
            "dropout": {"at_knob": make_arm(0.65, noise_of=1), "tuned": make_arm(0.66, noise_of=2)},
            "l2": {"at_knob": make_arm(0.66, noise_of=3)},
            "forest": {"reference": make_arm(0.67, noise_of=6)},
        },
    )
    return LAYOUT.dump_python({"made": study}, mode="json")


BASE = make_comparison()


def shift(comparison: Json, variant: str, difference: float, *, noise: float = 0.002) -> Json:
    """The same with all replicates of one variant at the knob moved by a difference, give or take some noise."""
    changed = copy.deepcopy(comparison)
    arm = changed["made"]["arms"][variant]["at_knob"]
    wobble = np.random.Generator(np.random.PCG64(9)).normal(0, noise, NUM_REPLICATES)
    arm["replicates"] = (np.array(arm["replicates"]) + difference + wobble).tolist()
    return changed


def turn_verdict(comparison: Json, variant: str) -> Json:
    """The same with one variant better than the baseline of its study."""
    changed = copy.deepcopy(comparison)
    changed["made"]["arms"][variant]["at_knob"]["difference"] = DIFFERENCE
    return changed


def fix_test(comparison: Json) -> Json:
    """The same, judged on a fixed test set."""
    changed = copy.deepcopy(comparison)
    changed["made"]["protocol"] = FixedTest(seeds=NUM_REPLICATES, validation=0.2, test=0.2).model_dump()
    return changed


def make_lock(comparison: Json, params: Json, changed: set[str], *, text: str) -> str:
    """The text of a dvc.lock with the stages that these results need."""

    def hashed(*paths: str) -> list[Json]:
        return [{"path": path, "hash": "md5", "md5": "b" * 32 if path in changed else "a" * 32} for path in paths]

    result = {"path": "metrics/comparison.json", "hash": "md5", "md5": hashlib.md5(text.encode()).hexdigest()}
    plans = "data/plan/_statistics.json", "data/plan/made/_study.json", "data/plan/other/_study.json"
    stages: Json = {
        "plan": {"cmd": "plan", "params": {"params.yaml": params}, "outs": hashed("data/plan")},
        "compare": {"cmd": "compare", "deps": hashed("data/plan", *plans, "stages/compare.py"), "outs": [result]},
    }
    for study, content in comparison.items():
        held_out = f"data/processed/{study}/held_out.npz"
        stages[f"preprocess@{study}"] = {"cmd": "preprocess", "outs": hashed(held_out)}
        stages[f"evaluate@{study}"] = {
            "cmd": "evaluate",
            "deps": hashed("stages/evaluate.py", f"models/{study}", f"data/plan/{study}", held_out),
        }
        stages[f"reference@{study}"] = {"cmd": "reference", "deps": hashed("stages/reference.py", held_out)}
        for variant in content["arms"]:
            deps = hashed(f"data/plan/{study}/{variant}.json", "stages/train.py", "stages/lib/lanes")
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
    assert done.stdout == "Nothing has changed since main: no parameter and no held-out score.\n"


def test_a_regression_ends_with_status_1_and_names_just_what_changed(repository: Repository, params_text: str) -> None:
    repository.write(shift(BASE, "dropout", -0.1), params_text.replace("dropout: 0.5", "dropout: 0.3"))
    done = repository.review("main")
    assert done.returncode == 1
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms")
    assert "| made | dropout | at the knob | AUC |" in done.stdout
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
    head = shift(shift(shift(BASE, "l2", 0.1), "unregularized", -0.1), "dropout", 0.0)
    assert wording.conclude(repository.compare(head), base="main") == (
        "**Worse**: 1 of 3 changed arms are worse by more than noise (1 better, 1 equivalent)."
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 4),
        ("dataset", "another"),
        ("features", "raw"),
        ("protocol", {"kind": "repeated_stratified_k_fold", "folds": 5, "repeats": 10, "validation": 0.3}),
    ],
)
def test_arms_judged_on_other_rows_are_compared_unpaired(repository: Repository, field: str, value: object) -> None:
    head = shift(BASE, "unregularized", 0.0)
    (paired,) = repository.compare(head).changes
    head["made"][field] = value
    found = repository.compare(head)
    (change,) = found.changes
    assert (paired.paired, change.paired) == (True, False)
    assert change.ci_high - change.ci_low > 10 * (paired.ci_high - paired.ci_low)
    assert "replicates are compared unpaired" in wording.render(found, base="main")


def test_another_number_of_replicates_is_compared_unpaired(repository: Repository) -> None:
    head = shift(BASE, "l2", -0.2)
    head["made"]["arms"]["l2"]["at_knob"]["replicates"].pop()
    (change,) = repository.compare(head).changes
    assert (change.paired, change.verdict) == (False, "worse")


def test_the_words_of_a_protocol_change_no_verdict(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    head = shift(shift(BASE, "l2", -0.1), "unregularized", 0.0)
    before = repository.compare(head)
    monkeypatch.setattr(RepeatedStratifiedKFold, "describe", lambda protocol: "other words")
    assert make_comparison() == BASE
    assert repository.compare(head) == before
    assert [change.paired for change in before.changes] == [True, True]


def test_unpaired_arms_each_bring_the_correction_of_their_own_protocol(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.0)
    head["made"]["seed"] = 4
    (resampled,) = repository.compare(head).changes
    (mixed,) = repository.compare(fix_test(head)).changes
    base, after = (np.std(side["made"]["arms"]["l2"]["at_knob"]["replicates"], ddof=1) for side in (BASE, head))
    corrected, plain = 1 / NUM_REPLICATES + 0.25, 1 / NUM_REPLICATES
    ratio = np.sqrt((corrected * base**2 + plain * after**2) / (corrected * base**2 + corrected * after**2))
    width = (mixed.ci_high - mixed.ci_low) / (resampled.ci_high - resampled.ci_low)
    assert width == pytest.approx(ratio, rel=0.02)  # the degrees of freedom differ


def test_new_removed_and_incomparable_arms_are_listed(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    head["other"] = copy.deepcopy(BASE["made"])
    repository.write(head)
    repository.commit()
    arms = head["made"]["arms"]
    arms["mine"] = {"at_knob": copy.deepcopy(arms["l2"]["at_knob"]) | {"value": 0.7, "difference": DIFFERENCE}}
    del arms["dropout"]
    del head["other"]["arms"]["dropout"], head["other"]["arms"]["l2"], head["other"]["arms"]["forest"]
    head["other"]["primary"] = "accuracy"
    found = repository.compare(head)
    assert found.changes == []
    text = wording.render(found, base="main")
    assert text.startswith("**Not comparable**: 1 arm with a different primary score.")
    assert "- made mine at the knob: AUC 0.7000, +0.1000 from the baseline of its study: better\n" in text
    assert "Removed arms:\n\n- made dropout at the knob\n- made dropout tuned\n" in text
    assert text.endswith("\n- other unregularized at the knob")


def test_arms_that_only_come_and_go_are_told_in_the_first_line(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["mine"] = head["made"]["arms"].pop("dropout")
    assert wording.conclude(repository.compare(head), base="main").endswith("Also: 2 arms new, 2 arms removed.")


def test_another_verdict_within_a_study_is_told(repository: Repository) -> None:
    text = wording.render(repository.compare(turn_verdict(BASE, "l2")), base="main")
    assert text.startswith("No arm whose inputs changed has different held-out scores. Also: 1 arm with a changed verd")
    assert text.endswith(
        "Changed verdicts against the baseline of the study:\n\n- made l2 at the knob: baseline -> better"
    )


def test_many_changes_are_one_family_adjusted_step_by_step(repository: Repository) -> None:
    (small,) = repository.compare(shift(BASE, "l2", -0.003)).changes
    (large,) = repository.compare(shift(BASE, "unregularized", -0.1)).changes
    both = {
        change.variant: change
        for change in repository.compare(shift(shift(BASE, "l2", -0.003), "unregularized", -0.1)).changes
    }
    assert large.p_adjusted < small.p_adjusted
    assert both["unregularized"].p_adjusted == pytest.approx(2 * large.p_adjusted, rel=1e-6)
    assert both["l2"].p_adjusted == pytest.approx(small.p_adjusted, rel=1e-6)


def test_what_another_machine_computed_anew_does_not_blur_what_changed(
    repository: Repository, params_text: str
) -> None:
    repository.write_lock()
    repository.commit()
    elsewhere = shift(shift(BASE, "l2", 0.0), "unregularized", 0.0)
    repository.write(elsewhere)
    repository.write_lock()
    done = repository.review()
    (line,) = done.stdout.splitlines()
    assert line.startswith("Nothing that affects a result has changed since main. Recomputed although no input")

    repository.write(shift(elsewhere, "dropout", -0.1), params_text.replace("dropout: 0.5", "dropout: 0.3"))
    repository.write_lock("data/plan/made/dropout.json", "data/plan", "data/plan/made", "models/made")
    done = repository.review()
    assert done.returncode == 1
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms")
    assert (
        "Recomputed although no input that DVC tracks changed (another machine or library version): 2 arms."
        in done.stdout
    )
    assert "| l2 |" not in done.stdout


def test_what_another_machine_computed_worse_is_told_all_the_same(repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    repository.write(shift(shift(BASE, "l2", -0.1), "unregularized", 0.0))
    repository.write_lock()
    done = repository.review()
    assert done.returncode == 1
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms")
    assert "‡ | " in done.stdout
    assert "library version): 1 arm." in done.stdout


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("stages/train.py", ["unregularized", "l2"]),
        ("stages/lib/lanes", ["unregularized", "l2"]),
        ("stages/evaluate.py", ["unregularized", "l2"]),
        ("stages/reference.py", ["forest"]),
        ("stages/compare.py", ["unregularized", "l2", "forest"]),
        ("data/processed/made/held_out.npz", ["unregularized", "l2", "forest"]),
        ("data/plan/made/l2.json", ["l2"]),
        ("data/plan/made/dropout.json", []),
        ("data/plan/made/_study.json", ["unregularized", "l2", "forest"]),
    ],
)
def test_what_an_arm_depends_on_touches_it(path: str, touched: list[str], repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    head = shift(shift(BASE, "l2", 0.0), "unregularized", 0.0)
    head["made"]["arms"]["forest"]["reference"]["replicates"][0] += 0.001
    repository.write(head)
    repository.write_lock(path)
    found = changes.review(Side("main"), Side(None))
    assert [change.variant for change in found.changes] == touched
    assert len(found.changes) + len(found.recomputed) == 3
    assert not wording.render(found, base="main").startswith("Nothing that affects")


@pytest.mark.parametrize(
    "path", ["data/plan", "data/plan/_statistics.json", "data/plan/other/_study.json", "models/made"]
)
def test_what_an_arm_does_not_depend_on_touches_none(path: str, repository: Repository) -> None:
    repository.write_lock()
    repository.commit()
    repository.write(shift(BASE, "l2", 0.0))
    repository.write_lock(path)
    assert wording.render(changes.review(Side("main"), Side(None)), base="main").startswith("Nothing that affects")


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
    repository.write(turn_verdict(shift(BASE, "l2", 0.0), "l2"))
    repository.write_lock()
    assert repository.review().stdout.endswith("none by more than noise. Changed verdicts within a study: 1.\n")


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
    assert done.stdout.startswith("**Out of date** (dropout: 0.5 -> 0.3): run make. By the present results: No arm")


def test_a_run_that_did_not_reach_its_end_is_told_first(repository: Repository, params_text: str) -> None:
    repository.write(BASE, params_text.replace("dropout: 0.5", "dropout: 0.3"))
    repository.write_lock()
    lock = repository.folder / "dvc.lock"
    whole = lock.read_text()
    for stage in ("plan", "preprocess@made"):  # it has written anew, and nobody has read it yet
        before, behind = whole.split(f"  {stage}:\n")
        lock.write_text(f"{before}  {stage}:\n{behind.replace('a' * 32, 'c' * 32, 1)}")
        assert repository.review().stdout.startswith("**Out of date** (the last run was not completed): run make.")


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
    assert "The results of main are out of date as well (dropout: 0.5 -> 0.3)." in repository.review().stdout


def test_a_base_that_has_gone_on_is_told_with_the_commit_to_compare_with(
    repository: Repository, params_text: str
) -> None:
    repository.git("branch", "mine")
    repository.write(shift(BASE, "l2", 0.1))
    repository.commit()
    repository.git("checkout", "--quiet", "mine")
    done = repository.review()
    assert done.stdout.startswith("**Worse**"), "what main has gained this branch lacks"
    assert "has changed since the head" not in done.stdout, "only its results, and they may be another machine's"

    repository.git("checkout", "--quiet", "main")
    repository.write(shift(BASE, "l2", 0.1), params_text.replace("l2: 0.01 ", "l2: 0.02 "))
    repository.commit()
    repository.git("checkout", "--quiet", "mine")
    fork = subprocess.check_output(["git", "rev-parse", "mine"], cwd=repository.folder, text=True)[:10]
    assert f"`make review BASE={fork}` leaves them out." in repository.review().stdout
    command = f"`python -m tools.review {fork} --head mine` leaves them out."
    assert command in repository.review("main", "--head", "mine").stdout
    assert repository.review(fork).stdout.startswith("Nothing has changed")


def test_parameters_are_compared_leaf_by_leaf(repository: Repository, params_text: str) -> None:
    told = repository.compare(BASE, params_text.replace("unregularized: {}", "unregularized: {epochs: 9}", 1)).params
    assert told == ["studies.thoracic.variants.unregularized.epochs: (none) -> 9"]


def test_notes_say_what_an_interval_covers(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.01)
    text = wording.render(repository.compare(head), base="main")
    assert "†" not in text
    assert "Replicates of cross-validation are folds times repeats and share rows" in text
    repository.write(fix_test(BASE))
    repository.commit()
    text = wording.render(repository.compare(fix_test(head)), base="main")
    assert " † |" in text
    assert "Replicates of cross-validation" not in text


def test_a_score_without_a_margin_is_never_equivalent(repository: Repository) -> None:
    sides = [copy.deepcopy(BASE), shift(BASE, "l2", 0.0, noise=1e-6)]
    for side in sides:
        side["made"]["primary"] = "g_mean"
    repository.write(sides[0])
    repository.commit()
    (change,) = repository.compare(sides[1]).changes
    assert (change.primary, change.verdict) == ("g_mean", "undecided")


def test_json_for_machines(repository: Repository) -> None:
    repository.write(shift(BASE, "l2", 0.1))
    found = json.loads(repository.review("--json").stdout)
    assert found["changes"][0]["verdict"] == "better"
    assert (found["base"], found["head"], found["verdict"]) == ("main", "the working tree", "better")
    assert found["conclusion"].startswith("Better: 1 of 1 changed arms")


def test_the_record_is_read_as_dvc_writes_it() -> None:
    params = {"small": 1e-05, "on": "off", "time": "12:30", "nothing": None}
    stages = {"plan": {"cmd": ["one", "two"], "params": {"params.yaml": params}}}
    record = read_record(dumps_yaml({"schema": "2.0", "stages": stages}))
    assert record is not None
    assert record.params == params
    assert record.stages["plan"].cmd == ("one", "two")
    assert record.find_inputs(Key("made", "l2", "at_knob")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages: [",
        "stages: []",
        "stages: {}",
        "stages: {plan: {cmd: plan}}",
        "stages: {plan: {cmd: plan, params: {other.yaml: {}}}}",
        "stages: {plan: {cmd: plan, params: {params.yaml: {}}, deps: [stages/plan.py]}}",
    ],
)
def test_a_record_of_another_layout_is_no_record(text: str) -> None:
    assert read_record(text) is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("replicates", [0.5], "made.arms.l2.at_knob.replicates: List should have at least 2 items"),
        ("replicates", [0.5, None], "made.arms.l2.at_knob.replicates.1: Input should be a valid number"),
        ("replicates", [0.5, float("nan")], "made.arms.l2.at_knob.replicates.1: Input should be a finite number"),
        ("strengths", None, "made.arms.l2.at_knob.strengths: Input should be"),
    ],
)
def test_an_arm_of_another_layout_is_refused_in_one_line(
    repository: Repository, field: str, value: object, message: str
) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["l2"]["at_knob"][field] = value
    repository.write(head)
    expect_refusal(repository.review(), f"of the working tree cannot be used ({message}", "run make")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("primary", "nonsense", "made.primary: Input should be one of auc, accuracy"),
        ("protocol", "five folds", "made.protocol: Input should be"),
        ("protocol", {"kind": "nonsense"}, "made.protocol: Input tag 'nonsense'"),
        ("arms", {"l2": {"nonsense": {}}}, "made.arms.l2.nonsense.[key]: Input should be 'at_knob'"),
    ],
)
def test_a_study_of_another_layout_is_refused_in_one_line(
    repository: Repository, field: str, value: object, message: str
) -> None:
    head = copy.deepcopy(BASE)
    head["made"][field] = value
    repository.write(head)
    expect_refusal(repository.review(), f"of the working tree cannot be used ({message}", "run make")


def test_a_base_of_the_older_layout_is_refused_in_one_line(repository: Repository) -> None:
    arm = {"metric": "auc", "protocol": "five folds, seed 3", "test_train_ratio": 0.25, "replicates": [0.5, 0.6]}
    repository.write({"made": {"none": {"at_knob": arm | {"verdict": "baseline"}}}})
    repository.commit()
    repository.write(BASE)
    message = "of main cannot be used (made.dataset: Field required), expected what compare writes now"
    expect_refusal(repository.review(), message, "name another revision")


def expect_refusal(done: subprocess.CompletedProcess[str], message: str, remedy: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: metrics/comparison.json")
    assert message in line
    assert line.endswith(remedy)


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
        (("",), "is empty, expected a git revision"),
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
    repository.write(fix_test(BASE))
    repository.commit()
    repository.write(fix_test(shift(BASE, "l2", 0.01)))
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
