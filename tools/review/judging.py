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

import numpy as np

from stages.lib.core.files import DAMAGE
from stages.lib.core.records import from_json, split_task
from stages.lib.judge import predictions
from stages.lib.judge.arms import ArmKey, build_arms, build_search_arms
from stages.lib.judge.comparison import ArmResult, Difference, StudyResult
from stages.lib.judge.designs import Estimate, compare_replicates, resampled_mean, welch
from stages.lib.judge.judge import Judge, describe_difference
from stages.lib.judge.plans import StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels, ReferencePredictions, parse_predictions
from stages.lib.judge.scores import SCORES
from stages.lib.judge.verdicts import adjust
from stages.lib.settings.schema import read_statistics
from tools.review.snapshot import COMPARISON, LOCK, PARAMS, Key, RowsUnknownError, Snapshot, compare_params

ORDER = ("worse", "better", "undecided", "equivalent")  # the first that occurs is the verdict of an arm, or of all arms
UNUSABLE = (*DAMAGE, ArithmeticError, MemoryError, RecursionError, TypeError)  # what a damaged file may raise
SAME = ("test", "test_numbers", "training_numbers")  # fields of Labels that pair two runs row by row
BEFORE = "before "  # begins the kind of an arm as it was at the base

ScoredKey = tuple[Key, str]  # an arm by one of its scores


