"""Who does the work of tools/bench/workloads.py: stock Keras, scikit-learn, the lanes, and JAX.

Each run has a process of its own and imports its library there, so that none pays for the start, the threads or the
memory of another.
"""

import os
import resource
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from tools.bench.workloads import Task

WARM_UP = 2  # epochs that the lanes train before the clock that leaves tracing out starts
NUM_VALIDATION = 10  # rows; the lanes cannot do without, the others have none


@dataclass(frozen=True)
class Timing:
    """Of one network, in seconds.

    warm: without what is done once (tracing, compiling). cold: with it; imports count in neither.
    """

    warm: float
    cold: float


def time_stock(task: Task, num_lanes: int) -> Timing:
    """`Model.fit` as its users write it: on float arrays, with all threads. The first epoch traces."""
    import keras

    inputs, labels = task.load_rows()
    inputs = inputs.astype(np.float32) * np.float32(task.scale)
    penalty = keras.regularizers.L2(task.l2) if task.l2 else None
    _, *hidden, outputs = task.sizes
    layers = [keras.layers.Dense(units, "relu", kernel_regularizer=penalty) for units in hidden]
    layers.append(keras.layers.Dense(outputs, "sigmoid" if outputs == 1 else "softmax"))
    model = keras.Sequential([keras.Input((task.sizes[0],)), *layers])
    model.compile("adam", "binary_crossentropy" if outputs == 1 else "sparse_categorical_crossentropy")

    start = perf_counter()
    model.fit(inputs, labels, batch_size=task.batch_size, epochs=1, verbose=0)
    traced = perf_counter()
    model.fit(inputs, labels, batch_size=task.batch_size, epochs=task.epochs, verbose=0)
    warm = perf_counter() - traced
    return Timing(warm, traced - start + warm * (1 - 1 / task.epochs))


def time_sklearn(task: Task, num_lanes: int) -> Timing:
    """MLPClassifier; it compiles nothing. Its penalty is on all kernels and divided by the rows: the same work."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    inputs, labels = task.load_rows()
    inputs = inputs.astype(np.float32) * np.float32(task.scale)
    num_rows = round(task.share * task.rows)
    model = MLPClassifier(
        task.sizes[1:-1],
        alpha=task.l2,
        batch_size=task.batch_size,
        max_iter=task.epochs,
        n_iter_no_change=task.epochs + 1,
        random_state=0,
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    start = perf_counter()
    model.fit(inputs[:num_rows], labels[:num_rows])
    seconds = (perf_counter() - start) / task.share
    return Timing(seconds, seconds)


def time_lanes(task: Task, num_lanes: int) -> Timing:
    """`train_lanes` as the train stage calls it, on one thread, validation on a few rows each epoch included."""
    from stages.lib.lanes import runtime  # isort: skip -- before anything that imports TensorFlow
    from stages.lib.data.samples import Development
    from stages.lib.lanes.training import train_lanes

    runtime.configure()
    inputs, labels = task.load_rows()
    rows = np.tile(np.arange(task.rows, dtype=np.int32), (num_lanes, 1))
    names = tuple(map(str, range(task.sizes[0])))
    development = Development(
        inputs, labels.astype(np.uint8), rows[0], rows, rows[:, :NUM_VALIDATION], names, task.scale
    )
    passed: dict[int, float] = {}  # rows seen by a lane -> when

    def report(done: int) -> None:
        passed[done] = perf_counter()

    start = perf_counter()
    train_lanes(lanes_plan(task, num_lanes), development, report=report)
    whole = perf_counter() - start
    warm = passed[(WARM_UP + task.epochs) * task.rows] - passed[WARM_UP * task.rows]
    return Timing(warm / num_lanes, (whole - warm * WARM_UP / task.epochs) / num_lanes)


def lanes_plan(task: Task, num_lanes: int):  # type: ignore[no-untyped-def]
    from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan

    _, *hidden, outputs = task.sizes
    layers = tuple(range(1, len(hidden) + 1))
    return RunPlan(
        study="bench",
        variant="bench",
        seed=0,
        replicates=tuple(range(num_lanes)),
        network=NetworkPlan(tuple(hidden), "relu", outputs),
        regularizers=(RegularizerPlan("l2", (task.l2,), layers),) if task.l2 else (),
        callbacks=CallbacksPlan(None, None, None, terminate_on_nan=True),
        loss="binary_crossentropy" if outputs == 1 else "sparse_categorical_crossentropy",
        optimizer=OptimizerPlan("adam", 0.001, 0.0),
        batch_size=task.batch_size,
        epochs=WARM_UP + task.epochs,
    )


def time_jax(task: Task, num_lanes: int) -> Timing:
    from tools.bench.jax_lanes import build_trainer

    train_epoch = build_trainer(task, num_lanes)
    start = perf_counter()
    train_epoch()
    compiled = perf_counter()
    for _ in range(task.epochs):
        train_epoch()
    warm = perf_counter() - compiled
    return Timing(warm / num_lanes, (compiled - start + warm * (1 - 1 / task.epochs)) / num_lanes)


CONTENDERS: dict[str, Callable[[Task, int], Timing]] = {
    "stock": time_stock,
    "sklearn": time_sklearn,
    "lanes": time_lanes,
    "jax": time_jax,
}


def measure(contender: str, task: Task, num_lanes: int) -> dict[str, float]:
    """What a run's process prints: seconds of one network, and the process's peak memory in MB."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    timing = CONTENDERS[contender](task, num_lanes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return {
        "seconds": timing.warm,
        "seconds_with_compilation": timing.cold,
        "memory_mb": peak / (1_000_000 if sys.platform == "darwin" else 1000),
    }
