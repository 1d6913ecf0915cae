"""Sources of raw data under every fault of theirs; servers, packages and files are real, on this machine alone."""

import gzip
import hashlib
import io
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages import fetch
from stages.lib import debian, sources
from stages.lib.sources import PINS, Pin, Unavailable, collect

ROOT = Path(__file__).parents[1]
CSV = (ROOT / "data/source/thoracic_surgery.csv").read_bytes()
FILES = {name: random.Random(name).randbytes(200_000) for name in ("images-idx3-ubyte", "labels-idx1-ubyte")}
PINNED = {name: Pin(len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
FIRST, SECOND = FILES
TIMEOUT = (1.0, 0.3)


class Server(ThreadingHTTPServer):
    """Gives the answers it was told in order, and then the last one again; an answer is bytes or a kind of fault."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[bytes | str]] = {}
        self.requests: list[str] = []
        self.is_stalled, self.is_over = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def serve(self, name: str, *answers: bytes | str) -> None:
        self.answers[f"/{name}"] = list(answers)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answers = self.server.answers.get(self.path, ["absent"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "absent":
            self.send_error(404)
            return
        body = answer if isinstance(answer, bytes) else gzip.compress(FILES[self.path[1:-3]])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if answer == "decompressed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        whole = isinstance(answer, bytes) or answer == "decompressed"
        self.wfile.write(body if whole else body[: len(body) // 2])
        if answer == "stalled":
            self.server.is_stalled.set()
            self.server.is_over.wait(30)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.is_over.set()
        server.shutdown()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data/raw/small"


def serve_all(server: Server) -> None:
    for name, data in FILES.items():
        server.serve(f"{name}.gz", gzip.compress(data))


def unused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Pins --------------------------------------------------------------------------------------------------------------


def test_pins_are_those_of_the_checksum_file() -> None:
    lines = (ROOT / "data/source/SHA256SUMS").read_text().splitlines()
    pinned = [f"{pin.sha256}  data/raw/{dataset}/{name}" for dataset in PINS for name, pin in PINS[dataset].items()]
    assert pinned == lines


def test_pinned_sizes_are_those_of_the_formats() -> None:
    sizes = [pin.size for pin in PINS["fashion_mnist"].values()]
    assert sizes == [16 + 60_000 * 28 * 28, 8 + 60_000, 16 + 10_000 * 28 * 28, 8 + 10_000]
    assert PINS["thoracic_surgery"]["thoracic_surgery.csv"] == Pin(len(CSV), hashlib.sha256(CSV).hexdigest())


# Thoracic Surgery --------------------------------------------------------------------------------------------------


def make_uci_archive() -> bytes:
    """The committed table in the form UCI gives it: ARFF in a zip, rows by id but without it, codes with prefixes."""
    header, *rows = (line.split(",") for line in CSV.decode().splitlines())
    rows.sort(key=lambda row: int(row[0]))
    prefixes = {"DGN": "DGN", "PRE6": "PRZ", "PRE14": "OC", "PRE4": "", "PRE5": "", "AGE": ""}
    columns = {
        name: [prefixes[name] + value if name in prefixes else "FT"[int(value)] for value in values]
        for name, *values in list(zip(header, *rows, strict=True))[1:]
    }
    kinds = {
        name: "numeric" if prefixes.get(name) == "" else f"{{{','.join(sorted(set(values)))}}}"
        for name, values in columns.items()
    }
    lines = ["% Wrocław", "@relation 'Thoracic_Surgery_Data'"]
    lines += [f"@attribute {name} {kind}" for name, kind in kinds.items()]
    lines += ["@data", *map(",".join, zip(*columns.values(), strict=True))]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("ThoraricSurgery.arff", "\n".join(lines).encode("iso8859-2"))
    return archive.getvalue()


def test_every_source_of_thoracic_surgery_ends_in_the_same_bytes(server: Server, tmp_path: Path) -> None:
    server.serve("tutorial.csv", CSV.split(b"\n", 1)[1].replace(b"\n", b"\r\n"))
    server.serve("uci.zip", make_uci_archive())
    chain = [
        sources.from_project(ROOT / "data/source"),
        sources.from_tutorial(f"{server.url}tutorial.csv"),
        sources.from_uci(f"{server.url}uci.zip"),
    ]
    for number, source in enumerate(chain):
        collect(PINS["thoracic_surgery"], [source], tmp_path / str(number))
        assert read_all(tmp_path / str(number)) == {"thoracic_surgery.csv": CSV}


def test_another_table_is_refused(server: Server, target: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("other.arff", "@relation other\n@attribute PRE4 numeric\n@data\n1.5\n")
    server.serve("page.zip", b"<html>sign in</html>")
    server.serve("other.zip", archive.getvalue())
    server.serve("page.csv", b"<html>")
    server.serve("changed.csv", CSV.split(b"\n", 1)[1].replace(b"2.88", b"2.89"))
    for source, reason in [
        (sources.from_uci(f"{server.url}page.zip"), "BadZipFile: File is not a zip file"),
        (sources.from_uci(f"{server.url}other.zip"), "no field of name DGN"),
        (sources.from_tutorial(f"{server.url}page.csv"), "could not convert string to float"),
        (sources.from_tutorial(f"{server.url}changed.csv"), "SHA-256 [0-9a-f]{64}, expected fa53af63"),
    ]:
        with pytest.raises(Unavailable, match=reason):
            collect(PINS["thoracic_surgery"], [source], target)
    assert not target.exists()


# Folders -----------------------------------------------------------------------------------------------------------


def test_folder_gives_plain_and_compressed_files(tmp_path: Path, target: Path) -> None:
    (tmp_path / FIRST).write_bytes(FILES[FIRST])
    (tmp_path / f"{SECOND}.gz").write_bytes(gzip.compress(FILES[SECOND]))
    collect(PINNED, [sources.from_folder(tmp_path)], target)
    assert read_all(target) == FILES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such folder"),
        ({}, f"neither {FIRST} nor {FIRST}.gz is in that folder"),
        ({FIRST: b"short"}, "5 bytes, expected 200,000"),
        ({FIRST: bytes(200_000)}, "SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        ({f"{FIRST}.gz": gzip.compress(FILES[FIRST])[:-9]}, "EOFError: Compressed file ended"),
        ({f"{FIRST}.gz": b"\x1f\x8b\x09" + bytes(50)}, "BadGzipFile: Unknown compression method"),
        ({f"{FIRST}.gz": gzip.compress(FILES[FIRST])[:10] + b"\xff" * 50}, "error: Error -3 while decompressing"),
    ],
)
def test_faulty_folder_says_why(tmp_path: Path, target: Path, content: dict[str, bytes] | None, reason: str) -> None:
    folder = tmp_path / "given"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(Unavailable, match=f"{folder}: no {FIRST}: {reason}"):
        collect(PINNED, [sources.from_folder(folder)], target)
    assert not target.exists()


# Mirrors -----------------------------------------------------------------------------------------------------------


def test_mirror_gives_all_files(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve_all(server)
    collect(PINNED, [sources.from_mirror(server.url)], target)
    assert read_all(target.parent) == {f"small/{name}": data for name, data in FILES.items()}
    assert capsys.readouterr() == ("".join(f"{target / name}: from {server.url}\n" for name in FILES), "")


@pytest.mark.parametrize(
    "fault", ["truncated", b"", b"<html>sign in</html>", gzip.compress(b"old", mtime=0), b"\x1f\x8b\x08broken"]
)
def test_damaged_download_is_tried_again(server: Server, target: Path, fault: bytes | str) -> None:
    serve_all(server)
    server.serve(f"{FIRST}.gz", fault, gzip.compress(FILES[FIRST]))
    collect(PINNED, [sources.from_mirror(server.url)], target)
    assert read_all(target) == FILES
    assert server.requests == [f"/{FIRST}.gz", f"/{FIRST}.gz", f"/{SECOND}.gz"]


def test_download_that_the_server_decompresses_is_right(server: Server, target: Path) -> None:
    for name in FILES:
        server.serve(f"{name}.gz", "decompressed")
    collect(PINNED, [sources.from_mirror(server.url)], target)
    assert read_all(target) == FILES


@pytest.mark.parametrize(
    ("fault", "num_requests", "reason"),
    [
        ("absent", 1, "HTTPError: 404 Client Error: Not Found for url"),
        ("stalled", 1, "TimeoutError: timed out"),
        ("truncated", 2, "IncompleteRead: IncompleteRead"),
        (bytes(200_000), 2, "SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
    ],
)
def test_lasting_fault_falls_through(
    server: Server, target: Path, tmp_path: Path, fault: bytes | str, num_requests: int, reason: str
) -> None:
    server.serve(f"{FIRST}.gz", fault)
    with pytest.raises(Unavailable, match=f"{server.url}: no {FIRST}: {reason}"):
        collect(PINNED, [sources.from_mirror(server.url, timeout=TIMEOUT)], target)
    assert len(server.requests) == num_requests
    assert not read_all(tmp_path)


def test_refused_connection_falls_through(target: Path) -> None:
    with pytest.raises(Unavailable, match=r"ConnectionRefusedError: .* Connection refused"):
        collect(PINNED, [sources.from_mirror(unused_url())], target)


def test_killed_download_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.serve(f"{FIRST}.gz", "stalled")
    code = (
        "from pathlib import Path; from stages.lib.sources import *;"
        f"collect({{{FIRST!r}: Pin(1, '')}}, [from_mirror({server.url!r})], Path({str(tmp_path)!r}, 'data/raw/small'))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        assert server.is_stalled.wait(20)
        process.kill()
    assert not read_all(tmp_path)


# Chains ------------------------------------------------------------------------------------------------------------


def test_each_file_comes_from_the_first_source_that_has_it(
    server: Server, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.serve(f"{FIRST}.gz", gzip.compress(FILES[FIRST]))
    (tmp_path / SECOND).write_bytes(FILES[SECOND])
    absent = tmp_path / "absent"
    chain = [sources.from_folder(absent), sources.from_mirror(server.url), sources.from_folder(tmp_path)]
    collect(PINNED, chain, target)
    assert read_all(target) == FILES
    assert capsys.readouterr().out.splitlines() == [
        f"{absent}: no {FIRST}: no such folder",
        f"{target / FIRST}: from {server.url}",
        f"{server.url}: no {SECOND}: HTTPError: 404 Client Error: Not Found for url: {server.url}{SECOND}.gz",
        f"{target / SECOND}: from {tmp_path}",
    ]


def test_right_files_are_kept_and_wrong_ones_replaced(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_all(server)
    target.mkdir(parents=True)
    (target / FIRST).write_bytes(FILES[FIRST])
    (target / SECOND).write_bytes(bytes(200_000))
    collect(PINNED, [sources.from_mirror(server.url)], target)
    assert read_all(target) == FILES
    assert server.requests == [f"/{SECOND}.gz"]
    assert f"{target / FIRST}: already there" in capsys.readouterr().out


def test_interrupted_write_leaves_the_old_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.mkdir(parents=True)
    (target / FIRST).write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        sources.write_atomically(target / FIRST, b"new")
    assert read_all(target.parent) == {f"small/{FIRST}": b"old"}


# The Debian package ------------------------------------------------------------------------------------------------


def make_repository(folder: Path) -> None:
    """A package source in a folder, with the real package's layout and small files."""
    inside = folder / "build" / sources.SYSTEM_FOLDER.relative_to("/")
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
        ("exit 100", "apt-get failed: no word of explanation"),
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


# The stage ---------------------------------------------------------------------------------------------------------


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fetch", *arguments])
    fetch.main()


def test_stage_fills_the_raw_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data/source", "data/source")
    run_main(monkeypatch, "thoracic_surgery")
    assert read_all(tmp_path / "data/raw") == {"thoracic_surgery/thoracic_surgery.csv": CSV}


def test_stage_asks_a_named_folder_and_no_other_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PINS, "fashion_mnist", PINNED)
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, "given")
    with pytest.raises(SystemExit, match=r"error: no source gave .*\n  given: no .*: no such folder\nTo mend it,"):
        run_main(monkeypatch, "fashion_mnist")
    Path("other").mkdir()
    for name, data in FILES.items():
        Path("other", name).write_bytes(data)
    run_main(monkeypatch, "fashion_mnist", "--folder", "other")
    assert read_all(tmp_path / "data/raw/fashion_mnist") == FILES


