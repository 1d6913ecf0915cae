"""The judge on two revisions: which arms have changed, and which changes are more than noise.

An arm at the head is compared with itself at the base, by both scores of its study: row by row, as `compare` compares
it with its baseline, where DVC's cache holds the predictions of both, else by the scores of its replicates alone.

The changed arms of a study and both of its scores are one family. The chance of a false finding, 1 - confidence, is
shared equally between the studies with changed arms: adjusted p-values are multiplied by their number. Arms whose
scores differ although no input of theirs changed are families of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.lib.core.files import DAMAGE
from stages.lib.core.records import from_json, split_task
from stages.lib.judge.arms import ArmKey
from stages.lib.judge.comparison import Difference, StudyResult, find_comparison
from stages.lib.judge.designs import Estimate, compare_replicates, resampled_mean, welch
from stages.lib.judge.judge import Judge, judge_all
from stages.lib.judge.plans import StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import (
    FOLDER,
    REFERENCE_FOLDER,
    Labels,
    Predictions,
    ReferencePredictions,
    find_predictions,
    parse_predictions,
)
from stages.lib.judge.scores import SCORES
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.schema import read_statistics
from tools.review.snapshot import LOCK, Key, RowsUnknownError, Snapshot, compare_params

ORDER = ("worse", "better", "undecided", "equivalent")  # the first that occurs is the verdict of an arm, or of all arms
UNUSABLE = (*DAMAGE, ArithmeticError, MemoryError, RecursionError, TypeError)  # what a damaged file may raise
SAME = ("test", "test_numbers", "training_numbers")  # fields of Labels that pair two runs row by row
BEFORE = "before "  # begins the kind of an arm as it was at the base


class ScoredKey(NamedTuple):
    """Names one score of an arm."""

    study: str
    variant: str
    kind: str
    score: str

    @property
    def arm(self) -> Key:
        return Key(*self[:3])


@dataclass(frozen=True)
class Pair:
    """The replicates of one score of an arm at the base and at the head, and their studies."""

    base: list[float]
    head: list[float]
    base_study: StudyResult
    head_study: StudyResult

    @property
    def is_paired(self) -> bool:
        """Whether replicate i of both was judged on the same rows."""
        return len(self.base) == len(self.head) and self.head_study.is_judged_on_the_same_rows(self.base_study)

    def compare(self) -> Estimate:
        """Head less base: a paired test where replicates are paired, else a test of two independent means."""
        ratio = self.head_study.protocol.test_train_ratio
        if self.is_paired:
            return compare_replicates(self.head, self.base, test_train_ratio=ratio)
        before = resampled_mean(self.base, test_train_ratio=self.base_study.protocol.test_train_ratio)
        return welch(resampled_mean(self.head, test_train_ratio=ratio), before)


@dataclass(frozen=True)
class Change:
    """One score of an arm at the base and at the head, and head less base with its verdict.

    by_row: whether it was judged row by row, else by replicates.
    recomputed: whether it differs although no input of the arm that DVC tracks changed.
    """

    key: Key
    score: str
    base: float
    head: float
    difference: Difference
    by_row: bool
    recomputed: bool

    @property
    def verdict(self) -> str:
        return self.difference.verdict


@dataclass(frozen=True)
class Review:
    """What differs between a base and a head.

    changes: the scores that differ of the arms that both have.
    basis: study -> why its differences are not judged row by row; empty if they are.
    params: `key: before -> after` for every parameter that changed.
    """

    base: Snapshot
    head: Snapshot
    changes: list[Change]
    basis: dict[str, str]
    params: list[str]
    confidence: float

    @property
    def added(self) -> list[Key]:
        return [key for key in self.head.arms if key not in self.base.arms]

    @property
    def removed(self) -> list[Key]:
        return [key for key in self.base.arms if key not in self.head.arms]

    @property
    def shared(self) -> list[Key]:
        return [key for key in self.head.arms if key in self.base.arms]

    @property
    def incomparable(self) -> list[Key]:
        """The arms that only one of the two judges by some score."""
        base, head = self.base.arms, self.head.arms
        return [key for key in self.shared if base[key].judged.keys() != head[key].judged.keys()]

    @property
    def judged(self) -> list[Change]:
        """What a reviewer has to look at: changed arms, and recomputed arms that moved by more than noise."""
        notable = {change.key for change in self.changes if change.verdict in ("worse", "better")}
        return [change for change in self.changes if not change.recomputed or change.key in notable]

    @property
    def deciding(self) -> list[Change]:
        """For each judged arm the score that decides: worse by one is worse, better by one and worse by none better."""
        first = dict[Key, Change]()
        for change in sorted(self.judged, key=lambda each: (ORDER.index(each.verdict), each.difference.p_adjusted)):
            first.setdefault(change.key, change)
        return list(first.values())

    @property
    def arms(self) -> dict[Key, str]:
        """The verdict of each judged arm."""
        return {change.key: change.verdict for change in self.deciding}

    @property
    def verdict(self) -> str:
        """worse, better, undecided or equivalent; without a judged arm not_comparable or unchanged."""
        nothing = "not_comparable" if self.incomparable else "unchanged"
        return min(self.arms.values(), key=ORDER.index, default=nothing)


def review(base: Snapshot, head: Snapshot) -> Review:
    """Compare the arms of two snapshots."""
    moved = {name: pair for name, pair in pair_scores(base, head) if pair.base != pair.head}
    params, settings = list(compare_params(base.params, head.params)), head.read(PARAMS, read_statistics)
    margins = dict.fromkeys(SCORES, 0.0) | settings.equivalence
    plan = StatisticsPlan(confidence=settings.confidence, equivalence=margins)
    compared, basis = compare_studies(moved, base, head, plan)
    inputs = {key: (base.find_inputs(key), head.find_inputs(key)) for key in {name.arm for name in moved}}
    untouched = {key for key, (before, after) in inputs.items() if before is not None and before == after}
    changed = {name: pair for name, pair in moved.items() if name.arm not in untouched}
    recomputed = {name: pair for name, pair in moved.items() if name.arm in untouched}
    changes = [*judge(changed, compared, plan), *judge(recomputed, compared, plan, recomputed=True)]
    return Review(base, head, changes, basis, params, settings.confidence)


def pair_scores(base: Snapshot, head: Snapshot) -> Iterator[tuple[ScoredKey, Pair]]:
    """The scores that both have of the arms that both have."""
    for key, arm in head.arms.items():
        before = base.arms[key].judged if key in base.arms else {}
        for score, judged in arm.judged.items():
            if score in before:
                studies = base.comparison[key.study], head.comparison[key.study]
                yield ScoredKey(*key, score), Pair(before[score].replicates, judged.replicates, *studies)


def judge(
    pairs: Mapping[ScoredKey, Pair],
    compared: Mapping[ScoredKey, Estimate],
    plan: StatisticsPlan,
    *,
    recomputed: bool = False,
) -> Iterator[Change]:
    """The verdict on every score that moved, adjusted over each study and for the number of studies."""
    seeds = {name.study: pair.head_study.seed for name, pair in pairs.items()}
    for study, seed in seeds.items():
        family = {name: compared[name] for name in pairs if name.study == study}
        for name, difference in judge_all(family, plan, seed=seed, share=1 / len(seeds)).items():
            pair = pairs[name]
            before, after = float(np.mean(pair.base)), float(np.mean(pair.head))
            yield Change(name.arm, name.score, before, after, difference, family[name].by_row, recomputed)


def compare_studies(
    moved: Mapping[ScoredKey, Pair], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> tuple[dict[ScoredKey, Estimate], dict[str, str]]:
    """Head less base of every score that moved; study -> why it is not compared row by row, or empty."""
    compared: dict[ScoredKey, Estimate] = {}
    basis = dict.fromkeys((name.study for name in moved), "")
    for study in basis:
        members = {name: pair for name, pair in moved.items() if name.study == study}
        try:
            for variant in dict.fromkeys(name.variant for name in members):  # one is held at a time
                same = {name: pair for name, pair in members.items() if name.variant == variant}
                compared |= compare_rows(same, base, head, plan)
        except RowsUnknownError as error:
            basis[study] = str(error)
            compared |= {name: pair.compare() for name, pair in members.items()}
    return compared, basis


def compare_rows(
    pairs: Mapping[ScoredKey, Pair], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> dict[ScoredKey, Estimate]:
    """Head less base of the arms of one variant, paired by replicate and row; RowsUnknownError where it cannot be."""
    if not all(pair.is_paired for pair in pairs.values()):
        raise RowsUnknownError("protocol, data, seed or number of replicates differ, so that none are paired")
    before, after = (load_judge(snapshot, [name.arm for name in pairs], plan) for snapshot in (base, head))
    if not all(np.array_equal(getattr(before.labels, part), getattr(after.labels, part)) for part in SAME):
        raise RowsUnknownError("the same protocol and seed drew other rows")
    earlier = {ArmKey(key.variant, BEFORE + key.kind): arm for key, arm in before.arms.items()}
    with refuse_damaged(head):
        both = Judge(after.plan, plan, after.labels, {**after.arms, **earlier})
        if both.design is None:
            raise RowsUnknownError("the protocol does not hold out every row in enough repeats to know its influence")
        return {
            name: both.compare(name.score, ArmKey(name.variant, name.kind), ArmKey(name.variant, BEFORE + name.kind))
            for name in pairs
        }


def load_judge(snapshot: Snapshot, keys: Sequence[Key], settings: StatisticsPlan) -> Judge:
    """The arms of one variant or reference model as the last run predicted them, and as compare has recorded them."""
    task, variant, _ = keys[0]
    with refuse_damaged(snapshot):
        path = snapshot.find_output(f"data/plan/{split_task(task)[0]}/_study.json")
        plan = from_json(dict[str, StudyPlan], path.read_text(encoding="utf-8"))[task]
        labels = Labels(**snapshot.read_arrays(f"{FOLDER}/{task}/_labels.npz"))
        rivals = [each.singles for each in plan.searches if variant in (each.best_single, each.best_singles)]
        names = {name for singles in rivals for name in singles} or {variant}
        variants = [each.name for each in plan.variants if each.name in names]
        models = [name for name in plan.references if name in names]
        predicted = {name: read_predictions(snapshot, task, name, at_end=False) for name in variants}
        stopped = [name for name in variants if plan.stopped and name == variant]
        at_end = {name: read_predictions(snapshot, task, name, at_end=True) for name in stopped}
        references = {
            name: ReferencePredictions(**snapshot.read_arrays(f"{REFERENCE_FOLDER}/{task}/{name}.npz"))
            for name in models
        }
        loaded = Judge.of_predictions(plan, settings, labels, predicted, references, at_end)
        for key in keys:
            for score, judged in snapshot.arms[key].judged.items():
                if not is_same(loaded.measure(score, ArmKey(*key[1:])), judged.replicates):
                    written = find_comparison(split_task(task)[0])
                    raise RowsUnknownError(
                        f"the predictions that {LOCK} of {snapshot.name} names are not those of its {written}"
                    )
    return loaded


def read_predictions(snapshot: Snapshot, task: str, variant: str, *, at_end: bool) -> Predictions:
    return parse_predictions(snapshot.read_arrays(find_predictions(task, variant, at_end=at_end).as_posix()))


def is_same(replicates: np.ndarray, recorded: list[float]) -> bool:
    """Whether scores are those that compare has recorded, with seven digits."""
    return len(replicates) == len(recorded) and np.allclose(replicates, recorded, rtol=1e-6, atol=1e-9)


@contextmanager
def refuse_damaged(snapshot: Snapshot) -> Iterator[None]:
    """RowsUnknownError in place of what reading, parsing and scoring damaged predictions raise."""
    try:
        yield
    except UNUSABLE:
        told = f"the predictions of {snapshot.name} in DVC's cache are damaged, or of another layout"
        raise RowsUnknownError(told) from None
