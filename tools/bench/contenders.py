"""The work that `make bench` times, and who does it: stock Keras, scikit-learn, the lanes, and JAX.

The work is that of the studies, on made rows of their data sets' shapes. A run has a process of its own and
imports its library there, so that none pays for the start, the threads or the memory of another. Such a process finds
what stands here, not in what is run.
"""

import resource
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from time import perf_counter

import numpy as np
from rich.progress import track

QUICK = 20  # a quick run does this part of the work
WARM_UP = 2  # epochs that the lanes train before the clock that leaves tracing out starts
NUM_VALIDATION = 10  # rows; the lanes cannot do without, the others have none

Timing = tuple[float, float]  # seconds of all lanes: without and with what is done once (building, tracing, compiling)
Measured = dict[str, float]  # one line of a run
Run = tuple[str, str]  # who does it, and the name of its work
Results = Mapping[Run, Sequence[Measured]]  # run -> its line in every round


@dataclass(frozen=True)
class Workload:
    """What networks are put through.

    sizes: features, units of each hidden layer (relu), outputs; one output is a sigmoid, more are a softmax.
    l2: penalty on the hidden kernels. num_lanes: networks that lanes and JAX train at once; strengths: of the penalty,
    which lanes have so many of and share the rows of a batch.
    """

    sizes: tuple[int, ...]
    l2: float
    rows: int
    batch_size: int
    epochs: int
    num_lanes: int
    strengths: int = 1

    @property
    def scale(self) -> float:
        """What inputs are multiplied by: those of images are pixels."""
        return 1 / 255 if self.sizes[0] == 784 else 1

    @property
    def loss(self) -> str:
        return "binary_crossentropy" if self.sizes[-1] == 1 else "sparse_categorical_crossentropy"

    def make_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [row, feature], uint8 pixels or float32, and labels [row]."""
        generator, shape = np.random.default_rng(0), (self.rows, self.sizes[0])
        labels = np.arange(self.rows) % max(self.sizes[-1], 2)
        if self.scale == 1:
            return generator.normal(size=shape).astype(np.float32), labels
        return generator.integers(0, 256, shape, np.uint8), labels

    def make_floats(self) -> tuple[np.ndarray, np.ndarray]:
        """The same, scaled: what users give to Keras and scikit-learn."""
        inputs, labels = self.make_rows()
        return inputs.astype(np.float32) * np.float32(self.scale), labels


WORKLOADS = {
    "thoracic": Workload((16, 30, 30, 1), l2=0.01, rows=300, batch_size=30, epochs=100, num_lanes=400),
    "table": Workload((20, 64, 64, 1), l2=0.01, rows=1000, batch_size=32, epochs=100, num_lanes=125, strengths=5),
    "images_2000": Workload((784, 64, 10), l2=0.001, rows=2000, batch_size=32, epochs=20, num_lanes=40),
    "images_57000": Workload((784, 96, 10), l2=0, rows=57_000, batch_size=64, epochs=1, num_lanes=8),
}


def time_stock(work: Workload) -> Timing:
    """`Model.fit` as its users write it: on float arrays, with all threads. The first epoch traces."""
    from stages.lib.lanes.runtime import keras

    inputs, labels = work.make_floats()
    penalty = keras.regularizers.L2(work.l2) if work.l2 else None
    _, *hidden, outputs = work.sizes
    layers = [keras.layers.Dense(units, "relu", kernel_regularizer=penalty) for units in hidden]
    layers.append(keras.layers.Dense(outputs, "sigmoid" if outputs == 1 else "softmax"))
    start = perf_counter()
    model = keras.Sequential([keras.Input((work.sizes[0],)), *layers])
    model.compile("adam", work.loss)

    def train(epochs: int) -> None:
        model.fit(inputs, labels, batch_size=work.batch_size, epochs=epochs, verbose=0)

    return time_training(train, work.epochs, start)


def time_training(train: Callable[[int], None], epochs: int, start: float) -> Timing:
    """`train` trains so many epochs; the first one that it ever trains compiles. start: when networks were begun."""
    train(1)
    compiled = perf_counter()
    train(epochs)
    warm = perf_counter() - compiled
    return warm, compiled - start + warm * (1 - 1 / epochs)


def time_sklearn(work: Workload) -> Timing:
    """MLPClassifier; it compiles nothing. Its penalty is on all kernels and divided by the rows: the same work."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    inputs, labels = work.make_floats()
    budget = {"max_iter": work.epochs, "n_iter_no_change": work.epochs + 1}
    model = MLPClassifier(work.sizes[1:-1], alpha=work.l2, batch_size=work.batch_size, random_state=0, **budget)
    warnings.simplefilter("ignore", ConvergenceWarning)
    start = perf_counter()
    model.fit(inputs, labels)
    seconds = perf_counter() - start
    return seconds, seconds


