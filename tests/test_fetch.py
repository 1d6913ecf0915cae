"""The stage fetch: which sources it asks for each kind of data set, and what it says when none has the files."""

import shutil
import sys
from pathlib import Path

import pytest

from stages import fetch
from stages.lib.core.cli import UserError
from stages.lib.core.records import save_plans
from stages.lib.data import fashion_mnist
from stages.lib.data.dataset import FetchPlan, make_fetch_plan
from tests.conftest import ROOT
from tests.lib.data.server import FILES, PINNED, read_all, unused_url

TABLE = b"age,outcome\n61,yes\n58,no\n"


@pytest.fixture
def folder(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the plans of four data sets and of a collection of two, in which the tests run."""
    monkeypatch.delenv(fashion_mnist.FOLDER_VARIABLE, raising=False)
    shutil.copytree(ROOT / "data/source", "data/source")
    Path("data/source/mine.csv").write_bytes(TABLE)
    kinds = {"thoracic_surgery": "thoracic_surgery", "patients": "thoracic_surgery", "clothes": "fashion_mnist"}
    save_plans({f"_datasets/{name}": {name: FetchPlan(name, kind, {})} for name, kind in kinds.items()})
    table = make_fetch_plan("mine", "table", {"table.csv": "data/source/mine.csv"}, lambda path: TABLE)
    save_plans({"_datasets/mine": {"mine": table}, "_datasets/both": {"both/one": table, "both/two": table}})
    return inside


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["fetch", *arguments])
    fetch.main()


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("thoracic_surgery", "thoracic_surgery.csv"), ("patients", "thoracic_surgery.csv"), ("mine", "table.csv")],
)
def test_stage_fills_the_raw_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, name: str) -> None:
    run_main(monkeypatch, dataset)
    source = "mine.csv" if dataset == "mine" else name
    assert read_all(folder / "data/raw") == {f"{dataset}/{name}": Path("data/source", source).read_bytes()}


def test_a_collection_has_a_folder_for_each_of_its_data_sets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_main(monkeypatch, "both")
    assert read_all(folder / "data/raw") == {f"both/{name}/table.csv": TABLE for name in ("one", "two")}


def test_table_that_is_not_the_planned_one_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "data/source/mine.csv"
    path.write_bytes(TABLE.replace(b"61", b"62"))
    with pytest.raises(UserError, match=r"mine\.csv: no table\.csv: SHA-256 .*(?s:.*)To mend it, .*run `dvc repro`"):
        run_main(monkeypatch, "mine")
    path.unlink()
    with pytest.raises(UserError, match=r"mine\.csv: no table\.csv: FileNotFoundError"):
        run_main(monkeypatch, "mine")
    assert not (folder / "data/raw").exists()


def test_stage_asks_a_named_folder_and_no_other_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist.FashionMnist, "pinned", PINNED)
    monkeypatch.setenv(fashion_mnist.FOLDER_VARIABLE, "given")
    with pytest.raises(UserError, match=r"no source gave .*\n  given: no .*: no such folder\nTo mend it,"):
        run_main(monkeypatch, "clothes")
    Path("other").mkdir()
    for name, data in FILES.items():
        Path("other", name).write_bytes(data)
    monkeypatch.setenv(fashion_mnist.FOLDER_VARIABLE, "other")
    run_main(monkeypatch, "clothes")
    assert read_all(folder / "data/raw/clothes") == FILES


def test_stage_lists_every_source_when_all_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", folder / "absent")
    monkeypatch.setattr(fashion_mnist, "ZALANDO_URL", unused_url())
    monkeypatch.setattr(fashion_mnist, "KERAS_URL", unused_url())
    with pytest.raises(UserError) as error:
        run_main(monkeypatch, "clothes")
    text = str(error.value)
    reasons = ["absent: no train", fashion_mnist.ZALANDO_URL, fashion_mnist.KERAS_URL]
    mends = [
        f"Debian package {fashion_mnist.PACKAGE}",
        fashion_mnist.FOLDER_VARIABLE,
        f"apt-get install {fashion_mnist.PACKAGE}",
    ]
    places = [text.index(words) for words in [*reasons, *mends]]
    assert places == sorted(places)


def test_stage_says_when_it_cannot_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data/raw").write_text("in the way")
    with pytest.raises(UserError, match=r"^data/raw/.* cannot be written"):
        run_main(monkeypatch, "thoracic_surgery")
