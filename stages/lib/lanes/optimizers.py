"""Keras' optimisers for weights with a lane axis, on TensorFlow's fused kernels.

A fused kernel reads and writes each weight and slot once; the same update in separate operations takes several times
as long. The kernels know one learning rate for a whole variable. Where each lane has its own (reduce_lr_on_plateau),
they fill a buffer with the change at rate 1, which is then scaled lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.lib.lanes.plan import OptimizerPlan
from stages.lib.lanes.runtime import tf

BETA_1, BETA_2, RHO, EPSILON = 0.9, 0.999, 0.9, 1e-7  # Keras' defaults


def per_lane(vector: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Give a vector [lane] trailing axes of length one, so that it multiplies `like` [lane, ...] lane by lane."""
    return tf.reshape(vector, [-1] + [1] * (len(like.shape) - 1))


def zeros(shape: Sequence[int | None], dtype: tf.DType) -> tf.Variable:
    """A variable; where an axis has no length it can have any, and none as yet."""
    return tf.Variable(tf.zeros([length or 0 for length in shape], dtype), trainable=False, shape=shape)


Change = dict[str, Any]  # what every kernel takes: var, grad, lr


class Step(NamedTuple):
    """What depends on the number of a training step alone: each a column [step], or one number.

    number: of the step, counted from 1.
    unit: factor of the learning rate: of adam Keras' bias correction relative to the exact one, else 1.
    schedule: factor of the learning rate by the plan's schedule.
    beta_1_power, beta_2_power: the betas to the power of the number, for adam's exact bias correction.
    """

    number: Any
    unit: Any
    schedule: Any
    beta_1_power: Any
    beta_2_power: Any


def keras_correction(number: np.ndarray) -> np.ndarray:
    """Ratio of Keras' float32 bias correction to the exact one after so many steps (float64).

    Keras rounds the betas to float32 in the correction, in every precision, but not in the moments: 1 - b2^t is off
    by 1.3e-5.
    """
    betas = np.array([np.float32(BETA_1), np.float32(BETA_2), BETA_1, BETA_2])
    rounded_1, rounded_2, exact_1, exact_2 = 1 - np.power(betas[:, None], number)
    return exact_1 / rounded_1 * np.sqrt(rounded_2 / exact_2)


def cosine_decay(number: np.ndarray, num_steps: int) -> np.ndarray:
    """(1 + cos(pi (t - 1) / T)) / 2 of step t of T (Loshchilov and Hutter 2017, equation 5).

    Keras' CosineDecay computes it in float32 in every precision, so the two agree to that.
    """
    return (1 + np.cos(np.pi * np.minimum(number - 1, num_steps) / num_steps)) / 2


# schedule -> the factors of the learning rate [step], from the numbers of the steps and how many there are in all
SCHEDULES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "constant": lambda number, num_steps: np.ones(len(number)),
    "cosine": cosine_decay,
}


def apply_sgd(change: Change, slots: Sequence[tf.Tensor], momentum: tf.Tensor, step: Step) -> None:
    tf.raw_ops.ResourceApplyKerasMomentum(**change, accum=slots[0], momentum=momentum)


def apply_rmsprop(change: Change, slots: Sequence[tf.Tensor], momentum: tf.Tensor, step: Step) -> None:
    rho, epsilon = (tf.constant(value, momentum.dtype) for value in (RHO, EPSILON))
    tf.raw_ops.ResourceApplyRMSProp(**change, ms=slots[0], mom=slots[1], momentum=momentum, rho=rho, epsilon=epsilon)


def apply_adam(change: Change, slots: Sequence[tf.Tensor], momentum: tf.Tensor, step: Step) -> None:
    beta_1, beta_2, epsilon = (tf.constant(value, momentum.dtype) for value in (BETA_1, BETA_2, EPSILON))
    betas = {"beta1": beta_1, "beta2": beta_2, "beta1_power": step.beta_1_power, "beta2_power": step.beta_2_power}
    tf.raw_ops.ResourceApplyAdam(**change, m=slots[0], v=slots[1], **betas, epsilon=epsilon)


OPTIMIZERS: dict[str, Callable[[Change, Sequence[tf.Tensor], tf.Tensor, Step], None]] = {
    "sgd": apply_sgd,
    "rmsprop": apply_rmsprop,
    "adam": apply_adam,
}


