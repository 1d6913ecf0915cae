"""Runs of a pipeline side by side against `dvc repro`: real DVC on small throw-away projects."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from dvc.utils.serialize import dumps_yaml
from rich.console import Console

from stages.lib.base.commands import UserError
from tools.lock_text import HEAD, LockText
from tools.repro import leftovers, lockfile, project, summary
from tools.repro.outcomes import Outcome, Result, describe_result
from tools.repro.progress import View
from tools.repro.schedule import rank_stages
from tools.repro.worker import Worker, stop_workers

ROOT = Path(__file__).parents[2]
NUM_KILLS = 6
PIPELINE = """\
stages:
  head:
    cmd: cp source head.txt
    deps: [source]
    outs: [head.txt]
  fan:
    foreach: {items}
    do:
      cmd: >-
        sleep ${{item}}; mkdir -p out; cp head.txt out/${{key}};
        test ! -e ${{key}}.broken || {{ echo the reason; exit 3; }}
      deps: [head.txt]
      outs: ["out/${{key}}"]
  tail:
    cmd: cat out/* > tail.txt
    deps: [out]
    outs: [tail.txt]
"""


class Pipeline:
    """A project of shell stages: `head`, `fan@<item>` for each item, and `tail`, which waits for all of them."""

    def __init__(self, folder: Path, items: dict[str, float]):
        """items: the seconds that each fan takes."""
        self.folder = folder
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "DVC_SITE_CACHE_DIR": str(folder.with_name("site")),
        }
        (folder / ".dvc").mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
        (folder / ".gitignore").write_text("/out/**\n/*.txt\n")
        (folder / "source").write_text("one")
        self.set_items(items)

    def set_items(self, items: dict[str, float]) -> None:
        (self.folder / "dvc.yaml").write_text(PIPELINE.format(items=json.dumps(items)))

    def start(self, jobs: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tools.repro", "--jobs", str(jobs)]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # as a shell does: Ctrl-C reaches the whole group
        )

    def run(self, jobs: int = 4, *, status: int = 0) -> str:
        """What a run prints."""
        with self.start(jobs) as tool:
            output, _ = tool.communicate()
        assert tool.returncode == status, output
        return output

    def run_dvc(self) -> None:
        command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True)

    @property
    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    @property
    def entries(self) -> list[str]:
        return re.findall(r"^  (\S+):$", self.lock, re.MULTILINE)

    def interrupt(self, number: signal.Signals, *, asleep: int) -> str:
        """Start a run, send it a signal once so many fans sleep, and see that all it started ends; what it printed."""
        with self.start(jobs=asleep) as tool:
            started = wait_for_sleep(tool.pid, asleep)
            os.killpg(tool.pid, number)
            output, _ = tool.communicate()
        assert tool.returncode == (128 + number if number != signal.SIGKILL else -number)
        assert all(has_ended(process) for process in started)
        return output

    def forget(self) -> None:
        """As a fresh clone."""
        for path in (".dvc/cache", ".dvc/tmp", "out"):
            shutil.rmtree(self.folder / path, ignore_errors=True)
        for path in [*self.folder.glob("*.txt"), self.folder / "dvc.lock"]:
            path.unlink(missing_ok=True)


def wait_for_sleep(pid: int, asleep: int) -> list[psutil.Process]:
    """All that a run has started, once so many of its stages sleep."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        started = psutil.Process(pid).children(recursive=True)
        with suppress(psutil.NoSuchProcess):
            if [process.name() for process in started].count("sleep") == asleep:
                return started
        time.sleep(0.02)
    raise AssertionError(f"{asleep} stages did not start")


def wait_until_loaded(process: subprocess.Popen[bytes]) -> None:
    """While the system loads a new process, it has neither a command line nor an environment."""
    end, seen = time.monotonic() + 60, psutil.Process(process.pid)
    while not (seen.cmdline() and seen.environ()):
        assert time.monotonic() < end
        time.sleep(0.01)


def has_ended(process: psutil.Process) -> bool:
    """Within ten seconds."""
    try:
        process.wait(10)
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, made the current folder."""
    (tmp_path / project.FOLDER).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_leaves_dvc_lock_as_dvc_repro_does(tmp_path: Path) -> None:
    items = {"a": 2.0, **dict.fromkeys("bcdefghijkl", 0.0)}
    ours, theirs = Pipeline(tmp_path / "ours", items), Pipeline(tmp_path / "theirs", items)
    output = ours.run(jobs=4)
    theirs.run_dvc()
    assert ours.lock == theirs.lock
    assert output.index("fan@b") < output.index("fan@a"), "else the order of the entries was not put to the test"
    assert "14 stages up to date" in output
    assert "14 run, 0 restored, 0 unchanged" in output

    assert "Everything is up to date (14 stages).\n" in ours.run()
    assert ours.lock == theirs.lock

    for pipeline in (ours, theirs):  # most stages go, two come, and the source of all changes
        pipeline.set_items({"z": 0.4, "y": 0.0, "b": 0.0})
        (pipeline.folder / "source").write_text("two")
    assert "[5/5] tail" in ours.run()
    theirs.run_dvc()
    assert ours.lock == theirs.lock
    assert "fan@a:" in ours.lock, "dvc repro keeps the entries of stages that are gone"


def test_a_failing_stage_stops_those_that_need_it_and_no_other(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.3, "b": 0.0, "c": 0.0})
    (pipeline.folder / "b.broken").touch()
    output = pipeline.run(status=1)
    assert "[5/5] tail  skipped: fan@b failed\n" in output
    assert "fan@b failed. The end of its output (.dvc/tmp/repro/fan@b.log has all of it):\n" in output
    assert "\n    the reason\n" in output
    assert "exited with 3" in output
    assert "1 of 5 stages failed, 1 skipped because of that" in output
    assert pipeline.entries == ["head", "fan@a", "fan@c"]

    (pipeline.folder / "b.broken").unlink()
    (pipeline.folder / "out/a").unlink()
    output = pipeline.run()
    assert "fan@a  restored\n" in output
    assert "2 run, 1 restored, 2 unchanged" in output


def test_a_stopped_run_stops_its_stages_and_the_next_one_ends_as_if_undisturbed(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 600, "b": 0.0, "c": 600})
    for number, message in {signal.SIGINT: "Stopped by Ctrl-C.", signal.SIGTERM: "Stopped by SIGTERM."}.items():
        output = pipeline.interrupt(number, asleep=2)  # b has ended, so its entry comes first
        assert message in output.splitlines()[-1]
        assert "Traceback" not in output
    pipeline.interrupt(signal.SIGKILL, asleep=2)

    pipeline.set_items({"a": 0.0, "b": 0.0, "c": 0.0})
    pipeline.run()
    assert pipeline.entries == ["head", "fan@a", "fan@b", "fan@c", "tail"]


def test_a_run_killed_at_any_moment_and_started_again_ends_with_the_dvc_lock_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    items = {"a": 0.3, "b": 0.0, "c": 0.3, "d": 0.0}
    ours, theirs = Pipeline(tmp_path / "ours", items), Pipeline(tmp_path / "theirs", items)
    theirs.run_dvc()
    for delay in np.linspace(0.4, 2.4, NUM_KILLS):  # seconds; a whole run takes two or three
        ours.forget()
        with ours.start(jobs=2) as tool:
            time.sleep(delay)
            os.killpg(tool.pid, signal.SIGKILL)
        ours.run(jobs=2)
        assert ours.lock == theirs.lock, delay


def test_says_what_is_wrong_with_the_project(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    (pipeline.folder / "dvc.lock").write_text("stages: {")
    (line,) = pipeline.run(status=2).splitlines()
    assert re.fullmatch(r"error: .*dvc\.lock.*restore it with `git checkout dvc\.lock`.*", line)
    (pipeline.folder / "dvc.yaml").write_text("stages: {a: {cmd: ls, dep: [b]}}")
    (line,) = pipeline.run(status=2).splitlines()
    assert re.fullmatch(r"error: .*dvc\.yaml' validation failed.*: mend it.*", line)
    shutil.rmtree(pipeline.folder / ".git")
    (line,) = pipeline.run(status=2).splitlines()
    assert line.startswith("error: DVC needs a git repository")


def test_a_wrong_folder_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    (pipeline.folder / "dvc.yaml").unlink()
    (line,) = pipeline.run(status=2).splitlines()
    assert line.startswith(f"error: {pipeline.folder} has no dvc.yaml, expected the folder of a DVC project")


def test_a_folder_that_cannot_be_written_to_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    (pipeline.folder / ".dvc/tmp").write_text("no folder")
    (line,) = pipeline.run(status=2).splitlines()
    assert line.startswith("error: ")
    assert line.endswith("expected a project folder that can be written to: mend it, run this again")


def test_reports_mistakes_in_params_in_words(inside: Path) -> None:
    (inside / "params.yaml").write_text("sead: 3")
    project.check_params()  # not this project's params.yaml: anything goes
    (inside / "stages/lib").mkdir(parents=True)
    (inside / "stages/lib/params.py").touch()
    with pytest.raises(UserError, match="seed: is missing"):
        project.check_params()
    (inside / "params.yaml").write_bytes("seed: 3  # gewählt".encode("latin-1"))
    with pytest.raises(UserError, match="expected it to be: save it as UTF-8"):
        project.check_params()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  train_thoracic:", "  train_other:", "studies.thoracic has no block train_thoracic in dvc.yaml"),
        ("  train_thoracic:", "  train_other:", "dvc.yaml has train_other, expected a study other in params.yaml"),
        ("stages.train thoracic ", "stages.train fashion ", "train_thoracic in dvc.yaml names the study fashion"),
        ("models/thoracic/$", "models/fashion/$", "train_thoracic in dvc.yaml names the study fashion"),
    ],
)
def test_a_study_and_its_block_go_together(inside: Path, old: str, new: str, message: str) -> None:
    text = (ROOT / "dvc.yaml").read_text()
    studies = re.findall(r"^  train_(\w+):", text, re.MULTILINE)
    (inside / "dvc.yaml").write_text(text)
    project.check_blocks(studies)
    assert old in text
    (inside / "dvc.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=re.escape(message)):
        project.check_blocks(studies)


def test_help_tells_the_exit_status() -> None:
    command = [sys.executable, "-m", "tools.repro"]
    assert "exit status:" in subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True).stdout
    wrong = subprocess.run([*command, "--jobs", "0"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "0 given, expected a whole number of at least 1" in wrong.stderr


def test_a_second_run_waits_for_the_first_and_gives_up(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "PATIENCE", 0.1)
    told: list[str] = []
    with project.alone(told.append):
        assert not told
        with pytest.raises(project.BusyError, match="runs this pipeline already"), project.alone(told.append):
            pass
    assert told == [f"Waiting: process {os.getpid()} runs this pipeline already (Ctrl-C gives up)"]
    with project.alone(told.append):
        pass


def test_a_command_that_a_killed_run_left_is_found(inside: Path) -> None:
    environment = os.environ | {"DVC_ROOT": str(inside), "DVC_STAGE": "train"}
    with subprocess.Popen(["sleep", "600"], env=environment) as command:
        wait_until_loaded(command)
        assert f"process {command.pid} (sleep 600)" in leftovers.find_others()
        command.kill()
    assert leftovers.find_others() == ""
    queued = inside / leftovers.EXPERIMENTS / "tmp1"
    queued.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"], env=environment, cwd=queued) as command:
        wait_until_loaded(command)
        assert leftovers.find_others() == ""
        command.kill()


def test_the_list_of_files_in_use_forgets_processes_that_are_gone(inside: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with subprocess.Popen([sys.executable, "-c", "input()", "dvc", "repro"], stdin=subprocess.PIPE) as running:
        wait_until_loaded(running)
        entries = {
            name: {"pid": number, "cmd": "dvc repro"}
            for name, number in {
                "gone": ended.pid,
                "reused": os.getppid(),
                "ours": os.getpid(),
                "busy": running.pid,
            }.items()
        }
        leftovers.RWLOCK.write_text(json.dumps({"write": entries, "read": {"x": list(entries.values())}}))
        assert [process.pid for process in leftovers.clear_rwlock()] == [running.pid]
        left = json.loads(leftovers.RWLOCK.read_text())
        assert left == {"write": {"busy": entries["busy"]}, "read": {"x": [entries["busy"]]}}
        running.communicate(b"\n")


def test_a_half_written_list_of_files_in_use_is_dropped(inside: Path) -> None:
    leftovers.RWLOCK.write_text('{"write": {"a": {"pid"')
    assert leftovers.clear_rwlock() == []
    assert not leftovers.RWLOCK.exists()


def write_entries(*names: str) -> None:
    lockfile.write_lock(LockText(HEAD, {name: f"  {name}:\n    cmd: ls\n" for name in names}, ""))


def test_dvc_lock_is_replaced_not_rewritten(inside: Path) -> None:
    write_entries("a")
    with Path("dvc.lock").open() as before:
        write_entries("b")
        assert "  a:\n" in before.read(), "another process reads the old file to its end"
    assert lockfile.list_entries() == ["b"]


def test_dvc_lock_is_taken_apart_and_put_together(inside: Path) -> None:
    stages = {"a@b-1.5": {"cmd": "one\n\ntwo\n"}, "a: b": {"cmd": "ls"}, "1": {"cmd": f"echo {'word ' * 40}"}}
    text = dumps_yaml({"schema": "2.0", "stages": stages, "datasets": [{"name": "c", "url": "d"}]})
    Path("dvc.lock").write_text(text)
    lock = lockfile.read_lock()
    assert lock is not None
    assert list(lock.entries) == list(stages)
    for name, stage in stages.items():
        assert lock.entries[name] == dumps_yaml({"stages": {name: stage}}).removeprefix("stages:\n")
    lockfile.write_lock(lock)
    assert Path("dvc.lock").read_text() == text


@pytest.mark.parametrize(
    "text", ["stages: {a: {cmd: ls}}\n", "stages:\n    a:\n        cmd: ls\n", "stages:\n  a: {}\n"]
)
def test_dvc_lock_in_another_layout_is_left_to_dvc(inside: Path, text: str) -> None:
    Path("dvc.lock").write_text(text)
    assert lockfile.read_lock() is None
    assert lockfile.list_entries() == ["a"]


def test_entries_of_a_killed_run_count_as_new(inside: Path) -> None:
    write_entries("gone", "c")
    lockfile.record_entries()
    write_entries("gone", "c", "d", "b")
    lockfile.record_entries()  # the next run
    lockfile.sort_entries(["a", "b", "c", "d"])
    assert lockfile.list_entries() == ["gone", "c", "b", "d"]


def test_the_record_of_a_killed_run_is_dropped_where_git_has_put_another_lock(inside: Path) -> None:
    write_entries("c")
    lockfile.record_entries()
    write_entries("a", "d", "b")
    lockfile.record_entries()  # the next run
    lockfile.sort_entries(["a", "b", "c", "d"])
    assert lockfile.list_entries() == ["a", "d", "b"]


def test_a_signal_waits_for_the_end_of_a_step_and_a_second_one_changes_nothing() -> None:
    code = """
import os, signal
from tools.repro import signals

signals.listen()
try:
    with signals.HANDLER.step():
        os.kill(os.getpid(), signal.SIGTERM)
        print("the step goes on")
except signals.Stopped as stopped:
    os.kill(os.getpid(), signal.SIGINT)
    print(f"stopped by {stopped.number}")
"""
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).splitlines() == [
        "the step goes on",
        f"stopped by {signal.SIGTERM.value}",
    ]


def test_a_worker_that_is_stopped_before_it_starts_holds_nobody_up(inside: Path) -> None:
    stop_workers([Worker("stage")])


def test_a_narrow_terminal_shows_how_long_each_stage_runs(inside: Path) -> None:
    name = "train_tutorial_thoracic@mean_squared_logarithmic_error"
    console = Console(width=40, file=io.StringIO())
    view = View(console, [name])
    view.start(Worker(name))
    console.print(view.render())
    first = console.file.getvalue().splitlines()[0]
    assert first.startswith("train_tutorial_thor")
    assert "0 s" in first


def test_the_longest_way_to_the_end_goes_first() -> None:
    upstream = {"a": set[str](), "b": set[str](), "c": {"a"}, "d": {"b", "c"}, "e": {"b"}}
    ranks = rank_stages(upstream, dict.fromkeys(upstream, 1.0) | {"e": 5.0})
    assert ranks == {"a": (3, 2), "b": (6, 2), "c": (2, 1), "d": (1, 0), "e": (5, 0)}


def test_results_are_told_in_words() -> None:
    assert describe_result(Result("a", Outcome.RUN, 112.4)) == "1 min 52 s"
    assert describe_result(Result("a", Outcome.RESTORED, 1.0)) == "restored"
    assert describe_result(Result("a", Outcome.FAILED, 3.2)) == "failed after 3 s"
    assert describe_result(Result("a", Outcome.SKIPPED, cause="b")) == "skipped: b failed"


def test_the_summary_is_plain_and_aligned(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary.load_metrics() == {}
    scores = {f"score_number_{number}": 0.12344 * number for number in range(10)}
    Path("metrics").mkdir()
    summary.METRICS.write_text(
        json.dumps({"study": {"variant_of_long_name": scores, "no_skill": {"score_number_1": 0.5}}})
    )
    for study, variants in summary.load_metrics().items():
        Console(width=120).print(summary.tabulate(study, variants))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "study, held-out means at the knob"
    assert lines[-2].split() == ["variant_of_long_name", *(f"{0.12344 * number:.4f}" for number in range(8))]
    assert lines[-1].split() == ["no_skill", "0.5000"]
    assert lines[-1].index("0.5000") == lines[-2].index("0.1234")
    assert max(map(len, lines)) <= 120
