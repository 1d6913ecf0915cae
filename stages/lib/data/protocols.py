"""The protocols: how a data set is split into the training, validation and test rows of each replicate.

Each protocol is one class, which params.yaml chooses by `kind`. A split depends on the labels, the groups and the seed
alone. All rows of a group are in one part of a replicate.
`fixed_test` is whether all replicates are judged on the same rows. `test_train_ratio` is the number of rows held out
for each row outside the fold, by which the corrected resampled t-test widens intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from stages.lib.core.fields import Count, Folds, Repeats, Seeds, Share, Strict
from stages.lib.data.dataset import DataError, Facts, Units

Groups = np.ndarray | None  # [row], the number of the group that each row belongs to

MOST_REPLICATES = 5000  # each is a number in the plan of every run
MOST_PARTS = 100  # of equal size, that a share of groups is made of
TEST_KEY = 0  # separates the random stream that draws test rows from those of the replicates


class Split(NamedTuple):
    """Row numbers of the data set, each [replicate, n] int32 and sorted; the parts of a replicate are disjoint."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class RepeatedStratifiedKFold(Strict):
    """Repeated stratified k-fold cross-validation: replicate r * folds + k holds out fold k of repeat r.

    validation: share of the rows outside the fold that is kept back to choose strengths and epochs.
    training: most training rows of a replicate; of a larger table so many are drawn. Held-out rows stay whole.
    Test rows that the data set itself sets apart are left out.
    """

    kind: Literal["repeated_stratified_k_fold"] = "repeated_stratified_k_fold"
    fixed_test: ClassVar[bool] = False
    folds: Folds
    repeats: Repeats
    validation: Share
    training: Count | None = None

    @model_validator(mode="after")
    def check_replicates(self) -> Self:
        if self.num_replicates > MOST_REPLICATES:
            found = f"has {self.folds} folds x {self.repeats} repeats"
            raise ValueError(f"{found}, expected at most {MOST_REPLICATES:,} replicates: use fewer")
        return self

    @property
    def num_replicates(self) -> int:
        return self.folds * self.repeats

    @property
    def test_train_ratio(self) -> float:
        return 1 / (self.folds - 1)

    def describe(self) -> str:
        """The protocol in words, for people; never compared or parsed."""
        replicates = f"{self.folds} folds x {number_of(self.repeats, 'repeat')} = {self.num_replicates} replicates"
        validation = f"{self.validation:.4g} of the rows outside a fold are validation rows"
        return f"{replicates}, which share rows; {validation}"

    def check(self, facts: Facts) -> list[str]:
        """Mistakes in words: each part of each replicate must hold every class."""
        noun, number, rarest = facts.units
        if self.folds > rarest:
            reason = f"which is the number of {noun}s of the rarest class, so that every fold holds one of them"
            return [f"protocol.folds is {self.folds}, expected at most {rarest}, {reason}: use fewer folds"]
        largest_fold, most_of_rarest = -(-number // self.folds), -(-rarest // self.folds)
        return check_share("validation", self.validation, Units(noun, number - largest_fold, rarest - most_of_rarest))

    def split(self, labels: np.ndarray, *, num_own_test: int, seed: int, groups: Groups = None) -> Split:
        """Split the rows; labels, groups: [row], the data set's own test rows last.

        All replicates have the same number of rows in each part, since they train in one graph: where folds differ in
        size, the larger parts leave rows out (see `stack_sorted`).
        """
        labels, parts = labels[: len(labels) - num_own_test], []
        for replicate, (development, test) in enumerate(self.draw_folds(labels, groups, seed)):
            state = state_of(seed, replicate)
            drawn = draw_validation(development, labels, share=self.validation, state=state, groups=groups)
            parts.append((thin_rows(drawn[0], labels, most=self.training, state=state), drawn[1], test))
        return stack_parts(parts, labels)

    def draw_folds(self, labels: np.ndarray, groups: Groups, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers outside and inside each fold of each repeat."""
        from sklearn.model_selection import RepeatedStratifiedKFold as Splitter  # slow to import
        from sklearn.model_selection import StratifiedGroupKFold

        rows = np.zeros(len(labels))
        if groups is None:
            yield from Splitter(n_splits=self.folds, n_repeats=self.repeats, random_state=seed).split(rows, labels)
            return
        drawn = set[frozenset[bytes]]()
        for repeat in range(self.repeats):
            splitter = StratifiedGroupKFold(self.folds, shuffle=True, random_state=state_of_test(seed, repeat))
            folds = list(splitter.split(rows, labels, groups[: len(labels)]))
            drawn.add(frozenset(test.tobytes() for _, test in folds))
            if len(drawn) <= repeat:  # few groups, each of another size
                found = f"protocol.repeats is {self.repeats}, but repeat {repeat + 1} has the folds of one before it"
                reason = "few groups of uneven sizes can hardly be divided twice"
                raise DataError(f"{found}, expected others; {reason}: set repeats to {repeat}")
            yield from folds

    def count_training(self, facts: Facts) -> int:
        """Number of training rows of a replicate, about; groups differ in size."""
        outside = facts.num_rows - -(-facts.num_rows // self.folds)
        return min(outside - share_of(outside, self.validation), self.training or outside)


class FixedTest(Strict):
    """Test rows that are the same for all replicates; each seed draws its own training and validation rows.

    training: number of training rows of each replicate; all rows that validation leaves if it is not given.
    validation: share of the rows that are not test rows, or, with `training`, of training and validation together.
    test: share of all rows that is held out, drawn once. For a data set without test rows of its own.
    """

    kind: Literal["fixed_test"] = "fixed_test"
    fixed_test: ClassVar[bool] = True
    test_train_ratio: ClassVar[float] = 0.0  # test rows are never trained on: no correction for shared rows
    seeds: Seeds
    training: Count | None = None
    validation: Share
    test: Share | None = None

    @property
    def num_replicates(self) -> int:
        return self.seeds

    def describe(self) -> str:
        """The protocol in words, for people; never compared or parsed."""
        test = f"a fixed test set of {self.test:.4g} of the rows" if self.test else "the data set's own test rows"
        training = f"{self.training:,} training rows drawn for each" if self.training else "all other rows for each"
        replicates = f"{self.seeds} seeds = {self.seeds} replicates"
        return f"{test}, {replicates}; {training}, validation share {self.validation:.4g}"

    def check(self, facts: Facts) -> list[str]:
        """Mistakes in words: each part of each replicate must hold every class."""
        if facts.num_own_test and self.test is not None:
            reason = f"since the data set has {facts.num_own_test:,} test rows of its own"
            return [f"protocol.test is {self.test:g}, expected no such key, {reason}: remove it"]
        if not facts.num_own_test and self.test is None:
            expected = "expected the share of rows to hold out, since the data set has no test rows of its own"
            return [f"protocol.test is missing, {expected}: add it, such as test: 0.2"]
        units, mistakes = facts.units, list[str]()
        num_rows = facts.num_rows - share_of(facts.num_rows, self.test or 0)
        if self.test is not None:
            mistakes = check_share("test", self.test, units)
            units = draw_units(units, units.number - share_of(units.number, self.test))
        if (drawn := self.num_drawn) is not None:
            if drawn > (most := num_rows - facts.num_classes):
                found = f"protocol.training is {self.training}, which with its validation rows makes {drawn} rows"
                return [*mistakes, f"{found}, expected at most {most}: lower it, or remove it to train on all rows"]
            units = units if facts.num_groups else draw_units(units, drawn)  # rows are drawn of every group
        return mistakes or check_share("validation", self.validation, units)

    @property
    def num_drawn(self) -> int | None:
        """Number of training and validation rows of a replicate, where `training` is given."""
        return None if self.training is None else round(self.training / (1 - self.validation))

    def count_training(self, facts: Facts) -> int:
        """Number of training rows of a replicate, about; groups differ in size."""
        outside = facts.num_rows - (share_of(facts.num_rows, self.test) if self.test else 0)
        return self.training or outside - share_of(outside, self.validation)

    def split(self, labels: np.ndarray, *, num_own_test: int, seed: int, groups: Groups = None) -> Split:
        """Split the rows; labels, groups: [row], the data set's own test rows last."""
        rows, parts = np.arange(len(labels)), []
        development, test = np.split(rows, [len(labels) - num_own_test])
        if self.test is not None:  # it does not depend on the number of seeds
            drawn = draw_validation(rows, labels, share=self.test, state=state_of_test(seed), groups=groups)
            development, test = map(np.sort, drawn)
        for replicate in range(self.seeds):
            state = state_of(seed, replicate)
            rows = thin_rows(development, labels, most=self.num_drawn, state=state)
            parts.append((*draw_validation(rows, labels, share=self.validation, state=state, groups=groups), test))
        return stack_parts(parts, labels)


Protocol = Annotated[RepeatedStratifiedKFold | FixedTest, Field(discriminator="kind")]


# Rules and steps that the protocols share --------------------------------------------------------------------------


def number_of(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def share_of(num_rows: int, share: float) -> int:
    """Number of rows in a share, rounded up as scikit-learn's train_test_split does."""
    return int(np.ceil(share * num_rows))


def draw_units(units: Units, number: int) -> Units:
    """What a stratified draw of so many holds, at least."""
    return Units(units.noun, number, units.rarest * number // max(units.number, 1))


def check_share(field: str, share: float, units: Units) -> list[str]:
    """Mistakes of a share of rows or groups: each class has to be inside and outside of it."""
    inside = share_of(units.number, share)
    if min(draw_units(units, part).rarest for part in (inside, units.number - inside)) >= 1:
        return []
    expected = f"a share that puts at least one {units.noun} of every class inside it and one outside it"
    reason = f"at this step the rarest class has {number_of(units.rarest, units.noun)} of {units.number:,}"
    return [f"protocol.{field} is {share:g}, expected {expected} ({reason}): change it"]


def check_classes(split: Split, labels: np.ndarray) -> None:
    """DataError where a part of a replicate lacks a class.

    That each part can hold every class is checked before, but groups that hold many rows may leave no such split.
    """
    for replicate, parts in enumerate(zip(*split, strict=True)):
        for name, rows in zip(Split._fields, parts, strict=True):
            lacking = np.setdiff1d(labels, labels[rows])
            if lacking.size:
                found = f"replicate {replicate} has no {name} row of class {lacking[0]}"
                mend = "use fewer folds, another share, or a column with smaller groups"
                raise DataError(f"{found}, expected every class in each part of whole groups: {mend}")


def state_of(seed: int, replicate: int) -> int:
    """scikit-learn's random_state for one replicate; seed + replicate would give replicates of two seeds the same."""
    return int(np.random.SeedSequence([seed, replicate]).generate_state(1)[0])


def state_of_test(seed: int, *repeat: int) -> int:
    """scikit-learn's random_state for the draw of test rows; those of replicates are other numbers.

    A spawn key, since SeedSequence([seed]) and SeedSequence([seed, 0]) of replicate 0 give the same numbers.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(TEST_KEY, *repeat)).generate_state(1)[0])


def draw_validation(
    rows: np.ndarray, labels: np.ndarray, *, share: float, state: int, groups: Groups = None
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into those that remain and a share of them, stratified by label; groups are not divided."""
    from sklearn.model_selection import train_test_split  # slow to import

    if groups is not None:
        return draw_groups(rows, labels[rows], groups[rows], share=share, state=state)
    return tuple(train_test_split(rows, test_size=share, stratify=labels[rows], random_state=state))


def draw_groups(
    rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, share: float, state: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same for whole groups, as folds of which some are drawn: 0.2 is one of five, 0.15 three of twenty.

    labels, groups: of the rows. No more folds than there are groups of the rarest class.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import

    most = min(MOST_PARTS, *(len(np.unique(groups[labels == number])) for number in np.unique(labels)))
    if most < 2:
        found = "a class is in one group alone of the rows that validation or test rows are drawn from"
        mend = "use fewer folds, or a column with smaller groups"
        raise DataError(f"{found}, expected two or more, so that both sides hold it: {mend}")
    parts = min(max(Fraction(share).limit_denominator(most), Fraction(1, most)), Fraction(most - 1, most))
    folds = StratifiedGroupKFold(parts.denominator, shuffle=True, random_state=state).split(rows, labels, groups)
    drawn = np.concatenate([fold for _, fold in list(folds)[: parts.numerator]])
    return np.delete(rows, drawn), rows[drawn]


def thin_rows(rows: np.ndarray, labels: np.ndarray, *, most: int | None, state: int) -> np.ndarray:
    """At most so many of the rows, drawn with the classes in proportion."""
    if most is None or len(rows) <= most:
        return rows
    from sklearn.model_selection import train_test_split  # slow to import

    return train_test_split(rows, train_size=most, stratify=labels[rows], random_state=state)[0]


def stack_parts(parts: Iterable[Sequence[np.ndarray]], labels: np.ndarray) -> Split:
    """One Split of the (training, validation, test) rows of each replicate."""
    return Split(*(stack_sorted(rows, labels) for rows in zip(*parts, strict=True)))


def stack_sorted(parts: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Row numbers [replicate, n], sorted.

    Parts with more rows than the smallest leave out random rows, of the class that has most too many for its share in
    the part: of the most frequent one where it is one row, in proportion where folds of whole groups differ by many.
    No part loses its only row of a class.
    """
    generator, num_rows = np.random.default_rng(0), min(map(len, parts))
    trimmed = []
    for part in parts:
        counts = np.bincount(labels[part])
        wanted = counts * (num_rows / max(len(part), 1))
        while len(part) > num_rows:
            counts = np.bincount(labels[part], minlength=len(wanted))
            chosen = np.where(counts > 1, counts - wanted, counts - len(part)).argmax()
            part = np.delete(part, generator.choice(np.flatnonzero(labels[part] == chosen)))
        trimmed.append(np.sort(part))
    return np.stack(trimmed).astype(np.int32)
