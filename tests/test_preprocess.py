"""preprocess on the real table and on images in the real format: nothing held out is seen before its time."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stages import preprocess
from stages.lib import datasets
from stages.lib.plans import Protocol, SplitPlan
from stages.lib.samples import Development, HeldOut, LeakError, check_no_leak

K_FOLD = Protocol("repeated_stratified_k_fold", replicates=10, folds=5, training=None, validation=0.2)
FIXED = Protocol("fixed_test", replicates=3, folds=1, training=200, validation=0.2)
Load = Callable[[str], bytes]


@pytest.fixture(scope="module")
def load_thoracic(thoracic_csv: bytes) -> Load:
    return {"thoracic_surgery.csv": thoracic_csv}.__getitem__


@pytest.fixture(scope="module")
def thoracic(load_thoracic: Load) -> tuple[Development, HeldOut]:
    return preprocess.run(SplitPlan("thoracic", "thoracic_surgery", "encoded", K_FOLD, 3), load_thoracic)


@pytest.fixture(scope="module")
def fashion(fashion_files: dict[str, bytes]) -> tuple[Development, HeldOut]:
    return preprocess.run(SplitPlan("small", "fashion_mnist", "encoded", FIXED, 3), fashion_files.__getitem__)


def test_every_patient_is_in_one_part_of_each_replicate(thoracic: tuple[Development, HeldOut]) -> None:
    development, held_out = thoracic
    for training, validation, test in zip(development.training, development.validation, held_out.test, strict=True):
        seen = development.identifiers[np.concatenate([training, validation])]
        np.testing.assert_array_equal(np.sort(np.append(seen, held_out.identifiers[test])), np.arange(470))


def test_patients_keep_their_labels(thoracic: tuple[Development, HeldOut], thoracic_csv: bytes) -> None:
    deaths = pd.read_csv(io.BytesIO(thoracic_csv))["Risk1Yr"].to_numpy()
    for part in thoracic:
        np.testing.assert_array_equal(part.labels, deaths[part.identifiers])


def test_held_out_patients_shape_nothing_that_training_sees(load_thoracic: Load, thoracic_csv: bytes) -> None:
    """Spoil the patients that replicate 0 holds out: its development rows stay the same to the byte."""
    plan = SplitPlan("thoracic", "thoracic_surgery", "encoded", K_FOLD, 3)
    development, held_out = preprocess.run(plan, load_thoracic)
    patients = held_out.identifiers[held_out.test[0]]
    table = pd.read_csv(io.BytesIO(thoracic_csv))
    table.loc[patients, "AGE"], table.loc[patients, "PRE5"] = 21, 86.3
    table.loc[patients, "PRE14"] = 14
    spoilt, spoilt_held_out = preprocess.run(plan, lambda name: table.to_csv(index=False).encode())
    seen = np.concatenate([development.training[0], development.validation[0]])
    np.testing.assert_array_equal(spoilt.inputs[seen], development.inputs[seen])
    assert not np.array_equal(spoilt_held_out.inputs[held_out.test[0]], held_out.inputs[held_out.test[0]])


def test_validation_patients_shape_no_scale_either(thoracic: tuple[Development, HeldOut]) -> None:
    development, _ = thoracic
    for training in development.training:
        rows = development.inputs[training]
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
        deviation = rows.std(axis=0)
        np.testing.assert_allclose(deviation[deviation > 0], 1, atol=1e-5)


def test_raw_features_are_the_file_as_it_stands(load_thoracic: Load, thoracic_csv: bytes) -> None:
    plan = SplitPlan("tutorial", "thoracic_surgery", "raw", K_FOLD, 3)
    development, _ = preprocess.run(plan, load_thoracic)
    table = pd.read_csv(io.BytesIO(thoracic_csv)).drop(columns=datasets.LABEL)
    assert development.features == tuple(table.columns)
    np.testing.assert_allclose(development.inputs, table.to_numpy(np.float32)[development.identifiers], rtol=1e-6)


def test_test_images_are_not_in_the_development_file(
    fashion: tuple[Development, HeldOut], fashion_files: dict[str, bytes]
) -> None:
    development, held_out = fashion
    training_images = np.frombuffer(fashion_files["train-images-idx3-ubyte"][16:], np.uint8).reshape(60_000, 784)
    test_images = np.frombuffer(fashion_files["t10k-images-idx3-ubyte"][16:], np.uint8).reshape(10_000, 784)
    np.testing.assert_array_equal(development.inputs, training_images[development.identifiers])
    np.testing.assert_array_equal(held_out.inputs, test_images)
    assert development.inputs.shape[0] < 3 * 250
    assert held_out.identifiers.min() == 60_000
    assert held_out.test.shape == (3, 10_000)


def test_pixels_stay_bytes_and_are_scaled_by_the_network(fashion: tuple[Development, HeldOut]) -> None:
    development, _ = fashion
    assert development.inputs.dtype == np.uint8
    assert development.scale == 1 / 255


@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_held_out_row_that_slips_in_is_found(thoracic: tuple[Development, HeldOut], part: str) -> None:
    development, held_out = thoracic
    identifiers = development.identifiers.copy()
    identifiers[getattr(development, part)[4, 7]] = held_out.identifiers[held_out.test[4, 0]]
    with pytest.raises(LeakError, match="replicate 4: 1 held-out rows are in the development file"):
        check_no_leak(dataclasses.replace(development, identifiers=identifiers), held_out)


def test_two_runs_give_the_same_bytes(thoracic: tuple[Development, HeldOut], load_thoracic: Load) -> None:
    again = preprocess.run(SplitPlan("thoracic", "thoracic_surgery", "encoded", K_FOLD, 3), load_thoracic)
    for first, second in zip(thoracic, again, strict=True):
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
