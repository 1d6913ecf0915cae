"""Stock Keras as the oracle: one lane's network, built of Keras' own parts and trained by `Model.fit`.

It is written from the meaning of a plan, not from the code of stages/lib/lanes; it shares with that only the source of
random numbers, whose draws it plays back. What Keras lacks stands in parts.py, written a second time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

from stages.lib.data.samples import Development
from stages.lib.lanes.plan import CallbacksPlan, RegularizerPlan, RunPlan, Start
from stages.lib.lanes.randomness import Noise, NoiseSource, batch_orders
from tests.lib.lanes.parts import (
    InTurn,
    LogScore,
    PlayedDropout,
    SoftThreshold,
    UseAverages,
    auc,
    cut_out,
    log_loss,
    r_squared,
    root_mean_squared_error,
)

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """weights: name -> array without a lane axis. history: of `Model.fit`, name -> one value per epoch.

    stopped: the weights of the best epoch by log loss, where the plan keeps them.
    """

    weights: Weights
    history: dict[str, list[float]]
    stopped: Weights


@dataclass(frozen=True)
class Batch:
    inputs: np.ndarray
    targets: np.ndarray
    draws: dict[str, np.ndarray]  # name -> [row, ...]


def fit_stock(
    plan: RunPlan,
    development: Development,
    start: Weights,
    *,
    replicate: int = 0,
    member: int = 0,
    point: int = 0,
    dtype: str = "float32",
) -> Fitted:
    """Train one lane with `Model.fit`.

    Args:
        start: start weights [start, ...]: all replicates of one member after those of another.
        replicate: position in plan.replicates. point: position in the path.
    """
    with floatx(dtype):
        lane = Lane(plan, development, Start(plan.replicates[replicate], member), point)
        model = lane.build_model()
        for name, variable in named_weights(model):
            variable.assign(start[name][member * len(plan.replicates) + replicate].reshape(variable.shape))
        rows = development.validation[plan.replicates[replicate]]
        with TemporaryDirectory() as folder:
            checkpoint, best = Path(folder) / "checkpoint.weights.h5", Path(folder) / "best.weights.h5"
            history = model.fit(
                ((batch.inputs, batch.targets) for batch in lane.batches),
                steps_per_epoch=lane.steps_per_epoch,
                epochs=plan.epochs,
                validation_data=(lane.inputs(rows), lane.targets(rows)),
                validation_batch_size=len(rows),
                callbacks=[*lane.own_callbacks(best), *keras_callbacks(plan.callbacks, lane.patience(), checkpoint)],
                verbose=0,
                shuffle=False,
            )
            if plan.callbacks.checkpoint:
                model.load_weights(checkpoint)
            weights, stopped = read_weights(model), {}
            if plan.stopped:
                model.load_weights(best)
                stopped = read_weights(model)
        return Fitted(weights, history.history, stopped)


class Lane:
    """One lane of a plan: its strengths, its batches, its stock model."""

    def __init__(self, plan: RunPlan, development: Development, start: Start, point: int):
        self.plan, self.development, self.dtype = plan, development, keras.config.floatx()
        self.start, self.number = start, start.replicate
        self.layers = {entry.name: entry.layers for entry in plan.regularizers}
        self.strengths = {entry.name: strength_at(entry, point) for entry in plan.regularizers}
        self.batches = list(self._batches())
        self.steps_per_epoch = len(self.batches) // plan.epochs

    def strength(self, name: str, layer: int) -> float | None:
        return self.strengths[name] if layer in self.layers.get(name, ()) else None

    def patience(self) -> int:
        return int(self.strengths.get("early_stopping", 0))

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        return self.development.inputs[rows].astype(self.dtype) * np.asarray(self.development.scale, self.dtype)

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """As the loss takes them: class numbers, 0 or 1, or one-hot; smoothed where the loss cannot do it itself."""
        labels, outputs = self.development.labels[rows], self.plan.network.outputs
        if self.plan.loss == "sparse_categorical_crossentropy":
            return labels.astype("int32")
        targets = labels[:, None] if outputs == 1 else np.eye(outputs)[labels]
        share = 0 if self.smooths_in_loss() else self.strengths.get("label_smoothing", 0)
        return (targets * (1 - share) + share / max(outputs, 2)).astype(self.dtype)

    def smooths_in_loss(self) -> bool:
        own = "binary_crossentropy" if self.plan.network.outputs == 1 else "categorical_crossentropy"
        return self.plan.loss == own

    def _batches(self) -> Iterator[Batch]:
        """Batches with their draws, one step at a time and for this lane alone."""
        noise = NoiseSource(self._noises(), seed=self.plan.seed, starts=[self.start])
        orders = batch_orders(self.plan.seed, [self.start], self.development.training[[self.number]])
        for _ in range(self.plan.epochs):
            rows = next(orders)[0]
            for first in range(0, len(rows), self.plan.batch_size):
                part = rows[first : first + self.plan.batch_size]
                draws = {name: values[0, 0] for name, values in noise.draw(1, len(part)).items()}
                yield self._disturb(Batch(self.inputs(part), self.targets(part), draws))

    def _noises(self) -> list[Noise]:
        num_features, strength = self.development.inputs.shape[1], self.strengths.get("dropout")
        noises = [
            Noise(f"dropout_{layer}", "kept", (self.plan.network.hidden[layer - 1],), np.array([strength]))
            for layer in self.layers.get("dropout", ())
        ]
        if "cutout" in self.strengths:
            image = Noise("cutout", "uniform", (2,))
            table = Noise("cutout", "kept", (num_features,), np.array([self.strengths["cutout"]]))
            noises.append(image if num_features == 784 else table)
        if "mixup" in self.strengths:
            noises.append(Noise("mixup_partner", "permutation", ()))
            noises.append(Noise("mixup_share", "beta", (), np.array([self.strengths["mixup"]])))
        if "gaussian_noise" in self.strengths:
            noises.append(Noise("gaussian_noise", "normal", (num_features,)))
        return noises

    def _disturb(self, batch: Batch) -> Batch:
        """What the regularisers do to a training batch: erase, mix, add noise."""
        inputs, targets, draws = batch.inputs, batch.targets, batch.draws
        if "cutout" in self.strengths:
            inputs = cut_out(inputs, self.strengths["cutout"], draws["cutout"])
        if "mixup" in self.strengths:
            share, partner = draws["mixup_share"][:, None].astype(self.dtype), draws["mixup_partner"]
            inputs, targets = (share * part + (1 - share) * part[partner] for part in (inputs, targets))
        if "gaussian_noise" in self.strengths:
            deviation = np.asarray(self.strengths["gaussian_noise"], self.dtype)
            inputs = inputs + deviation * draws["gaussian_noise"].astype(self.dtype)
        return Batch(inputs, targets, draws)

    def build_model(self) -> keras.Model:
        """Dense, BatchNormalization, activation, Dropout for each hidden layer; a sigmoid or a softmax at the end."""
        network, optimizer = self.plan.network, self.build_optimizer()
        model = keras.Sequential([keras.Input((self.development.inputs.shape[1],))])
        for layer, units in enumerate(network.hidden, start=1):
            model.add(self.build_dense(layer, units, optimizer))
            momentum = self.strength("batch_norm", layer)
            if momentum is not None:
                model.add(keras.layers.BatchNormalization(momentum=momentum))
            model.add(keras.layers.Activation(network.activation, activity_regularizer=self.activity_penalty(layer)))
            rate = self.strength("dropout", layer)
            if rate is not None:
                model.add(PlayedDropout(rate, [batch.draws[f"dropout_{layer}"] for batch in self.batches]))
        model.add(self.build_dense(len(network.hidden) + 1, network.outputs, optimizer))
        model.add(keras.layers.Activation("sigmoid" if network.outputs == 1 else "softmax"))
        if optimizer.weight_decay is not None:
            decayed = {f"kernel_{layer}" for layer in self.layers["weight_decay"]}
            optimizer.exclude_from_weight_decay([value for name, value in named_weights(model) if name not in decayed])
        metrics = ["accuracy"] if "val_accuracy" in self.monitors() else None
        model.compile(optimizer, self.build_loss(), metrics=metrics, jit_compile=False)
        optimizer.build(model.trainable_variables)  # else the first step makes them, and is traced once more
        return model

    def build_dense(self, layer: int, units: int, optimizer: keras.Optimizer) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            kernel_regularizer=keras.regularizers.L1L2(self.strength("l1", layer), self.strength("l2", layer)),
            kernel_constraint=self.build_constraint(layer, optimizer),
        )

    def build_constraint(self, layer: int, optimizer: keras.Optimizer) -> InTurn | None:
        constraints: list[Callable] = []
        penalty = self.strength("l1_proximal", layer)
        if penalty is not None:
            constraints.append(SoftThreshold(penalty, optimizer))
        largest = self.strength("max_norm", layer)
        if largest is not None:
            constraints.append(keras.constraints.MaxNorm(largest))
        norm = self.strength("unit_norm", layer)
        if norm is not None:
            constraints += [keras.constraints.UnitNorm(), lambda kernel: kernel * norm]
        return InTurn(constraints) if constraints else None

    def activity_penalty(self, layer: int) -> keras.regularizers.Regularizer | None:
        strength = self.strength("activity_l1", layer)
        return None if strength is None else keras.regularizers.L1(strength)

    def build_optimizer(self) -> keras.Optimizer:
        plan, settings = self.plan.optimizer, {"weight_decay": self.strengths.get("weight_decay")}
        rate: float | keras.optimizers.schedules.LearningRateSchedule = plan.learning_rate
        if plan.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(plan.learning_rate, len(self.batches))
        if "ema" in self.strengths:
            settings |= {"use_ema": True, "ema_momentum": self.strengths["ema"]}
        if plan.name == "adam":
            kind = keras.optimizers.Adam if settings["weight_decay"] is None else keras.optimizers.AdamW
            return kind(rate, **settings)
        kind = {"sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop}[plan.name]
        return kind(rate, momentum=plan.momentum, **settings)

    def build_loss(self) -> keras.losses.Loss | Callable | str:
        own = {"root_mean_squared_error": root_mean_squared_error, "r_squared": r_squared}
        smoothing = self.strengths.get("label_smoothing")
        if smoothing is None or not self.smooths_in_loss():
            return own.get(self.plan.loss, self.plan.loss)
        name = "BinaryCrossentropy" if self.plan.network.outputs == 1 else "CategoricalCrossentropy"
        return getattr(keras.losses, name)(label_smoothing=smoothing)

    def monitors(self) -> set[str]:
        plan = self.plan.callbacks
        return {part.monitor for part in (plan.early_stopping, plan.checkpoint, plan.reduce_lr_on_plateau) if part}

    def own_callbacks(self, best: Path) -> list[keras.callbacks.Callback]:
        """What stands before Keras' callbacks in the list, so that they see its work; best: file of the best epoch."""
        callbacks: list[keras.callbacks.Callback] = [UseAverages()] if "ema" in self.strengths else []
        rows = self.development.validation[self.number]
        inputs, labels = self.inputs(rows), self.development.labels[rows]
        if "val_auc" in self.monitors():
            callbacks.append(LogScore("val_auc", auc, inputs, labels))
        if self.plan.stopped:
            callbacks.append(LogScore("val_log_loss", log_loss, inputs, labels))
            keep = {"monitor": "val_log_loss", "mode": "min", "save_best_only": True, "save_weights_only": True}
            callbacks.append(keras.callbacks.ModelCheckpoint(str(best), **keep))
        return callbacks


