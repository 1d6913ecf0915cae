"""Files are whole or absent, their bytes repeat, and what is missing is named with the stage that writes it."""

import resource
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.lib.core import files as store
from stages.lib.core.cli import run_main
from stages.lib.data import samples
from stages.lib.judge import predictions
from stages.lib.lanes import plan
from stages.lib.lanes import run as trained
from tests.made import REPLICATES, make_labels, make_predictions, make_run
from tests.test_compare import make_plan

ROWS = samples.StoredRows(
    columns=np.arange(6.0).reshape(3, 2),
    labels=np.array([0, 1, 0], np.uint8),
    identifiers=np.arange(3, dtype=np.int32),
    features=("a", "b"),
    scale=0.5,
    image=(1, 2),
    groups=np.array([0, 0, 1]),
    parts={"training": np.array([[True, False, True]]), "validation": np.array([[False, True, False]])},
    encoders={"low": np.array([[-1.0, 0.0]])},
)
# No two fields alike, so that none can be taken for another.
GENERATOR, LANES = np.random.default_rng(0), np.arange(REPLICATES)
RUN = replace(
    make_run(GENERATOR, "l2"),
    best_epoch=LANES,
    stopped_early=LANES == 1,
    stopped={"kernel_1": np.ones((REPLICATES, 2, 1), np.float32)},
    stopped_epoch=LANES + 1,
)
LABELS = predictions.Labels(*(np.array([[0, number]], np.uint8) for number in range(7)))
PREDICTED = make_predictions(GENERATOR, make_labels(GENERATOR, 3), 3, "l2")
PREDICTED = replace(PREDICTED, training=PREDICTED.test[:, :2], validation=PREDICTED.test[:, 2:5])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def assert_same(found: object, expected: object) -> None:
    """Equal field by field, types of arrays included."""
    if is_dataclass(expected):
        found, expected = vars(found), vars(expected)
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    else:
        np.testing.assert_array_equal(found, expected)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


def test_samples_survive_their_files() -> None:
    for rows in (ROWS, replace(ROWS, image=(), encoders={}, columns=ROWS.columns.astype(np.uint8))):
        samples.save_rows(Path("rows.npz"), rows)
        found = samples.load_rows(Path("rows.npz"))
        assert_same(found, rows)
        assert (found.features, found.image) == (("a", "b"), rows.image)


def test_a_run_survives_its_files() -> None:
    folder = Path("models/s/v")
    trained.save_part(RUN, folder, trained.PARTS[0])
    assert_same(trained.load_run("s", "v"), RUN)
    trained.save_part(RUN, folder, trained.PARTS[1])
    both, lanes = trained.load_run("s", "v"), len(RUN.replicate)
    assert len(both.replicate) == 2 * lanes and both.history["lane"].max() == RUN.history["lane"].max() + lanes
    assert both.weights.keys() == RUN.weights.keys() and both.strengths.keys() == RUN.strengths.keys()


def test_predictions_survive_their_files() -> None:
    at_end, model = replace(PREDICTED, test=PREDICTED.test / 2), predictions.ReferencePredictions(*np.eye(3))
    predictions.save_labels("made", LABELS)
    for name, each in (("v", PREDICTED), ("v-end", at_end)):
        predictions.save_predictions(each, predictions.FOLDER / "made", name)
    predictions.save_references("made", {"model": model})
    found = predictions.load_study_predictions(replace(make_plan("v"), references=("model",), stopped=True))
    assert_same(found, predictions.StudyPredictions(LABELS, {"v": PREDICTED}, {"model": model}, {"v": at_end}))
    assert found.variants["v"].grid.num_points == 3


def test_an_archive_has_the_same_headers_by_every_python() -> None:
    """Signature, version 2.0, no flags, not compressed, 1980-01-01, CRC-32, two sizes, one name."""
    header = store.pack_zip([("a", b"one")])[:30].hex()
    assert header == "504b030414000000000000002100f1866c7a030000000300000001000000"


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("folder/file")
    store.write_bytes(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_numbers_that_are_not_finite_are_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(Path("file.json"), {"score": float("nan")})
    assert not Path("file.json").exists()


def test_what_is_missing_is_named_with_the_stage_that_writes_it() -> None:
    with pytest.raises(store.MissingArtifactError, match=r"models/s/v/lanes.npz is missing, .* `train`"):
        trained.load_run("s", "v")
    with pytest.raises(
        store.MissingArtifactError, match=r"data/plan/s/v.json is missing, expected the output of `plan`"
    ):
        plan.load_run_plan("s", "v")


def test_a_full_disk_is_told_with_the_name_of_the_file() -> None:
    """A limit on the size of files is a disk that is full after so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SystemExit) as caught:
            run_main(lambda: store.write_bytes(Path("models/study/variant/lanes.npz"), bytes(100_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = "error: models/study/variant/lanes.npz cannot be written (File too large), expected room"
    assert str(caught.value).startswith(told)
    assert not [path for path in Path("models").rglob("*") if path.is_file()]
