"""Train one run: its lanes block by block, each block epoch after epoch with its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from stages.lib.core.files import add_prefix, pop_prefix
from stages.lib.data.samples import Development
from stages.lib.lanes.blocks import Block, cut_into_blocks
from stages.lib.lanes.callbacks import MONITORS, Best, Callbacks, choose_monitor
from stages.lib.lanes.graph import Graph, find_graph
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.randomness import NoiseSource, batch_orders
from stages.lib.lanes.run import Arrays, TrainedRun, UnfinishedRun, Weights
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
    graphs: dict[str, Graph] | None = None,
) -> TrainedRun:
    """Train all lanes of a run.

    Args:
        start: start weights [start, ...]; drawn from the plan's seed where it is None.
        dtype: float32, or float64 to compare with another implementation.
        report: called now and then with the number of training rows that a lane has seen so far, of
            epochs * training rows in all; the mean over the lanes where blocks of them are trained in turn.
        unfinished: keeps blocks that are trained and gives back those that are kept; None trains all of them.
        graphs: those of earlier runs, by `find_graph`; to build one takes as long as to train a small table.
    """
    if start is None:
        normalized = [layer for entry in plan.regularizers if entry.name == "batch_norm" for layer in entry.layers]
        shape = plan.network, development.inputs.shape[1]
        start = draw_weights(*shape, seed=plan.seed, starts=plan.starts, normalized=normalized)
    num_weights = sum(values[0].size for values in start.values())
    blocks = cut_into_blocks(plan.grid, num_weights * np.dtype(dtype).itemsize)
    graph = find_graph({} if graphs is None else graphs, plan, development, start, blocks[0], dtype)

    def train_block(number: int) -> Arrays:
        num_before = number * plan.epochs * development.training.shape[1]
        return BlockTraining(graph, blocks[number], lambda seen: report((num_before + seen) // len(blocks))).run()

    train = partial(unfinished.recall, train_block) if unfinished and len(blocks) > 1 else train_block
    return join_parts(plan, blocks, [train(number) for number in range(len(blocks))])


def join_parts(plan: RunPlan, blocks: list[Block], parts: list[Arrays]) -> TrainedRun:
    """The run from what its blocks have left; see `BlockTraining.run`."""
    histories = [pd.DataFrame(pop_prefix("history", part)) for part in parts]
    ends = {
        name: np.concatenate([part[name][block.counted] for block, part in zip(blocks, parts, strict=True)])
        for name in parts[0]
    }
    weights, stopped = pop_prefix("weight", ends), pop_prefix("at_best", ends)
    replicate, member = plan.grid.over_points(np.array(plan.starts)).T
    return TrainedRun(
        weights=weights,
        stopped=stopped,
        replicate=replicate,
        member=member,
        strengths={entry.name: plan.lane_strengths(entry) for entry in plan.regularizers},
        **ends,
        history=pd.concat(histories, ignore_index=True).sort_values(["epoch", "lane"], ignore_index=True),
    )


class BlockTraining:
    """The state of one block while it trains."""

    def __init__(self, graph: Graph, block: Block, report: Callable[[int], None]):
        """report: called with the number of rows that its lanes have seen."""
        self.graph, self.block, self.plan, self.report, self.num_seen = graph, block, graph.plan, report, 0
        plan, development, dtype = graph.plan, graph.development, graph.dtype.name
        graph.begin(block)
        self.monitor = choose_monitor(plan.network.outputs)
        of_run = plan.starts
        starts = [of_run[place] for place in block.starts]
        replicates = [start.replicate for start in starts]
        validation = development.validation[replicates]
        self.labels = block.grid.over_points(development.labels[validation])
        self.validate = graph.prepare_validation(validation)
        chosen = tf.TensorSpec([len(block.lanes)], tf.bool)
        self.keep = {place: graph.keep.get_concrete_function(chosen, place) for place in ("kept", "stopped")}
        self.no_losses = tf.constant(np.zeros(len(block.lanes)))
        self.best = Best(LOG_LOSS, 0, len(block.lanes), dtype)
        self.stopped_epoch = np.zeros(len(block.lanes), int)
        self.noise = NoiseSource(graph.list_noises(block), seed=plan.seed, starts=starts)
        self.orders = batch_orders(plan.seed, starts, development.training[replicates])
        strengths = {entry.name: plan.lane_strengths(entry) for entry in plan.regularizers}
        patience = strengths.get("early_stopping", np.full(plan.grid.num_lanes, NEVER)).astype(int)[block.lanes]
        self.callbacks = Callbacks(plan.callbacks, patience, learning_rate=plan.optimizer.learning_rate, dtype=dtype)
        self.callbacks.running = block.counted.copy()

    def run(self) -> Arrays:
        """What `TrainedRun` holds of the block, by the names in its file; columns of its history begin with history."""
        history = []
        for epoch in range(self.plan.epochs):
            running = self.callbacks.running.copy()
            logs = self._run_epoch()
            kept = self.callbacks.end_epoch(epoch, logs)
            if not self.callbacks.keeps_best and epoch + 1 < self.plan.epochs:
                kept = kept & ~self.callbacks.running  # later weights of the others will replace these
            improved = self._find_improved(epoch, logs, running)
            for place, lanes in (("kept", kept), ("stopped", improved)):
                if lanes.any():
                    self.keep[place](tf.constant(lanes))
            if self.plan.callbacks.reduce_lr_on_plateau:
                self.graph.optimizer.learning_rate.assign(self.callbacks.learning_rate)
            rows = {"epoch": np.full(len(running), epoch + 1), "lane": self.block.lanes, **logs}
            history.append({name: values[running] for name, values in rows.items()})
            if not self.callbacks.running.any():
                break
        columns = {name: np.concatenate([rows[name] for rows in history]) for name in history[0]}
        return self._ends() | add_prefix("history", columns)

    def _ends(self) -> Arrays:
        callbacks, graph = self.callbacks, self.graph
        weights, stopped = (
            {name: value.numpy() for name, value in kept.items()} for kept in (graph.kept, graph.stopped)
        )
        ends = {
            "epochs_run": callbacks.epochs_run,
            "best_epoch": callbacks.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "stopped_early": ~callbacks.running & ~callbacks.diverged,
            "diverged": callbacks.diverged,
        }
        return ends | add_prefix("weight", weights) | add_prefix("at_best", stopped)

    def _find_improved(self, epoch: int, logs: Arrays, running: np.ndarray) -> np.ndarray:
        """The lanes [lane] that are better than ever by log loss on validation rows; none where nobody asks."""
        if not self.plan.stopped:
            return np.zeros_like(running)
        improved = self.best.update(logs[LOG_LOSS], running)
        self.stopped_epoch = np.where(improved, epoch + 1, self.stopped_epoch)
        return improved

    def _run_epoch(self) -> Arrays:
        order = next(self.orders)
        num_rows, batch_size = order.shape[1], min(self.plan.batch_size, order.shape[1])
        num_full = num_rows - num_rows % batch_size
        sums = self._run_batches(order[:, :num_full], batch_size)
        if num_full < num_rows:
            sums = sums + self._run_batches(order[:, num_full:], num_rows - num_full)
        val_loss, probability = self.validate()
        names = [self.monitor, "log_loss"] if self.plan.stopped else [self.monitor]
        scores = {f"val_{name}": MONITORS[name](self.labels, probability.numpy()) for name in names}
        return {"loss": sums / num_rows, "val_loss": val_loss.numpy(), **scores}

    def _run_batches(self, order: np.ndarray, batch_size: int) -> np.ndarray:
        """Train on the rows of `order` [start, row], a whole number of batches: the sum of their losses [lane]."""
        steps = order.reshape(order.shape[0], -1, batch_size).swapaxes(0, 1)
        per_call = max(1, min(STEPS_PER_CALL, NOISE_BYTES // max(self.noise.bytes_per_step(batch_size), 1)))
        losses = self.no_losses
        for first in range(0, len(steps), per_call):
            part = steps[first : first + per_call]
            noise = {name: tf.constant(draws) for name, draws in self.noise.draw(len(part), batch_size).items()}
            losses = self.graph.run_steps(tf.constant(part), noise, losses)
            self.num_seen += part.shape[0] * batch_size
            self.report(self.num_seen)
        return losses.numpy() * batch_size
