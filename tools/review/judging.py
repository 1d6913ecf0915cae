"""The judge on two revisions: which arms have changed, and which changes are more than noise.

An arm at the head is compared with itself at the base, by both scores of its study: row by row, as `compare` compares
it with its baseline, where DVC's cache holds the predictions of both, else by the scores of its replicates alone. Of a
study of several data sets git keeps no replicates: without the cache its changes are named, and not judged.

The changed arms of a study and both of its scores are one family. The chance of a false finding, 1 - confidence, is
shared equally between the studies with changed arms: adjusted p-values are multiplied by their number. Arms whose
scores differ although no input of theirs changed are families of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stages.lib.core.records import from_json, split_task
from stages.lib.judge.arms import Arm, ArmKey, build_arms
from stages.lib.judge.comparison import Difference, find_comparison
from stages.lib.judge.designs import Estimate, resampled_mean, welch
from stages.lib.judge.judge import Judge, judge_all
from stages.lib.judge.plans import StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels, load_study_predictions
from stages.lib.judge.scores import SCORES
from stages.lib.lock import LOCK
from stages.lib.settings.mistakes import PARAMS
from stages.lib.settings.schema import read_statistics
from tools.review.snapshot import PLANS, Key, RowsUnknownError, Snapshot, compare_params

ORDER = (
    "worse",
    "better",
    "inconclusive",
    "equivalent",
)  # the first that occurs is the verdict of an arm, or of all arms
SAME = ("test", "test_numbers", "training_numbers")  # fields of Labels that pair two runs row by row
BEFORE = "before "  # begins the kind of an arm as it was at the base


class ScoreKey(NamedTuple):
    """Names a score of an arm."""

    arm: Key
    score: str


@dataclass(frozen=True)
class Change:
    """A score at the base and at the head, and head less base with its verdict.

    recomputed: whether it differs although no input of the arm that DVC tracks changed.
    """

    key: ScoreKey
    base: float
    head: float
    difference: Difference
    recomputed: bool

    @property
    def verdict(self) -> str:
        return self.difference.verdict


@dataclass(frozen=True)
class Review:
    """What differs between a base and a head.

    changes: the scores that differ of the arms that both have.
    unjudged: those of them that nothing is left of but a mean.
    basis: study -> why its differences are not judged row by row; empty if they are.
    params: `key: before -> after` for every parameter that changed.
    """

    base: Snapshot
    head: Snapshot
    changes: list[Change]
    unjudged: list[ScoreKey]
    basis: dict[str, str]
    params: list[str]
    confidence: float

    @property
    def added(self) -> list[Key]:
        return [key for key in self.head.arms if key not in self.base.arms]

    @property
    def removed(self) -> list[Key]:
        return [key for key in self.base.arms if key not in self.head.arms]

    @cached_property
    def arms(self) -> dict[Key, Change]:
        """What a reviewer has to look at: changed arms, and recomputed arms that moved by more than noise.

        Of each the score that decides: worse by one is worse, better by one and worse by none is better.
        """
        first = dict[Key, Change]()
        for change in sorted(self.changes, key=lambda each: (ORDER.index(each.verdict), each.difference.p_adjusted)):
            if not change.recomputed or change.verdict in ("worse", "better"):
                first.setdefault(change.key.arm, change)
        return first

    @property
    def verdict(self) -> str:
        """worse, better, inconclusive or equivalent; unchanged without a judged arm."""
        return next((change.verdict for change in self.arms.values()), "unchanged")


def review(base: Snapshot, head: Snapshot) -> Review:
    """Compare the arms of two snapshots."""
    params, settings = list(compare_params(base.params, head.params)), head.read(PARAMS, read_statistics)
    plan = settings.model_copy(update={"equivalence": dict.fromkeys(SCORES, 0.0) | settings.equivalence})
    moved = find_moved(base, head)
    arms = {key.arm for keys in moved.values() for key in keys}
    untouched = {arm for arm in arms if (inputs := base.find_inputs(arm)) and inputs == head.find_inputs(arm)}
    families, basis, changes = defaultdict[tuple[bool, str], dict](dict), dict[str, str](), list[Change]()
    unjudged = list[ScoreKey]()
    for study, keys in moved.items():
        estimates, basis[study] = compare_study(keys, base, head, plan)
        unjudged += [key for key in keys if key not in estimates]
        for key, estimate in estimates.items():
            families[key.arm in untouched, study][key] = estimate
    studies = Counter(recomputed for recomputed, _ in families)
    for (recomputed, study), family in families.items():
        judged = judge_all(family, plan, seed=head.comparison[study].seed, share=1 / studies[recomputed])
        for key, difference in judged.items():
            was, now = (side.arms[key.arm].judged[key.score].value for side in (base, head))
            changes.append(Change(key, was, now, difference, recomputed))
    return Review(base, head, changes, unjudged, basis, params, settings.confidence)


def find_moved(base: Snapshot, head: Snapshot) -> dict[str, list[ScoreKey]]:
    """Study -> the scores that both have of arms that both have, and that differ."""
    moved = defaultdict(list)
    for key, arm in head.arms.items():
        before = base.arms[key].judged if key in base.arms else {}
        for score, judged in arm.judged.items():
            was = before.get(score)
            both = was and was.replicates and judged.replicates
            if was and (was.value != judged.value or (both and was.replicates != judged.replicates)):
                moved[key.study].append(ScoreKey(key, score))
    return moved


def compare_study(
    keys: Sequence[ScoreKey], base: Snapshot, head: Snapshot, plan: StatisticsPlan
) -> tuple[dict[ScoreKey, Estimate], str]:
    """Head less base of the scores of a study that moved; and why they are not compared row by row, or empty."""
    before, after = (side.comparison[keys[0].arm.study] for side in (base, head))
    earlier, ratio = before.protocol.test_train_ratio, after.protocol.test_train_ratio
    scores = {key: [side.arms[key.arm].judged[key.score].replicates for side in (head, base)] for key in keys}
    known = {key: both for key, both in scores.items() if all(both)}
    if not after.is_judged_on_the_same_rows(before) or any(len(now) != len(was) for now, was in known.values()):
        unpaired = {
            key: welch(resampled_mean(now, test_train_ratio=ratio), resampled_mean(was, test_train_ratio=earlier))
            for key, (now, was) in known.items()
        }
        return unpaired, "protocol, data, seed or number of replicates differ, so that none are paired"
    if not after.dataset:  # means over several data sets
        return {key: resampled_mean(np.subtract(now, was), test_train_ratio=0) for key, (now, was) in known.items()}, ""
    try:
        by_row = dict[ScoreKey, Estimate]()
        for variant in dict.fromkeys(key.arm.variant for key in keys):  # one is held at a time
            by_row |= compare_rows([key for key in keys if key.arm.variant == variant], base, head, plan)
        return by_row, ""
    except RowsUnknownError as error:
        reason = str(error)
    except Exception as error:  # there is no end to what reading, parsing and scoring damaged arrays may raise
        reason = f"the predictions in DVC's cache are damaged, or of another layout: {type(error).__name__}"
    paired = {key: np.subtract(now, was) for key, (now, was) in known.items()}
    return {key: resampled_mean(change, test_train_ratio=ratio) for key, change in paired.items()}, reason


def compare_rows(
    keys: Sequence[ScoreKey], base: Snapshot, head: Snapshot, settings: StatisticsPlan
) -> dict[ScoreKey, Estimate]:
    """The arms of one variant, paired by replicate and row; RowsUnknownError where it cannot be."""
    _, labels, earlier = restore_arms(base, keys[0].arm)
    plan, labels_now, arms = restore_arms(head, keys[0].arm)
    if not all(np.array_equal(getattr(labels, part), getattr(labels_now, part)) for part in SAME):
        raise RowsUnknownError("the same protocol and seed drew other rows")
    arms |= {ArmKey(key.variant, BEFORE + key.kind): arm for key, arm in earlier.items()}
    judge = Judge(plan, settings, labels_now, arms)
    if judge.design is None:
        raise RowsUnknownError("the protocol does not hold out every row in enough repeats to know its influence")
    compared = {}
    for key in keys:
        now, was = ArmKey(key.arm.variant, key.arm.kind), ArmKey(key.arm.variant, BEFORE + key.arm.kind)
        for side, arm in ((head, now), (base, was)):
            recorded, found = side.arms[key.arm].judged[key.score], judge.measure(key.score, arm)
            expected = recorded.replicates or [recorded.value]
            if not np.allclose(found if recorded.replicates else found.mean(), expected, rtol=1e-6, atol=1e-9):
                others = f"not those of its {find_comparison(split_task(key.arm.study)[0])}"
                raise RowsUnknownError(f"the predictions that {LOCK} of {side.name} names are {others}")
        compared[key] = judge.compare(key.score, now, was)
    return compared


def restore_arms(side: Snapshot, key: Key) -> tuple[StudyPlan, Labels, dict[ArmKey, Arm]]:
    """The arms of a variant or reference model as the last run predicted them, with its plan and labels of the task."""
    text = side.find_output(f"{PLANS}/{split_task(key.study)[0]}/_study.json").read_text(encoding="utf-8")
    plan = from_json(dict[str, StudyPlan], text)[key.study]
    rivals = [each.singles for each in plan.searches if key.variant in (each.best_single, each.best_singles)]
    names = {name for singles in rivals for name in singles} or {key.variant}
    predicted = load_study_predictions(plan, names, read=side.read_arrays)
    return plan, predicted.labels, build_arms(plan, predicted)
