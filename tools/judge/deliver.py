"""Train what the answer recommends on all rows of a table, as one Keras file that takes the columns of the CSV.

The file holds ordinary layers alone and opens without this project. What is missing and what is a category is decided
in it, as in the study; beside it stands a text that says how to use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib.core.cli import UserError
from stages.lib.core.files import write_bytes
from stages.lib.core.records import load_plan
from stages.lib.data.csv_table import CsvTable, read_csv
from stages.lib.data.dataset import Rows
from stages.lib.data.kinds import SplitPlan
from stages.lib.data.protocols import draw_validation, state_of
from stages.lib.data.samples import Development, Encoder
from stages.lib.data.table import (
    MISSING_CATEGORY,
    RAW_NAME,
    Table,
    is_category,
    is_missing,
    parse_table,
    read_categories,
)
from stages.lib.judge.arms import AT_KNOB, AVERAGED, TO_END, ArmKey
from stages.lib.judge.comparison import StudyResult, load_comparison
from stages.lib.judge.designs import resampled_mean
from stages.lib.judge.findings import recommend
from stages.lib.judge.plans import StudyPlan, load_statistics_plan, load_study_plan
from stages.lib.judge.scores import SCORES, measure
from stages.lib.lanes import runtime
from stages.lib.lanes.export import build_keras, to_file
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.plan import RunPlan, load_run_plan
from stages.lib.lanes.run import Weights
from stages.lib.lanes.runtime import keras
from stages.lib.lanes.training import train_lanes
from stages.lib.report.answers import name_network, tell_next
from stages.lib.report.styles import show_interval
from stages.preprocess import load_raw
from tools.judge.entries import find_delivered
from tools.judge.sheet import MISSING

MOST_STEPS = 6_000  # of one network: on a large table fewer epochs than in the study, which trained on fewer rows
UNKNOWN = "\n"  # no cell is a line break alone
TOLERANCE = 1e-5  # of a probability


class Network(NamedTuple):
    """Lanes of one point of a trained run, whose probabilities are averaged.

    rating: on validation rows. probability: [row, output] of all rows. plan: at that point.
    """

    rating: float
    probability: np.ndarray
    plan: RunPlan
    weights: Weights
    lanes: list[int]


@dataclass(frozen=True)
class Inputs:
    """What the file reads: columns of numbers, columns of categories with theirs, as text, in the order of features.

    names: column -> the name of its input, the same where Keras allows it. classes: as text, by their numbers.
    """

    numbers: list[str]
    categories: dict[str, list[str]]
    names: dict[str, str]
    classes: list[str]


def deliver(study: str) -> list[str]:
    """Write the file and its text, and tell where they are; nothing where the study is not one table of one's own."""
    split = load_plan(dict[str, SplitPlan], f"{study}/_split").get(study)
    if split is None or not isinstance(split.declaration, Table):
        return []
    raw, result = load_raw(split, RAW_NAME), load_comparison(study)[study]
    table, rows = read_csv(raw, name=split.declaration.file), parse_table(split.declaration, raw)
    development, encoder = divide(rows, split)
    runtime.configure()
    if not (networks := train(load_study_plan(study), recommend(result).network, development)):
        found = "every network that was trained on all rows has diverged, so no file of it is written"
        return [f"{found}, expected a loss that is a number: lower learning_rate of {study} in params.yaml"]
    inputs = describe_inputs(split.declaration, table, rows)
    model = build(inputs, encoder, networks)
    check_equal(model, inputs, table, networks)
    model_path, text_path = find_delivered(study)
    write_bytes(model_path, to_file(model))
    write_bytes(text_path, tell_use(model_path, result, inputs, split.declaration, development).encode())
    return [f"Network: {model_path}, trained on all rows; how to use it: {text_path}"]


# Training ------------------------------------------------------------------------------------------------------------


def divide(rows: Rows, split: SplitPlan) -> tuple[Development, Encoder]:
    """All rows, a share of them validation rows as in the study, as one replicate; what encodes them."""
    numbers, state = np.arange(len(rows.labels), dtype=np.int32), state_of(split.seed, 0)
    share = split.protocol.validation
    training, validation = draw_validation(numbers, rows.labels, share=share, state=state, groups=rows.groups)
    assert rows.fit  # of every table
    encoder = rows.fit(rows.columns[training])
    inputs = encoder.transform(rows.columns)
    parts = np.sort(training)[None], np.sort(validation)[None]
    return Development(inputs, rows.labels, numbers, *parts, features=rows.features, scale=rows.scale), encoder


