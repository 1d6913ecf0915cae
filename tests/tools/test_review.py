"""The review on two revisions made by hand: what it names, what it concludes, with which status it ends."""

import copy
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.utils.serialize import dumps_yaml
from stages.lib.settings.params import parse_yaml

from stages import compare
from stages.lib.core.cli import UserError
from stages.lib.core.records import save_plans
from stages.lib.data.protocols import FixedTest, Protocol, RepeatedStratifiedKFold
from stages.lib.judge.comparison import LAYOUT, ArmResult, Difference, Judgement, StudyResult
from stages.lib.judge.plans import ComparedSearch, ComparedVariant, StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import (
    Labels,
    Mistakes,
    Predictions,
    ReferencePredictions,
    save_predictions,
    save_references,
)
from stages.lib.judge.scores import SCORES
from tests.conftest import ROOT
from tests.forked import run_module
from tools.review import changes, wording
from tools.review.escaping import escape
from tools.review.judging import Change
from tools.review.outputs import list_folder
from tools.review.record import Key, ScoredKey, read_record
from tools.review.rows import Basis
from tools.review.sides import Side

Json = dict[str, Any]
NUM_REPLICATES = 50
DIFFERENCE = Difference(
    value=0.1,
    ci_low=0.05,
    ci_high=0.15,
    equivalence_low=0.06,
    equivalence_high=0.14,
    p_value=0.001,
    p_adjusted=0.002,
    verdict="better",
)


def make_arm(mean: float, *, noise_of: int) -> ArmResult:
    """Replicates around a mean AUC, and a log loss of 1 less that; arms of one noise are paired."""
    scores = mean + np.random.Generator(np.random.PCG64(noise_of)).normal(0, 0.05, NUM_REPLICATES)
    judged = {
        name: Judgement(float(values.mean()), values.round(6).tolist(), None, DIFFERENCE)
        for name, values in (("auc", scores), ("log_loss", 1 - scores))
    }
    return ArmResult("unregularized", "regularizers", judged, {}, {}, {})


def make_comparison() -> Json:
    """The content of a comparison.json with one study."""
    study = StudyResult(
        dataset="thoracic_surgery",
        features="encoded",
        protocol=RepeatedStratifiedKFold(folds=5, repeats=10, validation=0.2),
        seed=3,
        scores={"discrimination": "auc", "probabilities": "log_loss"},
        baseline="unregularized",
        no_skill={},
        reach={},
        arms={
            "unregularized": {"at_knob": make_arm(0.6, noise_of=0)},
            "dropout": {"at_knob": make_arm(0.65, noise_of=1), "tuned": make_arm(0.66, noise_of=2)},
            "l2": {"at_knob": make_arm(0.66, noise_of=3)},
            "forest": {"reference": make_arm(0.67, noise_of=6)},
        },
    )
    return LAYOUT.dump_python({"made": study}, mode="json")


BASE = make_comparison()


def replicates_of(comparison: Json, variant: str, *, score: str = "auc", kind: str = "at_knob") -> list[float]:
    return comparison["made"]["arms"][variant][kind]["judged"][score]["replicates"]


def shift(comparison: Json, variant: str, difference: float, *, noise: float = 0.002, score: str = "auc") -> Json:
    """The same with all replicates of one variant at the knob moved by a difference, give or take some noise."""
    changed = copy.deepcopy(comparison)
    wobble = np.random.Generator(np.random.PCG64(9)).normal(0, noise, NUM_REPLICATES)
    replicates = replicates_of(changed, variant, score=score)
    replicates[:] = (np.array(replicates) + difference + wobble).tolist()
    return changed


def turn_verdict(comparison: Json, variant: str) -> Json:
    """The same with one variant better than its baseline by AUC."""
    changed = copy.deepcopy(comparison)
    changed["made"]["arms"][variant]["at_knob"]["judged"]["auc"]["difference"] = DIFFERENCE.__dict__
    return changed


def judge_by(comparison: Json, study: str, *, old: str, new: str) -> Json:
    """The same with another score in the place of one."""
    changed = copy.deepcopy(comparison)
    scores = changed[study]["scores"]
    changed[study]["scores"] = {question: new if score == old else score for question, score in scores.items()}
    for kinds in changed[study]["arms"].values():
        for arm in kinds.values():
            arm["judged"] = {new if score == old else score: judged for score, judged in arm["judged"].items()}
    return changed


def name_study_made(params: str) -> str:
    """params.yaml with thoracic under the name that the study has in these tests."""
    return params.replace("  thoracic:\n", "  made:\n").replace("study: thoracic,", "study: made,")


def fix_test(comparison: Json) -> Json:
    """The same, judged on a fixed test set."""
    changed = copy.deepcopy(comparison)
    changed["made"]["protocol"] = FixedTest(seeds=NUM_REPLICATES, validation=0.2, test=0.2).model_dump()
    return changed


