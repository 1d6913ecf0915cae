"""Splits partition the rows, keep the shares of the classes and repeat."""

import numpy as np
import pytest

from stages.lib.splits import split_fixed_test, split_repeated_k_fold

LABELS = (np.arange(470) < 70).astype(np.uint8)
CLASSES = np.arange(1200) % 10


def test_k_fold_parts_partition_the_rows_in_every_replicate() -> None:
    split = split_repeated_k_fold(LABELS, folds=5, repeats=3, validation=0.2, seed=3)
    assert [part.shape for part in (split.training, split.validation, split.test)] == [(15, 300), (15, 76), (15, 94)]
    for parts in zip(split.training, split.validation, split.test, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(470))


def test_every_row_is_held_out_once_a_repeat() -> None:
    split = split_repeated_k_fold(LABELS, folds=5, repeats=3, validation=0.2, seed=3)
    for repeat in range(3):
        held_out = split.test[5 * repeat : 5 * repeat + 5].ravel()
        np.testing.assert_array_equal(np.sort(held_out), np.arange(470))
    assert not np.array_equal(split.test[:5], split.test[5:10])


def test_folds_of_unequal_size_leave_every_replicate_the_same_number_of_rows() -> None:
    labels = (np.arange(101) < 30).astype(np.uint8)
    split = split_repeated_k_fold(labels, folds=4, repeats=2, validation=0.2, seed=0)
    for parts in zip(split.training, split.validation, split.test, strict=True):
        rows = np.concatenate(parts)
        assert len(np.unique(rows)) == len(rows)
    assert len(split.test) == 8


def test_classes_keep_their_shares() -> None:
    split = split_repeated_k_fold(LABELS, folds=5, repeats=2, validation=0.2, seed=3)
    for part, expected in ((split.training, 45), (split.validation, 11), (split.test, 14)):
        assert np.abs(LABELS[part].sum(axis=1) - expected).max() <= 1


@pytest.mark.parametrize("training", [None, 400])
def test_fixed_test_rows_are_the_last_ones_and_never_drawn(training: int | None) -> None:
    split = split_fixed_test(CLASSES, num_test=200, replicates=4, training=training, validation=0.2, seed=3)
    np.testing.assert_array_equal(split.test, np.tile(np.arange(1000, 1200), (4, 1)))
    assert split.training.shape == (4, training or 800)
    assert split.validation.shape == (4, 100 if training else 200)
    assert max(split.training.max(), split.validation.max()) < 1000
    for parts in zip(split.training, split.validation, strict=True):
        rows = np.concatenate(parts)
        assert len(np.unique(rows)) == len(rows)
    assert not np.array_equal(split.training[0], split.training[1])


def test_no_replicate_of_one_seed_is_a_replicate_of_another() -> None:
    splits = [
        split_fixed_test(CLASSES, num_test=200, replicates=4, training=400, validation=0.2, seed=seed)
        for seed in (3, 4)
    ]
    drawn = {rows.tobytes() for split in splits for rows in split.training}
    assert len(drawn) == 8


def test_splits_depend_on_the_seed_alone() -> None:
    first, second, other = (
        split_repeated_k_fold(LABELS, folds=5, repeats=1, validation=0.2, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.training, second.training)
    assert not np.array_equal(first.training, other.training)
