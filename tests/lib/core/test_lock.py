"""Which folders are removed: those that dvc.lock says a stage made, and no others."""

from pathlib import Path

import pytest

from stages.lib.core.lock import prune_folders

LOCK = """\
schema: '2.0'
stages:
  train_study@kept:
    cmd: train
    outs:
    - path: models/study/kept
  train_study@gone:
    cmd: train
    deps:
    - path: models/study/my_backup
    outs:
    - path: models/study/gone
    - path: models/study/a_file
    - path: models/linked/gone
    - path: models/study/link
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study; beside the project another one."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("dvc.lock").write_text(LOCK)
    for folder in ("models/study/kept", "models/study/gone", "models/study/my_backup", "../other/gone"):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "lanes.npz").touch()
    Path("models/study/a_file").touch()
    Path("models/study/link").symlink_to("../../../other/gone")
    Path("models/linked").symlink_to("../../other")
    return Path("models/study")


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_stage_that_is_gone_has_made_is_removed_and_nothing_else(models: Path) -> None:
    prune_folders(models, ["kept"])
    assert list_names(models) == ["a_file", "kept", "link", "my_backup"]
    assert Path("../other/gone/lanes.npz").exists()


def test_nothing_is_removed_through_a_link() -> None:
    prune_folders(Path("models/linked"), ["kept"])
    assert Path("../other/gone/lanes.npz").exists()


@pytest.mark.parametrize("text", ["", "[", "stages: 3", "stages: {a: [1], b: {outs: x}}", "\x00", "- a", None])
def test_nothing_is_removed_without_a_lock_that_says_so(models: Path, text: str | None) -> None:
    Path("dvc.lock").unlink() if text is None else Path("dvc.lock").write_text(text)
    prune_folders(models, ["kept"])
    assert (models / "gone/lanes.npz").exists()