def make_lock(
    comparison: Json, params: Json, changed: set[str], *, text: str, folders: dict[str, str] | None = None
) -> str:
    """The text of a dvc.lock with the stages that these results need; folders: those that are kept, with hashes."""
    kept = folders or {}

    def hashed(*paths: str) -> list[Json]:
        md5 = {path: kept.get(path, "b" * 32 if path in changed else "a" * 32) for path in paths}
        return [{"path": path, "hash": "md5", "md5": md5[path]} for path in paths]

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
            "outs": hashed(f"data/predictions/{study}"),
        }
        stages[f"reference@{study}"] = {
            "cmd": "reference",
            "deps": hashed("stages/reference.py", held_out),
            "outs": hashed(f"data/reference/{study}"),
        }
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

    def write_lock(self, *changed: str, folders: dict[str, str] | None = None) -> None:
        """dvc.lock after a whole run that wrote the present files; the contents of paths in `changed` are others."""
        text = (self.folder / "metrics/comparison.json").read_text()
        params = parse_yaml((self.folder / "params.yaml").read_text())
        lock = make_lock(json.loads(text), params, set(changed), text=text, folders=folders)
        (self.folder / "dvc.lock").write_text(lock)

    def compare(self, head: Json, params: str | None = None) -> changes.Review:
        """The review of these results, in the working tree, against main."""
        self.write(head, params)
        return changes.review(Side("main"), Side(None))

    def review(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        return run_module("tools.review", *arguments, folder=self.folder, environment=environment)


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
    assert done.stdout.startswith("**Worse**: 1 of 1 changed arms are worse by more than noise, by at least one score.")
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
    assert (change.variant, change.score, change.verdict) == ("l2", "auc", verdict)
    assert change.ci_low < change.difference < change.ci_high
    assert change.difference == pytest.approx(change.head - change.base)


def test_the_first_line_counts_every_verdict(repository: Repository) -> None:
    head = shift(shift(shift(BASE, "l2", 0.1), "unregularized", -0.1), "dropout", 0.0)
    assert wording.conclude(repository.compare(head), base="main") == (
        "**Worse**: 1 of 3 changed arms are worse by more than noise, by at least one score (1 better, 1 equivalent)."
    )


@pytest.mark.parametrize(
    ("by_auc", "by_log_loss", "verdict"),
    [
        (0.1, 0.1, "worse"),  # a greater log loss is worse
        (-0.1, -0.1, "worse"),
        (0.1, -0.1, "better"),
        (0.1, 0.0, "better"),
        (0.0, 0.0, "equivalent"),
    ],
)
def test_an_arm_is_worse_if_it_is_so_by_one_score(
    by_auc: float, by_log_loss: float, verdict: str, repository: Repository
) -> None:
    repository.write(shift(shift(BASE, "l2", by_auc), "l2", by_log_loss, score="log_loss"))
    done = repository.review()
    assert done.returncode == (verdict == "worse")
    assert done.stdout.startswith(f"**{verdict.capitalize()}**: 1 of 1 changed arms")
    assert "| made | l2 | at the knob | AUC |" in done.stdout
    assert "| made | l2 | at the knob | log loss |" in done.stdout


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
    replicates_of(head, "l2").pop()
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
    base, after = (np.std(replicates_of(side, "l2"), ddof=1) for side in (BASE, head))
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
    arms["mine"] = copy.deepcopy(arms["l2"])
    arms["mine"]["at_knob"]["judged"]["auc"] |= {"value": 0.7, "difference": DIFFERENCE.__dict__}
    arms["mine"]["at_knob"]["judged"]["log_loss"]["value"] = 0.4
    del arms["dropout"]
    del head["other"]["arms"]["dropout"], head["other"]["arms"]["l2"], head["other"]["arms"]["forest"]
    found = repository.compare(judge_by(head, "other", old="auc", new="accuracy"))
    assert found.changes == []
    text = wording.render(found, base="main")
    assert text.startswith("**Not comparable**: 1 arm with a score that one side alone judges by.")
    assert "- made mine at the knob: AUC 0.7000 (+0.1000 from unregularized: better), log loss 0.4000\n" in text
    assert "Removed arms:\n\n- made dropout at the knob\n- made dropout tuned\n" in text
    assert text.endswith("\n- other unregularized at the knob, accuracy\n- other unregularized at the knob, AUC")


def test_an_arm_is_judged_by_the_scores_that_both_sides_have(repository: Repository) -> None:
    head = shift(shift(BASE, "l2", -0.1), "l2", -0.1, score="log_loss")
    found = repository.compare(judge_by(head, "made", old="log_loss", new="brier"))
    assert [(change.score, change.verdict) for change in found.changes] == [("auc", "worse")]
    assert ScoredKey("made", "l2", "at_knob", "brier") in found.incomparable
    assert wording.conclude(found, base="main").endswith("Also: 5 arms with a score that cannot be compared.")


def test_arms_that_only_come_and_go_are_told_in_the_first_line(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["mine"] = head["made"]["arms"].pop("dropout")
    assert wording.conclude(repository.compare(head), base="main").endswith("Also: 2 arms new, 2 arms removed.")


def test_another_verdict_within_a_study_is_told(repository: Repository) -> None:
    text = wording.render(repository.compare(turn_verdict(BASE, "l2")), base="main")
    assert text.startswith("No arm whose inputs changed has different held-out scores. Also: 1 arm with a changed verd")
    assert text.endswith(
        "Changed verdicts against the baseline of the arm:\n\n- made l2 at the knob, AUC: baseline -> better"
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


def test_both_scores_of_an_arm_are_in_one_family(repository: Repository) -> None:
    (alone,) = repository.compare(shift(BASE, "l2", -0.003)).changes
    both = repository.compare(shift(shift(BASE, "l2", -0.003), "l2", 0.0, score="log_loss")).changes
    assert both[0].p_adjusted == pytest.approx(2 * alone.p_adjusted, rel=1e-6)


def test_studies_share_the_chance_of_a_false_finding(repository: Repository) -> None:
    repository.write(BASE | {"other": BASE["made"]})
    repository.commit()
    changed = shift(BASE, "l2", -0.003)["made"]
    (alone,) = repository.compare(BASE | {"other": changed}).changes
    both = repository.compare({"made": changed, "other": changed}).changes
    assert [change.p_adjusted for change in both] == [pytest.approx(2 * alone.p_adjusted)] * 2


def test_the_order_of_arms_changes_nothing(repository: Repository) -> None:
    head = shift(shift(shift(BASE, "l2", -0.003), "dropout", 0.004), "dropout", 0.1, score="log_loss")
    found = repository.compare(head)
    arms = head["made"]["arms"]
    head["made"]["arms"] = {variant: arms[variant] for variant in reversed(arms)}
    turned = repository.compare(head)
    assert set(found.changes) == set(turned.changes)
    assert wording.conclude(found, base="main") == wording.conclude(turned, base="main")


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
    assert "Recomputed although no input that DVC tracks changed (another machine): 2 arms." in done.stdout
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
    assert "(another machine): 1 arm." in done.stdout


def test_the_best_single_regularizer_is_not_chosen_among_variants_that_are_gone() -> None:
    params = {"studies": {"made": {"variants": {"l2": {}, "dropout": {}}}}}
    found = read_record(make_lock(BASE, params, set(), text=""))
    assert found is not None
    assert "train_made@unregularized" in found.stages
    assert found.find_runs(Key("made", "best_single", "tuned")) == {"train_made@l2", "train_made@dropout"}


@pytest.mark.parametrize(
    ("base", "head", "cause"),
    [
        ("x86_64", "arm64", "the base on x86_64, now on arm64"),
        ("x86_64", "x86_64", "both on x86_64: no machine fact that is recorded differs"),
        ("x86_64", "", "another machine"),
    ],
)
def test_the_machines_of_both_sides_are_named(repository: Repository, base: str, head: str, cause: str) -> None:
    facts = repository.folder / "metrics/series/made/facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"machine": base}))
    repository.write_lock()
    repository.commit()
    facts.write_text(json.dumps({"machine": head}))
    repository.write(shift(BASE, "l2", 0.0))
    repository.write_lock()
    assert f"({cause}): 1 arm." in repository.review().stdout


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
    replicates_of(head, "forest", kind="reference")[0] += 0.001
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
    params = name_study_made(params_text)
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
    params = params_text.replace("unregularized: {}", "unregularized: {baseline: unregularized}", 1)
    (told,) = repository.compare(BASE, params).params
    assert told == "studies.tutorial_fashion.variants.unregularized.baseline: (none) -> unregularized"


def test_notes_say_what_an_interval_covers(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.01)
    text = wording.render(repository.compare(head), base="main")
    assert "†" not in text
    assert "Cross-validation by replicate: folds times repeats share rows" in text
    repository.write(fix_test(BASE))
    repository.commit()
    text = wording.render(repository.compare(fix_test(head)), base="main")
    assert " † |" in text
    assert "Cross-validation" not in text


def test_a_score_without_a_margin_is_never_equivalent(repository: Repository) -> None:
    sides = [judge_by(side, "made", old="auc", new="g_mean") for side in (BASE, shift(BASE, "l2", 0.0, noise=1e-6))]
    repository.write(sides[0])
    repository.commit()
    (change,) = repository.compare(sides[1]).changes
    assert (change.score, change.verdict) == ("g_mean", "undecided")


def test_json_for_machines(repository: Repository) -> None:
    repository.write(shift(BASE, "l2", 0.1))
    found = json.loads(repository.review("--json").stdout)
    assert found["changes"][0]["verdict"] == "better"
    assert found["basis"] == {"made": {"by_row": False, "reason": "unrecorded", "side": "main"}}
    assert (found["base"], found["head"], found["verdict"]) == ("main", "the working tree", "better")
    assert found["conclusion"].startswith("Better: 1 of 1 changed arms")


# By row ------------------------------------------------------------------------------------------------------------

FOLDS, REPEATS, HELD_OUT = 2, 10, 40  # HELD_OUT: rows of each replicate
PROTOCOLS: list[Protocol] = [
    RepeatedStratifiedKFold(folds=FOLDS, repeats=REPEATS, validation=0.2),
    FixedTest(seeds=FOLDS * REPEATS, validation=0.2, test=0.5),
]
K_FOLD = PROTOCOLS[0]
SKILLS = {"unregularized": 1.0, "l2": 1.0, "dropout": 2.0, "forest": 1.0}


def make_labels(protocol: Protocol) -> Labels:
    """Every fourth row is of class 1; folds are drawn anew in each repeat, a fixed test set once."""
    truth = (np.arange(FOLDS * HELD_OUT) % 4 == 0).astype(np.uint8)
    generator = np.random.Generator(np.random.PCG64(0))
    orders = [generator.permutation(len(truth)) for _ in range(REPEATS)]
    test = np.stack([np.sort(order[fold::FOLDS]) for order in orders for fold in range(FOLDS)])
    if protocol.fixed_test:
        test = np.tile(test[0], (len(test), 1))
    training = np.stack([np.setdiff1d(np.arange(len(truth)), held_out) for held_out in test])
    shares = truth[training].mean(axis=1, keepdims=True).astype(np.float32)
    return Labels(truth[training], truth[training], truth[test], test, training, shares)


def make_predictions(labels: Labels, variant: str, skill: float | None) -> Predictions:
    """At two strengths, the better one second; noise is that of the variant, so two skills of it are alike.

    Without skill (None) all rows are given the same answer.
    """
    generator = np.random.Generator(np.random.PCG64(list(SKILLS).index(variant)))
    answers = {}
    for part in ("training", "validation", "test"):
        label = getattr(labels, part) - 0.5
        noise = [generator.normal(0, 1, label.shape) for _ in range(2)]
        if skill is None:
            at_strengths = [np.full(label.shape, -1.0)] * 2
        else:
            at_strengths = [factor * skill * label + noise[factor - 1] for factor in (1, 2)]
        answers[part] = (1 / (1 + np.exp(-np.concatenate(at_strengths))))[..., None].astype(np.float32)
    strengths = {"l2": np.repeat([0.1, 0.2], len(labels.test))}
    return Predictions(np.tile(np.arange(len(labels.test)), 2), strengths, **answers, mechanisms={})


def make_plan(protocol: Protocol, *variants: str, searches: tuple[ComparedSearch, ...] = ()) -> StudyPlan:
    return StudyPlan(
        study="made",
        dataset="thoracic_surgery",
        features="encoded",
        outputs=1,
        baseline="unregularized",
        scores={"discrimination": "auc", "probabilities": "log_loss"},
        select_by="log_loss",
        protocol=protocol,
        seed=3,
        variants=tuple(ComparedVariant(name, "unregularized", "regularizers") for name in variants),
        references=("forest",),
        searches=searches,
    )


@pytest.fixture
def cached(tmp_path: Path, params_text: str, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gitignore").write_text("/data\n/.dvc\n")
    return Repository(tmp_path, params_text)


def run_pipeline(
    repository: Repository,
    protocol: Protocol = K_FOLD,
    *,
    searches: tuple[ComparedSearch, ...] = (),
    **skills: float | None,
) -> None:
    """Leave what a run with these skills leaves: predictions, metrics, dvc.lock, and the objects in DVC's cache."""
    labels, chosen = make_labels(protocol), SKILLS | skills
    variants = [name for name in chosen if name != "forest"]
    predicted = {name: make_predictions(labels, name, chosen[name]) for name in variants}
    found = make_predictions(labels, "forest", chosen["forest"])
    kept = found.grid.lanes_at(0)
    strength = np.ones(len(kept))
    references = {"forest": ReferencePredictions(strength, strength, found.training[kept], found.test[kept])}
    plan = make_plan(protocol, *variants, searches=searches)
    save_plans({"made/_study": plan})
    none = np.zeros(0, int)
    mistakes = Mistakes((), none, none, none, none, none, 1.0)
    save_predictions("made", labels, predicted, mistakes)
    save_references("made", references)
    settings = StatisticsPlan(0.95, {"auc": 0.01, "log_loss": 0.01})
    result, *_ = compare.run(plan, settings, labels, predicted, references)
    repository.write(LAYOUT.dump_python({"made": result}, mode="json"))
    record_run(repository, *skills)


def record_run(repository: Repository, *changed: str) -> None:
    """Put the outputs of the working tree into the cache and into dvc.lock, as DVC does; changed: variants."""
    hashes = {}
    for folder in ("data/plan", "data/predictions/made", "data/reference/made"):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                put_object(path.read_bytes())
        hashes[folder] = put_object(list_folder(Path(folder)), suffix=".dir")
    repository.write_lock(*(f"data/plan/made/{variant}.json" for variant in changed), folders=hashes)


def put_object(content: bytes, *, suffix: str = "") -> str:
    md5 = hashlib.md5(content).hexdigest() + suffix
    path = find_object(md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def find_object(md5: str) -> Path:
    return Path(".dvc/cache/files/md5", md5[:2], md5[2:])


def review_main() -> changes.Review:
    return changes.review(Side("main"), Side(None))


def by_score(found: changes.Review) -> dict[ScoredKey, Change]:
    return {ScoredKey(*change.arm, change.score): change for change in found.judged}


@pytest.mark.parametrize("skills", [(1.0, 1.4), (1.0, None), (None, 1.4)], ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.kind)
def test_by_row_a_change_is_judged_as_compare_judges_two_arms(
    cached: Repository, protocol: Protocol, skills: tuple[float | None, float | None]
) -> None:
    run_pipeline(cached, protocol, forest=skills[0])
    cached.commit()
    run_pipeline(cached, protocol, forest=skills[1])
    found = review_main()
    assert found.basis == {"made": Basis(by_row=True)}

    labels = make_labels(protocol)
    before, after = (make_predictions(labels, "forest", skill) for skill in skills)
    before, after = (keep_first_point(predicted) for predicted in (before, after))
    settings = StatisticsPlan(0.95, {"auc": 0.01, "log_loss": 0.01})
    plan = make_plan(protocol, "unregularized", "l2")
    plan = dataclasses.replace(plan, references=())
    oracle, *_ = compare.run(plan, settings, labels, {"unregularized": before, "l2": after}, {})
    for score, judged in oracle.arms["l2"]["at_knob"].judged.items():
        change, expected = by_score(found)["made", "forest", "reference", score], judged.difference
        assert expected is not None
        assert change.difference == pytest.approx(expected.value, rel=1e-6)
        assert (change.ci_low, change.ci_high) == pytest.approx((expected.ci_low, expected.ci_high), rel=1e-6)
        assert change.p_adjusted == pytest.approx(expected.p_adjusted, rel=1e-6)
        assert change.verdict == expected.verdict


def keep_first_point(predicted: Predictions) -> Predictions:
    lanes = predicted.grid.lanes_at(0)
    fields = {name: getattr(predicted, name)[lanes] for name in ("replicate", "training", "validation", "test")}
    return Predictions(**fields, strengths={"l2": predicted.strengths["l2"][lanes]}, mechanisms={})


def test_by_row_every_kind_of_arm_is_found_in_any_order(cached: Repository) -> None:
    run_pipeline(cached)
    cached.commit()
    run_pipeline(cached, l2=1.4, forest=0.6)
    found = by_score(review_main())
    assert {(key.variant, key.kind) for key in found} == {("l2", "at_knob"), ("l2", "tuned"), ("forest", "reference")}
    assert all(change.by_row for change in found.values())
    recorded = json.loads(Path("metrics/comparison.json").read_text())
    for key, change in found.items():
        replicates = replicates_of(recorded, key.variant, score=key.score, kind=key.kind)
        assert change.head == pytest.approx(np.mean(replicates), abs=1e-6)
    arms = recorded["made"]["arms"]
    recorded["made"]["arms"] = {variant: dict(reversed(arms[variant].items())) for variant in reversed(arms)}
    cached.write(recorded)
    assert by_score(review_main()) == found
    assert "made by row, from DVC's cache" in cached.review().stdout


def test_by_row_the_best_single_regularizer_moves_with_the_variants_that_it_is_chosen_from(
    cached: Repository, params_text: str
) -> None:
    (cached.folder / "params.yaml").write_text(name_study_made(params_text))
    searches = (ComparedSearch("l2", 2, ("l2",), (), ("dropout",), "best_single"),)
    run_pipeline(cached, searches=searches)
    cached.commit()
    run_pipeline(cached, searches=searches, dropout=2.6)
    found = review_main()
    assert (found.basis, found.recomputed) == ({"made": Basis(by_row=True)}, [])
    moved = {(change.variant, change.kind, change.score): change.difference for change in found.changes}
    assert {key[:2] for key in moved} == {("dropout", "at_knob"), ("dropout", "tuned"), ("best_single", "tuned")}
    for score in ("auc", "log_loss"):
        assert moved["best_single", "tuned", score] == moved["dropout", "tuned", score]


@pytest.fixture
def changed(cached: Repository) -> Repository:
    """Two runs, between which the variant l2 has become better."""
    run_pipeline(cached)
    cached.commit()
    run_pipeline(cached, l2=1.6)
    return cached


def test_without_the_cache_the_same_differences_have_other_intervals(changed: Repository) -> None:
    by_row = by_score(review_main())
    shutil.rmtree(".dvc")
    by_replicate = by_score(review_main())
    assert by_row.keys() == by_replicate.keys()
    for key, change in by_replicate.items():
        assert (by_row[key].by_row, change.by_row) == (True, False)
        assert change.difference == pytest.approx(by_row[key].difference, rel=1e-5)
        assert change.ci_low != pytest.approx(by_row[key].ci_low, rel=1e-3)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "reason", "words"),
    [
        (remove, "missing", "are not in DVC's cache; for more power, run `dvc fetch` or `make` there"),
        (cut, "damaged", "in DVC's cache are damaged"),
    ],
)
@pytest.mark.parametrize("name", ["data/plan", "data/predictions/made", "data/predictions/made/l2.npz"])
def test_what_the_cache_lacks_is_judged_by_replicate_and_told(
    cached: Repository, name: str, harm: Callable[[Path], None], reason: str, words: str
) -> None:
    run_pipeline(cached)
    cached.commit()
    path = Path(name)
    content, suffix = (list_folder(path), ".dir") if path.is_dir() else (path.read_bytes(), "")
    run_pipeline(cached, l2=1.6)
    harm(find_object(hashlib.md5(content).hexdigest() + suffix))
    found = review_main()
    assert found.basis == {"made": Basis(by_row=False, reason=reason, side="main")}
    assert [change.by_row for change in found.changes] == [False] * 4
    assert f"\n- made by replicate: the predictions of main {words}\n" in f"{wording.render(found, base='main')}\n"


def test_predictions_of_the_working_tree_do_where_they_are_what_the_run_left(changed: Repository) -> None:
    found = review_main()
    for folder in ("data/predictions/made", "data/reference/made"):  # as `dvc repro --no-commit` leaves it
        listing = list_folder(Path(folder))
        find_object(hashlib.md5(listing).hexdigest() + ".dir").unlink()
    content = Path("data/predictions/made/l2.npz").read_bytes()
    find_object(hashlib.md5(content).hexdigest()).unlink()
    assert review_main() == found
    shutil.copy("data/predictions/made/unregularized.npz", "data/predictions/made/l2.npz")
    assert review_main().basis == {"made": Basis(by_row=False, reason="missing", side="the working tree")}


def test_predictions_of_the_working_tree_come_from_the_cache_where_they_are_gone(changed: Repository) -> None:
    found = review_main()
    shutil.rmtree("data")
    assert review_main() == found
    changed.commit()
    assert changes.review(Side("HEAD~1"), Side("HEAD")).changes == found.changes


def test_another_cache_is_read_as_dvc_is_told(changed: Repository) -> None:
    Path(".dvc/cache").rename("shared")
    shutil.rmtree("data")
    assert review_main().basis["made"].reason == "missing"
    Path(".dvc/config").write_text("[core]\n    autostage = false\n['remote \"store\"']\n    url = s3://a/%b\n")
    Path(".dvc/config.local").write_text("[cache]\n    dir = ../shared\n")
    assert review_main().basis["made"].by_row


def test_results_that_are_not_of_the_predictions_are_judged_by_replicate(changed: Repository) -> None:
    recorded = json.loads(Path("metrics/comparison.json").read_text())
    replicates_of(recorded, "l2")[0] += 0.001
    changed.write(recorded)
    assert review_main().basis == {"made": Basis(by_row=False, reason="other_results", side="the working tree")}


def edit_arrays(path: Path, *, compress: bool = False, **edits: Any) -> None:
    """Write an .npz anew with some members changed, by a function each, or left out, by None."""
    with np.load(path) as arrays:
        fields = dict(arrays)
    for name, edit in edits.items():
        fields[name] = edit(fields[name]) if edit else None
    fields = {name: values for name, values in fields.items() if values is not None}
    (np.savez_compressed if compress else np.savez)(path, **fields)


def test_rows_of_another_draw_are_judged_by_replicate(changed: Repository) -> None:
    edit_arrays(Path("data/predictions/made/_labels.npz"), training_numbers=lambda numbers: numbers + 1)
    record_run(changed)
    assert review_main().basis == {"made": Basis(by_row=False, reason="other_rows")}


def test_rows_without_numbers_are_judged_by_replicate(changed: Repository) -> None:
    edit_arrays(Path("data/predictions/made/_labels.npz"), test_numbers=lambda numbers: numbers[:, :5])
    record_run(changed)
    changed.commit()
    run_pipeline(changed)
    edit_arrays(Path("data/predictions/made/_labels.npz"), test_numbers=lambda numbers: numbers[:, :5])
    record_run(changed)
    found = changes.review(Side("HEAD"), Side(None))
    assert found.basis == {"made": Basis(by_row=False, reason="damaged", side="the working tree")}


def test_a_protocol_with_few_repeats_is_judged_by_replicate(cached: Repository) -> None:
    protocol = RepeatedStratifiedKFold(folds=FOLDS * REPEATS // 2, repeats=2, validation=0.2)
    run_pipeline(cached, protocol)
    cached.commit()
    run_pipeline(cached, protocol, l2=1.6)
    assert review_main().basis["made"].reason == "few_repeats"


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: edit_arrays(path, test=None),
        lambda path: edit_arrays(path, test=lambda values: values[:3]),
        lambda path: edit_arrays(path, test=lambda values: values * 2),
        lambda path: edit_arrays(path, replicate=lambda values: values.astype(object)),  # pickled
        lambda path: edit_arrays(path, compress=True),
        lambda path: path.write_bytes(b"PK"),
    ],
    ids=["a missing array", "too few lanes", "no probabilities", "pickled", "compressed", "no archive"],
)
def test_predictions_of_another_layout_are_judged_by_replicate(
    changed: Repository, harm: Callable[[Path], None]
) -> None:
    harm(Path("data/predictions/made/l2.npz"))
    record_run(changed)
    assert review_main().basis == {"made": Basis(by_row=False, reason="damaged", side="the working tree")}


@pytest.mark.parametrize(
    "relpath", ["../made/l2.npz", "/l2.npz", "./l2.npz", ".hidden/l2.npz", "a//l2.npz", "l2.npz\n"]
)
def test_a_list_of_files_names_no_others(changed: Repository, relpath: str) -> None:
    members = json.loads(list_folder(Path("data/predictions/made")))
    for member in members:
        member["relpath"] = member["relpath"].replace("l2.npz", relpath)
    lock = Path("dvc.lock")
    before = hashlib.md5(list_folder(Path("data/predictions/made"))).hexdigest() + ".dir"
    lock.write_text(lock.read_text().replace(before, put_object(json.dumps(members).encode(), suffix=".dir")))
    files = Side(None).outputs.list_members(Path("data/predictions/made"))
    assert set(files) == {"_labels.npz", "_mistakes.npz", "unregularized.npz", "dropout.npz"}
    assert review_main().basis == {"made": Basis(by_row=False, reason="unrecorded", side="the working tree")}


@pytest.mark.parametrize("md5", ["", "a" * 32, "../../../x.dir", "A" * 32 + ".dir", "a" * 31 + "/.dir"])
def test_a_hash_of_another_form_is_no_record(changed: Repository, md5: str) -> None:
    lock = Path("dvc.lock")
    before = hashlib.md5(list_folder(Path("data/predictions/made"))).hexdigest() + ".dir"
    lock.write_text(lock.read_text().replace(before, f"'{md5}'"))
    assert review_main().basis == {"made": Basis(by_row=False, reason="unrecorded", side="the working tree")}


# The record, and what cannot be used --------------------------------------------------------------------------------


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
        ("replicates", [0.5], "auc.replicates: List should have at least 2 items"),
        ("replicates", [0.5, None], "auc.replicates.1: Input should be a valid number"),
        ("replicates", [0.5, float("nan")], "auc.replicates.1: Input should be a finite number"),
        ("skill", None, "auc.skill: Input should be"),
    ],
)
def test_an_arm_of_another_layout_is_refused_in_one_line(
    repository: Repository, field: str, value: object, message: str
) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["l2"]["at_knob"]["judged"]["auc"][field] = value
    repository.write(head)
    message = f"of the working tree cannot be used (made.arms.l2.at_knob.judged.{message}"
    expect_refusal(repository.review(), message, "run make")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("scores", {"discrimination": "nonsense"}, "made.scores.discrimination: Input should be one of auc, accuracy"),
        ("scores", {"probabilities": "brier"}, "made.arms.unregularized.at_knob.judged: Input should hold brier"),
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


