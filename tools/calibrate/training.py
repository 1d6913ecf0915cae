"""Training of the twins of a setting, several tables at a time in processes of their own; what is trained is kept."""

from __future__ import annotations

import json
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from stages.lib.base.store import read_arrays, write_arrays
from tools.calibrate.judging import Predicted
from tools.calibrate.twins import Population, Twin, draw_exchangeable, read_table, scale_risk

KEPT = Path(".dvc/tmp/calibration")
PER_GRAPH = 2  # tables trained together
SETTINGS = {  # setting -> risk, strength of its signal; at strength 0 all risks are the same
    "none": ("logistic", 0.0),
    "table": ("logistic", 1.0),
    "twice": ("logistic", 2.0),
    "interaction": ("interaction", 1.0),
    "sparse": ("sparse", 1.0),
    "heavy_tailed": ("heavy_tailed", 1.0),
}
EXCHANGEABLE = "exchangeable"


def draw_twin(population: Population, name: str, number: int, seed: int) -> Twin:
    """One table of a setting, drawn from (seed, number) alone."""
    rng = np.random.default_rng([seed, number, *name.encode()])
    if name == EXCHANGEABLE:
        return draw_exchangeable(population.prevalence, len(population.table), rng)
    return scale_risk(population, *SETTINGS[name]).draw(population, len(population.table), rng)


def train_tables(task: tuple[str, tuple[int, ...]], *, seed: int) -> None:
    """Train some tables of a setting in one graph, and keep their predictions."""
    from tools.calibrate import laboratory  # here, since it imports TensorFlow, which only the workers need

    name, numbers = task
    population = Population.fit(read_table())
    batch = laboratory.prepare([draw_twin(population, name, number, seed) for number in numbers], numbers)
    train = laboratory.train_exchangeable if name == EXCHANGEABLE else laboratory.train_regularizers
    for number, predicted in zip(numbers, train(batch, seed + numbers[0]), strict=True):
        save(predicted, kept_path(name, seed, number))


def start_worker() -> None:
    from stages.lib.lanes import runtime

    runtime.configure()


def train_missing(counts: dict[str, int], *, seed: int, jobs: int) -> None:
    """Train the tables that are not kept yet, several at a time."""
    tasks = []
    for name, count in counts.items():
        groups = [tuple(range(first, min(first + PER_GRAPH, count))) for first in range(0, count, PER_GRAPH)]
        tasks += [
            (name, group) for group in groups if not all(kept_path(name, seed, table).exists() for table in group)
        ]
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, start_worker) as pool:
        work = pool.imap_unordered(partial(train_tables, seed=seed), tasks)
        for _ in track(work, "Training twins", total=len(tasks)):
            pass


def kept_path(name: str, seed: int, number: int) -> Path:
    return KEPT / f"{name}_{seed}_{number:04d}.npz"


def save(predicted: Predicted, path: Path) -> None:
    arms = {f"arm_{name}": probability for name, probability in predicted.arms.items()}
    fields: dict[str, Any] = {"baselines": json.dumps(predicted.baselines)}
    fields |= {name: getattr(predicted, name) for name in ("label", "test_numbers", "training_numbers")}
    write_arrays(path, fields | arms)


def load(path: Path) -> Predicted:
    fields = read_arrays(path, written_by="make calibrate")
    arms = {name.removeprefix("arm_"): fields.pop(name) for name in list(fields) if name.startswith("arm_")}
    return Predicted(**fields | {"arms": arms, "baselines": json.loads(fields["baselines"])})
