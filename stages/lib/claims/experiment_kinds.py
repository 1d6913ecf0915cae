"""Experiments of the audit: trainings that only claims need, on development rows of a study.

Each kind that params.yaml can name is a function of an experiment's plan and the development rows of its replicates. It
says what `levels` are, and measures networks on rows that they have not seen.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.claims.measurements import EXPERIMENT_PLANS, Case, to_values
from stages.lib.core.records import load_plan
from stages.lib.data.samples import Development
from stages.lib.judge.scores import measure
from stages.lib.lanes.callbacks import choose_monitor
from stages.lib.lanes.plan import OptimizerPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.runtime import tf

if TYPE_CHECKING:  # `plan` reads the table of kinds and has to be quick, which pandas is not
    from sklearn.base import RegressorMixin

    from stages.lib.lanes.run import TrainedRun, Weights

NUM_JUDGED = 2000  # rows: the sampling error of an accuracy of .8 is then below a hundredth
REGRESSION_LOSSES = ("mean_squared_error", "mean_absolute_error")
REGRESSED = ("PRE4", "AGE", "PRE5")  # FVC, age and FEV1, which the first two predict
MOST_LITRES = 10.0  # nobody exhales as much in one second: a larger FEV1 is in another unit


@dataclass(frozen=True)
class ExperimentPlan:
    """One experiment.

    kind: its function in EXPERIMENTS, which says what levels are.
    runs: variant of the study -> its run, with the replicates and epochs of the experiment.
    rows: training rows of each replicate; None for all.
    shared_rows: whether replicates share rows that they are judged on with one another's training rows.
    """

    name: str
    kind: str
    study: str
    runs: dict[str, RunPlan]
    rows: int | None
    levels: tuple[float, ...]
    shared_rows: bool

    @property
    def run(self) -> RunPlan:
        """The first."""
        return next(iter(self.runs.values()))


def load_experiment_plan(name: str) -> ExperimentPlan:
    return load_plan(ExperimentPlan, f"{EXPERIMENT_PLANS}/{name}")


def take_rows(development: Development, plan: ExperimentPlan) -> Development:
    """The rows of the experiment's replicates: training rows as many as it asks for, and rows to be judged on.

    These are the validation rows. Where replicates share a pool of rows, others that a replicate is not trained on are
    added to them, NUM_JUDGED in all.
    """
    replicates = list(plan.run.replicates)
    validation, training = development.validation[replicates], development.training[replicates]
    pool = np.arange(len(development.labels), dtype=np.int32)
    if len(np.unique(development.identifiers)) == len(pool) and validation.shape[1] < NUM_JUDGED:
        generator, more = generator_of(plan), []
        for known in zip(training, validation, strict=True):
            unseen = np.setdiff1d(pool, np.concatenate(known))
            more.append(generator.permutation(unseen)[: NUM_JUDGED - validation.shape[1]])
        size = min(map(len, more))
        validation = np.concatenate([validation, np.stack([rows[:size] for rows in more])], axis=1)
    return replace(development, training=training[:, : plan.rows], validation=validation)


def train_run(run: RunPlan, development: Development, dtype: str = "float32") -> TrainedRun:
    """Train on the replicates' training rows; with the weights of the best epoch where the run keeps those."""
    from stages.lib.lanes.run import stop_in_time
    from stages.lib.lanes.training import train_lanes

    trained = train_lanes(run, development, dtype=dtype)
    return stop_in_time(trained) if run.stopped else trained


def predict_run(run: RunPlan, weights: Weights, development: Development, rows: np.ndarray) -> np.ndarray:
    """Probabilities [lane, row, output] of rows [replicate, row]."""
    from stages.lib.lanes.graph import predict_lanes

    return predict_lanes(run, weights, development, rows)


def score_run(name: str, run: RunPlan, trained: TrainedRun, development: Development) -> np.ndarray:
    """A score [lane] on the validation rows of each replicate."""
    rows = development.validation
    probability = predict_run(run, trained.weights, development, rows)
    return measure(name, run.grid.over_points(development.labels[rows]), probability)


def generator_of(plan: ExperimentPlan) -> np.random.Generator:
    return np.random.default_rng([plan.run.seed, zlib.crc32(plan.name.encode())])