def expect_refusal(
    done: subprocess.CompletedProcess[str], message: str, remedy: str, *, file: str = "metrics/comparison.json"
) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {file}")
    assert message in line
    assert line.endswith(remedy)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("seed: [", "error: params.yaml of the working tree, line 2: is not YAML"),
        ("seed: 3", "error: params.yaml of the working tree has mistakes"),
        ("a: &a {b: *a}", "error: params.yaml of the working tree has more than 20,000 values"),
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


@pytest.mark.parametrize(("settings", "score"), [({}, "auc"), ({"select_by": "log_loss"}, "log_loss")])
def test_the_score_that_chooses_strengths_is_an_input_of_an_arm(settings: Json, score: str) -> None:
    study = {"scores": {"discrimination": "auc", "probabilities": "log_loss"}} | settings
    plan = {"cmd": "plan", "params": {"params.yaml": {"studies": {"made": study}}}}
    record = read_record(dumps_yaml({"schema": "2.0", "stages": {"plan": plan}}))
    assert record is not None
    assert record.find_select_by("made") == score


# What is hostile or broken ------------------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=y> | @everyone </details> `code` **Better** [click](https://evil.example) \u202e"


@pytest.mark.parametrize(
    "text",
    ["stages: [", "<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> main\n", "stages: !!timestamp x", "a: " + "[" * 3000],
)
@pytest.mark.parametrize("side", ["base", "head"])
def test_a_broken_record_is_refused_in_one_line(repository: Repository, text: str, side: str) -> None:
    repository.write_lock()
    whole = (repository.folder / "dvc.lock").read_text()
    (repository.folder / "dvc.lock").write_text(text if side == "base" else whole)
    repository.commit()
    (repository.folder / "dvc.lock").write_text(text if side == "head" else whole)
    expect_refusal(repository.review(), ", line ", "", file="dvc.lock of")