@dataclass(frozen=True)
class Pair:
    """The results of one arm at the base and at the head, and those of its study."""

    base: ArmResult
    head: ArmResult
    base_study: StudyResult
    head_study: StudyResult

    @property
    def moved_scores(self) -> list[str]:
        """The scores that both have, with different results."""
        base, head = self.base.judged, self.head.judged
        return [score for score in head if score in base and base[score].replicates != head[score].replicates]

    def is_paired(self, score: str) -> bool:
        """Whether replicate i of both was judged on the same rows."""
        same_number = len(self.base.judged[score].replicates) == len(self.head.judged[score].replicates)
        return same_number and self.head_study.is_judged_on_the_same_rows(self.base_study)

    def compare_replicates(self, score: str) -> Estimate:
        """Head less base: a paired test where replicates are paired, else a test of two independent means."""
        head, base = self.head.judged[score].replicates, self.base.judged[score].replicates
        ratio = self.head_study.protocol.test_train_ratio
        if self.is_paired(score):
            return compare_replicates(head, base, test_train_ratio=ratio)
        before = resampled_mean(base, test_train_ratio=self.base_study.protocol.test_train_ratio)
        return welch(resampled_mean(head, test_train_ratio=ratio), before)


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

    pairs: the arms that both have. changes: their scores that differ.
    basis: study -> why its differences are not judged row by row; empty if they are.
    params: `key: before -> after` for every parameter that changed.
    """

    base: Snapshot
    head: Snapshot
    pairs: dict[Key, Pair]
    changes: list[Change]
    basis: dict[str, str]
    params: list[str]
    confidence: float

    @property
    def added(self) -> list[Key]:
        return [key for key in self.head.arms if key not in self.pairs]

    @property
    def removed(self) -> list[Key]:
        return [key for key in self.base.arms if key not in self.pairs]

    @property
    def incomparable(self) -> list[Key]:
        """The arms that only one of the two judges by some score."""
        return [key for key, pair in self.pairs.items() if pair.base.judged.keys() != pair.head.judged.keys()]

    @property
    def judged(self) -> list[Change]:
        """What a reviewer has to look at: changed arms, and recomputed arms that moved by more than noise."""
        notable = {change.key for change in self.changes if change.verdict in ("worse", "better")}
        return [change for change in self.changes if not change.recomputed or change.key in notable]

    @property
    def arms(self) -> dict[Key, str]:
        """The verdict of each judged arm: worse if it is worse by one score, better if by one and worse by none."""
        verdicts: dict[Key, list[str]] = {}
        for change in self.judged:
            verdicts.setdefault(change.key, []).append(change.verdict)
        return {key: min(each, key=ORDER.index) for key, each in verdicts.items()}

    @property
    def verdict(self) -> str:
        """worse, better, undecided or equivalent; without a judged arm not_comparable or unchanged."""
        nothing = "not_comparable" if self.incomparable else "unchanged"
        return min(self.arms.values(), key=ORDER.index, default=nothing)


def review(base: Snapshot, head: Snapshot) -> Review:
    """Compare the arms of two snapshots."""
    pairs = {
        key: Pair(base.arms[key], arm, base.comparison[key.study], head.comparison[key.study])
        for key, arm in head.arms.items()
        if key in base.arms
    }
    params, settings = list(compare_params(base.params, head.params)), head.read(PARAMS, read_statistics)
    margins = dict.fromkeys(SCORES, 0.0) | settings.equivalence
    plan = StatisticsPlan(confidence=settings.confidence, equivalence=margins)
    moved = {key: pair for key, pair in pairs.items() if pair.moved_scores}
    compared, basis = compare_studies(moved, base, head, plan)
    inputs = {key: (base.find_inputs(key), head.find_inputs(key)) for key in moved}
    untouched = {key: pair for key, pair in moved.items() if inputs[key][0] is not None and len(set(inputs[key])) == 1}
    touched = {key: pair for key, pair in moved.items() if key not in untouched}
    changes = [*judge_changes(touched, compared, plan), *judge_changes(untouched, compared, plan, recomputed=True)]
    return Review(base, head, pairs, changes, basis, params, settings.confidence)


def judge_changes(
    pairs: Mapping[Key, Pair],
    compared: Mapping[ScoredKey, Estimate],
    plan: StatisticsPlan,
    *,
    recomputed: bool = False,
) -> Iterator[Change]:
    """The verdict on every score that moved, adjusted over each study and for the number of studies."""
    studies = {key.study: pair.head_study for key, pair in pairs.items()}
    for study, result in studies.items():
        family = {
            (*key, score): compared[key, score]
            for key, pair in pairs.items()
            if key.study == study
            for score in pair.moved_scores
        }
        adjusted = adjust(family, seed=result.seed)
        for name, estimate in family.items():
            key, score, p_value = Key(*name[:3]), name[3], adjusted[name]
            difference = describe_difference(score, estimate, min(1.0, len(studies) * p_value), plan)
            before, after = (float(np.mean(arm.judged[score].replicates)) for arm in (pairs[key].base, pairs[key].head))
            yield Change(key, score, before, after, difference, estimate.by_row, recomputed)


def compare_studies(
    moved: Mapping[Key, Pair], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> tuple[dict[ScoredKey, Estimate], dict[str, str]]:
    """Head less base of every score that moved; study -> why it is not compared row by row, or empty."""
    compared: dict[ScoredKey, Estimate] = {}
    basis = dict.fromkeys((key.study for key in moved), "")
    for study in basis:
        members = {key: pair for key, pair in moved.items() if key.study == study}
        try:
            for variant in dict.fromkeys(key.variant for key in members):  # one is held at a time
                same = {key: pair for key, pair in members.items() if key.variant == variant}
                compared |= compare_rows(same, base, head, plan)
        except RowsUnknownError as error:
            basis[study] = str(error)
            for key, pair in members.items():
                compared |= {(key, score): pair.compare_replicates(score) for score in pair.moved_scores}
    return compared, basis


def compare_rows(
    pairs: Mapping[Key, Pair], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> dict[ScoredKey, Estimate]:
    """Head less base of the arms of one variant, paired by replicate and row; RowsUnknownError where it cannot be."""
    if not all(pair.is_paired(score) for pair in pairs.values() for score in pair.moved_scores):
        raise RowsUnknownError("protocol, data, seed or number of replicates differ, so that none are paired")
    before, after = (load_judge(snapshot, [*pairs], plan) for snapshot in (base, head))
    if not all(np.array_equal(getattr(before.labels, part), getattr(after.labels, part)) for part in SAME):
        raise RowsUnknownError("the same protocol and seed drew other rows")
    earlier = {ArmKey(key.variant, BEFORE + key.kind): arm for key, arm in before.arms.items()}
    with blame(head):
        both = Judge(after.plan, plan, after.labels, {**after.arms, **earlier})
        if both.design is None:
            raise RowsUnknownError("the protocol does not hold out every row in enough repeats to know its influence")
        return {
            (key, score): both.compare(score, ArmKey(*key[1:]), ArmKey(key.variant, BEFORE + key.kind))
            for key, pair in pairs.items()
            for score in pair.moved_scores
        }


def load_judge(snapshot: Snapshot, keys: Sequence[Key], settings: StatisticsPlan) -> Judge:
    """The arms of one variant or reference model as the last run predicted them, and as compare has recorded them."""
    study, variant, _ = keys[0]
    folder, reference_folder = (f"{each}/{study}" for each in (predictions.FOLDER, predictions.REFERENCE_FOLDER))
    with blame(snapshot):
        path = snapshot.find_output(f"data/plan/{split_task(study)[0]}/_study.json")
        plan = from_json(dict[str, StudyPlan], path.read_text(encoding="utf-8"))[study]
        labels = Labels(**snapshot.read_arrays(f"{folder}/_labels.npz"))
        rivals = [each.singles for each in plan.searches if variant in (each.best_single, each.best_singles)]
        names = {name for singles in rivals for name in singles} or {variant}
        variants = [each.name for each in plan.variants if each.name in names]
        models = [name for name in plan.references if name in names]
        predicted = {name: parse_predictions(snapshot.read_arrays(f"{folder}/{name}.npz")) for name in variants}
        references = {
            name: ReferencePredictions(**snapshot.read_arrays(f"{reference_folder}/{name}.npz")) for name in models
        }
        arms = build_arms(predicted, references, labels, select_by=plan.select_by)
        arms |= build_search_arms(predicted, plan.searches, labels, select_by=plan.select_by)
        judge = Judge(plan, settings, labels, arms)
        for key in keys:
            for score, judged in snapshot.arms[key].judged.items():
                if not is_same(judge.measure(score, ArmKey(*key[1:])), judged.replicates):
                    raise RowsUnknownError(
                        f"the predictions that {LOCK} of {snapshot.name} names are not those of its {COMPARISON}"
                    )
    return judge


def is_same(replicates: np.ndarray, recorded: list[float]) -> bool:
    """Whether scores are those that compare has recorded, with seven digits."""
    return len(replicates) == len(recorded) and np.allclose(replicates, recorded, rtol=1e-6, atol=1e-9)


@contextmanager
def blame(snapshot: Snapshot) -> Iterator[None]:
    """RowsUnknownError in place of what reading, parsing and scoring damaged predictions raise."""
    try:
        yield
    except UNUSABLE:
        raise RowsUnknownError(f"the predictions of {snapshot.name} in DVC's cache are damaged") from None