def make_case(name: str, level: float = 0.0, **arrays: np.ndarray) -> Case:
    """What was measured of one thing at one level; arrays: quantity -> [replicate]."""
    return Case(name, to_values(arrays), level)


def follow_stopping(plan: ExperimentPlan, development: Development) -> list[Case]:
    """What choosing an epoch seems to be worth on the very rows that choose it; means over two halves of the rows."""
    run = plan.run.at_knob
    run = replace(
        run,
        regularizers=tuple(entry for entry in run.regularizers if entry.name != "early_stopping"),
        callbacks=replace(run.callbacks, early_stopping=None, checkpoint=None),
    )
    first, second = (follow_rows(run, replace(development, validation=rows)) for rows in split_halves(development))
    flattery = (measure_flattery(first, second) + measure_flattery(second, first)) / 2
    return [make_case("stopping", flattery=flattery)]


def split_halves(development: Development) -> list[np.ndarray]:
    """Two halves [replicate, row] of the validation rows with the same number of rows of each class, but for one."""
    order = np.argsort(development.labels[development.validation], axis=1, kind="stable")
    rows = np.take_along_axis(development.validation, order, axis=1)
    size = rows.shape[1] // 2 * 2
    return [rows[:, :size:2], rows[:, 1:size:2]]


def follow_rows(run: RunPlan, development: Development) -> tuple[np.ndarray, np.ndarray]:
    """Loss and monitored score on the validation rows, each [replicate, epoch]. Training does not depend on them."""
    history = train_run(run, development).history
    columns = ("val_loss", f"val_{choose_monitor(run.network.outputs)}")
    tables = [history.pivot_table(index="lane", columns="epoch", values=name).to_numpy() for name in columns]
    return tables[0], tables[1]


