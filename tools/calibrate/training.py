"""Training of the twins of a setting, several tables at a time in processes of their own; what is trained is kept."""

from __future__ import annotations

import json
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from stages.lib.core.cli import UserError
from stages.lib.core.files import read_arrays, write_arrays
from tools.calibrate.judging import Predicted
from tools.calibrate.twins import Population, Twin, draw_exchangeable, read_table, scale_risk

Group = tuple[str, tuple[int, ...]]  # a setting, and the numbers of tables that are trained together

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


def train_tables(group: Group, *, seed: int) -> list[Predicted]:
    """Train the tables of a group in one graph."""
    from tools.calibrate import laboratory  # here, since it imports TensorFlow, which only the workers need

    name, numbers = group
    population = Population.fit(read_table())
    batch = laboratory.prepare([draw_twin(population, name, number, seed) for number in numbers], numbers)
    train = laboratory.train_exchangeable if name == EXCHANGEABLE else laboratory.train_regularizers
    return train(batch, seed + numbers[0])


def keep_tables(group: Group, *, seed: int) -> None:
    """Train the tables of a group, and keep their predictions."""
    for path, predicted in zip(list_paths(group, seed), train_tables(group, seed=seed), strict=True):
        save(predicted, path)


def is_as_trained_now(group: Group, *, seed: int) -> bool:
    """Whether the kept predictions of a group are those that it gives today; it is trained again to see."""
    for path, new in zip(list_paths(group, seed), train_tables(group, seed=seed), strict=True):
        try:
            kept = load(path).arms
        except (KeyError, TypeError):  # it was of another layout
            return False
        if kept.keys() != new.arms.keys() or not all(np.array_equal(kept[name], new.arms[name]) for name in kept):
            return False
    return True


def start_worker() -> None:
    from stages.lib.lanes import runtime

    runtime.configure()


def train_missing(counts: dict[str, int], *, seed: int, jobs: int) -> None:
    """Train the tables that are not kept yet, several at a time.

    UserError where what is kept comes from other code.
    """
    groups = [
        (name, tuple(range(first, min(first + PER_GRAPH, count))))
        for name, count in counts.items()
        for first in range(0, count, PER_GRAPH)
    ]
    missing = [group for group in groups if not all(path.exists() for path in list_paths(group, seed))]
    kept = [group for group in groups if group not in missing]
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, start_worker) as pool:
        if kept and not pool.apply(is_as_trained_now, kept[:1], {"seed": seed}):
            raise UserError(f"the twins in {KEPT} were trained by other code, expected this one's: remove that folder")
        work = pool.imap_unordered(partial(keep_tables, seed=seed), missing)
        for _ in track(work, "Training twins", total=len(missing)):
            pass


def list_paths(group: Group, seed: int) -> list[Path]:
    name, numbers = group
    return [kept_path(name, seed, number) for number in numbers]


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
