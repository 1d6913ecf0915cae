"""Chains of sources: each file from the first that has it, whole or not at all; folders, mirrors and the Debian package
under every fault."""

import gzip
import hashlib
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.lib.data import download
from stages.lib.data.dataset import FileSource, Pin, make_fetch_plan
from stages.lib.data.download import Unavailable, collect_files, from_debian_package, from_folder, from_mirror
from stages.lib.data.fashion_mnist import PACKAGE, SYSTEM_FOLDER, FashionMnist
from stages.lib.data.table import Table
from stages.lib.data.thoracic_surgery import ThoracicSurgery
from tests.conftest import ROOT
from tests.lib.data.server import FILES, FIRST, PINNED, SECOND, Server, read_all
from tests.memory import run_measured

SHORT = (60.0, 0.3)  # seconds to connect, and between two bytes: for what never comes


def write_files(folder: Path) -> FileSource:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return from_folder(folder)


# Chains ------------------------------------------------------------------------------------------------------------


def test_pins_are_those_of_the_checksum_file_and_of_the_formats(thoracic_csv: bytes) -> None:
    lines = (ROOT / "data/source/SHA256SUMS").read_text().splitlines()
    pinned = {"thoracic_surgery": ThoracicSurgery.pinned, "fashion_mnist": FashionMnist.pinned}
    raw = [line for line in lines if "  data/raw/" in line]  # the other lines are those of the tables
    assert [f"{pin.sha256}  data/raw/{kind}/{name}" for kind in pinned for name, pin in pinned[kind].items()] == raw
    sizes = [pin.size for pin in FashionMnist.pinned.values()]
    assert sizes == [16 + 60_000 * 28 * 28, 8 + 60_000, 16 + 10_000 * 28 * 28, 8 + 10_000]
    assert [pin.size for pin in ThoracicSurgery.pinned.values()] == [len(thoracic_csv)]


def test_each_file_comes_from_the_first_source_that_has_it(
    server: Server, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.serve(f"{FIRST}.gz", gzip.compress(FILES[FIRST]))
    (tmp_path / SECOND).write_bytes(FILES[SECOND])
    absent = tmp_path / "absent"
    collect_files(PINNED, [from_folder(absent), from_mirror(server.url), from_folder(tmp_path)], target)
    assert read_all(target) == FILES
    assert capsys.readouterr().out.splitlines() == [
        f"{absent}: no {FIRST}: no such folder",
        f"{target / FIRST}: from {server.url}",
        f"{server.url}: no {SECOND}: HTTPError: 404 Client Error: Not Found for url: {server.url}{SECOND}.gz",
        f"{target / SECOND}: from {tmp_path}",
    ]


# Folders -----------------------------------------------------------------------------------------------------------


def test_folder_gives_plain_and_compressed_files(tmp_path: Path, target: Path) -> None:
    (tmp_path / FIRST).write_bytes(FILES[FIRST])
    (tmp_path / f"{SECOND}.gz").write_bytes(gzip.compress(FILES[SECOND]))
    collect_files(PINNED, [from_folder(tmp_path)], target)
    assert read_all(target) == FILES


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("other", b"", f"neither {FIRST} nor {FIRST}.gz is in that folder"),
        (FIRST, b"short", "5 bytes, expected 200,000"),
        (FIRST, bytes(200_000), "SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        (FIRST, bytes(300_000), "OSError: .* has more than 265,536 bytes"),
        (f"{FIRST}.gz", gzip.compress(FILES[FIRST], mtime=0)[:-9], "EOFError: Compressed file ended"),
        (f"{FIRST}.gz", b"\x1f\x8b\x09" + bytes(50), "BadGzipFile: Unknown compression method"),
        (
            f"{FIRST}.gz",
            gzip.compress(FILES[FIRST], mtime=0)[:10] + b"\xff" * 50,
            "error: Error -3 while decompressing",
        ),
        (f"{FIRST}.gz", gzip.compress(bytes(2**26), mtime=0), "more than 200,000 bytes when decompressed"),
    ],
)
def test_faulty_folder_says_why(tmp_path: Path, target: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unavailable, match=f"{tmp_path}: no {FIRST}: {reason}"):
        collect_files(PINNED, [from_folder(tmp_path)], target)
    assert not target.exists()


def test_a_pipe_is_left(tmp_path: Path, target: Path) -> None:
    os.mkfifo(tmp_path / FIRST)
    with pytest.raises(Unavailable, match="neither"):
        collect_files(PINNED, [from_folder(tmp_path)], target)
    plan = make_fetch_plan("mine", "table", {"table.csv": str(tmp_path / FIRST)}, lambda path: b"")
    with pytest.raises(Unavailable, match="is no plain file"):
        collect_files({"table.csv": PINNED[FIRST]}, Table.sources(plan, tmp_path), target)


