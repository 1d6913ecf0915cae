"""Fashion-MNIST from the package manager of Debian and Ubuntu, without root and without installing anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stages.lib.data.folders import read_folder
from stages.lib.data.pins import Source, Unavailable

PACKAGE = "dataset-fashion-mnist"  # holds the four files as .gz, in SYSTEM_FOLDER
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
PATIENCE = 600.0  # seconds for one command: the package is 31 MB


def from_debian_package(scratch: Path) -> Source:
    """The package, unpacked in the folder `scratch`."""
    unpacked = scratch / "unpacked"

    def read(name: str, size: int) -> bytes:
        if not unpacked.exists():
            unpack_package(scratch, unpacked)
        return read_folder(unpacked / SYSTEM_FOLDER.relative_to("/"), name, size)

    return Source(f"Debian package {PACKAGE}", read)


def unpack_package(scratch: Path, unpacked: Path) -> None:
    """Download the package with a package index of our own, and unpack it without installing it."""
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"{tool} is not on this machine")
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True, exist_ok=True)
    warnings = run_command([*apt_command(scratch), "update"], scratch)
    run_command([*apt_command(scratch), "download", PACKAGE], scratch, warnings)
    (archive,) = scratch.glob("*.deb")
    run_command(["dpkg-deb", "-x", archive.name, unpacked.name], scratch)


def apt_command(scratch: Path) -> list[str]:
    """apt-get with its state in the folder `scratch`, so that it needs no root, and without long waits."""
    options = {
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",  # as root it would drop to a user who cannot write to `scratch`
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": 10,
        "Acquire::https::Timeout": 10,
    }
    return ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


def run_command(command: Sequence[str], directory: Path, earlier_warnings: str = "") -> str:
    """Run a command and return its warnings; raises Unavailable with its first and last line of errors."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} gave no result within {PATIENCE:g} seconds") from error
    warnings = earlier_warnings + done.stderr
    if done.returncode:
        messages = warnings.splitlines() or ["no message"]
        raise Unavailable(f"{command[0]} failed: {'; '.join(dict.fromkeys([messages[0], messages[-1]]))}")
    return warnings