def time_lanes(work: Workload) -> Timing:
    """`train_lanes` as the train stage calls it, on one thread, validation on a few rows each epoch included."""
    from stages.lib.lanes import runtime  # isort: skip -- before anything that imports TensorFlow
    from stages.lib.data.samples import Development
    from stages.lib.lanes.training import train_lanes

    runtime.configure()
    inputs, labels = work.make_rows()
    rows = np.tile(np.arange(work.rows, dtype=np.int32), (work.num_lanes // work.strengths, 1))
    names = tuple(map(str, range(work.sizes[0])))
    validation, labels = rows[:, :NUM_VALIDATION], labels.astype(np.uint8)
    development = Development(inputs, labels, rows[0], rows, validation, names, work.scale)
    passed: dict[int, float] = {}  # rows seen by a lane -> when

    def report(done: int) -> None:
        passed[done] = perf_counter()

    start = perf_counter()
    train_lanes(lanes_plan(work), development, report=report)
    whole = perf_counter() - start
    warm = passed[(WARM_UP + work.epochs) * work.rows] - passed[WARM_UP * work.rows]
    return warm, whole - warm * WARM_UP / work.epochs


def lanes_plan(work: Workload):  # type: ignore[no-untyped-def]
    from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan

    _, *hidden, outputs = work.sizes
    layers, strengths = tuple(range(1, len(hidden) + 1)), tuple(work.l2 / 2**point for point in range(work.strengths))
    return RunPlan(
        task="bench",
        variant="bench",
        seed=0,
        replicates=tuple(range(work.num_lanes // work.strengths)),
        network=NetworkPlan(tuple(hidden), "relu", outputs),
        regularizers=(RegularizerPlan("l2", strengths, layers),) if work.l2 else (),
        callbacks=CallbacksPlan(terminate_on_nan=True),
        loss=work.loss,
        optimizer=OptimizerPlan("adam", 0.001, 0.0),
        batch_size=work.batch_size,
        epochs=WARM_UP + work.epochs,
    )


def time_jax(work: Workload) -> Timing:
    """The lanes' epoch, compiled as a whole."""
    from tools.bench.jax_lanes import build_trainer  # holds the process to one core

    lanes = {"num_lanes": work.num_lanes, "batch_size": work.batch_size}
    rows, start = work.make_rows(), perf_counter()
    train_epoch = build_trainer(rows, work.sizes, **lanes, l2=work.l2, scale=work.scale)

    def train(epochs: int) -> None:
        for _ in range(epochs):
            train_epoch()

    return time_training(train, work.epochs, start)


TIMERS: dict[str, Callable[[Workload], Timing]] = {
    "stock": time_stock,
    "sklearn": time_sklearn,
    "lanes": time_lanes,
    "jax": time_jax,
}


# Rounds --------------------------------------------------------------------------------------------------------------


def measure_rounds(runs: Sequence[Run], *, rounds: int, quick: bool) -> Results:
    """Do each run once in every round, each in a process of its own."""
    results: dict[Run, list[Measured]] = {run: [] for run in runs}
    for run in track([run for _ in range(rounds) for run in runs], "Timing", transient=True):
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            results[run].append(executor.submit(time_run, *run, quick=quick).result())
    return results


def time_run(contender: str, name: str, *, quick: bool) -> Measured:
    """Seconds of one network, and the peak memory of this process in MB."""
    work = WORKLOADS[name]
    work = replace(work, rows=work.rows // QUICK) if quick else work
    warm, cold = TIMERS[contender](work)
    num_lanes = work.num_lanes if contender in ("lanes", "jax") else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return {
        "seconds": warm / num_lanes,
        "seconds_with_compilation": cold / num_lanes,
        "memory_mb": peak / (1_000_000 if sys.platform == "darwin" else 1000),
    }
