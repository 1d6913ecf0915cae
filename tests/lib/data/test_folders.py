"""Folders as sources, under every fault of their files."""

import gzip
import os
from pathlib import Path

import pytest

from stages.lib.data import table_source as table
from stages.lib.data.fetch_plan import make_fetch_plan
from stages.lib.data.folders import from_folder
from stages.lib.data.pins import Unavailable, collect
from tests.lib.data.server import FILES, FIRST, PINNED, SECOND, read_all


def test_folder_gives_plain_and_compressed_files(tmp_path: Path, target: Path) -> None:
    (tmp_path / FIRST).write_bytes(FILES[FIRST])
    (tmp_path / f"{SECOND}.gz").write_bytes(gzip.compress(FILES[SECOND]))
    collect(PINNED, [from_folder(tmp_path)], target)
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
        collect(PINNED, [from_folder(folder)], target)
    assert not target.exists()


def test_a_bomb_and_a_pipe_are_left(tmp_path: Path, target: Path) -> None:
    (tmp_path / f"{FIRST}.gz").write_bytes(gzip.compress(bytes(2**26)))
    with pytest.raises(Unavailable, match="more than 200,000 bytes when decompressed"):
        collect(PINNED, [from_folder(tmp_path)], target)
    (tmp_path / FIRST).write_bytes(bytes(300_000))
    with pytest.raises(Unavailable, match="has more than 265,536 bytes"):
        collect(PINNED, [from_folder(tmp_path)], target)
    (tmp_path / FIRST).unlink()
    (tmp_path / f"{FIRST}.gz").unlink()
    os.mkfifo(tmp_path / FIRST)
    with pytest.raises(Unavailable, match="neither"):
        collect(PINNED, [from_folder(tmp_path)], target)
    plan = make_fetch_plan("mine", "table", {"table.csv": str(tmp_path / FIRST)}, lambda path: b"")
    with pytest.raises(Unavailable, match="is no plain file"):
        collect({"table.csv": PINNED[FIRST]}, [table.from_plan(plan)], target)
