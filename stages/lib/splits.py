"""Who is trained on, who chooses, who is held out: row numbers per replicate, from a seed alone."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split


@dataclass(frozen=True)
class Split:
    """Row numbers of the data set, [replicate, n] int32 each, sorted. The three parts of a replicate are disjoint."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_repeated_k_fold(labels: np.ndarray, *, folds: int, repeats: int, validation: float, seed: int) -> Split:
    """Repeated stratified k-fold cross-validation; replicate r * folds + k holds out fold k of repeat r.

    Every replicate has the same number of rows in each part: folds that are one row larger give it to no part's loss --
    a surplus training row is left out, so that all lanes train on batches of one size.
    """
    splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    parts = []
    for replicate, (development, test) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        training, chosen = draw_validation(development, labels, share=validation, seed=seed + replicate)
        parts.append((training, chosen, test))
    return Split(*(stack_sorted(column) for column in zip(*parts, strict=True)))


def split_fixed_test(
    labels: np.ndarray, *, num_test: int, replicates: int, training: int | None, validation: float, seed: int
) -> Split:
    """The last `num_test` rows are held out for every replicate; validation rows come out of the others.

    Args:
        labels: [row] of development and test rows, test rows last.
        training: training rows drawn for each replicate; None takes all that validation leaves.
        validation: share of the development rows, or, where `training` is given, of training and validation together.
    """
    num_development = len(labels) - num_test
    development, parts = np.arange(num_development), []
    for replicate in range(replicates):
        rows = development
        if training is not None:
            num_rows = round(training / (1 - validation))
            rows, _ = train_test_split(
                development, train_size=num_rows, stratify=labels[:num_development], random_state=seed + replicate
            )
        parts.append((*draw_validation(rows, labels, share=validation, seed=seed + replicate),))
    columns = [stack_sorted(column) for column in zip(*parts, strict=True)]
    test = np.arange(num_development, len(labels), dtype=np.int32)
    return Split(*columns, test=np.tile(test, (replicates, 1)))


def draw_validation(rows: np.ndarray, labels: np.ndarray, *, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into training and validation, stratified by label."""
    training, validation = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=seed)
    return training, validation


def stack_sorted(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.stack([np.sort(part) for part in parts]).astype(np.int32)
