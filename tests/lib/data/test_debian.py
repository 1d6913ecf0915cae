"""The Debian package: a real repository in a folder, and a package manager that fails in every way."""

import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.lib.data import debian
from stages.lib.data.pins import Unavailable, collect
from tests.lib.data.server import FILES, PINNED, read_all


def make_repository(folder: Path) -> None:
    """A package source in a folder, with the real package's layout and small files."""
    inside = folder / "build" / debian.SYSTEM_FOLDER.relative_to("/")
    inside.mkdir(parents=True)
    for name, data in FILES.items():
        (inside / f"{name}.gz").write_bytes(gzip.compress(data))
    control = f"Package: {debian.PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"
    (folder / "build/DEBIAN").mkdir()
    (folder / "build/DEBIAN/control").write_text(f"{control}Description: small\n")
    archive = folder / "small.deb"
    subprocess.run(["dpkg-deb", "--build", folder / "build", archive], check=True, capture_output=True)
    size, digest = archive.stat().st_size, hashlib.sha256(archive.read_bytes()).hexdigest()
    index = f"{control}Filename: ./small.deb\nSize: {size}\nSHA256: {digest}\nDescription: small\n"
    (folder / "Packages").write_text(index)
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    (folder / "apt.conf").write_text(f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "-";\n')


@pytest.mark.skipif(not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="needs apt-get and dpkg-deb")
def test_package_is_downloaded_and_unpacked(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, scratch = tmp_path / "repository", tmp_path / "scratch"
    repository.mkdir()
    scratch.mkdir()
    make_repository(repository)
    monkeypatch.setenv("APT_CONFIG", str(repository / "apt.conf"))
    collect(PINNED, [debian.from_debian_package(scratch)], target)
    assert read_all(target) == FILES


def fake_apt_get(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool, body in (("apt-get", script), ("dpkg-deb", "exit 0")):
        (folder / tool).write_text(f"#!/bin/sh\n{body}\n")
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 100", "apt-get failed: no message"),
        ("echo 'E: locked' >&2; exit 100", "apt-get failed: E: locked$"),
        (
            """case "$*" in *update) echo 'W: cannot resolve' >&2;; *) echo 'E: Unable to locate' >&2; exit 1;; esac""",
            "apt-get failed: W: cannot resolve; E: Unable to locate$",
        ),
        ("exec sleep 20", "apt-get gave no result within 0.2 seconds"),
        ("exit 0", "not enough values to unpack"),
    ],
)
def test_failing_package_manager_falls_through(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    fake_apt_get(tmp_path, script, monkeypatch)
    monkeypatch.setattr(debian, "PATIENCE", 0.2)
    with pytest.raises(Unavailable, match=reason):
        collect(PINNED, [debian.from_debian_package(tmp_path)], target)


def test_machine_without_package_manager_falls_through(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get is not on this machine"):
        collect(PINNED, [debian.from_debian_package(tmp_path)], target)


def test_package_manager_keeps_its_state_in_the_scratch_folder(tmp_path: Path) -> None:
    command = debian.apt_command(tmp_path)
    assert command[0] == "apt-get"
    assert {f"Dir::State::lists={tmp_path}/lists", f"Dir::Cache={tmp_path}/cache"} < set(command)
