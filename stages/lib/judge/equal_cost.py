"""What so many trained networks are worth: the best of them by validation rows, their average, the best few averaged.

The networks to choose from are those of a study's search among single regularisers: every point that is tried of each
variant, and the plain network. The networks to average are plain ones from other starts. So both cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import NamedTuple

import numpy as np

from stages.lib.core.records import round_number
from stages.lib.judge.arms import TUNED, ArmKey, rate_tried
from stages.lib.judge.comparison import CostPoint, Way
from stages.lib.judge.designs import Estimate, resampled_mean
from stages.lib.judge.judge import Judge, judge_all
from stages.lib.judge.predictions import Predictions, StudyPredictions
from stages.lib.judge.scores import SCORES, squeeze

NUMBERS = (1, 3, 5, 10, 20, 40)  # of networks, and all that there are
ASKED = (3, 10)  # of them a verdict is given on, and of all
FEW = 3  # the best of them are averaged
NUM_SUBSETS = 8  # drawn, of which the best few are averaged


class Candidates(NamedTuple):
    """Networks in the order of their validation scores, the best first, [rank, replicate, row, ...].

    rows: what each row adds to the score. test: probabilities of held-out rows.
    """

    rows: np.ndarray
    test: np.ndarray


def compare_costs(judge: Judge, predicted: StudyPredictions) -> list[CostPoint]:
    """Each way at each number of networks; empty where no plain network is averaged, or nothing is searched."""
    plan, score = judge.plan, judge.plan.scores["probabilities"]
    search = next((one for one in plan.searches if one.singles and ArmKey(one.best_single, TUNED) in judge.arms), None)
    plain = predicted.variants[plan.baseline]
    if not search or plain.grid.num_members == 1 or not SCORES[score].by_row:
        return []
    found = rank_networks(judge, [plan.baseline, *search.singles], predicted)
    ways = dict[tuple[Way, int], np.ndarray]()
    ways |= {("average", number): rows for number, rows in average_plain(judge, plain)}
    numbers = sorted({number for number in NUMBERS if number <= len(found.rows)} | {len(found.rows)})
    ways |= {("choose", number): choose_best(found.rows, number) for number in numbers}
    ways |= {("average_best", number): average_best(judge, found, number) for number in numbers if number >= FEW}
    most = max(number for way, number in ways if way == "average")
    alone = ways["average", 1]
    asked = {
        ("choose", str(number), score): estimate(judge, ways["choose", number] - ways["average", min(number, most)])
        for number in {*ASKED, len(found.rows)} & set(numbers)
    }
    verdicts = judge_all(asked, judge.settings, seed=plan.seed)
    return [
        CostPoint(way, number, round_number((rows - alone).mean()), verdicts.get((way, str(number), score)))
        for (way, number), rows in ways.items()
    ]


def estimate(judge: Judge, rows: np.ndarray) -> Estimate:
    """The mean of what rows add to a difference, [replicate, row]."""
    if judge.design:
        return judge.design.estimate(rows)
    return resampled_mean(rows.mean(axis=1), test_train_ratio=judge.plan.protocol.test_train_ratio)


def rank_networks(judge: Judge, names: list[str], predicted: StudyPredictions) -> Candidates:
    rated, rows, test = [], [], []
    for name in names:
        one = predicted.variants[name].average(1)
        rated.append(rate_tried(one, judge.labels, select_by=judge.plan.select_by))
        for point in range(len(rated[-1])):
            test.append(one.test[one.grid.lanes_at(point if one.tried else one.knob)])
            rows.append(add_rows(judge, test[-1]))
    order = np.argsort(-np.concatenate(rated), axis=0, kind="stable")
    take = order, np.arange(order.shape[1])
    return Candidates(np.stack(rows)[take], np.stack(test)[take])


def add_rows(judge: Judge, probability: np.ndarray) -> np.ndarray:
    """What each held-out row adds to the score of probabilities, [replicate, row]."""
    by_row = SCORES[judge.plan.scores["probabilities"]].by_row
    return np.asarray(by_row(judge.labels.test, squeeze(probability)))  # type: ignore[misc]


def average_plain(judge: Judge, plain: Predictions) -> Iterator[tuple[int, np.ndarray]]:
    """So many plain networks averaged, [replicate, row]."""
    for number in range(1, plain.grid.num_members + 1):
        one = plain.average(number)
        yield number, add_rows(judge, one.test[one.grid.lanes_at(one.knob)])


def choose_best(rows: np.ndarray, number: int) -> np.ndarray:
    """What the best of so many networks, drawn from all, adds on average over draws, [replicate, row].

    Of all subsets, the network of rank r is the best in a share of C(num - 1 - r, number - 1) / C(num, number).
    """
    num = len(rows)
    shares = [comb(num - 1 - rank, number - 1) / comb(num, number) for rank in range(num)]
    return np.asarray(np.tensordot(shares, rows, axes=1))


def average_best(judge: Judge, found: Candidates, number: int) -> np.ndarray:
    """The best few of so many networks averaged, mean over some draws of them, [replicate, row]."""
    generator = np.random.default_rng([judge.plan.seed, number])
    draws = 1 if number == len(found.rows) else NUM_SUBSETS
    subsets = [np.sort(generator.permutation(len(found.rows))[:number])[:FEW] for _ in range(draws)]
    return np.asarray(np.mean([add_rows(judge, found.test[ranks].mean(axis=0)) for ranks in subsets], axis=0))
