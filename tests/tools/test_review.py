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

from stages import compare
from stages.lib.core.cli import UserError
from stages.lib.core.records import save_plans
from stages.lib.data.protocols import FixedTest, Protocol, RepeatedStratifiedKFold
from stages.lib.judge import predictions as stored
from stages.lib.judge.arms import ArmKey, build_arms
from stages.lib.judge.comparison import (
    COMPARISON,
    LAYOUT,
    ArmResult,
    Difference,
    Judgement,
    StudyResult,
    find_comparison,
    lay_out,
)
from stages.lib.judge.judge import Judge, judge_all
from stages.lib.judge.plans import ComparedSearch, StatisticsPlan, StudyPlan
from stages.lib.lock import find_object
from stages.lib.settings.yaml_text import load_document
from tests.conftest import ROOT, pick
from tests.forked import run_module
from tests.lib.test_lock import CACHE, keep
from tests.test_compare import K_FOLD, LABELS, REPLICATES, same
from tests.test_compare import make_plan as make_study_plan
from tests.test_compare import make_predictions as predict
from tests.test_report import find_contradictions
from tools.review.__main__ import escape, render
from tools.review.judging import Change, Review, review
from tools.review.snapshot import Record, Snapshot, StageRecord, compare_params, find_base, hash_text, read_record

Json = dict[str, Any]
SETTINGS = StatisticsPlan(confidence=0.95, equivalence={"auc": 0.01, "log_loss": 0.01})
NUM_REPLICATES = 50
LESS_TRAINING = {"kind": "repeated_stratified_k_fold", "folds": 5, "repeats": 10, "validation": 0.3}
UNPAIRED = "protocol, data, seed or number of replicates differ, so that none are paired"
# Value, its intervals, p, adjusted p.
DIFFERENCE = Difference(0.1, 0.04, 0.16, 0.05, 0.15, 0.001, 0.002, "better")


def make_arm(mean: float, *, noise_of: int) -> ArmResult:
    """Replicates around a mean AUC, and a log loss of 1 less that; arms of one noise are paired."""
    scores = mean + np.random.Generator(np.random.PCG64(noise_of)).normal(0, 0.05, NUM_REPLICATES)
    judged = {
        name: Judgement(float(values.mean()), values.round(6).tolist(), None, DIFFERENCE)
        for name, values in (("auc", scores), ("log_loss", 1 - scores))
    }
    return ArmResult("unregularized", "regularizers", judged, {}, {}, {})


def make_comparison() -> Json:
    """The content of the comparison of one study."""
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
    moved = np.array(replicates_of(changed, variant, score=score)) + difference + wobble
    changed["made"]["arms"][variant]["at_knob"]["judged"][score] |= {
        "value": float(moved.mean()),
        "replicates": moved.tolist(),
    }
    return changed


def judge_by(comparison: Json, *, old: str, new: str) -> Json:
    """The same with another score in the place of one."""
    return json.loads(json.dumps(comparison).replace(f'"{old}"', f'"{new}"'))


def name_study_made(params: str) -> str:
    """params.yaml with thoracic under the name that the study has in these tests."""
    return params.replace("  thoracic:\n", "  made:\n").replace("study: thoracic,", "study: made,")


def fix_test(comparison: Json) -> Json:
    """The same, judged on a fixed test set."""
    protocol = FixedTest(seeds=NUM_REPLICATES, validation=0.2, test=0.2).model_dump()
    return {"made": comparison["made"] | {"protocol": protocol}}


def make_lock(comparison: Json, params: Json, changed: set[str], kept: dict[str, str]) -> str:
    """The text of a dvc.lock with the stages that these results need; kept: output -> its hash, of those that exist."""

    def list_files(paths: str) -> list[Json]:
        made = {path: ("b" if path in changed else "a") * 32 for path in paths.split()}
        made |= {path: f"{md5}.dir" for path, md5 in made.items() if not Path(path).suffix} | pick(kept, made)
        return [{"path": path, "hash": "md5", "md5": md5} for path, md5 in made.items()]

    def stage(words: str, deps: str = "", outs: str = "") -> Json:
        return {"cmd": f"python -m stages.{words}", "deps": list_files(deps), "outs": list_files(outs)}

    stages = {
        "plan": stage("plan", outs="data/plan") | {"params": {"params.yaml": params}},
        "report": stage("report", "data/plan", "metrics/metrics.json"),
    }
    for task, content in comparison.items():
        study = task.partition("/")[0]
        held_out, plans, scores = f"data/held_out/{study}", f"data/plan/{study}", find_comparison(study).as_posix()
        predicted = f"stages/evaluate.py models/{study} {plans} {held_out}"
        stages |= {
            f"compare@{study}": stage(f"compare {study}", f"{plans}/_study.json stages/compare.py", scores),
            f"preprocess@{study}": stage(f"preprocess {study}", "", held_out),
            f"evaluate@{study}": stage(f"evaluate {study}", predicted, f"data/predictions/{study}"),
            f"reference@{study}": stage(f"reference {study}", "stages/reference.py", f"data/reference/{study}"),
        }
        for variant in content["arms"]:
            deps = f"{plans}/{variant}.json data/plan/_versions/train.json stages/train.py"
            stages[f"train@{study}-{variant}"] = stage(f"train {study} {variant}", deps, f"models/{study}/{variant}")
    return dumps_yaml({"schema": "2.0", "stages": stages})


