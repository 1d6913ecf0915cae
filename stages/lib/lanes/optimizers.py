"""Keras' optimisers for weights with a lane axis, on TensorFlow's fused kernels.

A fused kernel reads and writes each weight and slot once; the same update in separate operations takes several times
as long. The kernels know one learning rate for a whole variable. Where each lane has its own (reduce_lr_on_plateau),
they fill a buffer with the change at rate 1, which is then scaled lane by lane.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.lib.lanes.plan import OptimizerPlan
from stages.lib.lanes.runtime import tf

BETA_1, BETA_2, RHO, EPSILON = 0.9, 0.999, 0.9, 1e-7  # Keras' defaults


def per_lane(vector: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Give a vector [lane] trailing axes of length one, so that it multiplies `like` [lane, ...] lane by lane."""
    return tf.reshape(vector, [-1] + [1] * (len(like.shape) - 1))


def zeros_like(weight: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros(weight.shape, weight.dtype), trainable=False)


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


class Optimizer:
    """One training's optimiser: the slots and the step count live here.

    sgd        w += v, v = momentum * v - rate * g
    rmsprop    s = 0.9 s + 0.1 g^2, v = momentum * v - rate * g / sqrt(s + eps), w += v    (Hinton 2012, lecture 6e)
    adam       m, s moments, w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(s) + eps) (Kingma and Ba 2015, sec. 2)
    """

    def __init__(self, plan: OptimizerPlan, weights: Sequence[tf.Variable], *, rate_per_lane: bool, num_steps: int):
        """rate_per_lane: `learning_rate` is a variable [lane]; else one number. num_steps: of the whole training."""
        self.plan, self.weights, self.dtype = plan, list(weights), weights[0].dtype
        # Keras rounds the momentum of sgd to float32 in every precision, that of rmsprop in none.
        self.momentum = {"sgd": float(np.float32(plan.momentum)), "rmsprop": plan.momentum, "adam": 0.0}[plan.name]
        self.update = {"sgd": self._update_sgd, "rmsprop": self._update_rmsprop, "adam": self._update_adam}[plan.name]
        self.slots = [(zeros_like(weight), zeros_like(weight)) for weight in self.weights]
        self.num_taken, self.num_steps = 0, num_steps
        shape = [weights[0].shape[0]] if rate_per_lane else []
        self.learning_rate = tf.Variable(tf.fill(shape, self._constant(plan.learning_rate)), trainable=False)
        self.buffers = [(zeros_like(weight), zeros_like(weight)) for weight in self.weights] if rate_per_lane else None

    def restart(self) -> None:
        """Begin anew, as before the first step."""
        self.num_taken = 0
        for variable in itertools.chain(*self.slots, *(self.buffers or [])):
            variable.assign(tf.zeros_like(variable))
        self.learning_rate.assign(tf.fill(self.learning_rate.shape, self._constant(self.plan.learning_rate)))

    def take_steps(self, num_steps: int) -> np.ndarray:
        """Count the next steps as taken, and give what depends on their numbers: [step, column of Step].

        NumPy works them out for a whole call; in the graph they would be thirteen operations of each step.
        """
        dtype = self.dtype.as_numpy_dtype
        numbers = np.arange(self.num_taken + 1, self.num_taken + num_steps + 1)
        self.num_taken += num_steps
        units = keras_correction(numbers) if self.plan.name == "adam" else np.ones(num_steps)
        schedule = cosine_decay(numbers, self.num_steps) if self.plan.schedule == "cosine" else np.ones(num_steps)
        powers = (np.power(dtype(beta), numbers.astype(dtype)) for beta in (BETA_1, BETA_2))
        return np.column_stack(Step(numbers, units, schedule, *powers)).astype(dtype)

    def set_rate(self, step: Step) -> None:
        """Set the learning rate of a step by the schedule, before anything that depends on it."""
        if self.plan.schedule != "constant":
            self.learning_rate.assign(self._constant(self.plan.learning_rate) * step.schedule)

    def apply(self, gradients: Sequence[tf.Tensor], step: Step) -> None:
        if self.buffers is None:
            rate = self.learning_rate * step.unit
            for weight, slots, gradient in zip(self.weights, self.slots, gradients, strict=True):
                self.update(weight, slots, gradient, rate, self.momentum, step)
            return
        for weight, slots, gradient, (change, velocity) in zip(
            self.weights, self.slots, gradients, self.buffers, strict=True
        ):
            change.assign(tf.zeros_like(change))
            self.update(change, slots, gradient, step.unit, 0.0, step)
            rate = per_lane(self.learning_rate, weight)
            velocity.assign(self.momentum * velocity + rate * change)
            weight.assign_add(velocity)

    def _constant(self, value: float) -> tf.Tensor:
        return tf.constant(value, self.dtype)

    def _update_sgd(self, weight, slots, gradient, rate, momentum, step) -> None:  # type: ignore[no-untyped-def]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=weight.handle, accum=slots[0].handle, lr=rate, grad=gradient, momentum=self._constant(momentum)
        )

    def _update_rmsprop(self, weight, slots, gradient, rate, momentum, step) -> None:  # type: ignore[no-untyped-def]
        tf.raw_ops.ResourceApplyRMSProp(
            var=weight.handle,
            ms=slots[0].handle,
            mom=slots[1].handle,
            lr=rate,
            rho=self._constant(RHO),
            momentum=self._constant(momentum),
            epsilon=self._constant(EPSILON),
            grad=gradient,
        )

    def _update_adam(self, weight, slots, gradient, rate, momentum, step) -> None:  # type: ignore[no-untyped-def]
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            beta1_power=step.beta_1_power,
            beta2_power=step.beta_2_power,
            lr=rate,
            beta1=self._constant(BETA_1),
            beta2=self._constant(BETA_2),
            epsilon=self._constant(EPSILON),
            grad=gradient,
        )
