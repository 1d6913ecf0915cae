"""Train one run: its lanes block by block, each block epoch after epoch with its callbacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from stages.lib.data.samples import Development
from stages.lib.lanes.blocks import Block, cut_into_blocks, join_blocks
from stages.lib.lanes.callbacks import MONITORS, Best, Callbacks, choose_monitor
from stages.lib.lanes.graph import Graph, Pool
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.randomness import NoiseSource, batch_orders
from stages.lib.lanes.run import TrainedBlock, TrainedRun, UnfinishedRun, Weights, measure_mechanisms
from stages.lib.lanes.runtime import tf

NOISE_BYTES = 16_000_000  # of random numbers for all lanes of a block; more are drawn in several calls
LOG_LOSS = "val_log_loss"  # by which the best epoch is chosen
STEPS_PER_CALL = 250  # so that progress is seen within a long epoch; a call costs well under a step
NEVER = np.iinfo(np.int64).max  # the patience of lanes without early stopping


def train_lanes(
    plan: RunPlan,
    development: Development,
    *,
    start: Weights | None = None,
    dtype: str = "float32",
    report: Callable[[int], None] = lambda done: None,
    unfinished: UnfinishedRun | None = None,
) -> TrainedRun:
    """Train all lanes of a run.

    Args:
        start: start weights [replicate, ...]; drawn from the plan's seed where it is None.
        dtype: float32, or float64 to compare with another implementation.
        report: called now and then with the number of training rows that a lane has seen so far, of
            epochs * training rows in all; the mean over the lanes where blocks of them are trained in turn.
        unfinished: keeps blocks that are trained and gives back those that are kept; None trains all of them.
    """
    return Training(plan, development, start=start, dtype=dtype, report=report).run(unfinished)


class Training:
    """The training of a run: what its blocks share."""

    def __init__(
        self,
        plan: RunPlan,
        development: Development,
        *,
        start: Weights | None,
        dtype: str,
        report: Callable[[int], None],
    ):
        self.plan, self.development, self.dtype, self.report = plan, development, dtype, report
        num_features, replicates = development.inputs.shape[1], list(plan.replicates)
        self.start = start or draw_weights(
            plan.network, num_features, seed=plan.seed, replicates=replicates, normalized=normalized_layers(plan)
        )
        num_weights = sum(values[0].size for values in self.start.values())
        self.blocks = cut_into_blocks(plan.grid, num_weights * np.dtype(dtype).itemsize)
        pool = Pool(development, outputs=plan.network.outputs, dtype=dtype)
        num_steps = plan.epochs * -(-development.training.shape[1] // plan.batch_size)
        start = self.start_of(self.blocks[0])
        self.graph = Graph(plan, pool, self.blocks[0], start, dtype, num_steps=num_steps)
        self.noises = [
            noise for entry in self.graph.regularizers for noise in entry.noise(num_features, plan.network.hidden)
        ]

    def start_of(self, block: Block) -> Weights:
        """The start weights [lane, ...] of a block."""
        return {name: block.grid.over_points(values[block.replicates]) for name, values in self.start.items()}

    def run(self, unfinished: UnfinishedRun | None) -> TrainedRun:
        kept = unfinished if len(self.blocks) > 1 else None
        parts = []
        for number, block in enumerate(self.blocks):
            part = kept.load(number) if kept else None
            if part is None:
                part = self.train_block(number, block)
                if kept:
                    kept.save(number, part)
            parts.append(part)
        return self._result(parts)

    def train_block(self, number: int, block: Block) -> TrainedBlock:
        if number:
            self.graph.restart(block, self.start_of(block))
        return BlockTraining(self, block, number).run()

    def report_block(self, number: int, num_seen: int) -> None:
        """Report how many rows the lanes of a block have seen."""
        num_rows = self.plan.epochs * self.development.training.shape[1]
        self.report((number * num_rows + num_seen) // len(self.blocks))

    def _result(self, parts: list[TrainedBlock]) -> TrainedRun:
        plan = self.plan
        weights = join_blocks(self.blocks, [part.weights for part in parts])
        history = pd.concat([part.history for part in parts], ignore_index=True)
        return TrainedRun(
            weights=weights,
            stopped=join_blocks(self.blocks, [part.stopped for part in parts]),
            replicate=plan.grid.over_points(np.asarray(plan.replicates)),
            strengths={entry.name: plan.lane_strengths(entry) for entry in plan.regularizers},
            **join_blocks(self.blocks, [part.ends for part in parts]),
            mechanisms=measure_mechanisms(plan, weights),
            history=history.sort_values(["epoch", "lane"], ignore_index=True),
        )


class BlockTraining:
    """The state of one block while it trains."""

    def __init__(self, training: Training, block: Block, number: int):
        self.training, self.block, self.number, self.num_seen = training, block, number, 0
        self.plan, self.graph = training.plan, training.graph
        plan, development = training.plan, training.development
        self.monitor = choose_monitor(plan.network.outputs)
        replicates = np.asarray(plan.replicates)[block.replicates].tolist()
        validation = development.validation[replicates]
        self.labels = block.grid.over_points(development.labels[validation])
        self.validation = tf.constant(validation.astype(np.int32))
        # Traces are looked up once, not each epoch.
        self.validate = self.graph.validate.get_concrete_function(self.validation)
        chosen = tf.TensorSpec([len(block.lanes)], tf.bool)
        self.keep_weights = self.graph.keep.get_concrete_function(chosen, chosen)
        self.best = Best(LOG_LOSS, 0, len(block.lanes), training.dtype)
        self.stopped_epoch = np.zeros(len(block.lanes), int)
        noises = [noise.of_lanes(block.lanes) for noise in training.noises]
        self.noise = NoiseSource(noises, seed=plan.seed, replicates=replicates)
        self.orders = batch_orders(plan.seed, replicates, development.training[replicates])
        self.callbacks = Callbacks(
            plan.callbacks, self._patience(), learning_rate=plan.optimizer.learning_rate, dtype=training.dtype
        )
        self.callbacks.running = block.counted.copy()

    def _patience(self) -> np.ndarray:
        for entry in self.plan.regularizers:
            if entry.name == "early_stopping":
                return self.plan.lane_strengths(entry).astype(int)[self.block.lanes]
        return np.full(len(self.block.lanes), NEVER)

    def run(self) -> TrainedBlock:
        history = []
        for epoch in range(self.plan.epochs):
            running = self.callbacks.running.copy()
            logs = self._run_epoch()
            kept = self.callbacks.end_epoch(epoch, logs)
            if not self.callbacks.keeps_best and epoch + 1 < self.plan.epochs:
                kept = kept & ~self.callbacks.running  # later weights of the others will replace these
            self._keep(kept, self._find_improved(epoch, logs, running))
            history.append(self._history_rows(epoch, running, logs))
            if not self.callbacks.running.any():
                break
        return self._result({name: np.concatenate([rows[name] for rows in history]) for name in history[0]})

    def _find_improved(self, epoch: int, logs: dict[str, np.ndarray], running: np.ndarray) -> np.ndarray:
        """The lanes [lane] that are better than ever by log loss on validation rows; none where nobody asks."""
        if not self.plan.stopped:
            return np.zeros_like(running)
        improved = self.best.update(logs[LOG_LOSS], running)
        self.stopped_epoch = np.where(improved, epoch + 1, self.stopped_epoch)
        return improved

    def _run_epoch(self) -> dict[str, np.ndarray]:
        order = next(self.orders)
        num_rows, batch_size = order.shape[1], min(self.plan.batch_size, order.shape[1])
        num_full = num_rows // batch_size
        sums = self._run_batches(order[:, : num_full * batch_size], batch_size) * batch_size
        remainder = num_rows - num_full * batch_size
        if remainder:
            sums = sums + self._run_batches(order[:, -remainder:], remainder) * remainder
        val_loss, probability = self.validate(self.validation)
        names = [self.monitor, "log_loss"] if self.plan.stopped else [self.monitor]
        scores = {f"val_{name}": MONITORS[name](self.labels, probability.numpy()) for name in names}
        return {"loss": sums / num_rows, "val_loss": val_loss.numpy(), **scores}

    def _run_batches(self, order: np.ndarray, batch_size: int) -> np.ndarray:
        """Train on the rows of `order` [replicate, row], a whole number of batches: the sum of their losses [lane]."""
        steps = order.reshape(order.shape[0], -1, batch_size).swapaxes(0, 1)
        per_call = max(1, min(STEPS_PER_CALL, NOISE_BYTES // max(self.noise.bytes_per_step(batch_size), 1)))
        losses = tf.constant(np.zeros(self.graph.num_lanes))  # in a third of the time of tf.zeros
        for first in range(0, len(steps), per_call):
            part = steps[first : first + per_call]
            noise = {name: tf.constant(draws) for name, draws in self.noise.draw(len(part), batch_size).items()}
            losses = self.graph.run_steps(tf.constant(part), noise, losses)
            self.num_seen += part.shape[0] * batch_size
            self.training.report_block(self.number, self.num_seen)
        return losses.numpy()

    def _keep(self, kept: np.ndarray, improved: np.ndarray) -> None:
        """Remember weights that may be handed on, and set the next epoch's learning rates."""
        if kept.any() or improved.any():
            self.keep_weights(tf.constant(kept), tf.constant(improved))
        if self.plan.callbacks.reduce_lr_on_plateau:
            self.graph.optimizer.learning_rate.assign(self.callbacks.learning_rate)

    def _history_rows(self, epoch: int, running: np.ndarray, logs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        lanes = self.block.lanes[running]
        columns = {name: values[running] for name, values in logs.items()}
        return {"epoch": np.full(len(lanes), epoch + 1), "lane": lanes, **columns}

    def _result(self, history: dict[str, np.ndarray]) -> TrainedBlock:
        callbacks = self.callbacks
        ends = {
            "epochs_run": callbacks.epochs_run,
            "best_epoch": callbacks.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "stopped_early": ~callbacks.running & ~callbacks.diverged,
            "diverged": callbacks.diverged,
        }
        weights, stopped = (
            {name: value.numpy() for name, value in kept.items()} for kept in (self.graph.kept, self.graph.stopped)
        )
        return TrainedBlock(weights, stopped, ends, pd.DataFrame(history))


def normalized_layers(plan: RunPlan) -> list[int]:
    return [layer for entry in plan.regularizers if entry.name == "batch_norm" for layer in entry.layers]
