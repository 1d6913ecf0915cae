"""Runs of a pipeline side by side against `dvc repro`: real DVC on small throw-away projects."""

import asyncio
import copy
import errno
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from dvc.lock import make_lock
from dvc.repo import Repo
from zc.lockfile import LockError, LockFile

from stages.lib.core.cli import UserError
from tests.forked import run_module
from tests.project import Project, make_project, put_scripts
from tools.repro import __main__ as repro
from tools.repro import pipeline as pipelines
from tools.repro.engine import FOLDER, Job, LocalEngine, explain_disk
from tools.repro.run import Run

ROOT = Path(__file__).parents[2]
NUM_KILLS = 4
PIPELINES = Path(__file__).parent / "pipelines"
PIPELINE = (PIPELINES / "fan.yaml").read_text()


def start_run(project: Project, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.repro", *options],
        cwd=project.folder,
        env=project.tools_environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # as a shell does: Ctrl-C reaches the whole group
    )


class Pipeline(Project):
    """A project of shell stages: `head`, `fan@<item>` for each item, and `tail`, which waits for all of them."""

    def __init__(self, folder: Path, items: dict[str, float]):
        """items: the seconds that each fan takes."""
        super().__init__(folder)
        self.environment |= {"DVC_SITE_CACHE_DIR": str(folder.with_name("site"))}
        (folder / ".dvc").mkdir(parents=True)
        self.call("git", "init", "--quiet")
        shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
        (folder / ".gitignore").write_text("/out/**\n/*.txt\n")
        (folder / "source").write_text("one")
        self.set_items(items)

    def copy_to(self, folder: Path) -> "Pipeline":
        """The same elsewhere, after the same runs, of which DVC's site cache knows nothing."""
        copied = copy.copy(self)
        shutil.copytree(self.folder, folder, symlinks=True)
        copied.folder = folder
        copied.environment = self.environment | {"DVC_SITE_CACHE_DIR": str(folder.with_name("site"))}
        return copied

    def set_items(self, items: dict[str, float]) -> None:
        (self.folder / "dvc.yaml").write_text(PIPELINE.format(items=json.dumps(items)))

    def start(self, jobs: int, *targets: str) -> subprocess.Popen[str]:
        return start_run(self, "--jobs", str(jobs), *targets)

    def run(self, *targets: str, jobs: int = 4, status: int = 0) -> str:
        """What a run prints."""
        options = ("--jobs", str(jobs), *targets)
        done = run_module("tools.repro", *options, folder=self.folder, environment=self.tools_environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    @property
    def entries(self) -> list[str]:
        return re.findall(r"^  (\S+):$", self.lock, re.MULTILINE)


def wait_until(is_true: Callable[[], Any], *, seconds: float = 300) -> Any:
    """Its value, once it is true of it; a slow machine may take its time."""
    end = time.monotonic() + seconds
    while not (value := is_true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def wait_for_sleep(pid: int, asleep: int) -> dict[psutil.Process, str]:
    """All that a run has started, and its names, once so many of its stages sleep."""

    def look() -> dict[psutil.Process, str]:
        with suppress(psutil.NoSuchProcess):
            started = {process: process.name() for process in psutil.Process(pid).children(recursive=True)}
            if [*started.values()].count("sleep") == asleep:
                return started
        return {}

    return wait_until(look)


def has_ended(process: psutil.Process) -> bool:
    """Within a minute."""
    _, alive = psutil.wait_procs([process], timeout=60)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@pytest.fixture
def inside(inside: Path) -> Path:
    """An empty project, made the current folder."""
    (inside / FOLDER).mkdir(parents=True)
    return inside


def test_the_pipeline_killed_twice_and_started_again_leaves_what_dvc_repro_leaves(
    tmp_path: Path, few_params: dict, expected_lock: bytes
) -> None:
    project = make_project(tmp_path / "project", few_params)
    for stage in ("train", "evaluate"):
        with start_run(project, "--jobs", "2") as tool:
            wait_until(lambda name=stage: list((project.folder / FOLDER).glob(f"{name}[_@]*.log")))
            started = psutil.Process(tool.pid).children(recursive=True)
            os.killpg(tool.pid, signal.SIGKILL)
        assert all(has_ended(process) for process in started)
    project.make()
    assert project.read("dvc.lock") == expected_lock
    assert not list(project.folder.glob("**/.*.npz.*")), "nothing half-written"


def test_leaves_dvc_lock_as_dvc_repro_does(tmp_path: Path) -> None:
    items = {"a": 1.5, **dict.fromkeys("bcde", 0.0)}
    ours, theirs = Pipeline(tmp_path / "ours", items), Pipeline(tmp_path / "theirs", items)
    output = ours.run()
    theirs.call("dvc", "repro", "--quiet")
    assert ours.lock == theirs.lock
    assert output.index("fan@b") < output.index("fan@a"), "else the order of the entries was not put to the test"
    assert re.search(r"^Everything is up to date after 0:00:\d\d: 7 run$", output, re.MULTILINE)

    assert ours.run().endswith(": 7 unchanged\n")
    assert ours.lock == theirs.lock

    for pipeline in (ours, theirs):  # most stages go, two come, and the source of all changes
        pipeline.set_items({"z": 0.4, "y": 0.0, "b": 0.0})
        (pipeline.folder / "source").write_text("two")
    assert "[5/5] tail" in ours.run()
    for name in "acde":  # `dvc repro` alone leaves what stages that are gone have made, and counts it as an input
        (theirs.folder / "out" / name).unlink()
    theirs.call("dvc", "repro", "--quiet")
    assert ours.lock == theirs.lock
    assert "fan@a:" in ours.lock, "dvc repro keeps the entries of stages that are gone"


def test_targets_are_brought_up_to_date_with_what_they_need_and_nothing_else(tmp_path: Path) -> None:
    ours, theirs = (Pipeline(tmp_path / name, {"a": 0.0, "b": 0.0}) for name in ("ours", "theirs"))
    (ours.folder / "b.broken").touch()
    assert re.search(r"^What was asked for is up to date after \S+: 2 run$", ours.run("fan@a"), re.MULTILINE)
    assert ours.entries == ["head", "fan@a"]
    (ours.folder / "b.broken").unlink()
    assert ours.run("fan", "head").endswith(": 2 unchanged, 1 run\n")
    ours.run()
    theirs.call("dvc", "repro", "--quiet")
    assert ours.lock == theirs.lock

    ours.set_items({})
    for name, told in {"fan@a": "Stage 'fan@a' not found inside 'dvc.yaml' file", "fan": "fan has no stages"}.items():
        assert ours.run(name, status=2) == f"error: {told}, expected one that `dvc stage list` shows\n"


KINDS = (PIPELINES / "kinds.yaml").read_text()
CHANGES = {
    "nothing": lambda folder: None,
    "an input": lambda folder: (folder / "source").write_text("two"),
    "a file of a folder": lambda folder: (folder / "given/file").write_text("two"),
    "a missing input": lambda folder: (folder / "source").unlink(),
    "an output": lambda folder: (folder / "plain.txt").unlink(),
    "a knob": lambda folder: (folder / "knobs.yaml").write_text("a: 2"),
    "a knob of nobody": lambda folder: (folder / "knobs.yaml").write_text("a: 1\nb: 2"),
    "an input, and one stage has seen it": lambda folder: (folder / "source").write_text("two"),
    "a command": lambda folder: (folder / "dvc.yaml").write_text(KINDS.replace("cp source p", "cp ./source p")),
}


@pytest.fixture(scope="module")
def kinds_run(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("kinds") / "project", {})
    (pipeline.folder / "dvc.yaml").write_text(KINDS.replace("frozen: true", "frozen: false"))
    (pipeline.folder / "knobs.yaml").write_text("a: 1")
    (pipeline.folder / "given").mkdir()
    (pipeline.folder / "given/file").write_text("one")
    pipeline.call("dvc", "repro", "--quiet")
    (pipeline.folder / "dvc.yaml").write_text(KINDS)
    return pipeline


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_what_dvc_says(inside: Path, kinds_run: Pipeline, change: str) -> None:
    pipeline = kinds_run.copy_to(inside / "project")
    CHANGES[change](pipeline.folder)
    if "has seen it" in change:
        pipeline.call("dvc", "repro", "--quiet", "plain")
    repo = Repo(str(pipeline.folder))
    with repo.lock:
        expected = {stage: bool(stage.status()) for stage in repo.index.stages}
    assert set(expected.values()) == {True, False}
    unchanged = [stage for stage in expected if not expected[stage]]
    for changed in expected.keys() - unchanged:  # each after all that is unchanged, so that nothing hides it
        inspector = pipelines.Inspector()
        assert not any(map(inspector.is_changed, unchanged))
        assert inspector.is_changed(changed), changed
        assert inspector.as_recorded is None


def test_an_input_that_changes_while_a_stage_runs_is_seen_by_the_next(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {})
    first = {"cmd": "cp source first.txt", "deps": ["source"], "outs": ["first.txt"]}
    edits = {"cmd": "echo > edits.txt", "deps": ["first.txt"], "outs": ["edits.txt"]}
    last = {"cmd": "cp source last.txt", "deps": ["source", "edits.txt"], "outs": ["last.txt"]}
    short = {"cmd": "echo > short.txt", "deps": ["first.txt"], "outs": ["short.txt"]}
    bystander = {"cmd": "cp source aside.txt", "deps": ["source", "short.txt"], "outs": ["aside.txt"]}
    stages = {"first": first, "edits": edits, "last": last, "short": short, "bystander": bystander}
    (pipeline.folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    pipeline.run()
    short["cmd"] += "; sleep 0.5"  # then `bystander` is looked at, while `edits` still runs
    edits["cmd"] += "; sleep 2; echo two > source"
    (pipeline.folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    pipeline.run()
    assert (pipeline.folder / "last.txt").read_text() == "two\n"


EDITS: dict[str, tuple[dict, str, str]] = {  # stage: what it depends on, a command that edits that, what is told
    "code": ({"deps": ["code.py"]}, "echo two > code.py", "code.py"),
    "folder": ({"deps": ["given"]}, "echo two > given/b; rm given/c; touch given/d", "given/b, given/c, given/d"),
    "knob": ({"params": [{"params.yaml": ["a.b"]}]}, "echo 'a: {b: 2}' > params.yaml", "params.yaml"),
    "whole_file": ({"params": [{"whole.yaml": None}]}, "echo 'a: 2' > whole.yaml", "whole.yaml"),
    "broken": ({"params": [{"broken.yaml": ["a"]}]}, "echo '{' > broken.yaml", "Unable to read parameters"),
    "taken_away": ({"deps": ["taken"]}, "rm taken", "dependency 'taken' does not exist"),
    "other_knob": ({"params": [{"more.yaml": ["a"]}]}, "echo '{a: 1, c: 2}' > more.yaml", ""),
    "put_back": ({"deps": ["source"]}, "echo two > source; printf one > source", "source"),
    "moved_back": ({"deps": ["lent"]}, "mv lent kept; echo two > lent; mv kept lent", "lent"),
}


def make_edited(pipeline: "Pipeline") -> Path:
    """Stages that wait for the file that is returned, so that their inputs can be edited meanwhile."""
    start, stages = pipeline.folder.with_name("edited"), {}
    (pipeline.folder / "given").mkdir()
    for name in ("code.py", "given/a", "given/b", "given/c", "taken", "lent"):
        (pipeline.folder / name).write_text("one")
    for name in ("params.yaml", "whole.yaml", "broken.yaml", "more.yaml"):
        (pipeline.folder / name).write_text("a: {b: 1}" if name == "params.yaml" else "a: 1")
    for name, (inputs, _, _) in EDITS.items():
        command = f"touch {start}.{name}; until test -e {start}; do sleep 0.05; done; echo > {name}.txt"
        stages[name] = inputs | {"cmd": command, "outs": [f"{name}.txt"]}
    stages["after"] = {"cmd": "touch after.txt", "deps": ["code.txt"], "outs": ["after.txt"]}
    (pipeline.folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    return start


def expect_edits_refused(pipeline: "Pipeline", start: Path, run: Callable[[], subprocess.Popen[str]]) -> None:
    """Edit inputs while their stages run: those stages are not recorded, are named, and run again the next time."""
    with run() as tool:
        try:
            wait_until(lambda: all(start.with_name(f"edited.{name}").exists() for name in EDITS))
            edits = "; ".join(edit for _, edit, _ in EDITS.values())
            subprocess.run(edits, shell=True, cwd=pipeline.folder, check=True)
        finally:
            start.touch()
        output, _ = tool.communicate()
    assert tool.returncode == 1, output
    refused = [name for name, (_, _, told) in EDITS.items() if told]
    for name in refused:
        told = EDITS[name][2]
        told += "" if " " in told.replace(", ", "") else " changed while it ran, so it is not recorded: the next run "
        assert f"\n{name} failed. {told}" in output
    assert sorted(pipeline.entries) == sorted(EDITS.keys() - refused)
    (pipeline.folder / "broken.yaml").write_text("a: 3")
    (pipeline.folder / "taken").write_text("two")
    with run() as tool:
        output, _ = tool.communicate()
    assert output.endswith(f": {len(EDITS) - len(refused)} unchanged, {len(refused) + 1} run\n")


def test_a_stage_whose_input_is_edited_while_it_runs_is_not_recorded_and_runs_again(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {})
    expect_edits_refused(pipeline, make_edited(pipeline), lambda: pipeline.start(jobs=len(EDITS)))


def test_a_failing_stage_stops_those_that_need_it_and_no_other(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.3, "b": 0.0, "c": 0.0})
    (pipeline.folder / "b.broken").touch()
    output = pipeline.run(status=1)
    assert "[5/5] tail  skipped: fan@b failed\n" in output
    assert "fan@b failed. The end of its output (.dvc/tmp/repro/fan@b.log has all of it):\n" in output
    assert "\n    the reason\n" in output
    assert "exited with 3" in output
    assert re.search(r"\n3 run, 1 failed, 1 skipped after .*: mend what failed and run this again\n", output)
    assert pipeline.entries == ["head", "fan@a", "fan@c"]

    (pipeline.folder / "b.broken").unlink()
    (pipeline.folder / "out/a").unlink()
    output = pipeline.run()
    assert "fan@a  restored\n" in output
    assert output.endswith(": 2 unchanged, 1 restored, 2 run\n")


def test_a_run_after_some_with_a_killed_stage_leaves_the_dvc_lock_of_any_other(tmp_path: Path) -> None:
    ours, theirs = (Pipeline(tmp_path / name, dict.fromkeys("abcd", 0.0)) for name in ("ours", "theirs"))
    for slow in ("ac", "c"):
        ours.set_items({name: 600 if name in slow else 0.0 for name in "abcd"})
        with ours.start(jobs=4) as tool:
            wait_until(lambda done=set("abcd") - set(slow): all((ours.folder / "out" / name).exists() for name in done))
            for process in [one for one, name in wait_for_sleep(tool.pid, len(slow)).items() if name == "sleep"]:
                process.parent().kill()
            tool.communicate()
        assert tool.returncode == 1
        assert ours.entries[-1] == "fan@d"
    ours.set_items(dict.fromkeys("abcd", 0.0))
    ours.run()
    theirs.call("dvc", "repro", "--quiet")
    assert ours.lock == theirs.lock


def test_a_stopped_run_stops_its_stages_and_the_next_one_ends_as_if_undisturbed(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 600, "b": 0.0, "c": 600})
    told = {signal.SIGINT: "Stopped by Ctrl-C.", signal.SIGTERM: "Stopped by SIGTERM.", signal.SIGKILL: ""}
    for number, message in told.items():
        with pipeline.start(jobs=2) as tool:
            started = wait_for_sleep(tool.pid, 2)  # b has ended, so its entry comes first
            for _ in range(2):  # a second one changes nothing
                os.killpg(tool.pid, number)
            output, _ = tool.communicate()
        assert tool.returncode == (128 + number if message else -number)
        assert all(has_ended(process) for process in started)
        assert message in output
        assert "Traceback" not in output

    pipeline.set_items({"a": 0.0, "b": 0.0, "c": 0.0})
    pipeline.run()
    assert pipeline.entries == ["head", "fan@a", "fan@b", "fan@c", "tail"]


def test_a_run_killed_at_any_moment_and_started_again_leaves_the_dvc_lock_of_any_other(tmp_path: Path) -> None:
    items = {"a": 0.3, "b": 0.0, "c": 0.3, "d": 0.0}
    theirs = Pipeline(tmp_path / "theirs", items)
    theirs.call("dvc", "repro", "--quiet")
    for delay in np.linspace(0.4, 2.4, NUM_KILLS):  # seconds; a whole run takes two or three
        ours = Pipeline(tmp_path / f"ours_{delay:.1f}", items)
        with ours.start(jobs=2) as tool:
            time.sleep(delay)
            os.killpg(tool.pid, signal.SIGKILL)
        ours.run(jobs=2)
        assert ours.lock == theirs.lock, delay


def test_a_run_waits_for_others_and_says_so_and_they_for_it(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 600})
    (pipeline.folder / ".dvc/tmp").mkdir()
    waiting = "Waiting: process {} is at work in this project already (Ctrl-C gives up)\n"
    with make_lock(str(pipeline.folder / ".dvc/tmp/lock")):
        first = pipeline.start(jobs=1)
        assert first.stdout.readline() == waiting.format(os.getpid())
    with first:
        wait_for_sleep(first.pid, 1)  # before another one starts, which might be quicker
        with pipeline.start(jobs=1) as second:
            said = second.stdout.readline()
            with pytest.raises(LockError):  # as any command of DVC's would
                LockFile(str(pipeline.folder / ".dvc/tmp/lock"))
            second.send_signal(signal.SIGINT)
            rest = second.stdout.read()
        os.killpg(first.pid, signal.SIGKILL)
    assert (said, second.returncode) == (waiting.format(first.pid), 130)
    assert "Stopped by Ctrl-C." in rest


def test_a_run_waits_for_a_stage_that_a_killed_dvc_repro_has_left(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 600})
    command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    with subprocess.Popen(command, cwd=pipeline.folder, env=pipeline.environment) as repro:
        left = wait_for_sleep(repro.pid, 1)
        repro.kill()
    with pipeline.start(jobs=1) as tool:
        assert tool.stdout.readline().startswith("Waiting: another run is at work in this project: process ")
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        wait_for_sleep(tool.pid, 1)
        os.killpg(tool.pid, signal.SIGKILL)


WRONG: list[tuple[str, str | None, str]] = [  # file, what stands in it or that it is gone, what is told
    ("dvc.yaml", "stages: {a: {cmd: ls, dep: [b]}}", r".*dvc\.yaml' validation failed.*: mend it.*"),
    (".git", None, "DVC needs a git repository.*"),
    ("dvc.yaml", None, r"\S+/project has no dvc\.yaml, expected the folder of a DVC project: .*"),
    (".dvc/tmp", "no folder", ".*, expected a folder that can be written to: mend it, run this again"),
]


@pytest.mark.parametrize(("path", "content", "told"), WRONG)
def test_what_is_wrong_with_the_project_ends_with_one_line_and_status_2(
    tmp_path: Path, path: str, content: str | None, told: str
) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    place = pipeline.folder / path
    place.rename(tmp_path / "gone") if content is None else place.write_text(content)
    (line,) = pipeline.run(status=2).splitlines()
    assert re.fullmatch(f"error: {told}", line)


def test_a_cluster_without_dask_is_told_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repro, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs Dask, which is not installed: `make CLUSTER"):
        repro.make_engine(SimpleNamespace(cluster="tcp://x", jobs=1))


def test_a_folder_that_no_path_can_hold_is_refused(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("dvc.yaml").touch()
    monkeypatch.setattr(sys, "executable", "/a:b/bin/python")
    with pytest.raises(UserError, match="/a:b/bin has ':' in its name, which PATH cannot hold: rename the folder"):
        repro.reproduce(SimpleNamespace())


DISK = {  # error of the system or of SQLite -> what is expected
    PermissionError(errno.EACCES, "Permission denied", "out/a"): "a folder that can be written to",
    OSError(errno.EROFS, "Read-only file system", "out/a"): "a folder that can be written to",
    OSError(errno.ENOSPC, "No space left on device", "out/a"): "room on the disk",
}


@pytest.mark.parametrize(("error", "expected"), DISK.items(), ids=lambda value: type(value).__name__)
def test_a_disk_that_a_stage_cannot_use_stops_what_needs_it_and_nothing_else(error: OSError, expected: str) -> None:
    def begin(name: str) -> str:
        if name == "a":
            raise error
        return "restored"

    pipeline = make_stages({"a": set(), "b": set(), "c": {"a"}})
    pipeline.begin, pipeline.is_changed, pipeline.close = begin, lambda name: True, lambda **how: None
    run = Run(pipeline, SimpleNamespace(slots=1))
    asyncio.run(run.run())
    assert run.counts == {"failed": 1, "skipped": 1, "restored": 1}
    assert f"'out/a', expected {expected}: mend it" in run.failures[0]


def test_a_full_disk_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(options: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(repro, "reproduce", fail)
    monkeypatch.setattr(sys, "argv", ["tools.repro"])
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, signals: None)
    assert repro.main() == 2
    told = "error: database or disk is full, expected room on the disk: mend it, run this again\n"
    assert capsys.readouterr().err == told


def test_reports_mistakes_in_params_in_words(inside: Path) -> None:
    (inside / "params.yaml").write_text("sead: 3")
    repro.check_params()  # not this project's params.yaml: anything goes
    (inside / "dvc.yaml").touch()
    (inside / "stages/lib/settings").mkdir(parents=True)
    (repro.SCHEMA / "settings/schema.py").touch()
    with pytest.raises(UserError, match="seed: is missing"):
        repro.check_params()


def test_values_are_set_as_dvc_sets_them_or_none_is(inside: Path) -> None:
    shutil.copy(ROOT / repro.PARAMS, repro.PARAMS)
    before = repro.PARAMS.read_text()
    (repro.SCHEMA / "settings").mkdir(parents=True)
    (repro.SCHEMA / "settings/schema.py").touch()
    wrong = {
        "l2=0.02 droput=0.3": "Could not override 'droput'",
        "l2=0.02 dropout": "Error parsing override 'dropout'",
        "dropout=0.1,0.3": "Error merging override",
        "l2='": "No closing quotation",
        "l2=0.02 dropout=-1": "dropout: is -1",
    }
    for text, told in wrong.items():
        with pytest.raises(UserError, match=told):
            repro.set_params(text)
        assert repro.PARAMS.read_text() == before
    repro.set_params("dropout=0.3 '+own_variants.mine={study: tutorial_fashion, regularizers: [l2]}'")
    after = repro.PARAMS.read_text()
    assert after.count("\n") == before.count("\n") + 4
    assert "\ndropout: 0.3 " in after


def test_that_no_file_has_changed_is_known_without_dvc(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(inside / "project", {"a": 0.0})
    pipeline.run()
    monkeypatch.chdir(pipeline.folder)
    assert repro.count_unchanged() == 3
    (inside / "site").rename(inside / "elsewhere")
    assert pipeline.run().endswith(": 3 unchanged\n")
    assert not (inside / "site").exists(), "DVC was not asked"

    kept = json.loads(repro.UNCHANGED.read_text())
    files, state = {name: kept[name] for name in ("paths", "cache")}, kept["state"]
    (lost, *_) = Path(".dvc/cache/files/md5").glob("*/*")
    edits = (
        lambda: Path("source").write_text("two"),
        lambda: Path("out/a").write_text("two"),
        lambda: Path("out/b").touch(),
        lambda: Path("tail.txt").unlink(),
        lambda: pipeline.set_items({"b": 0.0}),
        lambda: Path("dvc.lock").unlink(),
        lambda: Path(".dvc/config.local").touch(),
        lost.unlink,
    )
    for edit in edits:
        edit()
        assert repro.count_unchanged() == 0
        before, state = state, repro.describe_files(**files)
        assert state != before
    repro.UNCHANGED.write_text("[")
    assert repro.count_unchanged() == 0


def run_make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(["make", *options], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a name that no shell may see, a Makefile, and a Python that prints its arguments."""
    folder = tmp_path / """a 'q' "$HOME" `id`"""
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder / "Makefile")
    for name in ("metrics/report.html", ".git", "dvc.yaml", "README.md", "tools/readme.py", ".venv/bin/pip"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "requirements").mkdir()
    for name in ("base", "dev", "bench", "audit", "cluster"):
        (folder / f"requirements/{name}.txt").write_text(f"{name}==1 --hash\n")
        (folder / f".venv/installed-{name}".removesuffix("-base")).touch()
    tells = {name: f'echo {name} "$*"' for name in ("uv", "ruff", "mypy", "pip-audit", "pip-licenses")}
    put_scripts(folder / ".venv/bin", python='shift\necho "$*"', **tells)
    (folder / ".venv/pyvenv.cfg").write_text(f"command = python3 -m venv {folder}/.venv\n")
    return folder


GIVEN = ("DATA", "TARGET", "GROUP", "POSITIVE", "DROP", "MINUTES", "NAME", "STUDY", "UNDO")  # to make judge
HARM = '2; `touch made`$(touch made)$(shell touch made)"; touch made &'


def test_make_takes_the_folder_and_its_options_as_text(made: Path) -> None:
    for options, told in {
        ("show",): f"{made}/metrics/report.html",
        ("show", f"STUDY={HARM}"): f"error: metrics/studies/{HARM}/page.html is missing, expected it from a run: make",
        (f"JOBS={HARM}",): f"tools.repro --jobs {HARM}",
        (f"SET={HARM}", "JOBS=2"): f"tools.repro --jobs 2 --set {HARM}",
        **{("judge", f"{key}={HARM}"): f"tools.judge {key}={HARM}" for key in GIVEN},
        ("review", f"BASE={HARM}"): f"tools.review {HARM}",
        ("review",): "tools.review",
        ("CLUSTER=tcp://host:8786", "JOBS=2"): "tools.repro --jobs 2 --cluster tcp://host:8786",
        ("bench",): "tools.bench",
        ("calibrate", "JOBS=2"): "tools.calibrate --jobs 2",
        ("processors",): "tools.processors",
        ("tour",): "tools.readme --measure",
        ("test", f"JOBS={HARM}"): f"pytest --numprocesses {HARM} --dist loadfile --no-loadscope-reorder",
        ("check",): "ruff check .",
        ("audit-deps",): "pip-licenses --from=mixed --order=license --packages base",
    }.items():
        done = run_make(made, *options)
        assert done.stdout.splitlines()[0] == told, done.stderr
    assert not (made / "made").exists()


def test_make_lock_pins_each_file_of_requirements_and_make_coverage_counts_lines(made: Path) -> None:
    """By stand-ins for uv, which resolves, and for the tests, which are one here."""
    (made / "tools/lock.sh").symlink_to(ROOT / "tools/lock.sh")
    locked = re.findall(r"^uv .* --extra cpu .*--output-file (\S+)$", run_make(made, "lock").stdout, re.MULTILINE)
    assert {ROOT / name for name in locked} == {*(ROOT / "requirements").glob("*.txt")}
    shutil.copy(ROOT / "pyproject.toml", made)
    put_scripts(made / ".venv/bin", python=f'exec {sys.executable} "$@"')
    for name, text in {
        "stages/one.py": "def run():\n    return 1\n",
        "tests/test_one.py": "import stages.one\n",
    }.items():
        (made / name).parent.mkdir()
        (made / name).write_text(f"{text}\n\ndef test_one():\n    pass\n")
    done = run_make(made, "coverage", "JOBS=0")
    assert "Required test coverage of 95% not reached. Total coverage: 50.00%" in done.stdout, done.stderr


def test_make_tells_in_one_line_why_its_commands_are_not_there(made: Path) -> None:
    (made / ".venv/installed").unlink()
    (made / ".venv/bin/python").write_text("#!/bin/sh\necho WARNING: Retrying >&2\necho ERROR: No wheel >&2\nexit 1\n")
    done = run_make(made, "setup")
    told = "error: requirements/base.txt cannot be installed (ERROR: No wheel), expected a network that reaches PyPI"
    assert (done.stdout.splitlines()[1][: len(told)], done.returncode) == (told, 2)
    assert done.stderr.count("\n") == 1
    moved = made.rename(made.with_name("moved"))
    (line,) = run_make(moved, "setup").stderr.splitlines()
    assert ".venv was made in another folder, which its commands name: remove it, run this again" in line


def test_a_command_that_a_killed_run_left_is_found_but_for_queued_experiments(inside: Path) -> None:
    environment, queued = os.environ | {"DVC_ROOT": str(inside), "DVC_STAGE": "train"}, inside / ".dvc/tmp/exps/tmp1"
    queued.mkdir(parents=True)
    for folder in (inside, queued):
        with subprocess.Popen(["sleep", "600"], env=environment, cwd=folder) as command:
            wait_until(lambda pid=command.pid: psutil.Process(pid).cmdline() and psutil.Process(pid).environ())
            found = [f"process {command.pid} (sleep 600)"] if folder == inside else []
            assert pipelines.find_stages() == found
            command.kill()


@pytest.mark.parametrize("text", ['{"write": {"a": {"pid"', '{"write": {"%s": {"pid": 1, "cmd": "dvc repro"}}}'])
def test_what_killed_commands_left_in_the_list_of_files_in_use_does_not_count(tmp_path: Path, text: str) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    (pipeline.folder / ".dvc/tmp").mkdir()
    (pipeline.folder / ".dvc/tmp/rwlock").write_text(text.replace("%s", str(pipeline.folder / "head.txt")))
    assert "Everything is up to date after" in pipeline.run()


def test_stages_may_be_called_what_old_yaml_takes_for_true_or_false(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {})
    stage = "  on: {cmd: cp source on.txt, deps: [source], outs: [on.txt]}\n"
    (pipeline.folder / "dvc.yaml").write_text(PIPELINE.format(items="{off: 0.0, No: 0.0}") + stage)
    pipeline.run()
    assert sorted(pipeline.entries) == ["fan@No", "fan@off", "head", "on", "tail"]
    assert pipeline.run().endswith(": 5 unchanged\n")
    assert pipeline.call_tool("guard", "--in-step").returncode == 0


def test_dvc_lock_keeps_what_else_stands_in_it(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"1": 0.0})
    (pipeline.folder / "dvc.lock").write_text("datasets: []\nstages: {gone: {cmd: ls}}\nschema: '2.0'\n")
    pipeline.run()
    assert pipeline.entries == ["gone", "head", "fan@1", "tail"]
    assert "datasets: []" in pipeline.lock
    pipeline.call("dvc", "repro", "--quiet")


MODULE = (PIPELINES / "module.txt").read_text()


@pytest.fixture
def engine(inside: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """In a project with a module of stages."""
    (inside / "stages").mkdir()
    (inside / "stages/__init__.py").touch()
    (inside / "stages/speak.py").write_text(MODULE)
    (inside / "stages/speed.py").write_text("import os\n\nSPEED, LOADED_BY = 1, os.getpid()\n")
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.syspath_prepend(inside)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    forkserver._forkserver._stop()  # another test may have started it, with the modules of this project
    return LocalEngine(2)


def run_job(engine: LocalEngine, command: str) -> tuple[int, list[str]]:
    """Its status, and the lines that it printed."""
    job = Job("name", command, str(Path.cwd()))
    return asyncio.run(engine.run(job)), job.log.read_text().splitlines()


def test_a_command_of_a_stage_is_a_fork_and_behaves_as_the_command(engine: LocalEngine) -> None:
    command = "python -m stages.speak {} b"
    for word, expected in {"a": 0, "exit": 1, "raise": 1, "kill": -9}.items():
        status, lines = run_job(engine, command.format(word))
        assert status == expected
        assert lines[0] == f"{word} b 1 name {Path.cwd() / 'stages/speak.py'}"
        assert lines[1] == "own import: True"
        assert ("error: b" in lines, "ValueError" in lines) == (word == "exit", word == "raise")
        plain, environment = [sys.executable, *command.format(word).split()[1:]], os.environ | {"DVC_STAGE": "name"}
        assert subprocess.run(plain, capture_output=True, env=environment).returncode == expected
    status, lines = run_job(engine, "python -m stages.none a")
    assert status == 1
    assert "No module named stages.none" in lines[-1]


EDITED_CODE = """
import asyncio
from pathlib import Path
from tools.repro.engine import Job, LocalEngine

Path("stages/__init__.py").write_text("import os; os.environ['SPEED'] = '1'")
engine = LocalEngine(1)
for speed in (2, 3):
    job = Job("name", "python -m stages.speak a", str(Path.cwd()))
    asyncio.run(engine.run(job))
    print(job.log.read_text().split()[1])
    Path("stages/__init__.py").write_text(f"import os; os.environ['SPEED'] = '{speed}'")
"""


def test_libraries_that_were_imported_for_other_code_are_imported_anew(engine: LocalEngine, inside: Path) -> None:
    """Code sets how they compute before it imports them, as stages do with the instruction set."""
    Path("library.py").write_text("import os\n\nSPEED, LOADED_BY = os.environ['SPEED'], os.getpid()\n")
    Path("stages/speed.py").write_text("from library import *\n")
    environment = os.environ | {"PYTHONPATH": f"{inside}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", EDITED_CODE], env=environment, capture_output=True, text=True)
    assert done.stdout == "1\n2\n", done.stderr


def test_a_limit_that_kills_what_starts_stages_is_told_in_one_line(engine: LocalEngine) -> None:
    Path("stages/slow.py").write_text("while True:\n    pass\n")  # which it imports beforehand
    forkserver.ensure_running()
    resource.prlimit(forkserver._forkserver._forkserver_pid, resource.RLIMIT_CPU, (1, 1))
    with pytest.raises(OSError, match="starts stages was killed, expected more time") as told:
        run_job(LocalEngine(2), "python -m stages.speak a b")
    assert explain_disk(told.value) == str(told.value)


def test_warnings_of_libraries_are_no_errors(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    pipeline.environment["PYTHONWARNINGS"] = "error"
    assert pipeline.call_tool("repro").stdout.endswith(": 3 run\n")


def test_a_command_that_is_killed_takes_what_it_has_started_with_it(engine: LocalEngine) -> None:
    assert run_job(engine, "sleep 600 & echo $! > number; kill -9 $PPID; sleep 600") == (-9, [])
    with suppress(psutil.NoSuchProcess):
        assert has_ended(psutil.Process(int(Path("number").read_text())))


def make_stages(upstream: dict[str, set[str]], *answers: str, **seconds: float) -> SimpleNamespace:
    """What a run asks of its pipeline; seconds: that stages took the last time."""
    told = dict.fromkeys(answers, Path("headline.txt"))
    return SimpleNamespace(upstream=upstream, seconds=seconds, answers=told, typical={"report": 2.0})


def test_what_the_first_answer_needs_goes_first_and_of_that_the_longest_way() -> None:
    upstream = {"a": set[str](), "b": set[str](), "c": {"a"}, "x": set[str](), "y": {"b", "c"}, "z": {"b", "x"}}
    took = {"x": 5.0, "a": 1.0, "b": 3.0, "c": 1.0, "y": 1.0, "z": 1.0}
    for answers, first in {("y", "z"): "bacyxz", ("z", "y"): "xbzacy", (): "xbacyz"}.items():
        run = Run(make_stages(upstream, *answers, **took), SimpleNamespace(slots=1))
        ranks = run.rank_stages()
        assert "".join(sorted(upstream, key=ranks.__getitem__)) == first
    run = Run(make_stages(upstream, "y", "z", **took | {"x": 10.0}), SimpleNamespace(slots=2))
    ranks = run.rank_stages()
    assert min(upstream, key=ranks.__getitem__) == "x", "else one core would work alone at the end"


@pytest.mark.parametrize("seed", range(8))
def test_a_run_ends_whatever_the_order_in_which_stages_become_ready(seed: int) -> None:
    """What was made ready ahead starts also where the last command leaves its place to none: a run once stood still."""
    generator = random.Random(seed)
    upstream: dict[str, set[str]] = {}
    for name in "abcdefghijklmnop":
        upstream[name] = {other for other in upstream if generator.random() < 0.25}
    took = {name: generator.choice([1.0, 5.0, 50.0]) for name in upstream}
    pipeline = make_stages(upstream, *generator.sample(list(upstream), 3), **took)
    pipeline.begin, pipeline.is_changed = lambda name: Job(name, "", ""), lambda name: True
    pipeline.close, pipeline.record = lambda **how: None, lambda name: None

    async def work(job: Job) -> int:
        job.started = time.monotonic()
        await asyncio.sleep(took[job.name] / 1000)
        return 0

    run = Run(pipeline, SimpleNamespace(slots=2, run=work))
    asyncio.run(asyncio.wait_for(run.run(), timeout=30))
    assert run.counts == {"run": len(upstream)}


def set_answers(pipeline: Pipeline, slow: float) -> None:
    """slow: the seconds that the second study takes."""
    (pipeline.folder / "dvc.yaml").write_text((PIPELINES / "answers.yaml").read_text().format(slow=slow))


def test_each_answer_is_told_as_soon_as_it_is_known_and_again_after_a_kill(tmp_path: Path) -> None:
    pipeline, told = Pipeline(tmp_path / "project", {}), ["first: first helps\n", "second: second helps\n"]
    set_answers(pipeline, slow=600)
    with pipeline.start(jobs=1) as tool:
        lines = [tool.stdout.readline() for _ in range(3)]
        wait_for_sleep(tool.pid, 1)
        os.killpg(tool.pid, signal.SIGKILL)
    assert (lines[0][:19], lines[1][:18], lines[2]) == ("[1/5] train@first  ", "[2/5] draw@first  ", told[0])
    assert not (pipeline.folder / "dvc.lock").exists()
    set_answers(pipeline, slow=0.0)
    again = pipeline.run(jobs=1)
    assert f"train@first  restored\n[2/5] draw@first  restored\n{told[0]}[3/5] train@second  0:" in again
    assert again.endswith(": 2 restored, 3 run\n")
    assert again.count(told[1]) == 2, "once as it was known, once at the end"
    (pipeline.folder / "source").write_text("two")
    (pipeline.folder / "metrics/answer.txt").unlink()
    assert "helps" not in pipeline.run("train@second", jobs=1)


def test_a_terminal_shows_answers_and_how_far_the_run_is_and_no_line_for_each_stage(tmp_path: Path) -> None:
    pipeline, (ours, theirs) = Pipeline(tmp_path / "project", {}), pty.openpty()
    set_answers(pipeline, slow=1.0)
    command = [sys.executable, "-m", "tools.repro", "--jobs", "1"]
    environment = pipeline.tools_environment | {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    with subprocess.Popen(command, cwd=pipeline.folder, env=environment, stdout=theirs) as tool:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # where all has been read
            while part := os.read(ours, 4096):
                seen += part
    text = re.sub(r"\x1b\[[0-9;?]*\w", "", seen.decode())
    assert tool.returncode == 0, text
    assert " 2 of 5 stages, 0:00:0" in text
    assert re.search(r"^ +\d+ s  train@second\s", text, re.MULTILINE)
    for line in ("first: first helps", "second: second helps", "the end"):
        assert text.count(line) == 1
    assert "[1/5]" not in text


def test_a_line_says_how_long_the_rest_may_take() -> None:
    upstream = {"plan": set[str]()} | {f"train@{key}": {"plan"} for key in "abc"} | {"report": {"train@c"}}
    pipeline = make_stages(upstream, **{"train@a": 10.0, "train@b": 20.0})
    run = Run(pipeline, SimpleNamespace(slots=2))
    assert run.tell_rest() == "  (rest: at least 0:00:24)", "(1 + 10 + 20 + (10 + 20) / 2 + 2) / 2, two never timed"
    pipeline.seconds |= {"plan": 1.0, "report": 30.0, "gone": 100.0}
    assert run.tell_rest() == "  (rest: up to 0:00:46)", "1 + 15 + 30, one after the other"
    run.left, run.jobs = ["train@b"], {"train@b": Job("train@b", "", "", started=time.monotonic() - 8)}
    assert run.tell_rest() == "  (rest: up to 0:00:12)"
    run.left = []
    assert run.tell_rest() == ""


def test_the_end_tells_the_answer_and_where_the_report_is(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repro.show_answer()
    assert capsys.readouterr().out == ""
    repro.ANSWER.parent.mkdir()
    repro.ANSWER.write_text("\nstudy: L2 penalty helps é\n  tuned\x1b]0;title\x07 better\n", encoding="utf-8")
    repro.REPORT.touch()
    repro.show_answer()
    told = "\nstudy: L2 penalty helps é\n  tuned]0;title better\nFigures and tables: metrics/report.html (make show)"
    assert capsys.readouterr().out == told
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "20")
        assert repro.lay_out("study: L2 penalty helps\n") == "\033[1mstudy:\033[0m L2 penalty\n  helps\n"
