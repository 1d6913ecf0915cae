"""What a worker of a cluster does for one command. It is sent there, so it needs the standard library alone."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("keras", "numpy", "pandas", "scikit-learn", "scipy", "tensorflow", "tensorflow-cpu")
# The kernel kills the command with the worker (PR_SET_PDEATHSIG), whatever that dies of.
START = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])"


def find_versions() -> dict[str, str]:
    """The versions that results depend on."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in LIBRARIES:
        try:
            found[name.removesuffix("-cpu")] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run(
    name: str, command: str, files: Mapping[str, bytes], outputs: Iterable[str], *, versions: Mapping[str, str]
) -> tuple[int, bytes, dict[str, bytes]]:
    """Run a stage in a scratch folder that holds its files: its status, all it printed, its outputs by path."""
    found = find_versions()
    if wrong := [key for key in versions if found.get(key) != versions[key]]:
        said = "; ".join(f"{key} {found.get(key, 'missing')}, expected {versions[key]}" for key in wrong)
        raise RuntimeError(f"a worker has {said} as at home: install the same requirements there")
    with tempfile.TemporaryDirectory() as scratch:
        folder, log = Path(scratch, "project"), Path(scratch, "log")
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        status = call(command, folder, log, name)
        results = [file for path in outputs for file in [folder / path, *(folder / path).rglob("*")]]
        results = [file for file in results if file.is_file() and not file.is_symlink()]
        return status, log.read_bytes(), {str(file.relative_to(folder)): file.read_bytes() for file in results}


def call(command: str, folder: Path, log: Path, name: str) -> int:
    """The status of a command, which is killed when its result is not wanted any more."""
    from distributed import get_worker

    worker = get_worker()
    tasks, key = worker.state.tasks, worker.get_current_task()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = os.environ | {"PATH": path, "DVC_ROOT": str(folder), "DVC_STAGE": name}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", START, command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while process.poll() is None:
        if key not in tasks or tasks[key].state != "executing":  # its client is gone, or has cancelled it
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    return process.returncode
