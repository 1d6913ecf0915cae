"""Train one run: every lane of it, epoch after epoch, with its callbacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from stages.lib.lanes.callbacks import Callbacks
from stages.lib.lanes.graph import Graph, Pool
from stages.lib.lanes.mechanisms import measure_mechanisms
from stages.lib.lanes.monitors import MONITORS, choose_monitor
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.randomness import NoiseSource, batch_orders
from stages.lib.lanes.runtime import tf
from stages.lib.runs.plan import RunPlan
from stages.lib.runs.trained import TrainedRun, Weights
from stages.lib.samples import Development

NOISE_BYTES = 16_000_000  # of random numbers held at once; more runs in several calls
STEPS_PER_CALL = 250  # so that progress is seen within a long epoch; a call costs well under a step
NEVER = np.iinfo(np.int64).max  # the patience of lanes without early stopping


def train_lanes(
    plan: RunPlan,
    development: Development,
    *,
    start: Weights | None = None,
    dtype: str = "float32",
    report: Callable[[int], None] = lambda done: None,
) -> TrainedRun:
    """Train all lanes of a run.

    Args:
        start: start weights [replicate, ...]; drawn from the plan's seed where it is None.
        dtype: float32, or float64 to compare with another implementation.
        report: called now and then with the number of training rows that a lane has seen so far, of
            epochs * training rows in all.
    """
    return Training(plan, development, start=start, dtype=dtype, report=report).run()


class Training:
    """The state of one run while it trains."""

    def __init__(
        self,
        plan: RunPlan,
        development: Development,
        *,
        start: Weights | None,
        dtype: str,
        report: Callable[[int], None],
    ):
        self.plan, self.grid, self.report, self.num_seen = plan, plan.grid, report, 0
        self.monitor = choose_monitor(plan.network.outputs)
        replicates = list(plan.replicates)
        self.training, self.validation = development.training[replicates], development.validation[replicates]
        self.labels = self.grid.over_points(development.labels[self.validation])
        num_features = development.inputs.shape[1]
        pool = Pool(development, outputs=plan.network.outputs, dtype=dtype)
        if start is None:
            start = draw_weights(
                plan.network, num_features, seed=plan.seed, replicates=replicates, normalized=normalized_layers(plan)
            )
        start = {name: self.grid.over_points(value) for name, value in start.items()}
        self.graph = Graph(plan, pool, start, dtype)
        noises = [
            noise for entry in self.graph.regularizers for noise in entry.noise(num_features, plan.network.hidden)
        ]
        self.noise = NoiseSource(noises, seed=plan.seed, replicates=replicates)
        self.orders = batch_orders(plan.seed, replicates, self.training)
        self.callbacks = Callbacks(
            plan.callbacks, self._patience(), learning_rate=plan.optimizer.learning_rate, dtype=dtype
        )

    def _patience(self) -> np.ndarray:
        for entry in self.plan.regularizers:
            if entry.name == "early_stopping":
                return self.plan.lane_strengths(entry).astype(int)
        return np.full(self.graph.num_lanes, NEVER)

    def run(self) -> TrainedRun:
        history = []
        for epoch in range(self.plan.epochs):
            running = self.callbacks.running.copy()
            logs = self._run_epoch()
            kept = self.callbacks.end_epoch(epoch, logs)
            if not self.callbacks.keeps_best and epoch + 1 < self.plan.epochs:
                kept = kept & ~self.callbacks.running  # later weights of the others will replace these
            self._keep(kept)
            history.append(self._history_rows(epoch, running, logs))
            if not self.callbacks.running.any():
                break
        return self._result(pd.concat(history, ignore_index=True))

    def _run_epoch(self) -> dict[str, np.ndarray]:
        order = next(self.orders)
        num_rows, batch_size = order.shape[1], min(self.plan.batch_size, order.shape[1])
        num_full = num_rows // batch_size
        sums = self._run_batches(order[:, : num_full * batch_size], batch_size) * batch_size
        remainder = num_rows - num_full * batch_size
        if remainder:
            sums = sums + self._run_batches(order[:, -remainder:], remainder) * remainder
        val_loss, probability = self.graph.validate(tf.constant(self.validation.astype(np.int32)))
        score = MONITORS[self.monitor](self.labels, probability.numpy())
        return {"loss": sums / num_rows, "val_loss": val_loss.numpy(), f"val_{self.monitor}": score}

    def _run_batches(self, order: np.ndarray, batch_size: int) -> np.ndarray:
        """Train on the rows of `order` [replicate, row], a whole number of batches: the sum of their losses [lane]."""
        steps = order.reshape(order.shape[0], -1, batch_size).swapaxes(0, 1)
        bytes_per_step = self.noise.bytes_per_step(batch_size)
        per_call = max(1, min(STEPS_PER_CALL, NOISE_BYTES // max(bytes_per_step, 1)))
        losses = np.zeros(self.graph.num_lanes)
        for first in range(0, len(steps), per_call):
            part = steps[first : first + per_call]
            noise = {name: tf.constant(draws) for name, draws in self.noise.draw(len(part), batch_size).items()}
            losses += self.graph.run_steps(tf.constant(part), noise).numpy()
            self.num_seen += part.shape[0] * batch_size
            self.report(self.num_seen)
        return losses

    def _keep(self, kept: np.ndarray) -> None:
        """Remember weights that may be handed on, and set the next epoch's learning rates."""
        if kept.any():
            self.graph.keep(tf.constant(kept))
        if self.plan.callbacks.reduce_lr_on_plateau:
            self.graph.optimizer.learning_rate.assign(self.callbacks.learning_rate)

    def _history_rows(self, epoch: int, running: np.ndarray, logs: dict[str, np.ndarray]) -> pd.DataFrame:
        lanes = np.flatnonzero(running)
        columns = {name: values[lanes] for name, values in logs.items()}
        return pd.DataFrame({"epoch": epoch + 1, "lane": lanes, **columns})

    def _result(self, history: pd.DataFrame) -> TrainedRun:
        callbacks = self.callbacks
        weights = {name: value.numpy() for name, value in self.graph.kept.items()}
        return TrainedRun(
            weights=weights,
            replicate=self.grid.over_points(np.asarray(self.plan.replicates)),
            strengths={entry.name: self.plan.lane_strengths(entry) for entry in self.plan.regularizers},
            epochs_run=callbacks.epochs_run,
            best_epoch=callbacks.best_epoch,
            stopped_early=~callbacks.running & ~callbacks.diverged,
            diverged=callbacks.diverged,
            mechanisms=measure_mechanisms(self.plan, weights),
            history=history,
        )


def normalized_layers(plan: RunPlan) -> list[int]:
    return [layer for entry in plan.regularizers if entry.name == "batch_norm" for layer in entry.layers]