def test_a_record_of_another_layout_is_told_first(repository: Repository) -> None:
    (repository.folder / "dvc.lock").write_text("stages: {plan: [1]}")
    assert "dvc.lock does not hold what a run records" in repository.review().stdout.splitlines()[0]


def test_text_of_others_does_nothing(repository: Repository, params_text: str) -> None:
    head = copy.deepcopy(shift(BASE, "l2", 0.1))
    for study in head.values():
        study["arms"][HOSTILE] = copy.deepcopy(study["arms"]["dropout"])
    repository.write(head, f"{params_text}\n{json.dumps(HOSTILE)}: {json.dumps(HOSTILE)}\n")
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit()
    repository.write(BASE, params_text)
    done = repository.review("other")
    assert "Removed arms" in done.stdout, done.stderr
    assert "Changed parameters" in done.stdout
    for raw in ("<img", "</details>", "@everyone", " `code", " **Better** ", "](https", "://evil", "\u202e", HOSTILE):
        assert raw not in done.stdout, raw
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("l2: 0.1 -> 0.2", "l2: 0.1 -> 0.2"),
        ("path: [0.1, 0.2] -> (none)", "path: [0.1, 0.2] -> (none)"),
        ("a|b", "a\\|b"),
        ("<b>", "&lt;b&gt;"),
        ("a\nb\r\n# c", "a b # c"),
        ("__all__", "\\_\\_all\\_\\_"),
        ("x" * 500, "x" * 157 + "..."),
        ("&lt;", "&amp;lt;"),
        ("a _b_ batch_norm", "a \\_b\\_ batch_norm"),
        ("_www.evil.example", "\\_www\u200b.evil.example"),
        (" # a", "\\# a"),
        ("## a", "\\## a"),
        ("- b", "\\- b"),
        ("-0.1 -> 0.5", "-0.1 -> 0.5"),
        ("12. c", "12\\. c"),
        ("0.5 -> 1", "0.5 -> 1"),
        ("[x] done", "\\[x] done"),
        ("$x$ :tada:", "\\$x\\$ :\u200btada:"),
        ("a\u061cb\U000e0041c", "a b c"),
        ("www.evil.example", "www\u200b.evil.example"),
        ("owner/name#12, gh-3, #1", "owner/name#\u200b12, gh-\u200b3, #\u200b1"),
        ("a@b https://c", "a@\u200bb https:\u200b//c"),
    ],
)
def test_text_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_a_score_may_be_negative_where_its_entry_says_so(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCORES, "auc", SCORES["auc"]._replace(least=-1.0))
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["l2"]["at_knob"]["judged"]["auc"]["replicates"][0] = -0.1
    assert repository.compare(head).judged


