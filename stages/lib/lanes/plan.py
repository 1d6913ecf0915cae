"""The plan of a run: all that `train` reads of params.yaml, with every default filled in.

What is typed here is typed once: params.yaml holds callbacks in the same classes. All other rules are in lib/settings,
so an edit there retrains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from stages.lib.core.fields import NotNegative, Rounds, Share, Strict, one_of
from stages.lib.core.records import load_plan
from stages.lib.lanes.grid import Grid

Monitor = Annotated[str, one_of(["loss", "val_loss", "val_accuracy", "val_auc"])]


@dataclass(frozen=True)
class RegularizerPlan:
    """One regulariser of a run.

    strengths: one, or one for each point; the first is the knob. layers: the layers it acts on, counted from 1 (the
    last number is the output layer); empty for what acts on the batch or on the whole network.
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
    name: str  # sgd, rmsprop or adam
    learning_rate: float
    momentum: float  # sgd and rmsprop


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


class CallbacksPlan(Strict):
    """The callbacks of a run. None: the run goes without."""

    early_stopping: EarlyStoppingSettings | None = None
    checkpoint: CheckpointSettings | None = None
    reduce_lr_on_plateau: PlateauSettings | None = None
    terminate_on_nan: bool = False


@dataclass(frozen=True)
class RunPlan:
    """One variant of one study: all that `train` reads besides the development rows."""

    study: str
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

    @property
    def grid(self) -> Grid:
        num_points = max((len(entry.strengths) for entry in self.regularizers), default=1)
        return Grid(num_points, len(self.replicates))

    def lane_strengths(self, entry: RegularizerPlan) -> np.ndarray:
        """The strength of a regulariser in every lane [lane]; one with a single strength has it in all."""
        grid = self.grid
        strengths = entry.strengths if len(entry.strengths) > 1 else entry.strengths * grid.num_points
        return grid.over_replicates(strengths)


def load_run_plan(study: str, variant: str) -> RunPlan:
    return load_plan(RunPlan, f"{study}/{variant}")
