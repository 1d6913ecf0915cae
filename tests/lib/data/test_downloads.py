"""Mirrors as sources, under every fault of a server; the server is real, on this machine."""

import gzip
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.data.downloads import from_mirror
from stages.lib.data.pins import Unavailable, collect
from tests.conftest import ROOT
from tests.lib.data.server import FILES, FIRST, PINNED, SECOND, Server, read_all, serve_all, unused_url
from tests.memory import run_measured

TIMEOUT = (1.0, 0.3)


def test_mirror_gives_all_files(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve_all(server)
    collect(PINNED, [from_mirror(server.url)], target)
    assert read_all(target.parent) == {f"small/{name}": data for name, data in FILES.items()}
    assert capsys.readouterr() == ("".join(f"{target / name}: from {server.url}\n" for name in FILES), "")


@pytest.mark.parametrize(
    "fault", ["truncated", b"", b"<html>sign in</html>", gzip.compress(b"old", mtime=0), b"\x1f\x8b\x08broken"]
)
def test_damaged_download_is_tried_again(server: Server, target: Path, fault: bytes | str) -> None:
    serve_all(server)
    server.serve(f"{FIRST}.gz", fault, gzip.compress(FILES[FIRST]))
    collect(PINNED, [from_mirror(server.url)], target)
    assert read_all(target) == FILES
    assert server.requests == [f"/{FIRST}.gz", f"/{FIRST}.gz", f"/{SECOND}.gz"]


def test_download_that_the_server_decompresses_is_right(server: Server, target: Path) -> None:
    for name in FILES:
        server.serve(f"{name}.gz", "decompressed")
    collect(PINNED, [from_mirror(server.url)], target)
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
        collect(PINNED, [from_mirror(server.url, timeout=TIMEOUT)], target)
    assert len(server.requests) == num_requests
    assert not read_all(tmp_path)


@pytest.mark.parametrize(
    ("fault", "num_requests", "reason"),
    [
        (random.Random(0).randbytes(2**20), 1, "more than 265,536 bytes, expected fewer"),
        (gzip.compress(bytes(2**27), mtime=0), 2, "more than 200,000 bytes when decompressed, expected 200,000"),
        ("endless", 1, "more than 265,536 bytes, expected fewer"),
        ("trickle", 1, r"gave no whole answer within [\d.]+ seconds"),
    ],
)
def test_an_answer_without_end_is_left_and_the_next_source_asked(
    server: Server, target: Path, tmp_path: Path, fault: bytes | str, num_requests: int, reason: str
) -> None:
    """Within little memory: a gzip bomb, a body without end, a byte now and then."""
    server.serve(f"{FIRST}.gz", fault)
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    code = f"""
from pathlib import Path
from stages.lib.data.downloads import from_mirror
from stages.lib.data.folders import from_folder
from stages.lib.data.pins import collect
from tests.lib.data.server import PINNED

chain = [from_mirror({server.url!r}, patience=0.5), from_folder(Path({str(tmp_path)!r}))]
collect(PINNED, chain, Path({str(target)!r}))
"""
    done, megabytes = run_measured(code)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(f"{server.url}: no {FIRST}: {reason}", done.stdout.splitlines()[0])
    assert megabytes < 300
    assert len(server.requests) == num_requests
    assert read_all(target) == FILES


def test_the_body_of_a_redirect_is_not_read(server: Server, target: Path) -> None:
    serve_all(server)
    server.serve(f"{FIRST}.gz", "detour")
    server.serve(f"other/{FIRST}.gz", gzip.compress(FILES[FIRST]))
    collect(PINNED, [from_mirror(server.url, timeout=TIMEOUT, patience=5)], target)
    assert read_all(target) == FILES


def test_refused_connection_falls_through(target: Path) -> None:
    with pytest.raises(Unavailable, match=r"ConnectionRefusedError: .* Connection refused"):
        collect(PINNED, [from_mirror(unused_url())], target)


def test_killed_download_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.serve(f"{FIRST}.gz", "stalled")
    code = (
        "from pathlib import Path; from stages.lib.data.pins import *; from stages.lib.data.downloads import *;"
        f"collect({{{FIRST!r}: Pin(1, '')}}, [from_mirror({server.url!r})], Path({str(tmp_path)!r}, 'data/raw/small'))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
        assert server.is_stalled.wait(20)
        process.kill()
    assert not read_all(tmp_path)
