"""The plan of a run: all that `train` reads of params.yaml, with every default filled in.

What is typed here is typed once: params.yaml holds callbacks in the same classes. All other rules are in lib/settings,
so an edit there retrains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from stages.lib.core.fields import NotNegative, Rounds, Share, Strict, one_of
from stages.lib.core.records import load_plan, load_task_plan, split_task

MODELS = Path("models")

Monitor = Annotated[str, one_of(["loss", "val_loss", "val_accuracy", "val_auc"])]


@dataclass(frozen=True)
class RegularizerPlan:
    """One regulariser of a run.

    strengths: one, or one for each point. layers: the layers it acts on, counted from 1 (the last number is the output
    layer); empty for what acts on the batch or on the whole network.
    """

    name: str
    strengths: tuple[float, ...]
    layers: tuple[int, ...]


@dataclass(frozen=True)
class NetworkPlan:
    hidden: tuple[int, ...]
    activation: str
    outputs: int  # 1 is a sigmoid, more a softmax


@dataclass(frozen=True)
class OptimizerPlan:
    """schedule: of the learning rate, a line of the table `SCHEDULES`."""

    name: str  # sgd, rmsprop or adam
    learning_rate: float
    momentum: float  # sgd and rmsprop
    schedule: str = "constant"


class EarlyStoppingSettings(Strict):
    """Fields as in keras.callbacks.EarlyStopping; the patience is the strength of the regulariser early_stopping."""

    monitor: Monitor
    min_delta: NotNegative
    start_from_epoch: Rounds
    restore_best: bool


class CheckpointSettings(Strict):
    """Fields as in keras.callbacks.ModelCheckpoint. A run with a checkpoint hands on the checkpoint's weights."""

    monitor: Monitor
    save_best_only: bool


class PlateauSettings(Strict):
    """Fields as in keras.callbacks.ReduceLROnPlateau."""

    monitor: Monitor
    factor: Share
    patience: Rounds
    min_delta: NotNegative
    cooldown: Rounds
    min_lr: NotNegative


@dataclass(frozen=True)
class CallbacksPlan:
    """The callbacks of a run. None: the run goes without."""

    early_stopping: EarlyStoppingSettings | None = None
    checkpoint: CheckpointSettings | None = None
    reduce_lr_on_plateau: PlateauSettings | None = None
    terminate_on_nan: bool = False


class Start(NamedTuple):
    """What start weights, orders of batches and noise are drawn for. member: counted from 0."""

    replicate: int
    member: int = 0


@dataclass(frozen=True)
class RunPlan:
    """One variant of one task: all that `train` reads besides the development rows.

    knob: the point of strengths that params.yaml sets. tried: the number of points that validation rows choose from,
        those of a path or a search, which come first; 0 where there is the knob alone.
    stopped: the weights of each lane's best epoch, by log loss on validation rows, are kept beside those handed on.
    members: networks of each replicate and point, which differ by their starts; their probabilities are averaged.
    """

    task: str
    variant: str
    seed: int
    replicates: tuple[int, ...]
    network: NetworkPlan
    regularizers: tuple[RegularizerPlan, ...]
    callbacks: CallbacksPlan
    loss: str
    optimizer: OptimizerPlan
    batch_size: int
    epochs: int
    stopped: bool = False
    knob: int = 0
    tried: int = 0
    members: int = 1

    def at_points(self, points: slice) -> RunPlan:
        """The run at some of its points alone, by themselves."""
        entries = [replace(entry, strengths=entry.strengths[points] or entry.strengths) for entry in self.regularizers]
        return replace(self, regularizers=tuple(entries), knob=0, tried=0)

    @property
    def at_knob(self) -> RunPlan:
        return self.at_points(slice(self.knob, self.knob + 1))

    @property
    def parts(self) -> list[RunPlan]:
        """The run in parts that are trained each by itself: the points that are tried, and a knob beside them.

        So the bytes of the first do not depend on the knob, and a knob that is changed trains its own point alone.
        """
        if not self.tried or self.grid.num_points == self.tried:
            return [self.at_points(slice(None))]
        return [self.at_points(slice(self.tried)), self.at_knob]

    @property
    def grid(self) -> Grid:
        num_points = max((len(entry.strengths) for entry in self.regularizers), default=1)
        return Grid(num_points, len(self.replicates), self.members)

    @property
    def starts(self) -> list[Start]:
        """In the grid's order."""
        return [Start(replicate, member) for member in range(self.members) for replicate in self.replicates]

    def lane_strengths(self, entry: RegularizerPlan) -> np.ndarray:
        """The strength of a regulariser in every lane [lane]; one with a single strength has it in all."""
        grid = self.grid
        strengths = entry.strengths if len(entry.strengths) > 1 else entry.strengths * grid.num_points
        return grid.over_starts(strengths)


