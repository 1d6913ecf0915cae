"""Early stopping by one half of the validation rows, judged on the other half, epoch by epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.lib.claims.evidence import Case, Count, make_case
from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.claims.networks import at_knobs, train
from stages.lib.data.samples import Development
from stages.lib.lanes.callbacks import choose_monitor
from stages.lib.lanes.plan import RunPlan


def follow_stopping(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """Stop by each half in turn, with the knob's patience; all quantities are means over both ways."""
    patience = next(entry.strengths[0] for entry in plan.run.regularizers if entry.name == "early_stopping")
    run = at_knobs(plan.run, without=["early_stopping"])
    run = replace(run, callbacks=replace(run.callbacks, early_stopping=None, checkpoint=None))
    halves = [follow(run, replace(development, validation=rows)) for rows in split_halves(development)]
    ways = [compare_halves(*halves, patience=patience), compare_halves(*halves[::-1], patience=patience)]
    return [make_case("stopping", {name: (ways[0][name] + ways[1][name]) / 2 for name in ways[0]})], []


def split_halves(development: Development) -> list[np.ndarray]:
    """Two halves [replicate, row] of the validation rows with the same number of rows of each class, but for one."""
    order = np.argsort(development.labels[development.validation], axis=1, kind="stable")
    rows = np.take_along_axis(development.validation, order, axis=1)
    size = rows.shape[1] // 2 * 2
    return [rows[:, :size:2], rows[:, 1:size:2]]


def follow(run: RunPlan, development: Development) -> tuple[np.ndarray, np.ndarray]:
    """Loss and monitored score on the validation rows, each [replicate, epoch]. Training does not depend on them."""
    history = train(run, development).history
    columns = ("val_loss", f"val_{choose_monitor(run.network.outputs)}")
    tables = [history.pivot_table(index="lane", columns="epoch", values=name).to_numpy() for name in columns]
    return tables[0], tables[1]


def compare_halves(
    watched: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], *, patience: float
) -> dict[str, np.ndarray]:
    """What the watched half chooses, on the other half; and what it then seems to be worth, on the watched half."""
    stop, place = find_stop(watched[0], patience), np.arange(len(watched[0]))
    best, honest = watched[0].argmin(axis=1), other[0].argmin(axis=1)
    at_stop, at_end = other[0][place, stop], other[0][:, -1]
    return {
        "saved": at_end - at_stop,
        "worse_at_the_end": (at_end > at_stop).astype(float),
        "turn": best + 1.0,
        "turns_apart": np.abs(honest - best).astype(float),
        "flattery": watched[1][place, best] - watched[1][place, honest],
        "loss_flattery": watched[0][place, honest] - watched[0][place, best],
    }


def find_stop(losses: np.ndarray, patience: float) -> np.ndarray:
    """The epoch [replicate], from 0, whose weights early stopping hands on: the best before patience ran out."""
    stops = np.zeros(len(losses), int)
    for replicate, row in enumerate(losses):
        for epoch, loss in enumerate(row):
            if loss < row[stops[replicate]]:
                stops[replicate] = epoch
            elif epoch - stops[replicate] >= patience:
                break
    return stops
