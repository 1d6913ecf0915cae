"""Who is trained on, who chooses, who is held out: row numbers per replicate, from a seed alone."""

from collections.abc import Sequence
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

    All replicates have the same number of rows in each part, since they train in one graph: where folds differ by a
    row, the larger parts leave a random one out.
    """
    splitter = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    parts = []
    for replicate, (development, test) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        training, chosen = draw_validation(development, labels, share=validation, state=state_of(seed, replicate))
        parts.append((training, chosen, test))
    training, chosen, test = (stack_sorted(column) for column in zip(*parts, strict=True))
    return Split(training, chosen, test)


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
        rows, state = development, state_of(seed, replicate)
        if training is not None:
            num_rows = round(training / (1 - validation))
            rows, _ = train_test_split(
                development, train_size=num_rows, stratify=labels[:num_development], random_state=state
            )
        parts.append(draw_validation(rows, labels, share=validation, state=state))
    columns = [stack_sorted(column) for column in zip(*parts, strict=True)]
    test = np.arange(num_development, len(labels), dtype=np.int32)
    return Split(columns[0], columns[1], np.tile(test, (replicates, 1)))


def state_of(seed: int, replicate: int) -> int:
    """scikit-learn's random_state for one replicate; seed + replicate would give replicates of two seeds the same."""
    return int(np.random.SeedSequence([seed, replicate]).generate_state(1)[0])


def draw_validation(rows: np.ndarray, labels: np.ndarray, *, share: float, state: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into training and validation, stratified by label."""
    training, validation = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=state)
    return training, validation


def stack_sorted(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Row numbers [replicate, n], sorted; of a part with more rows than the smallest a random n."""
    generator, num_rows = np.random.default_rng(0), min(map(len, parts))
    trimmed = [part if len(part) == num_rows else generator.choice(part, num_rows, replace=False) for part in parts]
    return np.stack([np.sort(part) for part in trimmed]).astype(np.int32)
