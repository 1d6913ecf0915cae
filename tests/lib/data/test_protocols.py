"""Splits partition the rows, keep the shares of the classes and repeat; mistakes of a protocol are said in words."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from stages.lib.data.dataset import DataError, Facts
from stages.lib.data.protocols import (
    FixedTest,
    Protocol,
    RepeatedStratifiedKFold,
    Split,
    check_classes,
    draw_groups,
    stack_sorted,
)

LABELS = (np.arange(470) < 70).astype(np.uint8)
CLASSES = (np.arange(1200) % 10).astype(np.uint8)
PATIENTS = Facts((400, 70))
GROUPED = Facts((400, 70), num_groups=10, class_groups=(8, 4))
IMAGES = Facts((6000,) * 10, 10_000, (28, 28))


def split_k_fold(labels: np.ndarray, *, folds: int = 5, repeats: int = 3, seed: int = 3, own: int = 0) -> Split:
    protocol = RepeatedStratifiedKFold(folds=folds, repeats=repeats, validation=0.2)
    return protocol.split(labels, num_own_test=own, seed=seed)


def split_fixed(labels: np.ndarray, *, own: int = 200, seed: int = 3, **fields: int | float | None) -> Split:
    return FixedTest(**{"seeds": 4, "validation": 0.2, **fields}).split(labels, num_own_test=own, seed=seed)


def are_disjoint(split: Split) -> bool:
    """No row is in two parts of a replicate."""
    return all(len(np.unique(rows)) == len(rows) for rows in map(np.concatenate, zip(*split, strict=True)))


# Repeated stratified k-fold ----------------------------------------------------------------------------------------


def test_k_fold_parts_partition_the_rows_in_every_replicate() -> None:
    split = split_k_fold(LABELS)
    assert [part.shape for part in split] == [(15, 300), (15, 76), (15, 94)]
    assert {part.dtype for part in split} == {np.dtype(np.int32)}
    for parts in zip(*split, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(470))


def test_every_row_is_held_out_once_a_repeat() -> None:
    split = split_k_fold(LABELS)
    for repeat in range(3):
        held_out = split.test[5 * repeat : 5 * repeat + 5].ravel()
        np.testing.assert_array_equal(np.sort(held_out), np.arange(470))
    assert not np.array_equal(split.test[:5], split.test[5:10])


def test_folds_of_unequal_size_leave_every_replicate_the_same_number_of_rows() -> None:
    split = split_k_fold((np.arange(101) < 30).astype(np.uint8), folds=4, repeats=2, seed=0)
    assert are_disjoint(split)
    assert len(split.test) == 8


def test_row_that_is_left_out_is_never_the_only_one_of_its_class() -> None:
    labels = (np.arange(103) < 5).astype(np.uint8)
    for seed in range(20):
        assert (split_k_fold(labels, seed=seed).test < 5).sum(axis=1).tolist() == [1] * 15


def test_part_that_leaves_many_rows_out_keeps_the_shares_of_its_classes() -> None:
    labels = np.repeat(np.array([0, 1], np.uint8), [90, 30])
    small, large = stack_sorted([np.arange(60), np.arange(120)], labels)
    assert len(small) == len(large) == 60
    assert labels[large].sum() == 15


def test_class_in_one_group_alone_cannot_be_drawn_from() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3])
    with pytest.raises(DataError, match=r"a class is in one group alone of the rows .*: use fewer folds"):
        draw_groups(np.arange(5), labels, groups, share=0.2, state=0)


def test_classes_keep_their_shares() -> None:
    split = split_k_fold(LABELS, repeats=2)
    for part, expected in ((split.training, 45), (split.validation, 11), (split.test, 14)):
        assert np.abs(LABELS[part].sum(axis=1) - expected).max() <= 1


def test_k_fold_leaves_the_data_sets_own_test_rows_out() -> None:
    split = split_k_fold(CLASSES, own=200)
    assert max(part.max() for part in split) == 999
    np.testing.assert_array_equal(split.test, split_k_fold(CLASSES[:1000]).test)


# Fixed test rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [None, 400])
def test_own_test_rows_are_the_last_ones_and_never_drawn(training: int | None) -> None:
    split = split_fixed(CLASSES, training=training)
    np.testing.assert_array_equal(split.test, np.tile(np.arange(1000, 1200), (4, 1)))
    assert split.training.shape == (4, training or 800)
    assert split.validation.shape == (4, 100 if training else 200)
    assert max(split.training.max(), split.validation.max()) < 1000
    assert are_disjoint(split)
    assert not np.array_equal(split.training[0], split.training[1])


@pytest.mark.parametrize("training", [None, 200])
def test_share_of_test_rows_is_the_same_for_all_replicates(training: int | None) -> None:
    split = split_fixed(LABELS, own=0, test=0.3, training=training)
    assert [part.shape[1] for part in split] == ([200, 50, 141] if training else [263, 66, 141])
    np.testing.assert_array_equal(split.test, np.tile(split.test[0], (4, 1)))
    assert LABELS[split.test[0]].sum() == 21
    assert are_disjoint(split)
    assert not np.array_equal(split.training[0], split.training[1])


def test_test_rows_depend_on_the_seed_and_not_on_the_number_of_seeds() -> None:
    test = split_fixed(LABELS, own=0, test=0.3).test[0]
    np.testing.assert_array_equal(split_fixed(LABELS, own=0, test=0.3, seeds=9).test[0], test)
    assert not np.array_equal(split_fixed(LABELS, own=0, test=0.3, seed=4).test[0], test)


def test_test_rows_are_drawn_apart_from_the_validation_rows_of_every_replicate() -> None:
    """Equal random states would hold out the very rows that a replicate with this share would validate on."""
    test = split_fixed(LABELS, own=0, test=0.2).test[0]
    validation = split_fixed(np.append(LABELS, [0, 1]), own=2, seeds=10).validation
    assert not any(np.array_equal(rows, test) for rows in validation)


def test_no_replicate_of_one_seed_is_a_replicate_of_another() -> None:
    splits = [split_fixed(CLASSES, training=400, seed=seed) for seed in (3, 4)]
    assert len({rows.tobytes() for split in splits for rows in split.training}) == 8


@pytest.mark.parametrize("training", [None, 400])
def test_splits_depend_on_the_seed_alone(training: int | None) -> None:
    uneven = (np.arange(103) < 30).astype(np.uint8)  # some folds leave a row out
    for draw in (
        lambda seed: split_k_fold(LABELS, repeats=1, seed=seed),
        lambda seed: split_k_fold(uneven, folds=4, seed=seed),
        lambda seed: split_fixed(CLASSES, training=training, seed=seed),
    ):
        first, second, other = (draw(seed) for seed in (3, 3, 4))
        for part, again in zip(first, second, strict=True):
            np.testing.assert_array_equal(part, again)
        assert not np.array_equal(first.training, other.training)


def test_drawn_training_rows_keep_the_shares_of_the_classes() -> None:
    split = split_fixed(CLASSES, training=400)
    for part, expected in ((split.training, 40), (split.validation, 10)):
        assert {tuple(np.bincount(CLASSES[rows])) for rows in part} == {(expected,) * 10}


# Groups ------------------------------------------------------------------------------------------------------------

PATIENTS_WITH_VISITS = np.repeat(np.arange(100), [1, 2, 3, 5] * 25)  # the group of each of 275 rows
OUTCOMES = (PATIENTS_WITH_VISITS % 5 == 0).astype(np.uint8)


@pytest.mark.parametrize(
    "protocol",
    [
        RepeatedStratifiedKFold(folds=5, repeats=3, validation=0.2),
        RepeatedStratifiedKFold(folds=4, repeats=2, validation=0.3, training=90),
        FixedTest(seeds=4, validation=0.15, test=0.2),
        FixedTest(seeds=4, validation=0.2, test=0.25, training=120),
    ],
)
def test_groups_are_never_divided_and_parts_keep_the_shares_of_the_classes(protocol: Protocol) -> None:
    split, again = (protocol.split(OUTCOMES, num_own_test=0, seed=3, groups=PATIENTS_WITH_VISITS) for _ in range(2))
    check_classes(split, OUTCOMES)
    assert are_disjoint(Split(*([np.unique(PATIENTS_WITH_VISITS[rows]) for rows in part] for part in split)))
    for name, part, same in zip(split._fields, split, again, strict=True):
        np.testing.assert_array_equal(part, same)
        assert np.abs(OUTCOMES[part].mean(axis=1) - OUTCOMES.mean()).max() < 0.12, name
    num_rows = len(OUTCOMES)
    inside = protocol.validation * (num_rows - split.test.shape[1])
    assert protocol.training or abs(split.validation.shape[1] - inside) < 0.05 * num_rows
    assert protocol.fixed_test == (split.test[0].tobytes() == split.test[-1].tobytes())


def test_every_group_is_held_out_in_one_fold_of_a_repeat_and_repeats_differ() -> None:
    protocol = RepeatedStratifiedKFold(folds=5, repeats=3, validation=0.2)
    test = protocol.split(OUTCOMES, num_own_test=0, seed=3, groups=PATIENTS_WITH_VISITS).test
    held_out = [np.unique(PATIENTS_WITH_VISITS[rows]) for rows in test]
    for repeat in range(3):
        assert sorted(np.concatenate(held_out[5 * repeat : 5 * repeat + 5])) == list(range(100))
    assert len({groups.tobytes() for groups in held_out}) == 15


def test_repeats_that_would_hold_out_the_same_groups_are_refused() -> None:
    groups = np.repeat(np.arange(10), [40, 50, 62, 75, 89, 104, 121, 140, 163, 190])
    labels = (np.arange(len(groups)) % 3 == 0).astype(np.uint8)
    protocol = RepeatedStratifiedKFold(folds=5, repeats=2, validation=0.2)
    with pytest.raises(DataError, match=r"protocol\.repeats is 2, but repeat 2 has the folds .*: set repeats to 1"):
        protocol.split(labels, num_own_test=0, seed=3, groups=groups)


def test_a_split_whose_parts_lack_a_class_is_refused() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1], np.uint8)
    check_classes(Split(*np.arange(6).reshape(3, 1, 2)), labels)
    with pytest.raises(DataError, match="replicate 0 has no validation row of class 1, expected every class in each"):
        check_classes(Split(*(np.array([rows]) for rows in ([0, 1], [2, 4], [3, 5]))), labels)


# Mistakes ----------------------------------------------------------------------------------------------------------

K_FOLD = {"kind": "repeated_stratified_k_fold", "folds": 5, "repeats": 10, "validation": 0.2}
FIXED = {"kind": "fixed_test", "seeds": 5, "validation": 0.05}
ADAPTER: TypeAdapter[RepeatedStratifiedKFold | FixedTest] = TypeAdapter(Protocol)


def make(fields: dict, **changes: object) -> RepeatedStratifiedKFold | FixedTest:
    return ADAPTER.validate_python(fields | changes)


@pytest.mark.parametrize(
    ("protocol", "facts", "mistake"),
    [
        (
            make(K_FOLD, validation=0.01),
            PATIENTS,
            "protocol.validation is 0.01, expected a share that puts at least one row of every class inside it and one "
            "outside it (at this step the rarest class has 56 rows of 376): change it",
        ),
        (make(K_FOLD, validation=0.99), PATIENTS, "protocol.validation is 0.99, expected a share"),
        (make(K_FOLD, folds=2), Facts((9, 2)), "(at this step the rarest class has 1 row of 5)"),
        (make(FIXED, test=0.01), PATIENTS, "protocol.test is 0.01, expected a share"),
        (make(FIXED, test=0.2, validation=0.01), PATIENTS, "protocol.validation is 0.01, expected a share"),
        (make(K_FOLD), GROUPED, "protocol.folds is 5, expected at most 4, which is the number of groups of the rarest"),
        (
            make(K_FOLD, folds=2, validation=0.1),
            GROUPED,
            "one group of every class inside it and one outside it (at this step the rarest class has 2 groups of 5)",
        ),
        (make(FIXED, test=0.1), GROUPED, "(at this step the rarest class has 4 groups of 10)"),
        (make(FIXED, training=10), IMAGES, "protocol.validation is 0.05, expected a share"),
        (make(FIXED, training=370, test=0.2, validation=0.2), PATIENTS, "makes 462 rows, expected at most 374"),
    ],
)
def test_mistake_is_said_in_words(protocol: RepeatedStratifiedKFold | FixedTest, facts: Facts, mistake: str) -> None:
    (found,) = protocol.check(facts)
    assert mistake in found


def test_protocol_without_mistakes_can_be_split_and_keeps_every_class_in_every_part() -> None:
    """Small tables at random: `check` accepts none whose split fails or leaves a part without a class."""
    generator, accepted = np.random.default_rng(0), 0
    for _ in range(300):
        labels = np.repeat(np.arange(3), generator.integers(2, 25, 3)).astype(np.uint8)
        facts, validation = Facts(tuple(np.bincount(labels).tolist())), float(generator.uniform(0.1, 0.9))
        if generator.random() < 0.5:
            protocol = make(K_FOLD, folds=int(generator.integers(2, 6)), repeats=2, validation=validation)
        else:
            training = int(generator.integers(3, 20)) if generator.random() < 0.5 else None
            share = float(generator.uniform(0.1, 0.9))
            protocol = make(FIXED, test=share, training=training, validation=validation)
        if not protocol.check(facts):
            accepted += 1
            for part in protocol.split(labels, num_own_test=0, seed=1):
                assert all(len(np.unique(labels[rows])) == 3 for rows in part)
    assert accepted > 30


# What is to be said of a protocol ----------------------------------------------------------------------------------


def test_facts_for_the_statistics_and_words_for_people() -> None:
    k_fold, fixed = make(K_FOLD), make(FIXED, training=2000)
    assert (k_fold.num_replicates, k_fold.fixed_test, k_fold.test_train_ratio) == (50, False, 0.25)
    assert (fixed.num_replicates, fixed.fixed_test, fixed.test_train_ratio) == (5, True, 0.0)
    assert k_fold.describe().startswith("5 folds x 10 repeats = 50 replicates, which share rows; 0.2 of")
    assert make(K_FOLD, repeats=1).describe().startswith("5 folds x 1 repeat = 5 replicates")
    assert fixed.describe().startswith("the data set's own test rows, 5 seeds = 5 replicates; 2,000 training rows")
    assert make(FIXED, test=0.25).describe().startswith("a fixed test set of 0.25 of the rows, 5 seeds")