# Web addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, "decompressed"])
def test_mirror_gives_all_files(server: Server, target: Path, answer: str | None) -> None:
    """Some servers decompress on their own."""
    for name, data in FILES.items():
        server.serve(f"{name}.gz", answer or gzip.compress(data))
    collect_files(PINNED, [from_mirror(server.url)], target)
    assert read_all(target.parent) == {f"small/{name}": data for name, data in FILES.items()}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("absent", "HTTPError: 404 Client Error: Not Found for url"),
        ("stalled", "TimeoutError: timed out"),
        ("truncated", "IncompleteRead: IncompleteRead"),
        (bytes(200_000), "SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
    ],
)
def test_lasting_fault_falls_through(
    server: Server, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: bytes | str, reason: str
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", SHORT if fault == "stalled" else download.TIMEOUT)
    server.serve(f"{FIRST}.gz", fault)
    with pytest.raises(Unavailable, match=f"{server.url}: no {FIRST}: {reason}"):
        collect_files(PINNED, [from_mirror(server.url)], target)
    assert len(server.requests) == 1
    assert not read_all(tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (random.Random(0).randbytes(2**20), "more than 265,536 bytes, expected fewer"),
        (gzip.compress(bytes(2**27), mtime=0), "more than 200,000 bytes when decompressed, expected 200,000"),
        ("endless", "more than 265,536 bytes, expected fewer"),
        ("trickle", r"gave no whole answer within [\d.]+ seconds"),
    ],
)
def test_an_answer_without_end_is_left_and_the_next_source_asked(
    server: Server, target: Path, tmp_path: Path, fault: bytes | str, reason: str
) -> None:
    """Within little memory: a gzip bomb, a body without end, a byte now and then."""
    server.serve(f"{FIRST}.gz", fault)
    write_files(tmp_path)
    code = f"""
from pathlib import Path
from stages.lib.data import download
from tests.lib.data.server import PINNED

download.PATIENCE = {0.5 if fault == "trickle" else 300}
chain = [download.from_mirror({server.url!r}), download.from_folder(Path({str(tmp_path)!r}))]
download.collect_files(PINNED, chain, Path({str(target)!r}))
"""
    done, megabytes = run_measured(code)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(f"{server.url}: no {FIRST}: {reason}", done.stdout.splitlines()[0])
    assert megabytes < 300
    assert len(server.requests) == 1
    assert read_all(target) == FILES


# The Debian package: a real repository in a folder, and a package manager that fails in every way --------------------


def make_repository(folder: Path) -> None:
    """A package source in a folder, with the real package's layout and small files."""
    inside = folder / "build" / SYSTEM_FOLDER.relative_to("/")
    inside.mkdir(parents=True)
    for name, data in FILES.items():
        (inside / f"{name}.gz").write_bytes(gzip.compress(data))
    control = f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"
    (folder / "build/DEBIAN").mkdir()
    (folder / "build/DEBIAN/control").write_text(f"{control}Description: small\n")
    archive = folder / "small.deb"
    subprocess.run(["dpkg-deb", "--build", folder / "build", archive], check=True, capture_output=True)
    pin = Pin(archive.stat().st_size, hashlib.sha256(archive.read_bytes()).hexdigest())
    index = f"{control}Filename: ./small.deb\nSize: {pin.size}\nSHA256: {pin.sha256}\nDescription: small\n"
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
    collect_files(PINNED, [from_debian_package(PACKAGE, SYSTEM_FOLDER, scratch)], target)
    assert read_all(target) == FILES


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 100", "apt-get failed: no message"),
        ("echo 'E: locked' >&2; exit 100", "apt-get failed: E: locked$"),
        (
            """case "$*" in *update) echo 'W: cannot resolve' >&2;; *) echo 'E: Unable to locate' >&2; exit 1;; esac""",
            "apt-get failed: W: cannot resolve; E: Unable to locate$",
        ),
        ("exec sleep 600", "apt-get gave no result within 0.2 seconds"),
        ("exit 0", "not enough values to unpack"),
        (None, "FileNotFoundError: .*apt-get"),
    ],
)
def test_failing_package_manager_falls_through(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    for tool, body in (("apt-get", script), ("dpkg-deb", "exit 0")) if script else ():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}" if script else str(tmp_path))
    monkeypatch.setattr(download, "APT_PATIENCE", 0.2 if script == "exec sleep 600" else 300)
    with pytest.raises(Unavailable, match=reason):
        collect_files(PINNED, [from_debian_package(PACKAGE, SYSTEM_FOLDER, tmp_path)], target)
