"""The pipeline as DVC sees it: what has changed, what its cache has, what is recorded. One process alone asks DVC."""

import json
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from dvc.dependency import Dependency, ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.exceptions import StageNotFound
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc.utils.serialize import dumps_yaml, loads_yaml
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from stages.lib.core.cli import UserError
from stages.lib.core.files import write_bytes
from stages.lib.lock import prune_outputs
from tools.guard import REMEDY, check_cache, check_lock, check_outputs, name_up_to
from tools.repro.engine import FOLDER, PAUSE, QUICK, SECONDS, Job, explain_disk

APPENDED = FOLDER / "appended.json"  # the entries that a run in which a stage failed has put at the end of dvc.lock
SHOWN = 3  # paths in a message
STUDIES, HEADLINE = Path("metrics/studies"), "headline.txt"  # what a stage tells of a study in a line or two


class Inspector:
    """Tells which stages have something to do, as `stage.status` does, without its locks: a run holds the project's.

    Stages share most of their inputs. An input that was found as recorded is not looked at again as long as no stage
    had anything to do. From then on commands run, and files change.
    """

    def __init__(self) -> None:
        self.as_recorded: set[tuple[str, str]] | None = set()  # path and hash of inputs; None: not kept any more

    def is_changed(self, stage: PipelineStage) -> bool:
        """Whether there is something to do for a stage; also where DVC cannot read what its cache has of it."""
        known, deps = self.as_recorded or (), [] if stage.frozen else stage.deps
        items = [*(dep for dep in deps if identify(dep) not in known), *stage.outs]
        try:
            changed = stage.is_callback or stage.always_changed or stage.changed_stage()
            changed = changed or any(item.status() for item in items)
        except (ObjectFormatError, ValueError, TypeError, LookupError, AttributeError):  # a forged list of files
            changed = True
        if changed:
            self.as_recorded = None
        elif self.as_recorded is not None:
            self.as_recorded.update(identify(dep) for dep in deps if not isinstance(dep, ParamsDependency))
        return changed


def identify(dep: Dependency) -> tuple[str, str]:
    """Where an input is and what is recorded of it; parameters also differ in which of a file's are meant."""
    return dep.fs_path, str(dep.hash_info)


def take_lock(repo: Repo) -> None:
    """Take DVC's lock; wait until nothing else is at work in this project, and say so."""
    if others := find_others(repo):
        print(f"Waiting: {others} (Ctrl-C gives up)", flush=True)
    while others and (others := find_others(repo)):
        if signal.sigpending():
            raise KeyboardInterrupt
        time.sleep(PAUSE)


def find_others(repo: Repo) -> str:
    """What else is at work in this project, in words; empty, and DVC's lock is taken, if nothing is."""
    try:
        repo.lock.lock()  # the system frees that of a process that is killed
    except LockError:
        return f"process {Path(repo.lock.lockfile).read_text().strip()} is at work in this project already"
    if stages := find_stages():
        repo.lock.unlock()
        return f"another run is at work in this project: {', '.join(stages)}"
    Path(repo.tmp_dir, "rwlock").unlink(missing_ok=True)  # of killed processes, whose numbers are given anew
    return ""


