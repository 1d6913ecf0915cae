"""Keras' callbacks, lane by lane: which lanes go on, at which learning rate, and whose weights are handed on.

All state is NumPy arrays [lane]. The rules are those of keras.callbacks.EarlyStopping, ModelCheckpoint,
ReduceLROnPlateau and TerminateOnNaN. As in Keras, values are compared in float32 whatever the network's precision.
"""

from collections.abc import Callable, Mapping

import numpy as np

from stages.lib.lanes.plan import CallbacksPlan, EarlyStoppingSettings, PlateauSettings

Logs = Mapping[str, np.ndarray]

SMALLEST = 1e-7  # keras.config.epsilon(): no probability is taken to be smaller


class Best:
    """The best value [lane] of a monitor so far; losses are better when smaller, scores when larger."""

    def __init__(self, monitor: str, min_delta: float, num_lanes: int, dtype: str):
        self.sign = 1 if monitor.endswith("loss") else -1
        self.min_delta, self.dtype = min_delta, dtype
        self.value = np.zeros(num_lanes)
        self.seen = np.zeros(num_lanes, bool)

    def update(self, values: np.ndarray, watched: np.ndarray) -> np.ndarray:
        """Take in an epoch's values; which of the watched lanes improved by over min_delta (the first does)."""
        values = self.sign * values.astype(self.dtype).astype(float)
        better = (values + self.min_delta).astype(np.float32) < self.value.astype(np.float32)
        improved = watched & (~self.seen | better)
        self.value = np.where(improved, values, self.value)
        self.seen = self.seen | improved
        return improved


class Callbacks:
    """The callbacks of one run.

    Attributes:
        running: [lane], goes on training.
        diverged: [lane], its loss was NaN or infinite when terminate_on_nan stopped it.
        epochs_run: [lane], epochs trained.
        best_epoch: [lane], the epoch (from 1) whose weights are handed on.
        learning_rate: [lane].
    """

    def __init__(self, plan: CallbacksPlan, patience: np.ndarray, *, learning_rate: float, dtype: str):
        """patience: [lane], epochs; used where the plan has early stopping."""
        num_lanes = len(patience)
        self.plan, self.patience = plan, patience
        self.running = np.ones(num_lanes, bool)
        self.diverged = np.zeros(num_lanes, bool)
        self.epochs_run = np.zeros(num_lanes, int)
        self.best_epoch = np.zeros(num_lanes, int)
        self.learning_rate = np.full(num_lanes, learning_rate, dtype)
        if plan.early_stopping:
            stopping = plan.early_stopping
            self.stopping = Best(stopping.monitor, stopping.min_delta, num_lanes, dtype)
            self.stopping_wait = np.zeros(num_lanes, int)
        if plan.checkpoint:
            self.checkpoint = Best(plan.checkpoint.monitor, 0, num_lanes, dtype)
        if plan.reduce_lr_on_plateau:
            self.plateau = Plateau(plan.reduce_lr_on_plateau, num_lanes, dtype)

    @property
    def keeps_best(self) -> bool:
        """Whether the weights that a lane hands on may be older than its last ones."""
        if self.plan.checkpoint:
            return self.plan.checkpoint.save_best_only
        return self.plan.early_stopping is not None and self.plan.early_stopping.restore_best

    def end_epoch(self, epoch: int, logs: Logs) -> np.ndarray:
        """Look at an epoch (from 0) and its logs, name -> [lane].

        Returns:
            [lane], whose weights of this epoch are to be kept: they are handed on unless a later epoch's replace them.
        """
        ran = self.running.copy()
        self.epochs_run += ran
        if self.plan.terminate_on_nan:
            self.diverged = self.diverged | ran & ~np.isfinite(logs["loss"])
            self.running = self.running & ~self.diverged
        kept = ran
        if self.plan.early_stopping:
            kept = self._stop_early(self.plan.early_stopping, epoch, logs, ran)
        if self.plan.checkpoint:
            best = self.checkpoint.update(logs[self.plan.checkpoint.monitor], ran)
            kept = best if self.plan.checkpoint.save_best_only else ran
        if self.plan.reduce_lr_on_plateau:
            monitored = logs[self.plan.reduce_lr_on_plateau.monitor]
            self.learning_rate = self.plateau.update(monitored, ran, self.learning_rate)
        self.best_epoch = np.where(kept, epoch + 1, self.best_epoch)
        return kept

    def _stop_early(self, plan: EarlyStoppingSettings, epoch: int, logs: Logs, ran: np.ndarray) -> np.ndarray:
        if epoch < plan.start_from_epoch:
            return ran
        improved = self.stopping.update(logs[plan.monitor], ran)
        self.stopping_wait = np.where(improved, 0, self.stopping_wait + 1)
        exhausted = ~improved & (self.stopping_wait >= self.patience) & (epoch > 0)
        self.running = self.running & ~exhausted
        return improved if plan.restore_best else ran


