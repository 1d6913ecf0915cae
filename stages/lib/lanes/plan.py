"""The plan of a run: all that `train` reads of params.yaml, with every default filled in.

This module holds no rule. The rules are in lib/settings, so an edit there retrains nothing: a run depends on the
content of its plan file alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.lib.core.records import load_plan
from stages.lib.lanes.grid import Grid


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


@dataclass(frozen=True)
class EarlyStoppingPlan:
    """Fields as in keras.callbacks.EarlyStopping; the patience is the strength of the regulariser early_stopping."""

    monitor: str
    min_delta: float
    start_from_epoch: int
    restore_best: bool


@dataclass(frozen=True)
class CheckpointPlan:
    """Fields as in keras.callbacks.ModelCheckpoint. A run with a checkpoint hands on the checkpoint's weights."""

    monitor: str
    save_best_only: bool


@dataclass(frozen=True)
class ReduceLrOnPlateauPlan:
    """Fields as in keras.callbacks.ReduceLROnPlateau."""

    monitor: str
    factor: float
    patience: int
    min_delta: float
    cooldown: int
    min_lr: float


@dataclass(frozen=True)
class CallbacksPlan:
    """None: the run goes without."""

    early_stopping: EarlyStoppingPlan | None
    checkpoint: CheckpointPlan | None
    reduce_lr_on_plateau: ReduceLrOnPlateauPlan | None
    terminate_on_nan: bool


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