class Pipeline:
    """The stages that `dvc repro` would go through, in its order. DVC's lock is held: nothing else may change them."""

    def __init__(self, targets: Sequence[str] = ()) -> None:
        """targets: as `dvc repro` takes them, names of stages or of blocks; none means all."""
        for name in ("dvc", "dvc_data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # its remarks would go across the progress view
        try:
            self.repo = Repo()
            take_lock(self.repo)
            graph = get_active_graph(self.repo.index.graph)
            stages = [stage for stage in self.repo.index.stages if stage.relpath == "dvc.yaml"]
            wanted = collect_stages(self.repo, targets) if targets else stages
            if targets and not wanted:  # which DVC would take for all
                raise UserError(f"{', '.join(targets)} has no stages, expected one that `dvc stage list` shows")
            steps = plan_repro(graph, wanted)
        except DvcException as error:
            raise UserError(explain_dvc(error)) from error
        check_outputs([Path(out.fs_path) for stage in steps for out in stage.outs], self.repo.cache.local.path)
        self.stages, self.recorded = {stage.addressing: stage for stage in steps}, dict[str, object]()
        outs = [(stage.addressing, Path(out.def_path)) for stage in steps for out in stage.outs]
        self.answers = {
            name: path / HEADLINE for name, path in outs if path.parent == STUDIES
        }  # as params.yaml has them
        self.inputs = dict[str, set[tuple[str, str]]]()  # stage -> path and hash of each, before its command starts
        self.inspector = Inspector()
        self.prune()
        self.upstream = {stage.addressing: {needed.addressing for needed in graph.successors(stage)} for stage in steps}
        meta = {stage.addressing: stage.meta for stage in steps if stage.meta}
        self.typical = {name: float(content["seconds"]) for name, content in meta.items() if "seconds" in content}
        self.seconds = dict[str, float]()
        with suppress(OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged
            self.seconds = {name: float(seconds) for name, seconds in json.loads(SECONDS.read_text()).items()}

    def prune(self) -> None:
        """Remove what stages that are gone have left in folders that are inputs here, before any input is hashed.

        Their own stages do so as well, for plain DVC; here, an input that changes while its stage runs is an edit.
        """
        inputs = {Path(dep.fs_path) for stage in self.stages.values() for dep in stage.deps}
        kept = defaultdict[Path, set[str]](set)
        for path in (Path(out.fs_path) for stage in self.repo.index.stages for out in stage.outs):
            if not inputs.isdisjoint(path.parents):
                kept[path.parent.relative_to(Path.cwd())].add(path.name)
        for folder, names in kept.items():
            prune_outputs(folder, names)

    def list_files(self) -> dict[str, Any]:
        """What decides whether there is something to do: files and folders, none in another, and DVC's cache."""
        items = [item for stage in self.stages.values() for item in (*stage.deps, *stage.outs)]
        paths = {Path(item.fs_path) for item in items} | {Path(stage.path) for stage in self.stages.values()}
        outer = [str(path) for path in paths if paths.isdisjoint(path.parents)]
        settings = ("dvc.lock", "params.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local")
        return {"paths": sorted([*outer, *settings]), "cache": self.repo.cache.local.path}

    def has_changed(self) -> bool:
        """Whether there is something to do for any stage."""
        return any(map(Inspector().is_changed, self.stages.values()))

    def is_changed(self, name: str) -> bool:
        """Whether there is something to do for a stage."""
        return self.inspector.is_changed(self.stages[name])

    def begin(self, name: str) -> str | Job:
        """Do for a changed stage what needs no command, and say what was done; its job if it needs one."""
        stage = self.stages[name]
        if stage.cmd is None:  # a file *.dvc: DVC takes in what is there
            stage.dump(update_pipeline=False) if stage.reproduce() else None
            return "run"
        try:
            if not stage.frozen:
                stage.remove_outs(ignore_remove=False)
                self.prepare_restore(stage)
                self.inputs[name] = list_inputs(stage)
                self.repo.stage_cache.restore(stage)
        except RunCacheNotFoundError:
            command = stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd)
            inputs, outputs = (tuple(item.def_path for item in items) for items in (stage.deps, stage.outs))
            quick = stage.name.partition("@")[0] in QUICK or stage.wdir != str(Path.cwd())
            return Job(stage.name, command, stage.wdir, inputs, outputs, quick)
        self.record(name)
        return "run" if stage.frozen else "restored"

    def prepare_restore(self, stage: PipelineStage) -> None:
        """Give a stage the hashes of today's inputs, and remove what DVC would restore and is damaged.

        Hashes of outputs, as dvc.lock has them, stay with the stage only if they are of the same command and inputs.
        """
        if stage.changed_stage() or stage.changed_deps():
            for out in stage.outs:
                out.hash_info = HashInfo()
        stage.save_deps()
        self.check_cache(stage)

    def check_cache(self, stage: PipelineStage) -> None:
        """Remove what DVC's cache has of a stage and is damaged."""
        record = to_single_stage_lockfile(stage)
        outs = {out["path"]: str(out.get("md5", "")) for out in record.get("outs", [])}
        key = dict_sha256(record | {"outs": list(outs)}, exclude=["size", "nfiles"])  # of the entries in cache of runs
        runs = Path(self.repo.stage_cache.cache_dir, key[:2], key)
        check_cache(stage.addressing, outs, runs, Path(self.repo.cache.local.path))

    def record(self, name: str) -> None:
        """Take a stage into DVC's cache, where a later run finds it even if this one is killed before its end.

        DVC hashes inputs now. DvcException where one is not what it was before the command started: outputs may be of
        this or of that.
        """
        stage = self.stages[name]
        stage.save(run_cache=False)
        now = list_inputs(stage)
        if edited := sorted({path for path, _ in now ^ self.inputs.get(name, now)}):
            named = name_up_to(edited, SHOWN)
            raise DvcException(f"{named} changed while it ran, so it is not recorded: the next run repeats it")
        self.check_cache(stage)
        if all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs):
            self.repo.stage_cache.save(stage)
        stage.commit()
        self.recorded[stage.name] = to_single_stage_lockfile(stage)

    def close(self, *, stopped: bool, failed: bool) -> None:
        """At the end of a run, write what it has recorded to dvc.lock; GuardError where that has become unreadable."""
        try:
            if self.recorded and not stopped:
                self.write_lock(failed=failed)
        finally:
            write_bytes(SECONDS, json.dumps(self.seconds).encode())
            self.repo.lock.unlock()

    def write_lock(self, *, failed: bool) -> None:
        """Write what a run has recorded to dvc.lock, in the order in which `dvc repro` appends it.

        `dvc repro` ends with the first stage that fails. So what a run has appended beside one is appended anew by the
        next, where stages that come before it are there.
        """
        check_lock()
        before = Path("dvc.lock").read_text(encoding="utf-8") if Path("dvc.lock").exists() else ""
        content = {"schema": "2.0", "stages": {}} | (loads_yaml(before) or {})
        entries, names = content["stages"], set[str]()
        with suppress(OSError, ValueError, TypeError):  # none, or damaged
            names = self.stages.keys() & set(json.loads(APPENDED.read_text()))
        recorded = {name: entries.pop(name) for name in list(entries) if name in names} | self.recorded
        appended = [name for name in self.stages if name in recorded and name not in entries]
        entries |= {name: recorded[name] for name in self.stages if name in recorded}
        with self.repo.scm_context() as context:
            write_bytes(Path("dvc.lock"), dumps_yaml(content).encode())
            context.track_file("dvc.lock")
        write_bytes(APPENDED, json.dumps(appended if failed else []).encode())