class Plateau:
    """keras.callbacks.ReduceLROnPlateau."""

    def __init__(self, plan: PlateauSettings, num_lanes: int, dtype: str):
        self.plan = plan
        self.best = Best(plan.monitor, plan.min_delta, num_lanes, dtype)
        self.wait = np.zeros(num_lanes, int)
        self.cooldown = np.zeros(num_lanes, int)

    def update(self, values: np.ndarray, watched: np.ndarray, learning_rate: np.ndarray) -> np.ndarray:
        """The learning rates [lane] of the next epoch."""
        cooling = self.cooldown > 0
        self.cooldown = self.cooldown - cooling
        self.wait = np.where(cooling, 0, self.wait)
        improved = self.best.update(values, watched)
        self.wait = np.where(improved, 0, self.wait + (self.cooldown == 0))
        floor = learning_rate.dtype.type(self.plan.min_lr)
        due = watched & ~improved & (self.cooldown == 0) & (self.wait >= self.plan.patience) & (learning_rate > floor)
        self.cooldown = np.where(due, self.plan.cooldown, self.cooldown)
        self.wait = np.where(due, 0, self.wait)
        lowered = np.maximum(learning_rate * learning_rate.dtype.type(self.plan.factor), floor)
        return np.where(due, lowered, learning_rate)


def accuracy(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Share of rows [replicate] whose likeliest class is their label; one output is cut at 0.5.

    Args:
        label: [replicate, row] class numbers.
        probability: [replicate, row, output].
    """
    predicted = probability[..., 0] > 0.5 if probability.shape[-1] == 1 else probability.argmax(axis=-1)
    return (predicted == label).mean(axis=-1)


def auc(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Area under the ROC curve [replicate] by mid-ranks, U / (positives * negatives) (Mann and Whitney 1947).

    Args:
        label: [replicate, row], 0 or 1.
        probability: [replicate, row, 1]; a row that holds NaN gives NaN.
    """
    values = probability[..., 0]
    positives = label.sum(axis=-1, dtype=float)
    negatives = label.shape[-1] - positives
    # Among equals first the negatives' ranks are the lower ones, then the positives': the mean is that of mid-ranks.
    # SciPy has them at the price of half a second for its import, in every train process.
    rank_sum = (sum_ranks(label, values, label) + sum_ranks(label, values, 1 - label)) / 2
    found = (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
    return np.where(np.isnan(values).any(axis=-1), np.nan, found)


def sum_ranks(label: np.ndarray, values: np.ndarray, tie_break: np.ndarray) -> np.ndarray:
    """Sum of the positives' ranks among the values; of equal values the one with the smaller tie_break comes first."""
    order = np.lexsort((tie_break, values), axis=-1)
    return (np.take_along_axis(label, order, axis=-1) * np.arange(1, label.shape[-1] + 1)).sum(axis=-1)


def log_loss(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Mean of -log of the probability of the label [replicate], clipped as keras.metrics does, penalties left out.

    Args:
        label: [replicate, row] class numbers.
        probability: [replicate, row, output].
    """
    if probability.shape[-1] == 1:
        given = np.where(label == 1, probability[..., 0], 1 - probability[..., 0])
    else:
        given = np.take_along_axis(probability, label[..., None].astype(int), axis=-1)[..., 0]
    return -np.log(np.clip(given, SMALLEST, 1 - SMALLEST)).mean(axis=-1, dtype=np.float64)


MONITORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "auc": auc,
    "log_loss": log_loss,
}


def choose_monitor(outputs: int) -> str:
    """The score that a network with so many outputs is followed by."""
    return "auc" if outputs == 1 else "accuracy"
