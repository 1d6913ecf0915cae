"""The pipeline as DVC sees it: what has changed, what its cache has, what is recorded. One process alone asks DVC."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from stages.lib.base.commands import UserError
from tools.guard import check_outputs
from tools.repro import leftovers
from tools.repro.engine import Job
from tools.repro.lockfile import RECORD, Lockfile
from tools.repro.objects import CheckedCache
from tools.repro.progress import Outcome
from tools.repro.project import Tell, check_signals, wait_until

AT_HOME = ("plan", "fetch", "compare", "audit", "report")  # not for a cluster: they are quick, or need the internet


class PipelineError(UserError):
    """DVC cannot read this project."""


class Pipeline:
    """The stages that `dvc repro` would go through, in its order.

    upstream: the stages that a stage takes its inputs from, itself not among them
    seconds: what a stage takes, where dvc.yaml says so (`meta: {seconds: 60}`); it shapes nothing but the order of work
    """

    def __init__(self, tell: Tell):
        logging.getLogger("dvc").setLevel(logging.CRITICAL)  # its remarks would go across the progress view
        self.in_use: dict[str, ExitStack] = {}  # the files of the stages whose commands run
        try:
            self.repo = Repo()
            self.repo.stage_cache = CheckedCache(self.repo, tell)
            if Path(self.repo.root_dir) != Path.cwd():
                raise PipelineError(f"the DVC project is {self.repo.root_dir}: change to that folder, run this again")
            wait_until(self.find_obstacle, tell)
            with self.hold_lock():
                graph = get_active_graph(self.repo.index.graph)
                targets = [stage for stage in self.repo.index.stages if stage.relpath == "dvc.yaml"]
                steps = plan_repro(graph, targets)
        except DvcException as error:
            raise PipelineError(explain(error)) from error
        self.stages = {stage.addressing: stage for stage in steps}
        outputs = [Path(out.fs_path) for stage in steps for out in stage.outs]
        check_outputs(outputs, root=Path.cwd(), cache=Path(self.repo.cache.local.path))
        self.upstream = {stage.addressing: {needed.addressing for needed in graph.successors(stage)} for stage in steps}
        self.seconds = {name: float((stage.meta or {}).get("seconds", 1)) for name, stage in self.stages.items()}

    @cached_property
    def lockfile(self) -> Lockfile:
        return Lockfile(list(self.stages))

    def find_obstacle(self) -> str:
        """What else is at work in this project; empty if nothing is."""
        try:
            with self.repo.lock:
                return leftovers.find_others()
        except LockError:
            return "another DVC command is at work in this project"

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """DVC's own lock, which every DVC command takes; not held while a stage's command runs."""
        while not self.repo.lock.is_locked:
            check_signals()
            with suppress(LockError):
                self.repo.lock.lock()
        try:
            yield
        finally:
            self.repo.lock.unlock()

    def begin(self, name: str) -> Outcome | Job:
        """Do what needs no command; its job if it needs one. LockError while another DVC command uses its files."""
        stage = self.stages[name]
        with self.hold_lock():
            if not stage.status():  # as `changed`, with a third of the locks
                return Outcome.UNCHANGED
            if not stage.cmd or stage.frozen:
                stage.run()
                self.lockfile.put(stage)
                return Outcome.RUN
            stage.remove_outs(ignore_remove=False)
            try:
                self.repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                stage.save_deps()
                self.in_use[name] = self.use_files(stage)
                return make_job(stage)
            self.record(stage)
            return Outcome.RESTORED

    def use_files(self, stage: PipelineStage) -> ExitStack:
        """Have other DVC commands leave the stage's files alone."""
        reads, writes = ([item.fs_path for item in items] for items in (stage.deps, stage.outs))
        command, hardlink = f"{' '.join(sys.argv)} ({stage.name})", self.repo.config["core"].get("hardlink_lock", False)
        with ExitStack() as stack:
            stack.enter_context(rwlock(self.repo.tmp_dir, self.repo.fs, command, reads, writes, hardlink))
            return stack.pop_all()

    def finish(self, name: str, *, status: int) -> None:
        """Record a stage whose command has ended, unless it has failed."""
        with self.hold_lock():
            self.in_use.pop(name).close()
            if status == 0:
                self.record(self.stages[name])

    def record(self, stage: PipelineStage) -> None:
        """As `dvc repro`: into the cache first, so that nothing is lost if this process is killed."""
        is_cached = all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
        with self.repo.scm_context() as context:
            stage.save(run_cache=is_cached)
            stage.commit()
            self.lockfile.put(stage)
            context.track_file("dvc.lock")

    def close(self, *, stopped: bool) -> None:
        """At the end of a run. One that was stopped is taken up by the next."""
        for stack in self.in_use.values():
            stack.close()
        if not stopped:
            RECORD.unlink(missing_ok=True)


def make_job(stage: PipelineStage) -> Job:
    commands = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()  # the first that fails is the last
    command = commands[0] if len(commands) == 1 else " && ".join(f"(\n{command}\n)" for command in commands)
    inputs, outputs = (tuple(item.def_path for item in items) for items in (stage.deps, stage.outs))
    at_home = stage.name.partition("@")[0] in AT_HOME or stage.wdir != str(Path.cwd())
    return Job(stage.name, command, stage.wdir, inputs, outputs, at_home)


def explain(error: DvcException) -> str:
    """DVC's message in one line, and what to do about it."""
    text = " ".join(str(error).split())
    if "not a git repository" in text:
        return "DVC needs a git repository and this folder is none: make it one with `git init`, or let `make` do it"
    if "dvc.lock" in text:
        return f"{text}: restore it with `git checkout dvc.lock`, or delete it (results come back from DVC's cache)"
    return f"{text}: mend it; `dvc stage list` shows the place" if "dvc.yaml" in text else text