def train(plan: StudyPlan, arm: ArmKey, development: Development) -> list[Network]:
    """The networks of an arm, which are averaged; fewer, or none, where others have diverged.

    What validation rows have chosen in the study, they choose here likewise.
    """
    own = [variant for variant in plan.variants if variant.name == arm.variant]
    names, members = [variant.networks for variant in own], max([1, *(variant.members for variant in own)])
    count = 1
    for search in plan.searches:
        if arm.variant in (search.best_single, search.best_singles):
            names = [*search.singles]
        if arm.kind == AVERAGED and arm.variant in (search.variant, search.best_singles):
            count = search.average
    rated = [
        network
        for name in names
        for network in train_variant(load_run_plan(plan.task, name), arm, members, development, plan.select_by)
    ]
    return sorted(rated, key=lambda network: -network.rating)[:count]


def train_variant(plan: RunPlan, arm: ArmKey, members: int, development: Development, select_by: str) -> list[Network]:
    """One variant at its knob, or at all points that are tried, without what has diverged."""
    points = slice(plan.knob, plan.knob + 1) if arm.kind == AT_KNOB or not plan.tried else slice(plan.tried)
    num_batches = -(-development.training.shape[1] // plan.batch_size)
    epochs = min(plan.epochs, max(1, MOST_STEPS // num_batches))
    plan = replace(plan.at_points(points), replicates=(0,), members=members, epochs=epochs)
    trained = train_lanes(plan, development)
    weights = trained.weights if arm.kind == TO_END else trained.stopped or trained.weights
    probability = predict_lanes(plan, weights, development, np.arange(len(development.labels))[None])
    found, validation = [], development.validation
    for point in range(plan.grid.num_points):
        lanes = [lane for lane in plan.grid.lanes_at(point).tolist() if np.isfinite(probability[lane]).all()]
        if lanes:
            average = probability[lanes].mean(axis=0)
            rating = SCORES[select_by].sign * measure(select_by, development.labels[validation], average[validation])[0]
            found.append(Network(float(rating), average, plan.at_points(slice(point, point + 1)), weights, lanes))
    return found


# The file ------------------------------------------------------------------------------------------------------------


def describe_inputs(declaration: Table, table: CsvTable, rows: Rows) -> Inputs:
    """What the columns of a table are in its features, and what its classes are called in it."""
    used = [name for name in table.columns if name not in (declaration.target, declaration.group, *declaration.drop)]
    texts = [name for name in used if name in declaration.categorical or is_category(table.columns[name].cells)]
    numbers = [name for name in used if name not in texts]
    categories = {
        name: [feature.removeprefix(f"{name}_") for feature, _ in read_categories(table.columns[name], impute=True)]
        for name in texts
    }
    names = dict[str, str]()
    for name in [*numbers, *categories]:
        allowed = name.replace("/", "_")  # the one letter that Keras refuses
        while allowed in names.values() or (allowed != name and allowed in used):
            allowed += "_"
        names[name] = allowed
    target = table.columns[declaration.target].cells
    classes = [target[int(np.argmax(rows.labels == number))] for number in range(int(rows.labels.max()) + 1)]
    return Inputs(numbers, categories, names, classes)


def build(inputs: Inputs, encoder: Encoder, networks: Sequence[Network]) -> keras.Model:
    """Columns by their names in, the probability of each class out."""
    columns = {name: keras.Input((1,), name=name, dtype="float64") for name in map(inputs.names.get, inputs.numbers)}
    columns |= {name: keras.Input((1,), name=name, dtype="string") for name in map(inputs.names.get, inputs.categories)}
    # Its layers have names of their own, which columns may have, too: so they are in a model by themselves, whose name
    # is that of no column.
    inner = [keras.Input((1,), dtype=column.dtype) for column in columns.values()]
    texts = zip(inner[len(inputs.numbers) :], inputs.categories.values(), strict=True)
    values = [*inner[: len(inputs.numbers)], *(encode_categories(column, known) for column, known in texts)]
    rows = encode(values[0] if len(values) == 1 else keras.ops.concatenate(values, axis=1), encoder)
    answers = []
    for number, (_, _, plan, weights, lanes) in enumerate(networks, start=1):
        named = replace(plan, variant=f"network_{number}")  # two points of a variant have two names
        answers.append(build_keras(named, weights, lanes=lanes, scale=1)(rows))
    probability = keras.ops.average(keras.ops.stack(answers), axis=0) if len(answers) > 1 else answers[0]
    if len(inputs.classes) == 2:
        probability = keras.ops.concatenate([1 - probability, probability], axis=1)
    name = "network"
    while name in columns:
        name += "_"
    return keras.Model(columns, keras.Model(inner, probability, name=name)([*columns.values()]))


def encode_categories(column: Any, known: Sequence[str]) -> Any:
    """One-hot columns [row, category], float64; all are zero where a category is unknown."""
    signs = sorted(MISSING - {*known}) if MISSING_CATEGORY in known else []  # of a missing value, all of one category
    lookup = keras.layers.StringLookup(vocabulary=[*known, *signs], oov_token=UNKNOWN)
    places = [*range(len(known)), *(known.index(MISSING_CATEGORY) for _ in signs)]
    code = np.vstack([np.zeros(len(known)), np.eye(len(known))[places]])
    return keras.ops.reshape(keras.ops.take(code, lookup(column), axis=0), (-1, len(known)))


def encode(columns: Any, encoder: Encoder) -> Any:
    """`Encoder.transform` in Keras: float32 [row, feature] of float64."""
    width = columns.shape[1]
    fill, low, high, mean, scale = (
        np.broadcast_to(np.nan_to_num(getattr(encoder, name)), width).copy()
        for name in ("fill", "low", "high", "mean", "scale")
    )
    filled = keras.ops.where(keras.ops.isnan(columns), fill, columns)
    return keras.ops.cast((keras.ops.minimum(keras.ops.maximum(filled, low), high) - mean) / scale, "float32")


def check_equal(model: keras.Model, inputs: Inputs, table: CsvTable, networks: Sequence[Network]) -> None:
    """UserError where the file does not predict the table's own rows as the lanes do."""
    columns: dict[str, Any] = {}
    for name, allowed in inputs.names.items():
        cells = table.columns[name].cells
        known = [np.nan if is_missing(cell) else float(cell) for cell in cells] if name in inputs.numbers else cells
        columns[allowed] = runtime.tf.constant(known)[:, None]
    answer = model(columns).numpy()
    lanes = np.mean([network.probability for network in networks], axis=0)
    worst = float(np.abs(answer[:, -lanes.shape[1] :] - lanes).max())
    if not worst <= TOLERANCE:
        found = f"no network is written: its probabilities differ by {worst:g} from those of the lanes"
        raise UserError(f"{found}, expected at most {TOLERANCE:g}: please report it, with the table's header")


# The text ------------------------------------------------------------------------------------------------------------


def tell_use(path: Path, result: StudyResult, inputs: Inputs, declaration: Table, development: Development) -> str:
    """What the file is, what to expect of it, and the lines of Python that use it."""
    score, confidence = result.scores["probabilities"], load_statistics_plan().confidence
    arm = result.find(key := recommend(result).network)
    replicates = arm.judged[score].replicates
    expected = resampled_mean(replicates, test_train_ratio=result.protocol.test_train_ratio)
    shown = {
        "network": name_network(result, key),
        "score": SCORES[score].label,
        "expected": f"{expected.value:.3f}",
        "interval": f"{100 * confidence:g} % interval {show_interval(*expected.interval(confidence))}",
        "advice": tell_next(result),
        "renamed": {name: allowed for name, allowed in inputs.names.items() if name != allowed},
        "rows": [len(development.labels), development.validation.size],
        "file": declaration.file,
        "target": declaration.target,
    }
    environment = Environment(loader=PackageLoader("tools.judge", "."), undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("network.jinja").render(shown, inputs=inputs, path=path, keras=keras)
