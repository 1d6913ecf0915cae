"""preprocess on the real table, on images in the real format and on a table of one's own: no held-out row leaks."""

import dataclasses
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from stages import plan, preprocess
from stages.evaluate import collect_labels
from stages.lib.core.cli import UserError
from stages.lib.core.files import write_bytes
from stages.lib.core.records import save_plans
from stages.lib.data.dataset import Rows
from stages.lib.data.fashion_mnist import FashionMnist
from stages.lib.data.kinds import SplitPlan
from stages.lib.data.protocols import FixedTest, Protocol, RepeatedStratifiedKFold, Split
from stages.lib.data.samples import (
    Development,
    Encoder,
    HeldOut,
    LeakError,
    check_no_leak,
    encode_development,
    encode_held_out,
    load_development,
    load_samples,
)
from stages.lib.data.table import Table
from stages.lib.data.thoracic_surgery import PINS, ThoracicSurgery
from tests.conftest import ROOT

K_FOLD = RepeatedStratifiedKFold(folds=5, repeats=2, validation=0.2)
FIXED = FixedTest(seeds=3, training=200, validation=0.2)
HOLD_OUT = FixedTest(seeds=3, validation=0.2, test=0.25)
THORACIC = SplitPlan("thoracic", "thoracic_surgery", ThoracicSurgery(), "encoded", K_FOLD, 3, {})
MINE = Table(file="data/source/mine.csv", target="target")
Load = Callable[[str], bytes]


def run(plan: SplitPlan, load_raw: Load) -> tuple[Development, HeldOut]:
    """What stages read of the rows that preprocess stores."""
    development, held_out, _ = preprocess.run(plan, load_raw)
    return encode_development(development), encode_held_out(held_out)


@pytest.fixture(scope="module")
def load_thoracic(thoracic_csv: bytes) -> Load:
    return {"thoracic_surgery.csv": thoracic_csv}.__getitem__


@pytest.fixture(scope="module")
def fashion(fashion_files: dict[str, bytes]) -> tuple[Development, HeldOut]:
    plan = SplitPlan("small", "fashion_mnist", FashionMnist(), "encoded", FIXED, 3, {})
    return run(plan, fashion_files.__getitem__)


@pytest.fixture(scope="module")
def breast_cancer() -> pd.DataFrame:
    return load_breast_cancer(as_frame=True).frame


def run_table(frame: pd.DataFrame, protocol: Protocol, declaration: Table = MINE) -> tuple[Development, HeldOut]:
    plan = SplitPlan("mine", "mine", declaration, "encoded", protocol, 3, {})
    return run(plan, {"table.csv": frame.to_csv(index=False).encode()}.__getitem__)


def test_held_out_patients_shape_nothing_that_training_sees(load_thoracic: Load, thoracic_csv: bytes) -> None:
    """Spoil the patients that replicate 0 holds out: its development rows stay the same to the byte."""
    development, held_out = run(THORACIC, load_thoracic)
    patients = held_out.identifiers[held_out.test[0]]
    table = pd.read_csv(io.BytesIO(thoracic_csv))
    table.loc[patients, "AGE"], table.loc[patients, "PRE5"] = 21, 86.3
    table.loc[patients, "PRE14"] = 14
    spoilt, spoilt_held_out = run(THORACIC, lambda name: table.to_csv(index=False).encode())
    seen = np.concatenate([development.training[0], development.validation[0]])
    np.testing.assert_array_equal(spoilt.inputs[seen], development.inputs[seen])
    assert not np.array_equal(spoilt_held_out.inputs[held_out.test[0]], held_out.inputs[held_out.test[0]])


