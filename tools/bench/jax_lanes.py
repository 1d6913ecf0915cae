"""The lanes' epoch as one would write it in JAX: `vmap` over lanes, `scan` over steps, Adam compiled into the loop."""

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):  # the flags leave JAX a thread per core that it may use
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
import jax
import jax.numpy as jnp

RATE, BETA_1, BETA_2, EPSILON = 0.001, 0.9, 0.999, 1e-7

Rows = tuple[np.ndarray, np.ndarray]
Params = list[tuple[jax.Array, jax.Array]]


def compute_loss(params: Params, inputs: jax.Array, labels: jax.Array, l2: float) -> jax.Array:
    """Of one lane: mean cross-entropy over rows [row, feature], penalty on the hidden kernels included."""
    hidden, penalty = inputs, jnp.zeros(())
    for kernel, bias in params[:-1]:
        hidden = jax.nn.relu(hidden @ kernel + bias)
        penalty += l2 * jnp.sum(kernel**2) if l2 else 0
    logits = hidden @ params[-1][0] + params[-1][1]
    if logits.shape[-1] == 1:
        return jnp.mean(jax.nn.softplus(logits[:, 0]) - labels * logits[:, 0]) + penalty
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -jnp.mean(chosen) + penalty


def update(weight: jax.Array, mean: jax.Array, square: jax.Array, gradient: jax.Array, step: jax.Array) -> Any:
    """Adam as Keras has it (Kingma and Ba 2015, section 2)."""
    mean = BETA_1 * mean + (1 - BETA_1) * gradient
    square = BETA_2 * square + (1 - BETA_2) * gradient**2
    rate = RATE * jnp.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    return weight - rate * mean / (jnp.sqrt(square) + EPSILON), mean, square


def build_trainer(
    rows: Rows, sizes: tuple[int, ...], *, num_lanes: int, batch_size: int, l2: float, scale: float
) -> Callable[[], None]:
    """A function that trains all lanes for an epoch, each on batches of its own order.

    rows: inputs, which are multiplied by scale, and labels. sizes: features, units of each hidden layer, outputs.
    """
    inputs, labels = map(jnp.asarray, rows)
    generator = np.random.default_rng(0)
    params: Params = []
    for num_inputs, units in pairwise(sizes):
        limit = np.sqrt(6 / (num_inputs + units))
        kernel = generator.uniform(-limit, limit, (num_lanes, num_inputs, units)).astype(np.float32)
        params.append((jnp.asarray(kernel), jnp.zeros((num_lanes, units))))

    def train_step(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        params, means, squares, step = state
        batch = inputs[rows].astype(jnp.float32) * scale
        loss = jax.value_and_grad(compute_loss)
        losses, gradients = jax.vmap(loss, (0, 0, 0, None))(params, batch, labels[rows], l2)
        moved = jax.tree.map(partial(update, step=step), params, means, squares, gradients)
        params, means, squares = jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0, 0, 0)), moved)
        return (params, means, squares, step + 1), losses

    train = jax.jit(lambda state, batches: jax.lax.scan(train_step, state, batches), donate_argnums=0)
    state = (params, *(jax.tree.map(jnp.zeros_like, params) for _ in range(2)), jnp.ones(()))

    def train_epoch() -> None:
        nonlocal state
        order = np.stack([generator.permutation(len(labels)) for _ in range(num_lanes)]).astype(np.int32)
        num_full = len(labels) - len(labels) % batch_size
        for part, size in ((order[:, :num_full], batch_size), (order[:, num_full:], len(labels) - num_full)):
            if size:
                batches = part.reshape(num_lanes, -1, size).swapaxes(0, 1)
                state, losses = train(state, jnp.asarray(batches))
                losses.block_until_ready()

    return train_epoch