@pytest.mark.parametrize("value", [1e308, -0.1, 1.01])
def test_a_score_that_cannot_be_is_refused_in_one_line(repository: Repository, value: float) -> None:
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["l2"]["at_knob"]["judged"]["auc"]["replicates"][0] = value
    repository.write(head)
    expect_refusal(repository.review(), "made.arms.l2.at_knob.judged.auc: Input should be from 0 to 1", "run make")


@pytest.mark.parametrize("text", ["- a", "3", "a: [", "a: &a [*a]", "a: " + "[" * 100, "<<<<<<< HEAD\n"])
def test_broken_parameters_of_the_base_are_refused_in_one_line(
    repository: Repository, params_text: str, text: str
) -> None:
    repository.write(BASE, text)
    repository.commit()
    repository.write(BASE, params_text)
    expect_refusal(repository.review(), "", "", file="params.yaml of main")


def test_lists_for_mappings_in_the_base_are_shown_and_do_not_end_in_an_error(
    repository: Repository, params_text: str
) -> None:
    repository.write(shift(BASE, "l2", 0.1), "studies: [1]\nseed: {a: [1, {b: 2}]}\n")
    repository.write_lock()
    repository.commit()
    repository.write(BASE, params_text)
    repository.write_lock()
    done = repository.review()
    assert done.returncode in (0, 1), done.stderr
    assert "studies: [1] ->" in done.stdout


@pytest.mark.parametrize("revision", ["--output=stolen", "-O", "--exec=true", "a\nb", ""])
@pytest.mark.parametrize("option", ["--head={}", "{}"])
def test_an_option_is_no_revision(repository: Repository, revision: str, option: str) -> None:
    done = repository.review(option.format(revision))
    assert done.returncode == 2
    assert not (repository.folder / "stolen").exists()


def test_the_shell_expands_no_revision(tmp_path: Path) -> None:
    """`make review BASE=...` hands it on as text."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\nfor word; do echo "<$word>"; done\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/base.txt", ".venv/bin/pip", ".venv/installed"):
        (tmp_path / name).touch()
    base = '`touch one`$$(touch two); touch three " &'
    done = subprocess.run(
        ["make", "--no-print-directory", "--file", ROOT / "Makefile", "review", f"BASE={base}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == f"<{base.replace('$$', '$')}>"
    assert not [name for name in ("one", "two", "three") if (tmp_path / name).exists()]