def test_stage_lists_every_source_when_all_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(fetch.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", tmp_path / "absent")
    monkeypatch.setattr(sources, "ZALANDO_URL", unused_url())
    monkeypatch.setattr(sources, "KERAS_URL", unused_url())
    with pytest.raises(SystemExit) as error:
        run_main(monkeypatch, "fashion_mnist")
    text = str(error.value)
    reasons = ["absent: no train", sources.ZALANDO_URL, sources.KERAS_URL, f"Debian package {debian.PACKAGE}"]
    places = [text.index(words) for words in [*reasons, fetch.FOLDER_VARIABLE, f"apt-get install {debian.PACKAGE}"]]
    assert places == sorted(places)


def test_stage_says_when_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data/source", "data/source")
    Path("data/raw").write_text("in the way")
    with pytest.raises(SystemExit, match=r"error: cannot write: .*data/raw"):
        run_main(monkeypatch, "thoracic_surgery")


@pytest.mark.parametrize("arguments", [[], ["thoracic_surgery"], ["fashion_mnist"]])
def test_help_helps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_main(monkeypatch, *arguments, "--help")
    assert "usage: python -m stages.fetch" in capsys.readouterr().out


def test_stage_starts_without_heavy_imports() -> None:
    heavy = {"tensorflow", "keras", "dvc", "pandas", "scipy", "sklearn"}
    code = f"import sys, stages.fetch; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
