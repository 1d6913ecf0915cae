"""Whole runs: mixed sets against stock Keras, and what lanes must not do to one another."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.lanes import graph, training
from stages.lib.lanes.blocks import BLOCK_BYTES, COPIES, cut_into_blocks
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.cases import (
    CALLBACKS,
    OPTIMIZERS,
    check_near,
    check_same,
    compare_with_stock,
    make_development,
    make_plan,
)

STRENGTHS = {
    "l1": (0.0, 0.003),
    "l2": (0.0, 0.03),
    "l1_proximal": (0.0, 0.1),
    "weight_decay": (0.0, 0.3),
    "activity_l1": (0.0, 0.01),
    "max_norm": (0.7, 50.0),
    "unit_norm": (1.0, 0.8),
    "batch_norm": (0.9, 0.0),
    "dropout": (0.0, 0.3),
    "label_smoothing": (0.0, 0.2),
    "cutout": (0.0, 0.3),
    "mixup": (0.0, 0.5),
    "gaussian_noise": (0.0, 0.3),
    "ema": (0.0, 0.8),
    "early_stopping": (1.0, 2.0),
}
HIDDEN = ("activity_l1", "batch_norm", "dropout")
KERNELS = ("l1", "l2", "l1_proximal", "weight_decay", "max_norm", "unit_norm")
NEEDS_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")


@st.composite
def mixed_plans(draw: st.DrawFn, *, without: tuple[str, ...]) -> RunPlan:
    """Two to five regularisers, one of them with a path, on a network of one to three layers."""
    hidden = draw(st.sampled_from([(), (6,), (6, 5)]))
    outputs = draw(st.sampled_from([1, 10]))
    loss = draw(st.sampled_from([name for name in LOSSES if outputs > 1 or name not in NEEDS_CLASSES]))
    steep = loss == "mean_absolute_percentage_error"  # gradients of the order of 1e9: sgd diverges, noise is 1e-7
    excluded = without + (() if hidden else HIDDEN) + (("batch_norm",) if steep else ())
    if loss == "sparse_categorical_crossentropy":
        excluded += ("mixup", "label_smoothing")
    names = draw(st.sets(st.sampled_from([name for name in STRENGTHS if name not in excluded]), min_size=2, max_size=5))
    varied = draw(st.sampled_from(sorted(names)))
    entries = []
    for name in STRENGTHS:  # in the catalogue's order
        if name in names:
            last = len(hidden) + (name in KERNELS)
            layers = tuple(range(draw(st.integers(1, last)), last + 1)) if name in HIDDEN + KERNELS else ()
            strengths = STRENGTHS[name] if name == varied else STRENGTHS[name][1:]
            entries.append(RegularizerPlan(name, strengths, layers))
    parts = [part if draw(st.booleans()) else None for part in (CALLBACKS.checkpoint, CALLBACKS.reduce_lr_on_plateau)]
    stopping = CALLBACKS.early_stopping if "early_stopping" in names else None
    optimizer = OPTIMIZERS[draw(st.sampled_from(["adam", "rmsprop"] if steep else sorted(OPTIMIZERS)))]
    return make_plan(
        *entries,
        hidden=hidden,
        outputs=outputs,
        loss=loss,
        optimizer=optimizer,
        activation=draw(st.sampled_from(["tanh", "relu", "sigmoid"])),
        callbacks=CallbacksPlan(stopping, *parts, terminate_on_nan=draw(st.booleans())),
        stopped=draw(st.booleans()),
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_decaying_rate_and_the_best_epoch_equal_stock(optimizer):
    """The decay reaches what the rate scales: decoupled weight decay and the proximal step."""
    kernels = RegularizerPlan("l1_proximal", (0.02,), (1, 2)), RegularizerPlan("weight_decay", (0.5,), (1, 2))
    plan = make_plan(*kernels, optimizer=replace(OPTIMIZERS[optimizer], schedule="cosine"), stopped=True, epochs=6)
    run, _ = compare_with_stock(plan, lane=1, dtype="float64", tolerance=1e-5)  # Keras decays in float32
    assert (run.stopped["kernel_1"] != run.weights["kernel_1"]).any()


def test_the_best_epoch_is_that_of_stock_across_blocks(monkeypatch):
    plan = make_plan(RegularizerPlan("dropout", (0.3, 0.1, 0.5), (1,)), stopped=True, epochs=6)

    def cut(grid, _):
        return cut_into_blocks(grid, BLOCK_BYTES // COPIES // 4)

    monkeypatch.setattr(training, "cut_into_blocks", cut)
    run, _ = compare_with_stock(plan, lane=1, dtype="float64")
    compare_with_stock(plan, lane=4, dtype="float64", run=run)


@settings(max_examples=5)
@given(plan=mixed_plans(without=()), lane=st.integers(0, 3))
def test_mixed_sets_equal_stock_in_float64(plan, lane):
    compare_with_stock(plan, lane=lane, dtype="float64")


@settings(max_examples=5)
@given(plan=mixed_plans(without=("batch_norm",)), lane=st.integers(0, 3))
def test_mixed_sets_equal_stock_in_float32(plan, lane):
    """Without batch_norm, whose preceding bias follows rounding noise: see test_regularizers."""
    compare_with_stock(plan, lane=lane, dtype="float32")


NOISY = (
    RegularizerPlan("l2", (0.01,), (1, 2)),
    RegularizerPlan("activity_l1", (0.01,), (1,)),
    RegularizerPlan("batch_norm", (0.9,), (1,)),
    RegularizerPlan("dropout", (0.3,), (1,)),
    RegularizerPlan("mixup", (0.4,), ()),
    RegularizerPlan("gaussian_noise", (0.1,), ()),
)


def test_one_lanes_data_do_not_reach_another():
    """To the byte, also when the data of the lane between them are NaN or infinite."""
    plan, development = make_plan(*NOISY, replicates=(0, 1, 2)), make_development(own_rows=True)
    before = train_lanes(plan, development)
    for value in (np.nan, np.inf):
        inputs = development.inputs.copy()
        inputs[development.training[1]] = value
        after = train_lanes(plan, replace(development, inputs=inputs))
        for name, values in before.weights.items():
            np.testing.assert_array_equal(after.weights[name][[0, 2]], values[[0, 2]], err_msg=name)
        assert not np.array_equal(after.weights["kernel_1"][1], before.weights["kernel_1"][1])
        others = before.history["lane"] != 1
        assert after.history[others].equals(before.history[others])


def test_one_lanes_replicate_or_strength_does_not_reach_another():
    development = make_development()
    plan = make_plan(RegularizerPlan("dropout", (0.3, 0.1, 0.5), (1,)), replicates=(0, 1, 2))
    before = train_lanes(plan, development)
    other_replicate = train_lanes(replace(plan, replicates=(0, 3, 2)), development)
    other_strength = train_lanes(
        replace(plan, regularizers=(RegularizerPlan("dropout", (0.3, 0.2, 0.5), (1,)),)), development
    )
    for after, changed in ((other_replicate, [1, 4, 7]), (other_strength, [3, 4, 5])):
        same = np.setdiff1d(np.arange(9), changed)
        for name, values in before.weights.items():
            np.testing.assert_array_equal(after.weights[name][same], values[same], err_msg=name)
        differs = (after.weights["kernel_1"] != before.weights["kernel_1"]).any(axis=(1, 2))
        assert np.flatnonzero(differs).tolist() == changed


def test_number_and_order_of_lanes_do_not_matter():
    """Three lanes of fifty, trained by themselves in another order."""
    development = make_development(num_replicates=50)
    plan = make_plan(*NOISY, replicates=tuple(range(50)))
    many, few = train_lanes(plan, development), train_lanes(replace(plan, replicates=(31, 49, 7)), development)
    assert few.replicate.tolist() == [31, 49, 7]
    check_near({name: values[few.replicate] for name, values in many.weights.items()}, few.weights)


def test_a_path_equals_separate_runs():
    """Several paths walked side by side, point by point, equal a run of their own at each point."""
    paths = {
        "l1_proximal": ((0.0, 0.3), (1, 2)),
        "weight_decay": ((0.5, 0.0), (1,)),
        "max_norm": ((50.0, 0.5), (1,)),
        "dropout": ((0.0, 0.3), (1,)),
        "cutout": ((0.2, 0.0), ()),
        "mixup": ((0.4, 1.5), ()),
        "gaussian_noise": ((0.1, 0.3), ()),
        "early_stopping": ((2.0, 0.0), ()),
    }
    development, callbacks = make_development(), replace(CALLBACKS, checkpoint=None)
    plan = make_plan(*(RegularizerPlan(name, *path) for name, path in paths.items()), callbacks=callbacks)
    together = train_lanes(plan, development)
    for point in range(2):
        entries = (
            RegularizerPlan(name, strengths[point : point + 1], layers) for name, (strengths, layers) in paths.items()
        )
        alone = train_lanes(replace(plan, regularizers=tuple(entries)), development)
        lanes = slice(2 * point, 2 * point + 2)
        assert together.epochs_run[lanes].tolist() == alone.epochs_run.tolist()
        check_near({name: values[lanes] for name, values in together.weights.items()}, alone.weights)


def test_training_twice_gives_the_same_bytes():
    plan, development = make_plan(*NOISY, callbacks=CALLBACKS), make_development()
    check_same(*(train_lanes(plan, development) for _ in range(2)))


TRAIN_ON_MANY_ROWS = """
import numpy
from stages.lib.lanes.runtime import configure
configure()
from stages.lib.lanes.training import train_lanes
from stages.lib.lanes.plan import RegularizerPlan
from stages.lib.data.samples import Development
from tests.lib.lanes.cases import make_plan

