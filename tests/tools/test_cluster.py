"""Stages on a cluster: a scheduler and two workers as processes of their own, which share nothing but the loopback."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from stages.lib.core.cli import UserError
from tests.conftest import ROOT, pick
from tests.project import Project, load_yaml, make_project, put_scripts
from tests.tools.test_repro import EDITS, Pipeline, expect_edits_refused, make_edited, start_run, wait_until

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from tools.repro import cluster as clusters
from tools.repro.engine import QUICK
from tools.repro.run import name_block

# Network namespaces and their addresses, from two_hosts.sh; else all is on the loopback of this machine.
HOSTS = [host.split("=") for host in os.environ.get("TEST_HOSTS", "=127.0.0.1 =127.0.0.1").split()]


class Cluster:
    """A scheduler and a worker on one host, another worker on the next. None knows this project or another's folder."""

    def __init__(self, folder: Path, *, workers: int = 2):
        self.file, self.folder = folder / "scheduler.json", folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start("scheduler", HOSTS[0], "--port", "0", "--scheduler-file", str(self.file))
        wait_until(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"))  # written in steps
        self.address = json.loads(self.file.read_text())["address"]
        for name, host in list(zip(("one", "two"), HOSTS, strict=True))[:workers]:
            self.start_worker(name, host)

    def start(self, name: str, host: list[str], *options: str, module: str = "scheduler") -> None:
        folder, (namespace, address) = self.folder / name, host
        folder.mkdir()
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        tool = [sys.executable, "-m", f"distributed.cli.dask_{module}", *options, "--host", address, "--no-dashboard"]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with (folder / "log").open("wb") as log:
            command = [*inside, *tool]
            self.processes[name] = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def start_worker(self, name: str, host: list[str], *, num_threads: int = 1) -> None:
        options = ("--local-directory", ".", "--nthreads", str(num_threads), "--name", name, "--no-nanny")
        self.start(name, host, self.address, *options, module="worker")

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def find_worker_at(self, command: str) -> str:
        """The worker whose task runs the command."""
        found: list[str] = []

        def look() -> bool:
            for name in ("one", "two"):
                with suppress(psutil.Error):
                    children = psutil.Process(self.processes[name].pid).children(recursive=True)
                    found.extend(name for child in children if command in " ".join(child.cmdline()))
            return bool(found)

        wait_until(look)
        return found[0]

    def close(self) -> None:
        for name in self.processes:
            self.kill(name)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For all tests here; the last of them kills its scheduler."""
    with closing(Cluster(tmp_path_factory.mktemp("cluster"))) as cluster:
        yield cluster


def start_on(pipeline: Project, cluster: Cluster, *targets: str) -> subprocess.Popen[str]:
    return start_run(pipeline, "--jobs", "1", "--cluster", str(cluster.file), *targets)


def test_two_machines_by_ssh_run_a_stage_and_tell_why_it_fails(tmp_path: Path) -> None:
    """The lines of docs/cluster.md but for the second machine: `ssh` is a shell here, `lab` the tests' environment."""
    (lines,) = re.findall(r"^```\n(ssh .*?)^```$", (ROOT / "docs/cluster.md").read_text(), re.DOTALL | re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    lines = re.sub("^ssh two .*\n", "", lines, flags=re.MULTILINE)
    for old, new in (("8786", port), ("tcp://one", "tcp://127.0.0.1"), ("workers 4", "workers 1"), (" &", " 2> log &")):
        assert old in lines
        lines = lines.replace(old, new)
    pipeline = Pipeline(tmp_path, {})
    stage = {"cmd": "echo the reason; exit 3", "deps": ["source"], "outs": ["none"]}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"a": stage}}))
    for name in ("requirements", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" "$@"'
    put_scripts(tmp_path / ".venv/bin", pip="", python=python, ssh='exec sh -c "$2"', python3=f"ln -s {sys.prefix} lab")
    for name in ("installed", "installed-cluster"):
        (tmp_path / ".venv" / name).touch()
    environment = pipeline.environment | {"PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1"}
    environment["PATH"] = f"{tmp_path / '.venv/bin'}:{environment['PATH']}"
    options = {"cwd": tmp_path, "env": environment, "text": True, "capture_output": True, "start_new_session": True}
    done = subprocess.run(["sh", "-euc", f"trap 'kill 0' EXIT\n{lines}"], **options)
    assert "already satisfied: distributed==" in done.stdout
    assert "    the reason\n    exited with 3\n" in done.stdout, done.stderr


def test_a_stage_whose_input_is_edited_while_a_worker_runs_it_is_not_recorded(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "project", {})
    with closing(Cluster(tmp_path, workers=0)) as cluster:
        cluster.start_worker("wide", HOSTS[0], num_threads=2 * len(EDITS))  # inputs take threads, too
        expect_edits_refused(pipeline, make_edited(pipeline), lambda: start_on(pipeline, cluster))


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(UserError, match=r"no cluster answers at tcp://127\.0\.0\.1:1 "):
        clusters.ClusterEngine("tcp://127.0.0.1:1", jobs=1)


def test_ctrl_c_ends_the_commands_on_the_workers(tmp_path: Path, cluster: Cluster) -> None:
    pipeline = Pipeline(tmp_path / "project", {"a": 600})
    for number in (signal.SIGINT, signal.SIGKILL):
        with start_on(pipeline, cluster) as tool:
            name = cluster.find_worker_at("sleep 600")
            os.killpg(tool.pid, number)
            tool.communicate()
        wait_until(lambda name=name: not psutil.Process(cluster.processes[name].pid).children())


def test_a_worker_with_other_libraries_is_refused_in_words() -> None:
    versions = clusters.list_needed() | {"numpy": "1.0", "keras": "2"}
    with pytest.raises(RuntimeError, match=r"a worker has keras .*, expected 2; numpy .*, expected 1\.0 as at home"):
        clusters.run_there([], {}, [], versions)


def test_a_worker_with_another_python_is_refused_before_it_is_sent_code() -> None:
    workers = {"tcp://a": {"host": {"python": f"{sys.version.split()[0]}.final.0"}}}
    clusters.refuse_other_pythons(workers)
    with pytest.raises(UserError, match=r"worker tcp://b has Python 3\.1\.2\.final\.0, expected 3\.1\d as at home"):
        clusters.refuse_other_pythons(workers | {"tcp://b": {"host": {"python": "3.1.2.final.0"}}})


def test_stages_that_remove_leftovers_of_others_run_at_home() -> None:
    """A worker has neither dvc.lock nor the folders that stages which are gone have left."""
    names = {path.stem for path in (ROOT / "stages").glob("*.py") if "prune_outputs" in path.read_text()}
    assert names
    assert names <= {*QUICK, *clusters.HEAVY}


def test_workers_leave_the_same_bytes_though_their_scheduler_and_then_one_of_them_is_killed_while_it_trains(
    tmp_path: Path, few_params: dict, expected_lock: bytes, cluster: Cluster
) -> None:
    """Of all stages that run on a worker; those at home run as without a cluster."""
    project, targets = make_project(tmp_path / "project", few_params), ("train", "reference", "experiment")
    with start_on(project, cluster, *targets) as tool:
        cluster.find_worker_at("stages.train")
        cluster.kill("scheduler")
        output, _ = tool.communicate()
    assert tool.returncode == 2
    assert output.endswith(f"\nerror: cluster {cluster.file} is gone; what is done is kept: start it, run again\n")
    (tmp_path / "again").mkdir()
    with closing(Cluster(tmp_path / "again")) as other, start_on(project, other, *targets) as tool:
        name = other.find_worker_at("stages.train")
        commands = psutil.Process(other.processes[name].pid).children(recursive=True)
        other.kill(name)
        assert psutil.wait_procs(commands, timeout=300)[1] == [], "a killed worker takes its command along"
        output, _ = tool.communicate()
    assert tool.returncode == 0, output
    assert " restored" in output.splitlines()[-1], "what was done before is there"
    made, expected = (load_yaml(text.decode())["stages"] for text in (project.read("dvc.lock"), expected_lock))
    assert {*map(name_block, made)} == {"plan", "fetch", "preprocess", *targets}
    assert made == pick(expected, made)
