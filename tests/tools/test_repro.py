"""Runs of a pipeline side by side against `dvc repro`: real DVC on small throw-away projects."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from dvc.fs import localfs
from dvc.rwlock import rwlock
from dvc.utils.serialize import dumps_yaml, loads_yaml

from stages.lib.base.commands import UserError
from stages.lib.settings.blocks import check_blocks
from tools import check_params, results
from tools.repro import leftovers, lockfile, project
from tools.repro.engine import Job, LocalEngine
from tools.repro.progress import format_seconds
from tools.repro.schedule import rank_stages

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


def wait_for_children(pid: int) -> list[psutil.Process]:
    end = time.monotonic() + 60
    while not (children := psutil.Process(pid).children()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return children


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


def test_commands_of_a_stage_run_one_after_the_other_until_one_fails(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {})
    graph = {"a": {"cmd": ["x=1; echo $x  # one", "echo two; exit 4", "echo three"], "deps": ["source"]}}
    (pipeline.folder / "dvc.yaml").write_text(json.dumps({"stages": graph}))
    output = pipeline.run(status=1)
    assert "    1\n    two\n    exited with 4\n" in output
    (pipeline.folder / "dvc.yaml").write_text(json.dumps({"stages": {"a": graph["a"] | {"cmd": "echo 1\necho 2"}}}))
    pipeline.run()
    assert pipeline.lock.count("echo 2") == 1


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


def test_a_stage_waits_while_another_dvc_command_uses_its_files(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 1.0})
    with pipeline.start(jobs=1) as tool:
        wait_for_sleep(tool.pid, 1)
        output = str(pipeline.folder / "tail.txt")
        with rwlock(str(pipeline.folder / ".dvc/tmp"), localfs, "dvc checkout", [], [output], False):
            said = ""
            while "Waiting" not in said:
                said += (line := tool.stdout.readline())
                assert line
        said += tool.stdout.read()
    assert re.search(r"^Waiting: tail: .* is busy, it is being blocked by: .*dvc checkout", said, re.MULTILINE)
    assert "[3/3] tail  0 s" in said
    assert tool.returncode == 0


def test_says_what_is_wrong_with_the_project(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 0.0})
    (pipeline.folder / "dvc.lock").write_text("stages: {")
    (line,) = pipeline.run(status=2).splitlines()
    assert re.fullmatch(r"error: .*dvc\.lock.*restore it with `git checkout dvc\.lock`.*", line)
    (pipeline.folder / "dvc.lock").unlink()
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
    check_params.check_params()  # not this project's params.yaml: anything goes
    (inside / "dvc.yaml").touch()
    (inside / "stages/lib/settings").mkdir(parents=True)
    (check_params.SCHEMA / "settings/params.py").touch()
    with pytest.raises(UserError, match="seed: is missing"):
        check_params.check_params()
    (inside / "params.yaml").write_bytes("seed: 3  # gewählt".encode("latin-1"))
    with pytest.raises(UserError, match="expected UTF-8: save it as such"):
        check_params.check_params()


def test_what_has_no_mistake_is_checked_once(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in check_params.PATHS:
        shutil.copy(ROOT / path, path)
    shutil.copytree(ROOT / check_params.SCHEMA, check_params.SCHEMA)
    check_params.check_params()
    monkeypatch.setattr("stages.lib.settings.blocks.check_blocks", lambda *arguments: pytest.fail("a second time"))
    check_params.check_params()
    (check_params.SCHEMA / "scores.py").write_text("# other rules")
    with pytest.raises(pytest.fail.Exception, match="a second time"):
        check_params.check_params()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  train_thoracic:", "  train_other:", "studies.thoracic has no block train_thoracic in dvc.yaml"),
        ("  train_thoracic:", "  train_other:", "dvc.yaml has train_other, expected a study other in params.yaml"),
        ("{study: thoracic}", "{study: fashion}", "train_thoracic in dvc.yaml has vars [{'study': 'fashion'}]"),
        ("studies.thoracic.v", "studies.fashion.v", "train_thoracic in dvc.yaml has matrix"),
    ],
)
def test_a_study_and_its_block_go_together(old: str, new: str, message: str) -> None:
    text = (ROOT / "dvc.yaml").read_text()
    studies = re.findall(r"^  train_(\w+):", text, re.MULTILINE)
    check_blocks(text, studies)
    assert old in text
    with pytest.raises(UserError, match=re.escape(message)):
        check_blocks(text.replace(old, new), studies)


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


def test_the_list_of_files_in_use_counts_while_its_processes_are_at_work(inside: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with subprocess.Popen([sys.executable, "-c", "input()", "dvc", "repro"], stdin=subprocess.PIPE) as running:
        wait_until_loaded(running)
        numbers = {"gone": ended.pid, "reused": os.getppid(), "ours": os.getpid(), "busy": running.pid}
        entries = {name: {"pid": number, "cmd": "dvc repro"} for name, number in numbers.items()}
        leftovers.RWLOCK.write_text(json.dumps({"write": entries, "read": {"x": list(entries.values())}}))
        assert list(leftovers.find_owners()) == [running.pid]
        assert f"process {running.pid} (" in leftovers.find_others()
        running.communicate(b"\n")
    assert leftovers.find_others() == ""
    assert not leftovers.RWLOCK.exists()


def test_a_half_written_list_of_files_in_use_is_dropped(inside: Path) -> None:
    leftovers.RWLOCK.write_text('{"write": {"a": {"pid"')
    assert leftovers.find_others() == ""
    assert not leftovers.RWLOCK.exists()


STAGES = {"a@b-1.5": {"cmd": "one\n\ntwo\n"}, "a: b": {"cmd": "ls"}, "1": {"cmd": f"echo {'word ' * 40}"}}


@pytest.mark.parametrize("more", [{}, {"datasets": [{"name": "c", "url": "d"}]}])
def test_dvc_lock_is_taken_apart_and_put_together(more: dict) -> None:
    text = dumps_yaml({"schema": "2.0", "stages": STAGES} | more)
    head, entries, tail = lockfile.split(text)
    assert list(entries) == list(STAGES)
    for name, stage in STAGES.items():
        assert entries[name] == dumps_yaml({"stages": {name: stage}}).removeprefix("stages:\n")
    assert head + "".join(entries.values()) + tail == text


@pytest.mark.parametrize("text", ["stages: {a: {cmd: ls}}\n", "stages:\n    a:\n        cmd: ls\n"])
def test_dvc_lock_in_another_layout_is_laid_out_anew(inside: Path, text: str) -> None:
    assert lockfile.split(text) is None
    Path("dvc.lock").write_text(text)
    assert lockfile.Lockfile([]).entries == {"a": "  a:\n    cmd: ls\n"}


@pytest.mark.parametrize("text", ["", "schema: '2.0'\nstages: {}\n", "datasets: []\nstages: {}\nschema: '2.0'\n"])
def test_dvc_lock_without_entries_gets_its_first(text: str) -> None:
    head, entries, tail = lockfile.split(text)
    assert entries == {}
    after = loads_yaml(f"{head}  a:\n    cmd: ls\n{tail}")
    assert after == {"schema": "2.0"} | (loads_yaml(text) or {}) | {"stages": {"a": {"cmd": "ls"}}}


def sort_entries(present: list[str], order: list[str]) -> list[str]:
    """Their order once a run has recorded them."""
    Path("dvc.lock").write_text("stages:\n" + "".join(f"  {name}:\n    cmd: ls\n" for name in present))
    return sorted(present, key=lockfile.Lockfile(order).find_place)


def test_entries_of_a_killed_run_count_as_new(inside: Path) -> None:
    order = ["a", "b", "c", "d"]
    assert sort_entries(["gone", "c"], order) == ["gone", "c"]
    assert sort_entries(["gone", "c", "d", "b"], order) == ["gone", "c", "b", "d"], "the next run"


def test_the_record_of_a_killed_run_is_dropped_where_git_has_put_another_lock(inside: Path) -> None:
    order = ["a", "b", "c", "d"]
    assert sort_entries(["c"], order) == ["c"]
    assert sort_entries(["a", "d", "b"], order) == ["a", "d", "b"], "the next run"


def test_dvc_lock_is_replaced_not_rewritten(inside: Path) -> None:
    project.write_in_one_step(lockfile.LOCKFILE, "first")
    with lockfile.LOCKFILE.open() as before:
        project.write_in_one_step(lockfile.LOCKFILE, "second")
        assert before.read() == "first", "another process reads the old file to its end"


def test_a_signal_waits_for_the_end_of_a_step_and_a_second_one_changes_nothing() -> None:
    code = """