class Optimizer:
    """One training's optimiser: the slots and the step count live here.

    sgd        w += v, v = momentum * v - rate * g
    rmsprop    s = 0.9 s + 0.1 g^2, v = momentum * v - rate * g / sqrt(s + eps), w += v    (Hinton 2012, lecture 6e)
    adam       m, s moments, w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(s) + eps) (Kingma and Ba 2015, sec. 2)
    """

    def __init__(self, plan: OptimizerPlan, weights: Sequence[tf.Variable], *, rate_per_lane: bool):
        """rate_per_lane: `learning_rate` is a variable [lane]; else one number."""
        self.plan, self.weights, self.dtype = plan, list(weights), weights[0].dtype
        # Keras rounds the momentum of sgd to float32 in every precision, that of rmsprop in none.
        self.momentum = {"sgd": float(np.float32(plan.momentum)), "rmsprop": plan.momentum, "adam": 0.0}[plan.name]
        self.slots, self.buffers = self._pairs(), self._pairs() if rate_per_lane else []
        self.learning_rate = zeros([weights[0].shape[0]] if rate_per_lane else [], self.dtype)
        self.num_taken, self.steps = 0, self._list_steps(0)

    def _pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        return [(zeros(weight.shape, self.dtype), zeros(weight.shape, self.dtype)) for weight in self.weights]

    def begin(self, num_steps: int) -> None:
        """Set all to how it is before the first of so many steps; the weights are set already."""
        self.num_taken, self.steps = 0, self._list_steps(num_steps)
        for pairs in (self.slots, self.buffers):
            for weight, pair in zip(self.weights, pairs, strict=bool(pairs)):
                for variable in pair:
                    variable.assign(tf.zeros_like(weight))
        self.learning_rate.assign(tf.fill(self.learning_rate.shape, self._constant(self.plan.learning_rate)))

    def take_steps(self, num_steps: int) -> np.ndarray:
        """Count the next steps as taken, and give what depends on their numbers: [step, column of Step]."""
        first, self.num_taken = self.num_taken, self.num_taken + num_steps
        return self.steps[first : self.num_taken]

    def _list_steps(self, num_steps: int) -> np.ndarray:
        """[step, column of Step] of so many steps; in the graph these would be thirteen operations of each step."""
        dtype, numbers = self.dtype.as_numpy_dtype, np.arange(1, num_steps + 1)
        units = keras_correction(numbers) if self.plan.name == "adam" else np.ones(num_steps)
        schedule = SCHEDULES[self.plan.schedule](numbers, num_steps)
        powers = (np.power(dtype(beta), numbers.astype(dtype)) for beta in (BETA_1, BETA_2))
        return np.column_stack(Step(numbers, units, schedule, *powers)).astype(dtype)

    def set_rate(self, step: Step) -> None:
        """Set the learning rate of a step by the schedule, before anything that depends on it."""
        if self.plan.schedule != "constant":
            self.learning_rate.assign(self._constant(self.plan.learning_rate) * step.schedule)

    def apply(self, gradients: Sequence[tf.Tensor], step: Step) -> None:
        if not self.buffers:
            rate = self.learning_rate * step.unit
            for weight, slots, gradient in zip(self.weights, self.slots, gradients, strict=True):
                self._change(weight, slots, gradient, rate, self.momentum, step)
            return
        for weight, slots, gradient, (change, velocity) in zip(
            self.weights, self.slots, gradients, self.buffers, strict=True
        ):
            change.assign(tf.zeros_like(change))
            self._change(change, slots, gradient, step.unit, 0.0, step)
            rate = per_lane(self.learning_rate, weight)
            velocity.assign(self.momentum * velocity + rate * change)
            weight.assign_add(velocity)

    def _change(self, weight, slots, gradient, rate, momentum, step) -> None:  # type: ignore[no-untyped-def]
        change = {"var": weight.handle, "grad": gradient, "lr": rate}
        OPTIMIZERS[self.plan.name](change, [slot.handle for slot in slots], self._constant(momentum), step)

    def _constant(self, value: float) -> tf.Tensor:
        return tf.constant(value, self.dtype)
