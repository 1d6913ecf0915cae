"""Chains of sources: each file from the first that has it, whole or not at all; pins as documented."""

import gzip
import hashlib
from pathlib import Path

import pytest

from stages.lib.data import fashion_source as fashion_mnist
from stages.lib.data import thoracic_source as thoracic_surgery
from stages.lib.data.downloads import from_mirror
from stages.lib.data.folders import from_folder
from stages.lib.data.pins import Pin, collect
from tests.conftest import ROOT
from tests.lib.data.server import FILES, FIRST, PINNED, SECOND, Server, read_all, serve_all

PINS = {"thoracic_surgery": thoracic_surgery.PINS, "fashion_mnist": fashion_mnist.PINS}


def test_pins_are_those_of_the_checksum_file() -> None:
    lines = [line for line in (ROOT / "data/source/SHA256SUMS").read_text().splitlines() if "  data/raw/" in line]
    pinned = [f"{pin.sha256}  data/raw/{dataset}/{name}" for dataset in PINS for name, pin in PINS[dataset].items()]
    assert pinned == lines


def test_pinned_sizes_are_those_of_the_formats(thoracic_csv: bytes) -> None:
    sizes = [pin.size for pin in PINS["fashion_mnist"].values()]
    assert sizes == [16 + 60_000 * 28 * 28, 8 + 60_000, 16 + 10_000 * 28 * 28, 8 + 10_000]
    pin = Pin(len(thoracic_csv), hashlib.sha256(thoracic_csv).hexdigest())
    assert PINS["thoracic_surgery"] == {"thoracic_surgery.csv": pin}


def test_each_file_comes_from_the_first_source_that_has_it(
    server: Server, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.serve(f"{FIRST}.gz", gzip.compress(FILES[FIRST]))
    (tmp_path / SECOND).write_bytes(FILES[SECOND])
    absent = tmp_path / "absent"
    chain = [from_folder(absent), from_mirror(server.url), from_folder(tmp_path)]
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
    collect(PINNED, [from_mirror(server.url)], target)
    assert read_all(target) == FILES
    assert server.requests == [f"/{SECOND}.gz"]
    assert f"{target / FIRST}: already there" in capsys.readouterr().out


@pytest.mark.parametrize("old", [b"old", None])
def test_interrupted_write_leaves_the_old_file(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None
) -> None:
    target.mkdir(parents=True)
    before = {FIRST: old} if old else {}
    for name, content in before.items():
        (target / name).write_bytes(content)
    (tmp_path / FIRST).write_bytes(FILES[FIRST])

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        collect(PINNED, [from_folder(tmp_path)], target)
    assert read_all(target.parent) == {f"small/{name}": content for name, content in before.items()}


def test_draft_of_a_killed_run_does_not_stay_among_the_raw_files(target: Path, tmp_path: Path) -> None:
    target.mkdir(parents=True)
    (target / f".{FIRST}.x1y2").write_bytes(b"half")
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    collect(PINNED, [from_folder(tmp_path)], target)
    assert read_all(target) == FILES