def load_run_plans(study: str, variant: str) -> dict[str, RunPlan]:
    """Task of the study -> the plan of its run."""
    return load_plan(dict[str, RunPlan], f"{study}/{variant}")


def load_run_plan(task: str, variant: str) -> RunPlan:
    return load_task_plan(RunPlan, task, variant)


@dataclass(frozen=True)
class Grid:
    """Points times starts, which are members times replicates.

    Start m * num_replicates + r is member m of replicate r. Lane p * num_starts + s is start s at point p.
    """

    num_points: int
    num_replicates: int
    num_members: int = 1

    @classmethod
    def of_lanes(cls, num_lanes: int, num_replicates: int, num_members: int = 1) -> Grid:
        """The grid of so many lanes; ValueError where they are no whole number of points."""
        if num_lanes % (num_replicates * num_members):
            found = f"{num_lanes} lanes are no multiple of {num_replicates} replicates"
            raise ValueError(found if num_members == 1 else f"{found} of {num_members} members")
        return cls(num_lanes // (num_replicates * num_members), num_replicates, num_members)

    @property
    def num_starts(self) -> int:
        return self.num_members * self.num_replicates

    @property
    def num_lanes(self) -> int:
        return self.num_points * self.num_starts

    def over_points(self, values: Any, tile: Callable[..., Any] = np.tile) -> Any:
        """Repeat [start, ...] at every point: [lane, ...]. `tile` is NumPy's or TensorFlow's."""
        return values if self.num_points == 1 else tile(values, [self.num_points] + [1] * (len(values.shape) - 1))

    def over_starts(self, values: Sequence[float]) -> np.ndarray:
        """Give every start of a point the point's value: [point] to [lane]."""
        return np.repeat(np.asarray(values), self.num_starts)

    def by_point(self, values: np.ndarray) -> np.ndarray:
        """[lane, ...] as [point, start, ...]."""
        return values.reshape(self.num_points, self.num_starts, *values.shape[1:])

    def average_members(self, values: np.ndarray, num_members: int | None = None) -> np.ndarray:
        """The means over the first members, or over all: [lane, ...] as they are in a grid of one member."""
        shape = self.num_points, self.num_members, self.num_replicates, *values.shape[1:]
        chosen = values.reshape(shape)[:, :num_members]
        averaged = chosen[:, 0] if chosen.shape[1] == 1 else chosen.mean(axis=1)
        return averaged.reshape(-1, *values.shape[1:])

    def lanes_at(self, points: Any) -> np.ndarray:
        """The lane [start] of each start at its replicate's point; points: one number, or [replicate]."""
        places = np.tile(np.broadcast_to(points, self.num_replicates), self.num_members)
        return places * self.num_starts + np.arange(self.num_starts)


def find_run(task: str, variant: str) -> Path:
    """The folder of a run: models/<study>/<variant>, and below it that of the data set where a study has several."""
    study, dataset = split_task(task)
    return MODELS / study / variant / dataset