generator = numpy.random.Generator(numpy.random.PCG64(0))
rows = numpy.stack([generator.permutation(700) for _ in range(5)]).astype(numpy.int32)
inputs, labels = generator.integers(0, 256, (60_000, 784), numpy.uint8), numpy.arange(60_000) % 10
numbers = numpy.arange(60_000, dtype=numpy.int32)
development = Development(inputs, labels, numbers, rows[:, :640], rows[:, 640:], ("x",) * 784, 1 / 255)
penalties = RegularizerPlan("l2", (0.01,), (1, 2)), RegularizerPlan("activity_l1", (0.01,), (1,))
plan = make_plan(*penalties, hidden=(64,), outputs=10, replicates=tuple(range(5)), batch_size=32, epochs=12)
print(train_lanes(plan, development).history.to_csv(float_format="%.7g"))
"""


def test_every_process_gives_the_same_bytes():
    """Only with rows enough for memory of their own does TensorFlow's order of sums differ from process to process."""
    command = [sys.executable, "-c", TRAIN_ON_MANY_ROWS]
    first, second, third = (subprocess.run(command, check=True, capture_output=True).stdout for _ in range(3))
    assert first == second == third


def test_how_many_steps_a_call_trains_changes_no_byte(monkeypatch):
    plan, development = make_plan(*NOISY), make_development()
    whole = train_lanes(plan, development)
    monkeypatch.setattr(training, "NOISE_BYTES", 1000)
    check_same(train_lanes(plan, development), whole)


