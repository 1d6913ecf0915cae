"""The judge on two revisions: which arms have changed, and which changes are more than noise.

An arm at the head is compared with itself at the base, by both scores of its study: row by row, as `compare` compares
it with its baseline, where DVC's cache holds the predictions of both, else by the scores of its replicates alone.

The changed arms of a study and both of its scores are one family. The chance of a false finding, 1 - confidence, is
shared equally between the studies with changed arms: adjusted p-values are multiplied by their number. Arms whose
scores differ although no input of theirs changed are families of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.lib.core.files import DAMAGE
from stages.lib.core.records import from_json, split_task
from stages.lib.judge import predictions as stored
from stages.lib.judge.arms import ArmKey, build_arms
from stages.lib.judge.comparison import Difference, find_comparison
from stages.lib.judge.designs import Estimate, compare_replicates, resampled_mean, welch
from stages.lib.judge.judge import ComparisonKey, Judge, judge_all
from stages.lib.judge.plans import StatisticsPlan, StudyPlan
from stages.lib.judge.scores import SCORES
from stages.lib.lock import LOCK
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.schema import read_statistics
from tools.review.snapshot import Key, RowsUnknownError, Snapshot, compare_params

ORDER = ("worse", "better", "undecided", "equivalent")  # the first that occurs is the verdict of an arm, or of all arms
UNUSABLE = (*DAMAGE, ArithmeticError, MemoryError, RecursionError, TypeError)  # what a damaged file may raise
SAME = ("test", "test_numbers", "training_numbers")  # fields of Labels that pair two runs row by row
BEFORE = "before "  # begins the kind of an arm as it was at the base


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

    @cached_property
    def arms(self) -> dict[Key, Change]:
        """For each judged arm the score that decides: worse by one is worse, better by one and worse by none better."""
        first = dict[Key, Change]()
        for change in sorted(self.judged, key=lambda each: (ORDER.index(each.verdict), each.difference.p_adjusted)):
            first.setdefault(change.key, change)
        return first

    @property
    def verdict(self) -> str:
        """worse, better, undecided or equivalent; without a judged arm not_comparable or unchanged."""
        nothing = "not_comparable" if self.incomparable else "unchanged"
        return next((change.verdict for change in self.arms.values()), nothing)


def review(base: Snapshot, head: Snapshot) -> Review:
    """Compare the arms of two snapshots."""
    params, settings = list(compare_params(base.params, head.params)), head.read(PARAMS, read_statistics)
    margins = dict.fromkeys(SCORES, 0.0) | settings.equivalence
    plan = StatisticsPlan(confidence=settings.confidence, equivalence=margins)
    moved = {study: find_moved(study, base, head) for study in head.comparison}
    compared = {study: compare_study(study, keys, base, head, plan) for study, keys in moved.items() if keys}
    arms = {Key(study, *key[:2]) for study, keys in moved.items() for key in keys}
    untouched = {arm for arm in arms if (inputs := base.find_inputs(arm)) and inputs == head.find_inputs(arm)}
    changes = list[Change]()
    for kept, recomputed in ((arms - untouched, False), (untouched, True)):
        families = {
            study: {key: each for key, each in estimates.items() if Key(study, *key[:2]) in kept}
            for study, (estimates, _) in compared.items()
        }
        families = {study: family for study, family in families.items() if family}
        for study, family in families.items():
            seed, share = head.comparison[study].seed, 1 / len(families)
            for key, difference in judge_all(family, plan, seed=seed, share=share).items():
                before, after = (float(np.mean(find_replicates(side, study, key))) for side in (base, head))
                arm, by_row = Key(study, *key[:2]), family[key].by_row
                changes.append(Change(arm, key.score, before, after, difference, by_row, recomputed))
    basis = {study: reason for study, (_, reason) in compared.items()}
    return Review(base, head, changes, basis, params, settings.confidence)


def find_moved(study: str, base: Snapshot, head: Snapshot) -> list[ComparisonKey]:
    """The scores that both have of arms that both have, and that differ."""
    moved = list[ComparisonKey]()
    for (variant, kind), arm in head.comparison[study].list_arms():
        before = base.arms[key].judged if (key := Key(study, variant, kind)) in base.arms else {}
        scores = [score for score in arm.judged if score in before]
        differ = [score for score in scores if before[score].replicates != arm.judged[score].replicates]
        moved += [ComparisonKey(variant, kind, score) for score in differ]
    return moved


def find_replicates(side: Snapshot, study: str, key: ComparisonKey) -> list[float]:
    return side.arms[Key(study, key.variant, key.kind)].judged[key.score].replicates


def compare_study(
    study: str, keys: Sequence[ComparisonKey], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> tuple[dict[ComparisonKey, Estimate], str]:
    """Head less base of every score that moved; and why it is not compared row by row, or empty."""
    compared: dict[ComparisonKey, Estimate] = {}
    try:
        for variant in dict.fromkeys(key.variant for key in keys):  # one is held at a time
            compared |= compare_rows(study, [key for key in keys if key.variant == variant], base, head, plan)
    except RowsUnknownError as error:
        return {key: compare_means(study, key, base, head) for key in keys}, str(error)
    return compared, ""


def is_paired(study: str, key: ComparisonKey, base: Snapshot, head: Snapshot) -> bool:
    """Whether replicate i of both was judged on the same rows."""
    before, after = (find_replicates(side, study, key) for side in (base, head))
    same_rows = head.comparison[study].is_judged_on_the_same_rows(base.comparison[study])
    return len(before) == len(after) and same_rows


def compare_means(study: str, key: ComparisonKey, base: Snapshot, head: Snapshot) -> Estimate:
    """By replicates alone: a paired test where they are paired, else a test of two independent means."""
    before, after = (find_replicates(side, study, key) for side in (base, head))
    earlier, ratio = (side.comparison[study].protocol.test_train_ratio for side in (base, head))
    if is_paired(study, key, base, head):
        return compare_replicates(after, before, test_train_ratio=ratio)
    return welch(resampled_mean(after, test_train_ratio=ratio), resampled_mean(before, test_train_ratio=earlier))


def compare_rows(
    study: str, keys: Sequence[ComparisonKey], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> dict[ComparisonKey, Estimate]:
    """The arms of one variant, paired by replicate and row; RowsUnknownError where it cannot be."""
    if not all(is_paired(study, key, base, head) for key in keys):
        raise RowsUnknownError("protocol, data, seed or number of replicates differ, so that none are paired")
    before, after = (load_judge(side, study, keys, plan) for side in (base, head))
    if not all(np.array_equal(getattr(before.labels, part), getattr(after.labels, part)) for part in SAME):
        raise RowsUnknownError("the same protocol and seed drew other rows")
    earlier = {ArmKey(key.variant, BEFORE + key.kind): arm for key, arm in before.arms.items()}
    with refuse_damaged(head):
        both = Judge(after.plan, plan, after.labels, {**after.arms, **earlier})
        if both.design is None:
            raise RowsUnknownError("the protocol does not hold out every row in enough repeats to know its influence")
        pairs = {key: (ArmKey(key.variant, key.kind), ArmKey(key.variant, BEFORE + key.kind)) for key in keys}
        return {key: both.compare(key.score, *pair) for key, pair in pairs.items()}


def load_judge(side: Snapshot, task: str, keys: Sequence[ComparisonKey], settings: StatisticsPlan) -> Judge:
    """The arms of one variant or reference model as the last run predicted them, and as compare has recorded them."""
    study, variant = split_task(task)[0], keys[0].variant
    with refuse_damaged(side):
        path = side.find_output(f"data/plan/{study}/_study.json")
        plan = from_json(dict[str, StudyPlan], path.read_text(encoding="utf-8"))[task]
        labels = stored.Labels(**side.read_arrays(f"{stored.FOLDER}/{task}/_labels.npz"))

        def load(name: str, *, at_end: bool) -> stored.Predictions:
            path = stored.find_predictions(task, name, at_end=at_end).as_posix()
            return stored.parse_predictions(side.read_arrays(path))

        rivals = [each.singles for each in plan.searches if variant in (each.best_single, each.best_singles)]
        names = {name for singles in rivals for name in singles} or {variant}
        predicted = {each.name: load(each.name, at_end=False) for each in plan.variants if each.name in names}
        at_end = {variant: load(variant, at_end=True)} if plan.stopped and variant in predicted else {}
        files = {name: f"{stored.REFERENCE_FOLDER}/{task}/{name}.npz" for name in plan.references if name in names}
        references = {name: stored.ReferencePredictions(**side.read_arrays(file)) for name, file in files.items()}
        judge = Judge(plan, settings, labels, build_arms(plan, labels, predicted, references, at_end))
        for arm in dict.fromkeys((key.variant, key.kind) for key in keys):
            for score, judged in side.arms[Key(task, *arm)].judged.items():
                if not is_same(judge.measure(score, ArmKey(*arm)), judged.replicates):
                    others = f"not those of its {find_comparison(study)}"
                    raise RowsUnknownError(f"the predictions that {LOCK} of {side.name} names are {others}")
    return judge


def is_same(replicates: np.ndarray, recorded: list[float]) -> bool:
    """Whether scores are those that compare has recorded, with seven digits."""
    return len(replicates) == len(recorded) and np.allclose(replicates, recorded, rtol=1e-6, atol=1e-9)


@contextmanager
def refuse_damaged(side: Snapshot) -> Iterator[None]:
    """RowsUnknownError in place of what reading, parsing and scoring damaged predictions raise."""
    try:
        yield
    except UNUSABLE:
        told = f"the predictions of {side.name} in DVC's cache are damaged, or of another layout"
        raise RowsUnknownError(told) from None