class Repository:
    """A git repository with the files that a review reads, and main as its base."""

    def __init__(self, folder: Path, params: str):
        self.folder, self.params = folder, params
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit(BASE, params)

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", self.folder, *arguments], check=True)

    def commit(self, comparison: Json | None = None, params: str | None = None) -> None:
        """Commit all files, with these results and parameters where they are given."""
        if comparison is not None:
            self.write(comparison, params)
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "--quiet", "--message", "state")

    def write(self, comparison: Json, params: str | None = None) -> None:
        shutil.rmtree(self.folder / COMPARISON, ignore_errors=True)
        (self.folder / COMPARISON).mkdir(parents=True)
        for study in {task.partition("/")[0] for task in comparison}:
            tasks = {task: result for task, result in comparison.items() if task.partition("/")[0] == study}
            (self.folder / find_comparison(study)).write_text(json.dumps(tasks))
        if params is not None:
            (self.folder / "params.yaml").write_text(params)

    def write_lock(self, *changed: str, folders: dict[str, str] | None = None) -> None:
        """dvc.lock after a whole run that wrote the present files; the contents of paths in `changed` are others."""
        texts = {path.stem: path.read_text() for path in (self.folder / COMPARISON).glob("*.json")}
        comparison = {task: result for text in texts.values() for task, result in json.loads(text).items()}
        params = load_document((self.folder / "params.yaml").read_text())[0]
        kept = {find_comparison(study).as_posix(): hash_text(text) for study, text in texts.items()} | (folders or {})
        (self.folder / "dvc.lock").write_text(make_lock(comparison, params, set(changed), kept))

    def rerun(self, comparison: Json, params: str | None = None, *, changed: tuple[str, ...] = ()) -> None:
        """Leave what a whole run leaves; changed: paths with other contents."""
        self.write(comparison, params)
        self.write_lock(*changed)

    def compare(self, head: Json, params: str | None = None) -> Review:
        """The review of these results, in the working tree, against main."""
        self.write(head, params)
        return review_main()

    def record(self) -> None:
        """Commit the present files with the record of a whole run."""
        self.write_lock()
        self.commit()

    def review(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        return run_module("tools.review", *arguments, folder=self.folder, environment=environment)


@pytest.fixture
def repository(inside: Path, params_text: str) -> Repository:
    (inside / ".gitignore").write_text("/data\n/.dvc\n")
    return Repository(inside, params_text)


def by_score(result: Review) -> dict[tuple[str, ...], Change]:
    return {(*change.key.arm, change.key.score): change for change in result.changes}


def review_main() -> Review:
    return review(Snapshot("main"), Snapshot(None))


def conclude(result: Review) -> str:
    return render(result).splitlines()[0]


def list_rows(text: str) -> list[list[str]]:
    """The cells of the table in a review."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]


def test_a_comment_is_one_line(repository: Repository) -> None:
    repository.record()
    params = f"# a remark\n{repository.params}"
    repository.rerun(BASE, params, changed=("stages/train.py", "stages/compare.py"))
    done = repository.review()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Nothing has changed since main: no parameter and no held-out score.\n"


def test_a_regression_ends_with_status_1_and_names_just_what_changed(repository: Repository) -> None:
    repository.write(shift(BASE, "dropout", -0.1), repository.params.replace("dropout: 0.5", "dropout: 0.3"))
    done = repository.review("main")
    assert done.returncode == 1
    told = "1 of 1 changed results are worse by more than noise, by at least one score; hence exit status 1.\n"
    assert done.stdout.startswith(f"dropout: 0.5 -> 0.3. **Worse**: {told}")
    (row,) = list_rows(done.stdout)
    assert row[:4] + row[-1:] == ["made", "dropout", "at the knob", "AUC", "worse"]
    assert row[-2] == "`─●······················○`"
    assert "\nNot shown: 0 equivalent, 4 with the same scores.\n" in done.stdout


SURE = [(0.1, 0.002, "better"), (-0.1, 0.002, "worse"), (0.02, 0.002, "better"), (0.0, 0.002, "equivalent")]
NOISY = [(0.0, 0.05, "inconclusive"), (0.02, 0.05, "inconclusive")]


@pytest.mark.parametrize(("difference", "noise", "verdict"), [*SURE, *NOISY])
def test_verdicts_know_the_noise(difference: float, noise: float, verdict: str, repository: Repository) -> None:
    (change,) = repository.compare(shift(BASE, "l2", difference, noise=noise)).changes
    assert (change.key.arm.variant, change.key.score, change.verdict) == ("l2", "auc", verdict)
    numbers = change.difference
    assert numbers.own_low < numbers.value < numbers.own_high
    assert numbers.value == pytest.approx(change.head - change.base, abs=1e-6)


def test_every_verdict_is_counted_and_what_is_decided_comes_first(repository: Repository) -> None:
    head = shift(shift(shift(BASE, "l2", 0.1), "unregularized", 0.065, noise=0.05), "dropout", 0.0)
    text = render(repository.compare(shift(head, "dropout", 0.2, score="log_loss")))
    assert text.startswith(
        "**Worse**: 1 of 3 changed results are worse by more than noise, by at least one score "
        "(1 better, 1 inconclusive)"
    )
    assert find_contradictions("\n".join(f"{row[7]}: {row[-1]}" for row in list_rows(text))) == []  # their own would
    rows = [(row[1], row[-1]) for row in list_rows(text)]
    assert rows == [("dropout", "worse"), ("l2", "better"), ("unregularized", "inconclusive")]
    text = render(repository.compare(shift(BASE, "l2", 0.0)))
    assert text.startswith("**Equivalent**: 1 of 1 changed results moved by less than the margin that matters.")
    assert text.endswith("\n\nNot shown: 1 equivalent, 4 with the same scores.")


@pytest.mark.parametrize("by_auc", [-0.1, 0.0, 0.1])
@pytest.mark.parametrize("by_log_loss", [-0.1, 0.0, 0.1])  # a greater log loss is worse
def test_an_arm_is_worse_if_it_is_so_by_one_score(by_auc: float, by_log_loss: float, repository: Repository) -> None:
    result = repository.compare(shift(shift(BASE, "l2", by_auc), "l2", by_log_loss, score="log_loss"))
    better, worse = by_auc > 0 or by_log_loss < 0, by_auc < 0 or by_log_loss > 0
    assert result.verdict == ("worse" if worse else "better" if better else "equivalent")
    assert [change.key.score for change in result.changes] == ["auc", "log_loss"]


OTHER_ROWS_OF_STUDY = ({"seed": 4}, {"dataset": "another"}, {"features": "raw"}, {"protocol": LESS_TRAINING})


def test_arms_judged_on_other_rows_are_compared_unpaired(repository: Repository) -> None:
    head = shift(BASE, "unregularized", 0.0)
    (paired,) = repository.compare(head).changes
    for setting in OTHER_ROWS_OF_STUDY:
        result = repository.compare({"made": head["made"] | setting})
        assert measure_width(result.changes[0]) > 10 * measure_width(paired)
        assert f"made by replicate ({UNPAIRED})" in render(result)
    replicates_of(head, "unregularized").pop()
    assert repository.compare(head).basis == {"made": UNPAIRED}


def measure_width(change: Change) -> float:
    return change.difference.own_high - change.difference.own_low


def test_unpaired_arms_each_bring_the_correction_of_their_own_protocol(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.0)
    head["made"]["seed"] = 4
    (resampled,) = repository.compare(head).changes
    (mixed,) = repository.compare(fix_test(head)).changes
    base, after = (np.std(replicates_of(side, "l2"), ddof=1) for side in (BASE, head))
    corrected, plain = 1 / NUM_REPLICATES + 0.25, 1 / NUM_REPLICATES
    ratio = np.sqrt((corrected * base**2 + plain * after**2) / (corrected * base**2 + corrected * after**2))
    assert measure_width(mixed) / measure_width(resampled) == pytest.approx(ratio, rel=0.02)  # other degrees of freedom


def test_what_comes_and_goes_is_told(repository: Repository) -> None:
    head = copy.deepcopy(BASE)
    arms = head["made"]["arms"]
    arms["mine"] = copy.deepcopy(arms["l2"])
    arms["mine"]["at_knob"]["judged"]["auc"] |= {"value": 0.7, "difference": DIFFERENCE.__dict__}
    worse = dataclasses.asdict(DIFFERENCE) | {"verdict": "worse"}
    arms["mine"]["at_knob"]["judged"]["log_loss"] |= {"value": 0.4, "difference": worse}
    del arms["dropout"]
    text = render(repository.compare(head | {"other": head["made"]}))
    assert text.splitlines()[0].endswith("different held-out scores. Also: 5 arms new, 2 arms removed.")
    assert (
        "\nNew:\n\n- other: Of 1 regulariser, none is shown to help, 1 to hurt (mine +0.100 (+25.4 %)).\n"
        "- made mine at the knob, compared with unregularized: AUC 0.7000 (better), log loss 0.4000 (worse)\n"
    ) in text
    assert text.endswith("\n\nRemoved: made dropout at the knob; made dropout tuned.")


def test_of_many_the_first_are_named(repository: Repository) -> None:
    arms = {f"variant_{number}": BASE["made"]["arms"]["l2"] for number in range(500)}
    many = {"made": BASE["made"] | {"arms": BASE["made"]["arms"] | arms}}
    text = render(repository.compare(many))
    assert "\n- made variant_99 at the knob, compared with " in text
    assert text.endswith("\n- 400 more")
    repository.commit(many, repository.params + "".join(f"\nknob_{number}: 1" for number in range(5)))
    text = render(repository.compare(BASE, repository.params))
    assert text.startswith("knob_0: 1 -> (none); ")
    assert " 2 more. No arm" in text.splitlines()[0]
    assert "\n- knob_4: 1 -> (none)\n" in text
    assert text.endswith("made variant_2 at the knob; 497 more.")


def test_an_arm_is_judged_by_the_scores_that_both_have(repository: Repository) -> None:
    head = shift(shift(BASE, "l2", -0.1), "l2", -0.1, score="log_loss")
    result = repository.compare(judge_by(head, old="log_loss", new="brier"))
    assert [(change.key.score, change.verdict) for change in result.changes] == [("auc", "worse")]
    assert conclude(result).endswith("Also: 5 arms with a score that only one of the two judges by.")
    result = repository.compare(judge_by(BASE, old="log_loss", new="brier"))
    assert conclude(result).startswith("No arm whose inputs changed has different held-out scores. Also: 5 arms")


def test_all_that_changed_is_judged_together(repository: Repository) -> None:
    def adjust(head: Json) -> list[float]:
        return [change.difference.p_adjusted for change in repository.compare(head).changes]

    (small,), (large,) = adjust(shift(BASE, "l2", -0.003)), adjust(shift(BASE, "unregularized", -0.1))
    assert large < small
    both_arms = adjust(shift(shift(BASE, "l2", -0.003), "unregularized", -0.1))
    assert both_arms == [pytest.approx(2 * large, rel=1e-6), pytest.approx(2 * small, rel=1e-6)]
    both_scores = adjust(shift(shift(BASE, "l2", -0.003), "l2", 0.0, score="log_loss"))
    assert both_scores[0] == pytest.approx(2 * small, rel=1e-6)
    repository.commit(BASE | {"other": BASE["made"]})
    changed = shift(BASE, "l2", -0.003)["made"]
    assert adjust(BASE | {"other": changed}) == [pytest.approx(small)]
    assert adjust({"made": changed, "other": changed}) == [pytest.approx(2 * small)] * 2  # studies share the chance


def test_what_another_machine_computed_anew_does_not_blur_what_changed(repository: Repository) -> None:
    repository.record()
    elsewhere = shift(shift(BASE, "l2", 0.0), "unregularized", 0.0)
    repository.rerun(elsewhere)
    recomputed = "2 arms recomputed although no input that DVC tracks changed, none by more than noise."
    assert render(review_main()) == f"No arm whose inputs changed has different held-out scores. Also: {recomputed}"
    paths = ("data/plan/made/dropout.json", "data/plan", "data/plan/made", "models/made")
    params = repository.params.replace("dropout: 0.5", "dropout: 0.3")
    repository.rerun(shift(elsewhere, "dropout", -0.1), params, changed=paths)
    text = render(review_main())
    assert text.startswith("dropout: 0.5 -> 0.3. **Worse**: 1 of 1 changed results")
    assert f"exit status 1. Also: {recomputed}\n" in text
    assert [row[1] for row in list_rows(text)] == ["dropout"]

    repository.rerun(shift(shift(BASE, "l2", -0.1), "unregularized", 0.0), repository.params)
    text = render(review_main())
    assert text.startswith("**Worse**: 1 of 1 changed results")
    assert "| made | l2 | at the knob (recomputed) | AUC |" in text
    assert "Also: 1 arm recomputed" in text


TOUCHED = {  # what has changed -> the arms that it touches
    "stages/train.py": ["unregularized", "l2"],
    "data/plan/_versions/train.json": ["unregularized", "l2"],
    "stages/evaluate.py": ["unregularized", "l2"],
    "stages/reference.py": ["forest"],
    "stages/compare.py": ["unregularized", "l2", "forest"],
    "data/held_out/made": ["unregularized", "l2"],
    "data/plan/made/l2.json": ["l2"],
    **{f"data/plan{path}": [] for path in ("", "/made", "/made/_study.json", "/made/dropout.json")},
    "models/made": [],
}


def test_what_an_arm_depends_on_touches_it(repository: Repository) -> None:
    def list_touched() -> list[str]:
        changes = review_main().changes
        assert len(changes) == 3
        return [change.key.arm.variant for change in changes if not change.recomputed]

    params = name_study_made(repository.params)
    repository.write(BASE, params)
    repository.record()
    head = shift(shift(BASE, "l2", 0.0), "unregularized", 0.0)
    replicates_of(head, "forest", kind="reference")[0] += 0.001
    for path, touched in TOUCHED.items():
        repository.rerun(head, changed=(path,))
        assert list_touched() == touched, path
    lock = repository.folder / "dvc.lock"
    lock.write_text(lock.read_text().replace("stages.train made l2", "stages.train made l2 --threads 2"))
    assert list_touched() == ["l2"]
    repository.rerun(head, params.replace("select_by: log_loss", "select_by: auc"))
    assert list_touched() == ["unregularized", "l2", "forest"]


def test_results_that_are_out_of_date_are_told_first(repository: Repository) -> None:
    repository.record()
    repository.write(BASE, repository.params.replace("dropout: 0.5", "dropout: 0.3"))
    told = "(dropout: 0.5 -> 0.3): run make. By the present results: dropout: 0.5 -> 0.3. No arm"
    assert conclude(review_main()).startswith(f"**Out of date** {told}")
    repository.commit()
    repository.rerun(shift(BASE, "l2", 0.1))
    assert "The results of main are out of date as well (dropout: 0.5 -> 0.3)." in render(review_main())

    repository.rerun(BASE)
    lock = repository.folder / "dvc.lock"
    whole = lock.read_text()
    for stage in ("plan", "preprocess@made"):  # it has written anew, and nobody has read it yet
        before, behind = whole.split(f"  {stage}:\n")
        lock.write_text(f"{before}  {stage}:\n{behind.replace('a' * 32, 'c' * 32, 1)}")
        assert conclude(review_main()).startswith("**Out of date** (the last run was not completed): run make.")
    lock.write_text(whole)
    told = conclude(repository.compare(shift(BASE, "l2", 0.1)))
    assert told.startswith("**Out of date** (metrics/comparison/made.json is not what the last run wrote): run make.")


def test_what_main_has_gained_since_is_left_out(repository: Repository) -> None:
    assert find_base() == "main"
    repository.git("branch", "mine")
    repository.commit(shift(BASE, "l2", 0.1))
    repository.git("checkout", "--quiet", "mine")
    assert render(review_main()).startswith("**Worse**"), "what main has gained this branch lacks"
    fork = subprocess.check_output(["git", "rev-parse", "mine"], cwd=repository.folder, text=True)[:10]
    assert find_base() == fork
    assert repository.review().stdout.startswith(f"Nothing has changed since {fork}")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b: 1 -> 2"]),
        ({"a": {"b": {}}}, {"a": {"b": {"c": "d"}}}, ["a.b: {} -> (none)", "a.b.c: (none) -> d"]),
        ({"a": {"c": 1}}, {"a": {"b": None, "c": 1}}, ["a.b: (none) -> {}"]),
        ({"a": None}, {"a": {}}, []),
        (["a"], {"b": 1}, ["params.yaml: ['a'] -> (none)", "b: (none) -> 1"]),
    ],
)
def test_parameters_are_compared_leaf_by_leaf(before: Any, after: Json, told: list[str]) -> None:
    assert list(compare_params(before, after)) == told


def test_what_an_interval_does_not_cover_is_told(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.01)
    assert "other rows" not in render(repository.compare(head))
    repository.commit(fix_test(BASE))
    assert "; other seeds on the same test rows, not other rows)" in render(repository.compare(fix_test(head)))


def test_a_score_without_a_margin_is_never_equivalent(repository: Repository) -> None:
    before, after = (judge_by(each, old="auc", new="g_mean") for each in (BASE, shift(BASE, "l2", 0, noise=1e-6)))
    repository.commit(before)
    (change,) = repository.compare(after).changes
    assert (change.key.score, change.verdict) == ("g_mean", "inconclusive")


def test_a_change_is_drawn_to_scale_with_others_of_its_study_and_score(repository: Repository) -> None:
    head = shift(shift(BASE, "l2", 0.1), "dropout", 0.05)
    drawn = {row[1]: row[-2].strip("`") for row in list_rows(render(repository.compare(head)))}
    assert {len(letters) for letters in drawn.values()} == {25}
    ring, disc = ({name: letters.index(mark) for name, letters in drawn.items()} for mark in "○●")
    means = {name: np.mean(replicates_of(BASE, name)) for name in drawn}
    ratio = (ring["l2"] - ring["dropout"]) / (disc["l2"] - ring["l2"])
    assert ratio == pytest.approx((means["l2"] - means["dropout"]) / 0.1, abs=0.1)
    assert disc["dropout"] - ring["dropout"] == pytest.approx((disc["l2"] - ring["l2"]) / 2, abs=1)


# By row ------------------------------------------------------------------------------------------------------------

SKILLS = {"unregularized": 1.0, "l2": 1.0, "dropout": 2.0, "forest": 1.0}


def make_predictions(variant: str, skill: float) -> stored.Predictions:
    """At two strengths, the better one second; noise is that of the variant, so two skills of it are alike."""
    generator = np.random.Generator(np.random.PCG64(list(SKILLS).index(variant)))
    return predict(LABELS, {0.1: same(skill), 0.2: same(2 * skill)}, generator)


def make_plan(protocol: Protocol, *variants: str, searches: tuple[ComparedSearch, ...] = ()) -> StudyPlan:
    changes = {"protocol": protocol, "references": ("forest",), "searches": searches, "stopped": True}
    return dataclasses.replace(make_study_plan(*variants), **changes)


def run_pipeline(
    repository: Repository,
    protocol: Protocol = K_FOLD,
    *,
    task: str = "made",
    searches: tuple[ComparedSearch, ...] = (),
    **skills: float,
) -> None:
    """Leave what a run with these skills leaves: predictions, metrics, dvc.lock, and the objects in DVC's cache."""
    chosen = SKILLS | skills
    variants = [name for name in chosen if name != "forest"]
    predicted = {name: make_predictions(name, chosen[name]) for name in variants}
    at_end = {name: make_predictions(name, 0.5 * chosen[name]) for name in variants}
    forest = make_predictions("forest", chosen["forest"])
    kept = forest.grid.lanes_at(0)
    strength = np.ones(len(kept))
    references = {"forest": stored.ReferencePredictions(strength, forest.training[kept], forest.test[kept])}
    plan = dataclasses.replace(make_plan(protocol, *variants, searches=searches), task=task)
    save_plans({"made/_study": {task: plan}})
    stored.save_labels(task, LABELS)
    for name, each in predicted.items():
        stored.save_predictions(each, stored.FOLDER / task, name)
        stored.save_predictions(at_end[name], stored.FOLDER / task, f"{name}-end")
    stored.save_references(task, references)
    result, *_ = compare.run(plan, SETTINGS, stored.StudyPredictions(LABELS, predicted, references, at_end))
    repository.write(LAYOUT.dump_python({task: result}, mode="json"))
    record_run(repository, *skills)


def run_twice(repository: Repository, protocol: Protocol = K_FOLD, *, task: str = "made", **skills: float) -> None:
    """Two runs, between which these skills have changed; the first is committed."""
    run_pipeline(repository, protocol, task=task)
    repository.commit()
    run_pipeline(repository, protocol, task=task, **skills)


def record_run(repository: Repository, *changed: str) -> None:
    """Put the outputs of the working tree into the cache and into dvc.lock, as DVC does; changed: variants."""
    hashes = {}
    for folder in ("data/plan", "data/predictions/made", "data/reference/made"):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                keep(path.read_bytes())
        hashes[folder] = keep(list_folder(Path(folder)), suffix=".dir")
    repository.write_lock(*(f"data/plan/made/{variant}.json" for variant in changed), folders=hashes)


def list_folder(folder: Path) -> bytes:
    """The list of a folder's files as DVC writes it."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    entries = [{"md5": hashlib.md5(files[name]).hexdigest(), "relpath": name} for name in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()


def test_by_row_a_change_is_judged_as_compare_judges_two_arms(repository: Repository) -> None:
    skills = (1.0, 1.4)
    for skill in skills:
        run_pipeline(repository, forest=skill)
        repository.commit()
    result = review(Snapshot("HEAD~1"), Snapshot("HEAD"))
    assert result.basis == {"made": ""}

    before, after = (make_predictions("forest", skill) for skill in skills)
    plan = dataclasses.replace(make_plan(K_FOLD, "unregularized", "l2"), references=())
    arms = build_arms(plan, stored.StudyPredictions(LABELS, {"unregularized": before, "l2": after}))
    pairs = {ArmKey("l2", "at_knob"): ArmKey("unregularized", "at_knob")}
    oracle = judge_all(Judge(plan, SETTINGS, LABELS, arms).compare_all(pairs), SETTINGS, seed=plan.seed)
    expected = {key.score: difference for key, difference in oracle.items()}
    assert {change.key.score: change.difference for change in result.changes} == expected


def test_by_row_every_kind_of_arm_is_judged_in_any_order(repository: Repository) -> None:
    run_twice(repository, l2=1.4, forest=0.6)
    changes = by_score(review_main())
    assert {key[1:3] for key in changes} == {
        *(("l2", kind) for kind in ("at_knob", "tuned", "to_end")),
        ("forest", "reference"),
    }
    recorded = json.loads(find_comparison("made").read_text())
    arms = recorded["made"]["arms"].items()
    recorded["made"]["arms"] = {variant: dict(reversed(kinds.items())) for variant, kinds in reversed(arms)}
    repository.write(recorded)
    assert by_score(review_main()) == changes
    assert "\n- made by row, from DVC's cache" in render(review_main())
    shutil.rmtree(".dvc")
    by_replicate = by_score(review_main())
    assert by_replicate.keys() == changes.keys()
    for key, change in by_replicate.items():
        assert change.difference.value == pytest.approx(changes[key].difference.value, rel=1e-5)
        assert change.difference.own_low != pytest.approx(changes[key].difference.own_low, rel=1e-3)


def test_by_row_the_best_single_regularizer_moves_with_its_members(repository: Repository) -> None:
    (repository.folder / "params.yaml").write_text(name_study_made(repository.params))
    searches = (ComparedSearch("l2", 2, ("l2",), (), ("dropout",), "best_single"),)
    run_pipeline(repository, searches=searches)
    repository.commit()
    run_pipeline(repository, searches=searches, dropout=2.6)
    result = review_main()
    assert result.basis == {"made": ""}
    moved = {(*change.key.arm[1:], change.key.score): change.difference.value for change in result.changes}
    kinds = ("at_knob", "tuned", "to_end")
    assert {key[:2] for key in moved} == {*(("dropout", kind) for kind in kinds), ("best_single", "tuned")}
    assert not any(change.recomputed for change in result.changes)
    for score in ("auc", "log_loss"):
        assert moved["best_single", "tuned", score] == moved["dropout", "tuned", score]


def test_of_several_data_sets_changes_are_judged_by_the_cache_or_named_alone(repository: Repository) -> None:
    """Git keeps their means alone, which is enough where the predictions of both are there."""
    for skills in ({}, {"l2": 1.6}):
        run_pipeline(repository, task="made/german", **skills)
        whole = LAYOUT.validate_json(find_comparison("made").read_bytes())
        find_comparison("made").write_bytes(lay_out(whole, summary=True))
        record_run(repository, *skills)
        repository.commit()
    result = review(Snapshot("HEAD~1"), Snapshot("HEAD"))
    assert (result.basis, result.unjudged) == ({"made/german": ""}, [])
    assert {change.key.arm.variant for change in result.changes} == {"l2"}
    shutil.rmtree(".dvc")
    result = review(Snapshot("HEAD~1"), Snapshot("HEAD"))
    assert {key.arm.variant for key in result.unjudged} == {"l2"} and result.changes == []
    told = render(result)
    assert "Also: 3 arms with other scores, which cannot be judged here." in told
    assert "\n- made/german not at all (the predictions of " in told


def test_by_row_one_of_the_data_sets_of_a_study(repository: Repository) -> None:
    run_twice(repository, task="made/german", l2=1.6)
    result = review_main()
    assert result.basis == {"made/german": ""}
    assert {(change.key.arm.variant, change.recomputed) for change in result.changes} == {("l2", False)}
    run_pipeline(repository, task="made/german", l2=1.4)
    record_run(repository)
    assert {change.recomputed for change in review_main().changes} == {True}


@pytest.fixture
def changed(repository: Repository) -> Repository:
    run_twice(repository, l2=1.6)
    return repository


def test_another_cache_is_read_as_dvc_is_told_here_and_not_as_a_revision_says(changed: Repository) -> None:
    (changed.folder / ".gitignore").write_text("/data\n/.dvc/cache\n")
    Path(".dvc/config").write_text("[cache]\n    dir = ../nowhere\n")
    changed.commit()
    Path(".dvc/config").write_text("[core]\n    autostage = false\n['remote \"store\"']\n    url = s3://a/%b\n")
    run_pipeline(changed, l2=1.0)
    assert review_main().basis == {"made": ""}
    Path(".dvc/cache").rename("shared")
    assert "not in DVC's cache" in review_main().basis["made"]
    Path(".dvc/config.local").write_text("[cache]\n    dir = ../shared\n")
    assert review_main().basis == {"made": ""}


def edit_arrays(path: Path, *, compress: bool = False, **edits: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write an .npz anew with some members changed, by a function each."""
    with np.load(path) as arrays:
        fields = dict(arrays)
    fields |= {name: edit(fields[name]) for name, edit in edits.items()}
    (np.savez_compressed if compress else np.savez)(path, **fields)


def forge(**fields: str) -> str:
    """The hash of a list of the files of predictions in which l2 has other fields."""
    members = json.loads(list_folder(PREDICTIONS))
    next(member for member in members if member["relpath"] == "l2.npz").update(fields)
    return keep(json.dumps(members).encode(), suffix=".dir")


PREDICTIONS = Path("data/predictions/made")
DAMAGED = "the predictions in DVC's cache are damaged, or of another layout: "
LACKING = "the predictions of the working tree are not in DVC's cache; for more power, run `dvc fetch` or `make` there"
UNRECORDED = "dvc.lock of the working tree does not name its predictions"
HARMED = [  # a file, how it is edited, what is told
    ("l2", {"test": lambda each: each[:3]}, DAMAGED),
    ("l2", {"test": lambda each: 2 * each}, DAMAGED),
    ("l2", {"replicate": lambda each: each.astype(object)}, DAMAGED),
    ("l2", {"compress": True}, DAMAGED),
    ("_labels", {"training_numbers": lambda each: each + 1}, "the same protocol and seed drew other rows"),
]


@pytest.mark.parametrize(("name", "edits", "basis"), HARMED)
def test_predictions_of_another_layout_are_judged_by_replicate(
    changed: Repository, name: str, edits: dict[str, Any], basis: str
) -> None:
    edit_arrays(PREDICTIONS / f"{name}.npz", **edits)
    record_run(changed)
    expect_by_replicate(basis)


def expect_by_replicate(basis: str) -> None:
    result = review_main()
    assert result.basis["made"].startswith(basis)
    assert len(result.changes) == 6
    assert f"\n- made by replicate ({escape(basis.strip())}" in render(result)


@pytest.mark.parametrize("name", ["data/plan", "data/predictions/made", "data/predictions/made/l2.npz"])
def test_what_the_cache_lacks_is_judged_by_replicate(changed: Repository, name: str) -> None:
    path = Path(name)
    content, suffix = (list_folder(path), ".dir") if path.is_dir() else (path.read_bytes(), "")
    kept = find_object(CACHE, keep(content, suffix=suffix))
    for damaged in (content[:-100], b"[]"):
        kept.write_bytes(damaged)
        expect_by_replicate(DAMAGED)
    kept.unlink()
    expect_by_replicate(LACKING if name != "data/plan" else LACKING.replace("the working tree", "main"))


def test_results_that_are_not_of_the_predictions_are_judged_by_replicate(changed: Repository) -> None:
    recorded = json.loads(find_comparison("made").read_text())
    replicates_of(recorded, "l2")[0] += 0.001
    changed.write(recorded)
    expect_by_replicate(
        "the predictions that dvc.lock of the working tree names are not those of its metrics/comparison/made"
    )


def test_a_protocol_with_few_repeats_is_judged_by_replicate(repository: Repository) -> None:
    run_twice(repository, RepeatedStratifiedKFold(folds=REPLICATES // 2, repeats=2, validation=0.2), l2=1.6)
    expect_by_replicate("the protocol does not hold out every row in enough repeats")


def test_a_hash_leads_nowhere_but_into_the_cache(changed: Repository) -> None:
    Path("secret").write_bytes((PREDICTIONS / "l2.npz").read_bytes())
    lock, before = Path("dvc.lock").read_text(), keep(list_folder(PREDICTIONS), suffix=".dir")
    forged = [forge(relpath="../made/l2.npz"), forge(md5="../../../../../secret")]
    for md5 in (*forged, "", "../../../x.dir", "A" * 32 + ".dir", "a" * 31 + "/.dir", "a" * 32 + ".dir\n"):
        Path("dvc.lock").write_text(lock.replace(before, json.dumps(md5)))
        expect_by_replicate(UNRECORDED)


def test_what_is_too_large_is_not_read(changed: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.review.snapshot.MAX_OBJECT", 1000)
    expect_by_replicate(DAMAGED)
    monkeypatch.setattr("tools.review.snapshot.MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"params\.yaml of main has [0-9,]+ bytes, expected at most 1,000"):
        review(Snapshot("main"), Snapshot("main"))


# The record, and what cannot be used --------------------------------------------------------------------------------


def test_the_record_is_read_as_dvc_writes_it() -> None:
    params = {"small": 1e-05, "on": "off", "time": "12:30", "nothing": None, "text": "1", "long": "été <<: " * 30}
    stages = {"plan": {"cmd": "one", "params": {"params.yaml": params}, "outs": [{"path": "data/plan"}]}}
    record = read_record(dumps_yaml({"schema": "2.0", "stages": stages}))
    assert record == Record(params, {"data/plan": StageRecord("one", {}, {"data/plan": ""})})


def expect_refusal(file: str, message: str = "") -> None:
    """The review of the working tree against main ends with a message that names the file, in one line."""
    with pytest.raises(UserError) as refusal:
        render(review_main())
    text = escape(refusal.value, most=600)
    assert text.startswith(file)
    assert message in text
    assert ", expected " in text


def spoil(field: str, value: object, *, score: str = "auc") -> str:
    """The text of a comparison with another value in what l2 has by a score."""
    head = copy.deepcopy(BASE)
    head["made"]["arms"]["l2"]["at_knob"]["judged"][score][field] = value
    return json.dumps(head)


RESULTS = "metrics/comparison/made.json"
L2 = "cannot be used (made.arms.l2.at_knob.judged"
AUC = f"{L2}.auc."
IMPOSSIBLE = "should be a known score, its values possible"


@pytest.mark.parametrize("name", ["main", "the working tree"])
@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("dvc.lock", "stages: [", ", line 2: is not YAML"),
        ("dvc.lock", "stages: {plan: [1]}", "does not hold what a run records"),
        ("params.yaml", "a: &a {b: *a}", "is nested more than 24 levels deep"),
        (RESULTS, "[]", "cannot be used (the file: Input should be"),
        (RESULTS, spoil("replicates", [0.5]), f"{AUC}replicates: List should have at least 2"),
        (RESULTS, spoil("replicates", [0.5, float("nan")]), f"{AUC}replicates.1: Input should"),
        (RESULTS, spoil("skill", None), f"{AUC}skill: Input should be"),
        (RESULTS, spoil("value", 1e308), f"{L2}: Value error, auc {IMPOSSIBLE}"),
        (RESULTS, spoil("replicates", [0.5, 1.01]), f"{L2}: Value error, auc {IMPOSSIBLE}"),
        (RESULTS, spoil("replicates", [-0.1, 0.5], score="log_loss"), f"{L2}: Value error, log_loss {IMPOSSIBLE}"),
        (
            RESULTS,
            json.dumps(judge_by(BASE, old="auc", new="nonsense")),
            f"(made.arms.unregularized.at_knob.judged: Value error, nonsense {IMPOSSIBLE}",
        ),
        (RESULTS, json.dumps(BASE).replace("at_knob", "@all `x`"), "(made.arms.unregularized.@\u200ball \\`x\\`"),
        ("params.yaml", "<<<<<<< HEAD\n", "holds a conflict marker"),
    ],
    ids=lambda text: text[:20],
)
def test_a_broken_file_is_refused(repository: Repository, name: str, path: str, text: str, message: str) -> None:
    repository.write_lock()
    broken = repository.folder / path
    whole = broken.read_text()
    broken.write_text(text if name == "main" else whole)
    repository.commit()
    broken.write_text(whole if name == "main" else text + "\n")
    expect_refusal(f"{path} of {name}", message)


def test_parameters_with_mistakes_are_refused(repository: Repository) -> None:
    repository.write(BASE, "seed: 3")
    expect_refusal("params.yaml")


def test_a_project_in_a_folder_of_a_repository(repository: Repository) -> None:
    inner = repository.folder / "inner"
    inner.mkdir()
    for name in ("metrics", "params.yaml"):
        (repository.folder / name).rename(inner / name)
    repository.commit()
    os.chdir(inner)
    assert render(review_main()).startswith("Nothing has changed since main")


def test_what_cannot_be_read_ends_with_status_2(repository: Repository) -> None:
    for arguments, message in {
        ("nowhere",): "params.yaml of nowhere cannot be read",
        ("main", "--head", "HEAD~9"): "of HEAD\\~9 cannot be read",
        ("--head=--output=stolen",): "params.yaml of --output=stolen cannot be read",
    }.items():
        done = repository.review(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert message in done.stderr
    assert not Path("stolen").exists()


def test_what_cannot_be_printed_ends_with_status_2_and_a_strange_letter_does_not(repository: Repository) -> None:
    repository.commit(BASE, f"{repository.params}\nété: 1\n")
    repository.write(BASE, repository.params)
    command = [sys.executable, "-m", "tools.review"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"}
    assert "?t?: 1" in subprocess.check_output(command, cwd=repository.folder, env=environment, text=True)
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, cwd=repository.folder, env=environment, stdout=full).returncode == 2

    pipe = subprocess.Popen(command, cwd=repository.folder, env=environment, stdout=subprocess.PIPE)
    assert pipe.stdout is not None
    pipe.stdout.close()
    assert pipe.wait() == 0


# What is hostile or broken ------------------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=y> | @everyone </details> `code` **Better** [click](https://evil.example) \u202e"


RAW = [HOSTILE, "\u202e", "](https", "<img", "</details>", "@everyone", " `code", "://evil", " **Better** "]


def test_text_of_others_does_nothing(repository: Repository) -> None:
    head = shift(BASE, "l2", 0.1)
    head["made"]["arms"][HOSTILE] = head["made"]["arms"]["dropout"]
    head[f"made/{HOSTILE}"] = head["made"]
    wild = "".join(f"{json.dumps(f'{number}{HOSTILE}')}: {json.dumps(HOSTILE)}\n" for number in range(9))
    for name, params in (("wild", repository.params), ("wilder", f"{repository.params}\n{wild}")):
        repository.git("checkout", "--quiet", "-b", name)
        repository.commit(head, params)
    for base, other, told in (("wilder", "main", "\nRemoved: "), ("main", "wild", "\nNew:")):
        text = render(review(Snapshot(base), Snapshot(other)))
        assert told in text
        assert text.count("&lt;img src=x") >= 2
        assert "\n| made | l2 |" in text
        assert not [raw for raw in RAW if raw in text]
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