@pytest.mark.parametrize("protocol", [K_FOLD, HOLD_OUT])
def test_rows_of_a_group_stay_together_and_held_out_rows_carry_it(
    breast_cancer: pd.DataFrame, protocol: Protocol
) -> None:
    visits = breast_cancer.assign(patient=np.arange(len(breast_cancer)) // 3)
    development, held_out = run_table(visits, protocol, MINE.model_copy(update={"group": "patient"}))
    assert "patient" not in development.features
    np.testing.assert_array_equal(held_out.groups, held_out.identifiers // 3)
    parts = (development.training, development.validation)
    for training, validation, test in zip(*parts, held_out.test, strict=True):
        patients = [development.identifiers[training] // 3, development.identifiers[validation] // 3]
        patients.append(held_out.groups[test])
        assert len(np.unique(np.concatenate(patients))) == sum(len(np.unique(part)) for part in patients)
    labels = collect_labels(development, held_out, outputs=1)
    np.testing.assert_array_equal(labels.test_groups, labels.test_numbers // 3)
    assert run_table(breast_cancer, protocol)[1].groups.size == 0


def test_raw_features_are_the_file_as_it_stands(load_thoracic: Load, thoracic_csv: bytes) -> None:
    plan = dataclasses.replace(THORACIC, features="raw")
    development, _ = run(plan, load_thoracic)
    table = pd.read_csv(io.BytesIO(thoracic_csv)).drop(columns="Risk1Yr")
    assert development.features == tuple(table.columns)
    np.testing.assert_allclose(development.inputs, table.to_numpy(np.float32)[development.identifiers], rtol=1e-6)


def test_images_stay_bytes_and_those_for_tests_are_not_in_the_development_file(
    fashion: tuple[Development, HeldOut], fashion_files: dict[str, bytes]
) -> None:
    development, held_out = fashion
    training_images = np.frombuffer(fashion_files["train-images-idx3-ubyte"][16:], np.uint8).reshape(60_000, 784)
    test_images = np.frombuffer(fashion_files["t10k-images-idx3-ubyte"][16:], np.uint8).reshape(10_000, 784)
    np.testing.assert_array_equal(development.inputs, training_images[development.identifiers])
    np.testing.assert_array_equal(held_out.inputs, test_images)
    assert development.inputs.shape[0] < 3 * 250
    assert (development.inputs.dtype, development.scale, development.image) == (np.uint8, 1 / 255, (28, 28))
    assert held_out.identifiers.min() == 60_000
    assert held_out.test.shape == (3, 10_000)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_held_out_row_that_slips_in_is_found(load_thoracic: Load, part: str) -> None:
    development, held_out, _ = preprocess.run(THORACIC, load_thoracic)
    parts = {name: rows.copy() for name, rows in development.parts.items()}
    parts[part][4, held_out.identifiers[held_out.parts["test"][4]][0]] = True  # all 470 stand there, each at its number
    with pytest.raises(LeakError, match="replicate 4: 1 held-out rows are in the development file"):
        check_no_leak(dataclasses.replace(development, parts=parts), held_out)


def test_a_row_is_stored_once_and_each_replicate_encodes_it_by_its_own_training_rows() -> None:
    """Against the encoding of each replicate's rows by themselves, to the byte; a missing value and an outlier too."""
    columns, labels = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60, dtype=np.uint8) % 2
    columns[::7, 1] = np.nan
    rows = Rows(labels, columns, ("a", "b", "c"), fit=lambda training: Encoder(high=1.5, mean=training[:, :1].mean()))
    split = K_FOLD.split(labels, num_own_test=0, seed=3)
    stored = preprocess.store(rows, split)
    assert [len(part.columns) for part in stored] == [60, 60]
    for most in (np.inf, 0):
        development, held_out = encode_development(stored[0], most), encode_held_out(stored[1], most)
        assert [len(part.inputs) for part in (development, held_out)] == ([480, 120] if most else [60, 60])
        check_encoding(rows, split, development, held_out)


def check_encoding(rows: Rows, split: Split, development: Development, held_out: HeldOut) -> None:
    for replicate, training in enumerate(split.training):
        encoder = rows.fit(rows.columns[training])
        for part, places, numbers in (
            (development, development.training, training),
            (development, development.validation, split.validation[replicate]),
            (held_out, held_out.test, split.test[replicate]),
        ):
            found = places[replicate]
            np.testing.assert_array_equal(part.identifiers[found], numbers)
            np.testing.assert_array_equal(part.labels[found], rows.labels[numbers])
            inputs = part.take(found[None], [replicate])
            assert inputs.tobytes() == encoder.transform(rows.columns[numbers]).tobytes()


# The stage ---------------------------------------------------------------------------------------------------------


def test_stage_writes_both_files_for_each_data_set_of_its_study(
    inside: Path, monkeypatch: pytest.MonkeyPatch, load_thoracic: Load
) -> None:
    split = dataclasses.replace(THORACIC, raw={"thoracic_surgery.csv": PINS["thoracic_surgery.csv"].sha256})
    tasks = {"both/encoded": split, "both/raw": dataclasses.replace(split, features="raw")}
    save_plans({"both/_split": tasks})
    monkeypatch.setattr(sys, "argv", ["preprocess", "both"])
    with pytest.raises(UserError, match=r"data/raw/thoracic_surgery/thoracic_surgery\.csv is missing, expected the .*"):
        preprocess.main()
    Path("data/raw/thoracic_surgery").mkdir(parents=True)
    Path("data/raw/thoracic_surgery/thoracic_surgery.csv").write_bytes(load_thoracic("thoracic_surgery.csv"))
    preprocess.main()
    for task in tasks:
        development, held_out = load_samples(task)
        assert len(development.training) == len(held_out.test) == 10
    assert load_development("both/encoded").features != load_development("both/raw").features


def test_a_raw_file_that_is_not_the_pinned_one_is_not_trained_on(inside: Path, thoracic_csv: bytes) -> None:
    plans = plan.run((ROOT / "params.yaml").read_text(), lambda path: (ROOT / path).read_bytes())
    split = plans["thoracic/_split"]["thoracic"]
    path = Path("data/raw/thoracic_surgery/thoracic_surgery.csv")
    write_bytes(path, thoracic_csv)
    assert isinstance(split, SplitPlan)
    assert preprocess.load_raw(split, path.name) == thoracic_csv
    write_bytes(path, thoracic_csv.replace(b"\n1,", b"\n2,", 1))
    with pytest.raises(UserError, match=rf"{path} has the SHA-256 .*, expected {split.raw[path.name]}: fetch it"):
        preprocess.load_raw(split, path.name)
