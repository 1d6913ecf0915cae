"""Which outputs are removed: those that dvc.lock says a stage made and DVC's cache has, and no others."""

import json
from hashlib import md5
from pathlib import Path

import pytest

from stages.lib.lock import prune_outputs

CACHE = Path(".dvc/cache/files/md5")
NAMED = ("kept", "gone", "other", "added", "link")
LOCK = "schema: '2.0'\nstages:\n  train_study@gone:\n    deps:\n    - path: models/study/my_backup\n    outs:\n"


def keep(content: bytes, suffix: str = "") -> str:
    """Put an object into DVC's cache; its hash."""
    digest = md5(content).hexdigest() + suffix
    path = CACHE / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study, of which the lock names the outputs NAMED by one hash; beside the project another one."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    names = ("kept", "gone", "other", "added", "my_backup")
    for folder in (Path("../other/gone"), *(Path("models/study", name) for name in names)):
        (folder / "parts").mkdir(parents=True)
        (folder / "parts/lanes.npz").write_text("mine" if folder.name == "other" else "weights")
    Path("models/study/added/more").touch()
    for name in ("gone.json", "a_file", "mine.json"):
        Path("models/study", name).write_text("mine" if name == "mine.json" else "weights")
    Path("models/study/link").symlink_to("../../../other/gone")
    Path("models/linked").symlink_to("../../other")
    listing = json.dumps([{"md5": keep(b"weights"), "relpath": "parts/lanes.npz"}])
    paths = [*(f"models/study/{name}" for name in NAMED), "models/linked/gone"]
    hashed = f"      hash: md5\n      md5: {keep(listing.encode(), '.dir')}\n"
    files = "".join(
        f"    - path: models/study/{name}.json\n      md5: {keep(b'weights')}\n" for name in ("gone", "mine")
    )
    Path("dvc.lock").write_text(LOCK + files + "".join(f"    - path: {path}\n{hashed}" for path in paths))
    return Path("models/study")


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_stage_that_is_gone_has_made_is_removed_and_nothing_else(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the lock calls an output, and holds something that DVC's cache lacks, is left and named."""
    prune_outputs(models, ["kept"])
    assert list_names(models) == ["a_file", "added", "kept", "link", "mine.json", "my_backup", "other"]
    assert Path("../other/gone/parts/lanes.npz").exists()
    told = [line.partition(":")[2].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["models/study/added", "models/study/mine.json", "models/study/other"]


def test_what_the_cache_cannot_give_back_is_left(models: Path) -> None:
    (CACHE / md5(b"weights").hexdigest()[:2] / md5(b"weights").hexdigest()[2:]).write_text("damaged")
    prune_outputs(models, ["kept"])
    assert (models / "gone").exists()


def test_the_cache_may_lie_elsewhere(models: Path) -> None:
    Path(".dvc/cache").rename("../cache")
    Path(".dvc/config").write_text("[cache]\n    dir = ../../cache\n")
    prune_outputs(models, ["kept"])
    assert not (models / "gone").exists()


def test_nothing_is_removed_through_a_link() -> None:
    prune_outputs(Path("models/linked"), ["kept"])
    assert Path("../other/gone/parts/lanes.npz").exists()


@pytest.mark.parametrize("text", ["", "[", "stages: 3", "stages: {a: [1], b: {outs: x}}", "\x00", "- a", None])
def test_nothing_is_removed_without_a_lock_that_says_so(models: Path, text: str | None) -> None:
    Path("dvc.lock").unlink() if text is None else Path("dvc.lock").write_text(text)
    prune_outputs(models, ["kept"])
    assert (models / "gone/parts/lanes.npz").exists()