def list_inputs(stage: PipelineStage) -> set[tuple[str, str]]:
    """The path and the hash of each input of a stage as DVC has last hashed them, of a folder of each of its files.

    With the time of the last change, where all of a file counts: it may be edited, read, and put back.
    """
    inputs = set[tuple[str, str]]()
    for dep in stage.deps:
        files = dep.obj if isinstance(dep.obj, Tree) else ()
        inputs |= {("/".join([dep.def_path, *key]), f"{hashed} {find_time(dep, *key)}") for key, _, hashed in files}
        inputs.add((dep.def_path, "a folder" if files else f"{dep.hash_info} {find_time(dep)}"))
    return inputs


def find_time(dep: Dependency, *key: str) -> int:
    """When a file was last changed; 0 of parameters, whose file holds others, and of what is none.

    By the time that the system alone sets: the other one comes back with a file that is moved away and back. But what
    stages have made may be one file with what DVC's cache holds, and that time changes with each name it is given.
    """
    path = Path(dep.fs_path, *key)
    if getattr(dep, "params", None) or not path.is_file():
        return 0
    state = path.stat()
    return state.st_ctime_ns if state.st_nlink == 1 else state.st_mtime_ns


def find_stages() -> list[str]:
    """The processes that run stages of this project, but for queued experiments: DVC sets their environment."""
    others, ours = list[str](), {psutil.Process(), *psutil.Process().parents()}
    for process in set(psutil.process_iter()) - ours:
        with suppress(psutil.Error):  # it has ended, or is another user's
            is_stage = process.environ().get("DVC_ROOT") == str(Path.cwd()) and "DVC_STAGE" in process.environ()
            if is_stage and "/.dvc/tmp/exps/" not in process.cwd():
                others.append(f"process {process.pid} ({' '.join(process.cmdline())[:60]})")
    return others


def explain_dvc(error: Exception) -> str:
    """A message in one line, and what to do about it."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return explain_disk(error)
    if isinstance(error, StageNotFound):
        return f"{text}, expected one that `dvc stage list` shows"
    if "not a git repository" in text:
        return "DVC needs a git repository and this folder is none: make it one with `git init`, or let `make` do it"
    if "dvc.lock" in text:
        return f"{text}: {REMEDY}"
    return f"{text}: mend it; `dvc stage list` shows the place" if "dvc.yaml" in text else text