def measure_flattery(watched: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Score on the watched rows at the epoch that they choose, less that at the epoch that other rows choose."""
    place = np.arange(len(watched[0]))
    own, honest = watched[0].argmin(axis=1), other[0].argmin(axis=1)
    return watched[1][place, own] - watched[1][place, honest]


def compare_thinned(plan: ExperimentPlan, development: Development) -> list[Case]:
    """Log loss of all units of a dropout network, and of two means of thinned networks; levels: one number of them.

    With one hidden layer and a softmax (or sigmoid), all units give just the normalised geometric mean of the
    probabilities of all thinned networks: that of their logits' mean (Hinton et al. 2012). The arithmetic mean is
    what an ensemble usually takes.
    """
    run, rows = plan.run.at_knob, development.validation
    weights, number = train_run(run, development).weights, int(plan.levels[0])
    arithmetic, geometric = average_thinned(run, weights, development, generator=generator_of(plan), number=number)
    probabilities = {
        "all_units": predict_run(run, weights, development, rows),
        "arithmetic": arithmetic,
        "geometric": geometric,
    }
    return [
        make_case(name, log_loss=measure("log_loss", development.labels[rows], probability))
        for name, probability in probabilities.items()
    ]


def average_thinned(
    run: RunPlan, weights: Weights, development: Development, *, generator: np.random.Generator, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Arithmetic and normalised geometric mean of the probabilities of thinned networks, [replicate, row, output]."""
    from stages.lib.lanes.network import Network

    output = Network(run.network).output
    shape = (*development.validation.shape, run.network.outputs)
    probabilities, logits = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for thinned in predict_thinned(run, weights, development, generator=generator, number=number):
        probabilities += output(thinned).numpy() / number
        logits += thinned.numpy() / number
    return probabilities, output(tf.constant(logits)).numpy()


def predict_thinned(
    run: RunPlan, weights: Weights, development: Development, *, generator: np.random.Generator, number: int
) -> Iterator[tf.Tensor]:
    """Logits [replicate, row, output] of thinned networks, each of one set of units for all rows.

    The first layer's outputs are the same in all of them, so they are computed once.
    """
    from stages.lib.lanes.network import Network, apply_dense

    network = Network(run.network)
    tensors = {name: tf.constant(value, tf.float32) for name, value in weights.items()}
    inputs = tf.constant(development.inputs[development.validation].astype(np.float32) * np.float32(development.scale))
    first = network.activation(apply_dense(tensors, 1, inputs))
    rate = next(entry.strengths[0] for entry in run.regularizers if entry.name == "dropout")
    for _ in range(number):
        hidden = first
        for layer, units in enumerate(run.network.hidden, start=1):
            kept = generator.random((len(run.replicates), 1, units)) >= rate
            hidden = hidden if layer == 1 else network.activation(hidden)
            hidden = apply_dense(tensors, layer + 1, hidden * tf.constant(kept / (1 - rate), tf.float32))
        yield hidden


def add_useless_columns(plan: ExperimentPlan, development: Development) -> list[Case]:
    """Share of columns whose weights into the first layer are all 0 after the last epoch, at each strength.

    Each column gets a copy whose values are shuffled among the rows of a replicate: useless, and otherwise alike.
    levels: the strengths; those of the variant where there are none.
    """
    wider, cases = shuffle_copies(development, generator_of(plan)), []
    for name, run in plan.runs.items():
        entry = replace(run.regularizers[0], strengths=plan.levels or run.regularizers[0].strengths)
        run = replace(run, regularizers=(entry,), stopped=False)
        weights = train_run(run, wider).weights["kernel_1"]
        zero = run.grid.by_point((weights == 0).all(axis=2))  # [point, replicate, column]
        real, useless = np.split(zero, 2, axis=2)
        strengths = run.grid.by_point(run.lane_strengths(run.regularizers[0]))[:, 0]
        for point, strength in enumerate(strengths.tolist()):
            shares = real[point].mean(axis=1), useless[point].mean(axis=1)
            cases.append(make_case(name, strength, real_columns_zero=shares[0], useless_columns_zero=shares[1]))
    return cases


def shuffle_copies(development: Development, generator: np.random.Generator) -> Development:
    """The columns, and after them a copy of each, shuffled by itself."""
    copies = development.inputs.copy()
    for rows in np.concatenate([development.training, development.validation], axis=1):
        copies[rows] = generator.permuted(copies[rows], axis=0)
    return replace(
        development,
        inputs=np.concatenate([development.inputs, copies], axis=1),
        features=(*development.features, *(f"{name}, shuffled" for name in development.features)),
    )


def compare_decays(plan: ExperimentPlan, development: Development) -> list[Case]:
    """L2 of lambda, whose gradient is 2 lambda w, against decoupled decay of 2 lambda, in double precision.

    levels: one learning rate of plain gradient descent; Adam takes that of the run.
    """
    (entry,) = plan.run.at_knob.regularizers
    (strength,), layers, cases = entry.strengths, entry.layers, []
    for optimizer in (OptimizerPlan("sgd", plan.levels[0], 0.0), replace(plan.run.optimizer, name="adam")):
        weights = []
        for name, size in (("l2", strength), ("weight_decay", 2 * strength)):
            entry = RegularizerPlan(name, (size,), layers)
            run = replace(plan.run.at_knob, optimizer=optimizer, regularizers=(entry,), stopped=False)
            weights.append(join_weights(train_run(run, development, dtype="float64").weights))
        distance = np.linalg.norm(weights[0] - weights[1], axis=1) / np.linalg.norm(weights[0], axis=1)
        cases.append(make_case(optimizer.name, distance=distance))
    return cases


def join_weights(weights: Weights) -> np.ndarray:
    """All weights of each lane in a row, [lane, weight]."""
    return np.concatenate([values.reshape(len(values), -1) for values in weights.values()], axis=1)


def regress(plan: ExperimentPlan, development: Development) -> list[Case]:
    """A line from FVC and age to FEV1; levels: shares of outliers among training rows, and 0.

    An outlier is a clean row whose FEV1 is replaced by one of the file's values in another unit. Validation rows are
    clean; for the error on all rows as many outliers are put among them.
    """
    generator, columns = generator_of(plan), [development.features.index(name) for name in REGRESSED]
    values, shares = development.inputs[:, columns].astype(float), sorted({0.0, *plan.levels})
    wrong = values[values[:, 2] > MOST_LITRES, 2]
    errors = defaultdict[tuple[str, float], list[list[float]]](list)  # (loss, share) -> [replicate, clean or all]
    for parts in zip(development.training, development.validation, strict=True):
        clean = [values[rows][values[rows, 2] <= MOST_LITRES] for rows in parts]
        for share in shares:
            training, validation = (spoil(rows, share, wrong, generator) for rows in clean)
            for loss in REGRESSION_LOSSES:
                line = fit_line(loss, training)
                errors[loss, share].append([root_error(line, rows) for rows in (clean[1], validation)])
    return [
        make_case(loss, share, clean_error=on_clean, all_error=on_all)
        for (loss, share), found in errors.items()
        for on_clean, on_all in [np.transpose(found)]
    ]


def spoil(rows: np.ndarray, share: float, wrong: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Replace the target, the last column, in a share of the rows."""
    rows, chosen = rows.copy(), generator.permutation(len(rows))[: round(share * len(rows))]
    rows[chosen, -1] = generator.choice(wrong, len(chosen))
    return rows


def fit_line(loss: str, rows: np.ndarray) -> RegressorMixin:
    """The linear model that minimises a loss of REGRESSION_LOSSES on rows [row, column], target last."""
    from sklearn.linear_model import LinearRegression, QuantileRegressor

    model = LinearRegression() if loss == "mean_squared_error" else QuantileRegressor(quantile=0.5, alpha=0)
    return model.fit(rows[:, :-1], rows[:, -1])


def root_error(model: RegressorMixin, rows: np.ndarray) -> float:
    """Root mean squared error on rows [row, column], in the unit of the last column."""
    return float(np.sqrt(np.mean((model.predict(rows[:, :-1]) - rows[:, -1]) ** 2)))


def follow_patients(plan: ExperimentPlan, development: Development) -> list[Case]:
    """The network for patients: its defects repaired one by one, and trained on all patients as the tutorial does.

    The first variant is trained on all. The last one is repaired: one that does not answer the same for everybody.
    """
    runs = [run.at_knob for run in plan.runs.values()]
    return [*repair_columns(runs[-1], development), train_on_all(runs[0], development), *label_tumours(development)]


def repair_columns(run: RunPlan, development: Development) -> list[Case]:
    """Log loss on the raw columns as they are, without the id, and with the values of FEV1 in another unit mended."""
    cases = []
    for name, inputs in (
        ("as_it_is", development.inputs),
        ("without_id", np.delete(development.inputs, development.features.index("id"), axis=1)),
        ("mended", mend(development)),
    ):
        changed = replace(development, inputs=inputs)
        cases.append(make_case(name, log_loss=score_run("log_loss", run, train_run(run, changed), changed)))
    return cases


def mend(development: Development) -> np.ndarray:
    """The inputs with what FVC and age predict (least squares on the clean training rows) for FEV1 in another unit."""
    columns = [development.features.index(name) for name in REGRESSED]
    inputs = development.inputs.copy()
    for training, validation in zip(development.training, development.validation, strict=True):
        values = development.inputs[training][:, columns].astype(float)
        clean = values[values[:, 2] <= MOST_LITRES]
        line, *_ = np.linalg.lstsq(np.c_[clean[:, :2], np.ones(len(clean))], clean[:, 2], rcond=None)
        rows = np.concatenate([training, validation])
        wrong = rows[inputs[rows, columns[2]] > MOST_LITRES]
        inputs[wrong, columns[2]] = np.c_[inputs[wrong][:, columns[:2]], np.ones(len(wrong))] @ line
    return inputs


def train_on_all(run: RunPlan, development: Development) -> Case:
    """Accuracy on the rows of training, which are all patients, from each start."""
    rows = np.tile(list_patients(development).astype(np.int32), (len(run.replicates), 1))
    everyone = replace(development, training=rows, validation=rows)
    return make_case("all_patients", accuracy=score_run("accuracy", run, train_run(run, everyone), everyone))


def label_tumours(development: Development) -> list[Case]:
    """The labels [patient] of those with the largest and of those with the smallest tumours (PRE14)."""
    rows = list_patients(development)
    labels, tumour = development.labels[rows], development.inputs[rows, development.features.index("PRE14")]
    groups = {"largest": tumour == tumour.max(), "smallest": tumour == tumour.min()}
    return [make_case(f"{size}_tumours", label=labels[group]) for size, group in groups.items()]


def list_patients(development: Development) -> np.ndarray:
    """One row of each: replicates have rows of their own."""
    return np.unique(development.identifiers, return_index=True)[1]


EXPERIMENTS: dict[str, Callable[[ExperimentPlan, Development], list[Case]]] = {
    "stopping": follow_stopping,
    "thinned": compare_thinned,
    "outliers": regress,
    "useless_columns": add_useless_columns,
    "decay": compare_decays,
    "patients": follow_patients,
}