def test_how_validation_is_cut_into_chunks_does_not_matter(monkeypatch):
    plan, development = make_plan(*NOISY), make_development()
    whole = train_lanes(plan, development)
    monkeypatch.setattr(graph, "CHUNK_BYTES", 200)
    pieces = train_lanes(plan, development)
    check_near(pieces.weights, whole.weights)
    for name in ("loss", "val_loss", "val_auc"):
        np.testing.assert_allclose(pieces.history[name], whole.history[name], rtol=1e-6)


def test_one_chunk_of_validation_rows_is_held_at_a_time(monkeypatch):
    """Nothing else makes TensorFlow wait with the next chunk."""
    monkeypatch.setattr(graph, "CHUNK_BYTES", 1)
    plan, development = make_plan(), make_development()
    run = training.Training(plan, development, start=None, dtype="float32", report=lambda done: None)
    (block,) = run.blocks
    validate = training.BlockTraining(run, block, 0).validate
    read = [operation for operation in validate.graph.get_operations() if is_read_by_gather(operation)]
    waiting = [operation for operation in read if operation.control_inputs]
    assert len(waiting) == development.validation.shape[1] - 1 > 1  # rows in chunks of one; the first need not wait


def is_read_by_gather(operation):
    return any(reader.type == "GatherV2" for output in operation.outputs for reader in output.consumers())


def test_a_batch_may_be_larger_than_the_rows():
    compare_with_stock(make_plan(hidden=(), batch_size=1000), lane=0, dtype="float64")


def test_start_weights_depend_on_seed_and_replicate_alone():
    network = NetworkPlan((6, 5), "relu", 10)
    plain = draw_weights(network, 4, seed=3, replicates=[0, 1], normalized=[])
    normalized = draw_weights(network, 4, seed=3, replicates=[1], normalized=[1, 2])
    other = draw_weights(network, 4, seed=4, replicates=[0, 1], normalized=[])
    for name, values in plain.items():
        np.testing.assert_array_equal(normalized[name][0], values[1])
    assert {name: values.shape for name, values in normalized.items() if name.endswith("_1")} == {
        "kernel_1": (1, 4, 6)
    } | {f"{name}_1": (1, 1, 6) for name in ("bias", "gamma", "beta", "moving_mean", "moving_variance")}
    for layer in (1, 2, 3):
        assert not np.array_equal(other[f"kernel_{layer}"], plain[f"kernel_{layer}"])
        assert not np.array_equal(plain[f"kernel_{layer}"][0], plain[f"kernel_{layer}"][1])


def test_report_counts_the_rows_a_lane_has_seen():
    seen = []
    plan, development = make_plan(hidden=(), epochs=2), make_development()
    train_lanes(plan, development, report=seen.append)
    assert seen == [56, 58, 114, 116]


def test_lanes_are_replicates_point_by_point():
    plan = make_plan(RegularizerPlan("l2", (0.1, 0.2), (1,)), hidden=(), epochs=1)
    run = train_lanes(plan, make_development())
    assert list(zip(run.replicate, run.strengths["l2"], strict=True)) == [(2, 0.1), (0, 0.1), (2, 0.2), (0, 0.2)]
