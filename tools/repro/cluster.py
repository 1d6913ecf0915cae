"""The workers of a Dask cluster. Nothing is shared with them: a task brings its files along and returns its outputs."""

import hashlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue

import cloudpickle
from distributed import Client, Future

from stages.lib.base.commands import UserError
from tools.repro import remote
from tools.repro.engine import Engine, Job


class ClusterError(UserError):
    """There is no cluster, or it is gone."""


class ClusterEngine:
    """Commands on the workers of a cluster, one at a time a thread; those that belong at home run on the engine `home`.

    address: of the scheduler (`tcp://host:8786`), or the file that it has written
    """

    def __init__(self, address: str, home: Engine):
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # this tells in its own words what is wrong
        warnings.filterwarnings("ignore", "Sending large graph")
        cloudpickle.register_pickle_by_value(remote)  # the workers have no copy of this project
        self.address, self.home = address, home
        self.jobs: dict[str, tuple[Job, Future]] = {}
        self.files: dict[str, Future] = {}  # by the digest of their content
        self.ended: SimpleQueue[Future] = SimpleQueue()
        where = {"address": address} if "://" in address else {"scheduler_file": address}
        try:
            self.client = Client(**where, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no cluster answers at {address} ({error}), expected a Dask scheduler: start it (docs/cluster.md)"
            ) from None
        self.versions = remote.find_versions()

    @property
    def slots(self) -> int:
        """As many as there are threads; those beyond wait at the scheduler, so that no worker has to wait for us."""
        return self.home.slots + sum(self.ask("nthreads").values())

    def ask(self, method: str) -> dict[str, int]:
        try:
            if self.client.status == "running":
                return getattr(self.client, method)()
        except OSError:
            pass
        raise ClusterError(
            f"the cluster at {self.address} is gone, expected its scheduler to answer: what is done is kept; "
            "start it and run this again, or go on without it"
        )

    def submit(self, job: Job) -> None:
        if job.at_home:
            self.home.submit(job)
            return
        job.log.write_bytes(b"")
        files = {path: self.send(Path(path).read_bytes()) for path in list_files(job.inputs)}
        future = self.client.submit(
            lambda *arguments, **options: remote.run(*arguments, **options),
            job.name,
            job.command,
            files,
            job.outputs,
            versions=self.versions,
            pure=False,
        )
        self.jobs[future.key] = job, future
        future.add_done_callback(self.ended.put)

    def send(self, content: bytes) -> Future:
        """To the first worker that needs it; the others have it from that one, and the scheduler can send it again."""
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.files:
            self.files[digest] = self.client.submit(bytes, content, key=f"file-{digest}")
        return self.files[digest]

    def wait(self, seconds: float) -> Iterable[tuple[str, int]]:
        ended = list(self.home.wait(0 if self.jobs else seconds))
        if self.jobs:
            try:
                future = self.ended.get(timeout=0 if ended else seconds) if seconds else self.ended.get_nowait()
            except Empty:
                return ended
            ended.append(self.collect(future))
        return ended

    def collect(self, future: Future) -> tuple[str, int]:
        """Take a command's results home."""
        try:
            status, printed, outputs = future.result()
        except Exception as error:  # whatever a task or Dask raises
            self.ask("nthreads")
            status, printed, outputs = 1, f"{type(error).__name__}: {error}".encode(), {}
        job, _ = self.jobs.pop(future.key)
        job.log.write_bytes(printed)
        for path, content in outputs.items():
            if not is_part(path, job.outputs):
                raise ClusterError(
                    f"the cluster at {self.address} returned {path}, expected outputs of {job.name} alone"
                )
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
        return job.name, status

    def stop(self) -> None:
        self.home.stop()
        if self.client.status == "running":
            self.client.cancel([future for _, future in self.jobs.values()], force=True)
        self.client.close(timeout=2)


def list_files(paths: Iterable[str]) -> Iterator[str]:
    for path in map(Path, paths):
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file.as_posix() for file in found if file.is_file() and "__pycache__" not in file.parts)


def is_part(path: str, outputs: Iterable[str]) -> bool:
    """Whether it is one of the outputs, or lies in one."""
    found = PurePosixPath(path)
    return ".." not in found.parts and any(found.is_relative_to(output) for output in outputs)
