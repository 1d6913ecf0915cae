"""The workers of a Dask cluster. Nothing is shared with them: a task brings its files along and returns its outputs."""

import asyncio
import hashlib
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import Client, Future, get_worker

from stages.lib.core.cli import UserError
from stages.lib.versions import find_versions
from tools.guard import is_part
from tools.repro.engine import TICK, Job, LocalEngine

SECONDS_TO_CONNECT = 10
HEAVY = ("evaluate",)  # a minute of work on all networks of a study, which would have to travel
Results = tuple[int, bytes, dict[str, bytes]]


class ClusterEngine(LocalEngine):
    """Commands on the workers of a cluster, but those that belong at home; all that are ready wait at its scheduler."""

    def __init__(self, cluster: str, jobs: int):
        super().__init__(jobs, slots=1000)
        self.address, self.files, self.versions = cluster, dict[str, Future](), list_needed()
        logging.captureWarnings(True)
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # this tells in its own words what is wrong
        for module in (__name__, find_versions.__module__):  # the workers have no copy of this project
            cloudpickle.register_pickle_by_value(sys.modules[module])
        where = {"address": cluster} if "://" in cluster else {"scheduler_file": cluster}
        try:
            self.client = Client(**where, timeout=SECONDS_TO_CONNECT, set_as_default=False)
            self.client.wait_for_workers(1, timeout=60)
        except (OSError, ValueError) as error:
            raise UserError(f"no cluster answers at {cluster} ({error}): start it (docs/cluster.md)") from None
        refuse_other_pythons(self.client.get_versions()["workers"])

    async def run(self, job: Job) -> int:
        """Run its command on a worker, and take what it has printed and written home."""
        if job.quick or job.name.partition("@")[0] in HEAVY:
            return await super().run(job)
        job.started = time.monotonic()
        job.log.write_bytes(b"")
        paths = [file for path in map(Path, job.inputs) for file in [path, *path.rglob("*")] if file.is_file()]
        files = {str(file): self.send(file.read_bytes()) for file in paths if file.suffix != ".pyc"}
        self.files |= files  # else Dask forgets them
        starter = [Path(__file__).with_name("engine.py").read_text(), job.name, job.command]
        future = self.client.submit(run_there, starter, files, list(job.outputs), self.versions, pure=False)
        try:
            while not future.done():
                await asyncio.sleep(TICK)
            status, printed, outputs = future.result()
        except Exception as error:  # whatever a task or Dask raises
            if self.client.status != "running":
                raise UserError(f"cluster {self.address} is gone; what is done is kept: start it, run again") from None
            status, printed, outputs = 1, f"{type(error).__name__}: {error}".encode(), {}
        finally:
            if not future.done() and self.client.status == "running":
                self.client.cancel([future], force=True)
        job.log.write_bytes(printed)
        for path, content in outputs.items():
            if not is_part(path, job.outputs):
                raise UserError(f"the cluster at {self.address} returned {path}, expected outputs of {job.name} alone")
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
        return status

    def send(self, content: bytes) -> Future:
        """To the first worker that needs it, once for the same content; the others have it from that one."""
        return self.client.submit(bytes, content, key=f"file-{hashlib.sha256(content).hexdigest()}")


def refuse_other_pythons(workers: Mapping[str, Any]) -> None:
    """UserError where a worker has another Python: the code that it is sent kills it, and the run would wait for it."""
    home = list_needed()["python"]
    for address, found in workers.items():
        if not (python := found["host"]["python"]).startswith(f"{home}."):
            raise UserError(f"worker {address} has Python {python}, expected {home} as at home: install it there")


def list_needed() -> dict[str, str]:
    """The versions that results depend on."""
    return find_versions() | {"python": sys.version[:4]}


def run_there(starter: list[str], files: dict[str, bytes], outputs: list[str], versions: dict[str, str]) -> Results:
    """On a worker, run a stage in a scratch folder with its files: its status, all it printed, its outputs by path."""
    if wrong := dict(list_needed().items() - versions.items()):
        said = "; ".join(f"{name} {found}, expected {versions[name]}" for name, found in sorted(wrong.items()))
        raise RuntimeError(f"a worker has {said} as at home: install the same requirements there")
    tasks, key = get_worker().state.tasks, get_worker().get_current_task()
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch, "project"), Path(scratch, "log")
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        command = [sys.executable, "-c", *starter, str(folder), str(log)]
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE) as process:
            while process.poll() is None:
                if key not in tasks or tasks[key].state != "executing":  # its client is gone, or has cancelled it
                    process.stdin.close()  # type: ignore[union-attr]  # which ends it
                time.sleep(TICK)
        written = [file for path in outputs for file in [folder / path, *(folder / path).rglob("*")] if file.is_file()]
        return process.returncode, log.read_bytes(), {str(f.relative_to(folder)): f.read_bytes() for f in written}
