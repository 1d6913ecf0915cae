"""The pipeline as DVC sees it: which stages there are, what each waits for, which of them have work to do."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro

from stages.lib.base.commands import UserError
from tools.repro import leftovers, lockfile
from tools.repro.project import Tell, wait_until


class PipelineError(UserError):
    """DVC cannot read this project."""


class Pipeline:
    """The stages that `dvc repro` would go through, in its order.

    upstream: the stages that a stage takes its inputs from, itself not among them
    seconds: what a stage takes, where dvc.yaml says so (`meta: {seconds: 60}`); it shapes nothing but the order of work
    """

    def __init__(self, tell: Tell):
        logging.getLogger("dvc").setLevel(logging.CRITICAL)  # its remarks would go across the progress view
        try:
            self.repo = Repo()
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
        self.upstream = {stage.addressing: {needed.addressing for needed in graph.successors(stage)} for stage in steps}
        self.seconds = {name: float((stage.meta or {}).get("seconds", 1)) for name, stage in self.stages.items()}

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
            with suppress(LockError):
                self.repo.lock.lock()
        try:
            yield
        finally:
            self.repo.lock.unlock()

    def find_changed(self, names: Iterable[str]) -> set[str]:
        """Those of the stages, whose upstream is up to date, that have work to do. The test is `dvc repro`'s own."""
        with self.hold_lock():
            return {name for name in names if self.has_changed(name)}

    def has_changed(self, name: str) -> bool:
        try:
            return self.stages[name].changed()
        except DvcException:
            return True  # running it will tell what is wrong

    def settle(self) -> None:
        """At the end of a run: leave dvc.lock as `dvc repro` would."""
        with self.hold_lock():
            lockfile.sort_entries(list(self.stages))
            lockfile.drop_record()

    def suspend(self) -> None:
        """At the end of a run that was stopped: the same if DVC's lock is free, but the next run takes this one up."""
        with suppress(DvcException, OSError), self.repo.lock:
            lockfile.sort_entries(list(self.stages))


def explain(error: DvcException) -> str:
    """DVC's message in one line, and what to do about it."""
    text = " ".join(str(error).split())
    if "not a git repository" in text:
        return "DVC needs a git repository and this folder is none: make it one with `git init`, or let `make` do it"
    if "dvc.lock" in text:
        return f"{text}: restore it with `git checkout dvc.lock`, or delete it (results come back from DVC's cache)"
    return f"{text}: mend it; `dvc stage list` shows the place" if "dvc.yaml" in text else text
