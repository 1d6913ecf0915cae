"""The graph of one run: a training step for all lanes, looped over many batches in a call, and the validation pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from stages.lib.data.samples import Development, Samples
from stages.lib.lanes.blocks import Block
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.network import Network, total, trained_names
from stages.lib.lanes.optimizers import Optimizer, Step, per_lane, zeros
from stages.lib.lanes.plan import Grid, RunPlan
from stages.lib.lanes.randomness import Noise
from stages.lib.lanes.regularizers import CATALOGUE, Ema, Regularizer, Tensors
from stages.lib.lanes.run import Weights
from stages.lib.lanes.runtime import tf

CHUNK_BYTES = 32_000_000  # of inputs, or of what a layer makes of them, in a forward pass without training


def build_regularizers(
    plan: RunPlan, dtype: str, image: tuple[int, ...] = (), lanes: tf.Tensor | tf.Variable | None = None
) -> list[Regularizer]:
    """The run's regularisers over its lanes, without those that have no effect in any lane of the run.

    Args:
        image: (height, width) of an input that is an image, else empty.
        lanes: numbers of the lanes that are trained or predict; None for all.
    """
    built = []
    for entry in plan.regularizers:
        kind, strengths = CATALOGUE[entry.name], np.asarray(plan.lane_strengths(entry))
        if strengths.any() or not kind.inert_at_zero:
            built.append(kind(strengths, entry.layers, tf.as_dtype(dtype), image=image, lanes=lanes))
    return built


class Graph:
    """The lanes of a block, their weights and their training step."""

    def __init__(self, plan: RunPlan, development: Development, start: Weights, block: Block, dtype: str):
        """start: weights [start of the run, ...]. block: any; all that are trained are of its size."""
        self.plan, self.development, self.start, self.grid = plan, development, start, block.grid
        self.num_lanes, self.dtype = block.grid.num_lanes, tf.as_dtype(dtype)
        self.inputs, self.labels = tf.constant(development.inputs), tf.constant(development.labels.astype(np.int32))
        numbers = self._choose_encoders(block)
        self.encoders = {name: tf.Variable(values, trainable=False) for name, values in numbers.items()}
        self.lanes = tf.Variable(block.lanes, trainable=False)
        some = None if block.grid == plan.grid else self.lanes
        self.regularizers = build_regularizers(plan, dtype, development.image, some)
        self.kernels = [(entry, f"kernel_{layer}") for entry in self.regularizers for layer in entry.layers]
        self.network = Network(plan.network, self.regularizers)
        self.loss = LOSSES[plan.loss]
        trained = trained_names(start)
        self.weights, self.kept = self._variables(start), self._variables(start)
        self.stopped = self._variables(start) if plan.stopped else {}
        self.ema = next((entry for entry in self.regularizers if isinstance(entry, Ema)), None)
        self.averages = self._variables(trained) if self.ema else {}
        self.trained = [self.weights[name] for name in trained]
        self.optimizer = Optimizer(
            plan.optimizer,
            self.trained,
            rate_per_lane=plan.callbacks.reduce_lr_on_plateau is not None,
            num_steps=plan.epochs * -(-development.training.shape[1] // plan.batch_size),
        )
        self._traced: Callable[..., tf.Tensor] | None = None  # of any number of steps and of rows in a batch

    def _variables(self, names: Iterable[str]) -> dict[str, tf.Variable]:
        """Name of a weight -> [lane, ...], without its values."""
        return {name: zeros([self.num_lanes, *self.start[name].shape[1:]], self.dtype) for name in names}

    def _choose_encoders(self, block: Block) -> dict[str, np.ndarray]:
        """Field of `Encoder` -> [start of the block, 1, feature]; empty where rows are encoded."""
        starts = self.plan.starts
        replicates = [starts[place].replicate for place in block.starts]
        return {name: numbers[replicates, None] for name, numbers in self.development.encoders.items()}

    def begin(self, block: Block) -> None:
        """Set all lanes to how a block starts."""
        self.lanes.assign(block.lanes)
        for name, values in self._choose_encoders(block).items():
            self.encoders[name].assign(values)
        start = {name: block.grid.over_points(values[block.starts]) for name, values in self.start.items()}
        for variables in (self.weights, self.averages, self.kept, self.stopped):
            for name, variable in variables.items():
                variable.assign(start[name])
        self.optimizer.begin()

    def list_noises(self, block: Block) -> list[Noise]:
        """The random numbers that each step of a block needs."""
        num_features, hidden = self.development.inputs.shape[1], self.plan.network.hidden
        noises = [noise for entry in self.regularizers for noise in entry.noise(num_features, hidden)]
        return [noise.of_lanes(block.lanes) for noise in noises]

    def run_steps(self, order: tf.Tensor, noise: Mapping[str, tf.Tensor], losses: tf.Tensor) -> tf.Tensor:
        """Train on a sequence of batches, the optimiser's next steps.

        Args:
            order: [step, start, row] numbers of rows in the pool.
            noise: name -> [step, start or lane, row, ...].
            losses: float64 [lane], the sum so far: one sum over all calls does not depend on how many there are.

        Returns:
            [lane], with the losses of these steps added, penalties included.
        """

        numbers = tf.constant(self.optimizer.take_steps(order.shape[0]))
        if not self._traced:
            # One trace for all batches, the last of an epoch too; TensorFlow would trace each number of steps or rows.
            # It would also look the trace up at each call, which takes as long as a step of small networks.
            any_steps = tf.TensorSpec([None, *numbers.shape[1:]], numbers.dtype)
            specs = tf.nest.map_structure(any_batches, (order, noise))
            self._traced = self._run_steps.get_concrete_function(any_steps, *specs, losses)
        return self._traced(numbers, order, noise, losses)

    # AutoGraph only matters to Python's own loops over tensors, and takes four times as long as the rest of a trace.
    @tf.function(autograph=False)
    def _run_steps(
        self, numbers: tf.Tensor, order: tf.Tensor, noise: Mapping[str, tf.Tensor], losses: tf.Tensor
    ) -> tf.Tensor:
        def train(step: tf.Tensor, losses: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            draws = {name: values[step] for name, values in noise.items()}
            added = self._train(Step(*tf.unstack(numbers[step])), order[step], draws)
            return step + 1, losses + tf.cast(added, losses.dtype)

        num_steps = tf.shape(order)[0]
        # Each step needs the one before. TensorFlow would keep ten iterations in mind at once, for nothing.
        return tf.while_loop(lambda step, losses: step < num_steps, train, (0, losses), parallel_iterations=1)[1]

    def _train(self, step: Step, rows: tf.Tensor, noise: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """One step on the rows [start, row] of a batch: the losses [lane] before it."""
        noise = {name: self._over_lanes(draws) for name, draws in noise.items()}
        inputs, targets = self._gather_inputs(rows), self._gather_targets(rows)
        for regularizer in self.regularizers:
            inputs, targets = regularizer.transform_batch(inputs, targets, noise)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.trained)
            logits, penalty, moved = self.network.forward(self.weights, inputs, noise)
            losses = self.compare(targets, logits) + penalty + self.kernel_penalty(self.weights)
        gradients = tape.gradient(losses, self.trained)
        for name, value in moved.items():
            self.weights[name].assign(value)
        self._update(gradients, step)
        return losses

    def _update(self, gradients: list[tf.Tensor], step: Step) -> None:
        """In the order of keras.Optimizer.apply: decay, update, average, constrain."""
        self.optimizer.set_rate(step)
        rate = self.optimizer.learning_rate
        self._assign_kernels(lambda entry, kernel: entry.decay_kernel(kernel, rate))
        self.optimizer.apply(gradients, step)
        if self.ema:
            first = step.number == 1
            for name, average in self.averages.items():
                momentum = per_lane(tf.where(first, tf.zeros_like(self.ema.strength), self.ema.strength), average)
                average.assign(momentum * average + (1 - momentum) * self.weights[name])
        self._assign_kernels(lambda entry, kernel: entry.constrain_kernel(kernel, rate))

    def _assign_kernels(self, change: Callable[[Regularizer, tf.Tensor], tf.Tensor | None]) -> None:
        for entry, name in self.kernels:
            changed = change(entry, self.weights[name])
            if changed is not None:
                self.weights[name].assign(changed)

    def kernel_penalty(self, weights: Tensors) -> tf.Tensor | float:
        return total(entry.penalize_kernel(weights[name]) for entry, name in self.kernels)

    def compare(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The losses [lane] of targets and logits [lane, row, output], penalties left out."""
        for regularizer in self.regularizers:
            targets = regularizer.transform_targets(targets)
        return self.loss.function(targets, logits, self.network.output(logits))

    def _gather_inputs(self, rows: tf.Tensor) -> tf.Tensor:
        """Inputs [lane, row, feature] of rows [start, row] of the pool."""
        inputs, scale = tf.cast(self._encode(tf.gather(self.inputs, rows)), self.dtype), self.development.scale
        return self._over_lanes(inputs if scale == 1 else inputs * tf.constant(scale, self.dtype))

    def _encode(self, columns: tf.Tensor) -> tf.Tensor:
        """Inputs of columns [start, row, feature], as `Encoder` makes them; what is encoded stays as it is."""
        if not self.encoders:
            return columns
        low, high, mean, scale, fill = (self.encoders[name] for name in ("low", "high", "mean", "scale", "fill"))
        filled = tf.where(tf.math.is_nan(columns), fill, columns)
        return tf.cast((tf.clip_by_value(filled, low, high) - mean) / scale, tf.float32)

    def _gather_targets(self, rows: tf.Tensor) -> tf.Tensor:
        """Class numbers [lane, row], or [lane, row, output]: 0 or 1 for a sigmoid, one-hot for a softmax."""
        labels, outputs = tf.gather(self.labels, rows), self.plan.network.outputs
        if self.loss.sparse:
            return self._over_lanes(labels)
        binary = outputs == 1
        targets = tf.cast(labels, self.dtype)[..., None] if binary else tf.one_hot(labels, outputs, dtype=self.dtype)
        return self._over_lanes(targets)

    def _over_lanes(self, values: tf.Tensor) -> tf.Tensor:
        """Give every lane what belongs to its start; what is drawn lane by lane already stays as it is."""
        values = tf.cast(values, self.dtype) if values.dtype.is_floating else values
        return values if values.shape[0] == self.num_lanes else self.grid.over_points(values, tf.tile)

    def evaluated(self) -> dict[str, tf.Tensor]:
        """The weights as they are used outside training: averaged where the run averages, constraints kept."""
        weights = self.weights | self.averages
        for entry, name in self.kernels if self.ema else []:
            constrained = entry.constrain_kernel(weights[name], self.optimizer.learning_rate)
            weights[name] = weights[name] if constrained is None else constrained
        return {name: tf.convert_to_tensor(value) for name, value in weights.items()}

    @tf.function(autograph=False)
    def validate(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Validation losses [lane], penalties included as Keras does, and probabilities [lane, row, output].

        Args:
            rows: [start, row] numbers of rows in the pool.
        """
        weights, num_rows = self.evaluated(), rows.shape[1]
        logits: list[tf.Tensor] = []
        penalty = tf.zeros(self.num_lanes, self.dtype)
        # Pieces along the rows whose inputs are small enough to hold at once.
        widest = max(self.inputs.shape[1], *self.plan.network.hidden, self.plan.network.outputs)
        size = max(1, CHUNK_BYTES // (self.plan.grid.num_lanes * widest * self.dtype.size))
        for first in range(0, num_rows, size):
            chunk = rows[:, first : first + size]
            with tf.control_dependencies(logits[-1:]):  # else all chunks are held at once
                turn = tf.identity(chunk)
            part, activity, _ = self.network.forward(weights, self._gather_inputs(turn), None)
            logits.append(part)
            penalty += activity * (chunk.shape[1] / num_rows)
        all_logits = tf.concat(logits, axis=1)
        losses = self.compare(self._gather_targets(rows), all_logits) + penalty + self.kernel_penalty(weights)
        return losses, self.network.output(all_logits)

    @tf.function(autograph=False)
    def keep(self, lanes: tf.Tensor, improved: tf.Tensor) -> None:
        """Remember the present weights of the lanes that are True in [lane], to hand on, and of those that improved."""
        for name, value in self.evaluated().items():
            self.kept[name].assign(tf.where(per_lane(lanes, value), value, self.kept[name]))
            if self.stopped:
                self.stopped[name].assign(tf.where(per_lane(improved, value), value, self.stopped[name]))


def any_batches(part: tf.Tensor) -> tf.TensorSpec:
    """What stands for [step, start or lane, row, ...], with any number of steps and of rows."""
    return tf.TensorSpec([None, part.shape[1], None, *part.shape[3:]], part.dtype)


def predict_lanes(
    plan: RunPlan, weights: Weights, samples: Samples, rows: np.ndarray, *, lanes: np.ndarray | None = None
) -> np.ndarray:
    """Probabilities [lane, row, output], float32.

    Args:
        weights: name -> [lane, ...].
        rows: [replicate, row], positions in the samples: the rows that every lane of a replicate predicts.
        lanes: numbers of the lanes that predict: of each replicate one, or as many as of another, in their order; None
            for all.
    """
    lanes = np.arange(plan.grid.num_lanes) if lanes is None else lanes
    num_lanes, grid = len(lanes), Grid.of_lanes(len(lanes), len(plan.replicates))
    network = Network(plan.network, build_regularizers(plan, "float32", lanes=tf.constant(lanes)))
    tensors = {name: tf.constant(value[lanes], tf.float32) for name, value in weights.items()}
    shared = not samples.encoders and bool((rows == rows[0]).all())  # then every lane reads one copy of the inputs
    rows, copies = (rows[:1], 1) if shared else (rows, num_lanes)
    widest = max(copies * samples.inputs.shape[1], num_lanes * max(*plan.network.hidden, plan.network.outputs, 1))
    size = max(1, CHUNK_BYTES // (4 * widest))
    answers = []
    for first in range(0, rows.shape[1], size):
        chunk = samples.take(rows[:, first : first + size], plan.replicates)
        inputs = tf.constant(chunk if shared else grid.over_points(chunk))
        answers.append(network.output(network.forward(tensors, inputs, None)[0]).numpy())
    return np.concatenate(answers, axis=1)