def strength_at(entry: RegularizerPlan, point: int) -> float:
    return entry.strengths[point] if len(entry.strengths) > 1 else entry.strengths[0]


def keras_callbacks(plan: CallbacksPlan, patience: int, checkpoint: Path) -> list[keras.callbacks.Callback]:
    """The callbacks of a plan; `checkpoint` is the file that ModelCheckpoint writes."""
    callbacks: list[keras.callbacks.Callback] = []
    if settings := plan.early_stopping:
        fields = dict(settings) | {"patience": patience, "restore_best_weights": settings.restore_best}
        del fields["restore_best"]
        callbacks.append(keras.callbacks.EarlyStopping(**fields, mode=mode_of(settings.monitor)))
    if settings := plan.checkpoint:
        fields = dict(settings) | {"mode": mode_of(settings.monitor), "save_weights_only": True}
        callbacks.append(keras.callbacks.ModelCheckpoint(str(checkpoint), **fields))
    if settings := plan.reduce_lr_on_plateau:
        callbacks.append(keras.callbacks.ReduceLROnPlateau(**dict(settings), mode=mode_of(settings.monitor)))
    return [*callbacks, *([keras.callbacks.TerminateOnNaN()] if plan.terminate_on_nan else [])]


def mode_of(monitor: str) -> str:
    return "min" if monitor.endswith("loss") else "max"


def named_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """The weights by the names that lanes give them: kernel_1, bias_1, gamma_1, ..., kernel_2, ..."""
    layer = 0
    for part in model.layers:
        layer += isinstance(part, keras.layers.Dense)
        if isinstance(part, keras.layers.Dense | keras.layers.BatchNormalization):
            yield from ((f"{variable.name}_{layer}", variable) for variable in part.weights)


def read_weights(model: keras.Model) -> Weights:
    return {name: variable.numpy() for name, variable in named_weights(model)}


@contextmanager
def floatx(dtype: str) -> Iterator[None]:
    """Keras in another precision: floatx is that of learning rates and metrics, the policy that of layers."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)