import os, signal
from tools.repro import project

project.listen()
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
print("the step goes on")
try:
    project.check_signals()
except project.Stopped:
    print(f"stopped by {project.signals[0]}")
"""
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).splitlines() == [
        "the step goes on",
        f"stopped by {signal.SIGTERM.value}",
    ]


MODULE = """\
import os, sys
from stages.speed import SPEED

LOADED_BY = os.getpid()
if __name__ == "__main__":
    print(*sys.argv[1:], SPEED, os.environ["DVC_STAGE"], sys.argv[0], flush=True)
    print(f"own import: {sys.modules['stages.speed'].LOADED_BY == os.getpid()}", file=sys.stderr)
    if sys.argv[1] == "exit":
        sys.exit(f"error: {sys.argv[2]}")
    if sys.argv[1] == "raise":
        raise ValueError
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def engine(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEngine]:
    """In a project with a module of stages."""
    (inside / "stages").mkdir()
    (inside / "stages/__init__.py").touch()
    (inside / "stages/speak.py").write_text(MODULE)
    (inside / "stages/speed.py").write_text("import os\n\nSPEED, LOADED_BY = 1, os.getpid()\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    engine = LocalEngine(2)
    yield engine
    engine.stop()


def run_job(engine: LocalEngine, command: str) -> tuple[int, list[str]]:
    """Its status, and the lines that it printed."""
    job = Job("name", command, str(Path.cwd()))
    engine.submit(job)
    while not (ended := engine.wait(10)):
        pass
    ((name, status),) = ended
    assert name == "name"
    return status, job.log.read_text().splitlines()


def test_a_command_of_a_stage_is_a_fork_and_behaves_as_the_command(engine: LocalEngine) -> None:
    command = "python -m stages.speak {} b"
    for word, expected in {"a": 0, "exit": 1, "raise": 1, "kill": -9}.items():
        status, lines = run_job(engine, command.format(word))
        assert status == expected
        assert lines[0] == f"{word} b 1 name {Path.cwd() / 'stages/speak.py'}"
        assert lines[1] == "own import: False"
        assert ("error: b" in lines, "ValueError" in lines) == (word == "exit", word == "raise")
        plain = subprocess.run(
            command.format(word).split(), capture_output=True, env=os.environ | {"DVC_STAGE": "name"}
        )
        assert plain.returncode == expected
    assert run_job(engine, "python -m stages.none a") == (1, [f"{shutil.which('python')}: No module named stages.none"])


def test_code_that_changes_during_a_run_is_not_mistaken_for_what_it_was(engine: LocalEngine) -> None:
    assert run_job(engine, "python -m stages.speak a")[1][0].startswith("a 1 ")
    Path("stages/speed.py").write_text("import os\n\nSPEED, LOADED_BY = 22, os.getpid()\n")
    _, lines = run_job(engine, "python -m stages.speak a")
    assert lines[0].startswith("a 22 ")
    assert lines[1] == "own import: True"


def test_a_server_that_is_killed_takes_its_commands_with_it_and_the_next_command_finds_another(
    engine: LocalEngine,
) -> None:
    engine.submit(Job("name", "exec sleep 600", str(Path.cwd())))
    ((_, process),) = engine.servers.values()
    (command,) = wait_for_children(process.pid)
    process.kill()
    assert list(engine.wait(10)) == [("name", -9)]
    assert has_ended(command)
    assert run_job(engine, "true") == (0, [])


def test_the_longest_way_to_the_end_goes_first() -> None:
    upstream = {"a": set[str](), "b": set[str](), "c": {"a"}, "d": {"b", "c"}, "e": {"b"}}
    ranks = rank_stages(upstream, dict.fromkeys(upstream, 1.0) | {"e": 5.0})
    assert ranks == {"a": (3, 2), "b": (6, 2), "c": (2, 1), "d": (1, 0), "e": (5, 0)}


def test_durations_are_told_in_words() -> None:
    assert [format_seconds(seconds) for seconds in (0.2, 59.6, 112.4)] == ["0 s", "1 min 0 s", "1 min 52 s"]


def test_the_summary_is_plain_and_aligned(inside: Path) -> None:
    assert results.load_metrics() == {}
    scores: dict[str, float | str] = {"verdict_score_number_1": "better"}
    scores |= {f"score_number_{number}": 0.12344 * number for number in range(10)}
    Path("metrics").mkdir()
    results.METRICS.write_text(
        json.dumps({"study": {"variant_of_long_name": scores, "no_skill": {"score_number_1": 0.5}}})
    )
    ((study, variants),) = results.load_metrics().items()
    lines = list(results.tabulate(study, variants))
    assert lines[0].strip() == "study, held-out means at the knob"
    assert lines[-2].split() == ["variant_of_long_name", *(f"{0.12344 * number:.4f}" for number in range(8))]
    assert lines[-1].split() == ["no_skill", "0.5000"]
    assert lines[-1].index("0.5000") == lines[-2].index("0.1234")
    assert max(map(len, lines)) <= 120
