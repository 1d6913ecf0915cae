"""Files are whole or absent, their bytes repeat, and what is missing is named with the stage that writes it."""

import os
from pathlib import Path

import numpy as np
import pytest

from stages.lib import artifacts
from stages.lib.samples import HeldOut

HELD_OUT = HeldOut(
    inputs=np.arange(6, dtype=np.float32).reshape(3, 2),
    labels=np.array([0, 1, 0], np.uint8),
    identifiers=np.arange(3, dtype=np.int32),
    test=np.array([[0, 2]], np.int32),
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_record_survives_its_file_and_its_bytes_repeat() -> None:
    for name in ("first.npz", "second.npz"):
        artifacts.write_record(Path(name), HELD_OUT)
    found = artifacts.read_record(HeldOut, Path("first.npz"), written_by="preprocess")
    for name, value in vars(HELD_OUT).items():
        np.testing.assert_array_equal(getattr(found, name), value)
        assert getattr(found, name).dtype == value.dtype
    assert Path("first.npz").read_bytes() == Path("second.npz").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("folder/file")
    artifacts.write_bytes(path, b"old")
    monkeypatch.setattr(os, "fdopen", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        artifacts.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_missing_is_named_with_the_stage_that_writes_it() -> None:
    with pytest.raises(artifacts.MissingArtifactError, match=r"models/s/v/lanes.npz is missing, .* `train_s@v`"):
        artifacts.load_run("s", "v")
    with pytest.raises(artifacts.MissingArtifactError, match="holds no study, expected the output of `plan`"):
        artifacts.load_study_plans()


def test_runs_of_variants_that_are_gone_are_removed() -> None:
    for variant in ("kept", "gone"):
        artifacts.write_bytes(Path("models/study", variant, "lanes.npz"), b"")
    artifacts.prune_runs("study", ["kept"])
    assert [folder.name for folder in Path("models/study").iterdir()] == ["kept"]
