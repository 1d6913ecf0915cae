"""Whole runs: what lanes must not do to one another, and what must not matter to them."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from stages.lib.data.dataset import Rows
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.data.samples import Encoder, encode_development
from stages.lib.lanes import blocks, graph, training
from stages.lib.lanes.blocks import cut_into_blocks
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.network import draw_weights
from stages.lib.lanes.plan import NetworkPlan, RegularizerPlan, Start
from stages.lib.lanes.runtime import silent_start
from stages.lib.lanes.training import train_lanes
from stages.preprocess import store
from tests.lib.lanes.cases import (
    CALLBACKS,
    NUM_FEATURES,
    check_near,
    check_same,
    compare_with_stock,
    make_development,
    make_plan,
    make_start,
)

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


def test_number_and_order_of_lanes_do_not_matter():
    """Three lanes of fifty, trained by themselves in another order."""
    development = make_development(num_replicates=50)
    plan = make_plan(*NOISY, replicates=tuple(range(50)))
    many, few = train_lanes(plan, development), train_lanes(replace(plan, replicates=(31, 49, 7)), development)
    assert few.replicate.tolist() == [31, 49, 7]
    check_near({name: values[few.replicate] for name, values in many.weights.items()}, few.weights)


MEMBERS = {"replicates": (2, 0), "members": 3, "stopped": True}


@pytest.mark.parametrize("lane", [2, 9])  # member 1 of the first strength, 1 of the second
def test_members_equal_stock(lane):
    """The same rows and strengths as the first member's; start, order, noise and best epoch are a member's own."""
    noisy = (
        RegularizerPlan("dropout", (0.2, 0.4), (1,)),
        RegularizerPlan("mixup", (0.4, 0.2), ()),
        RegularizerPlan("gaussian_noise", (0.1,), ()),
    )
    run, _ = compare_with_stock(make_plan(*noisy, **MEMBERS), lane=lane, dtype="float64")
    assert run.replicate.tolist() == [2, 0] * 6 and run.member.tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_the_first_member_is_the_network_of_a_run_without_members():
    development, path = make_development(), RegularizerPlan("l2", (0.01, 0.1), (1, 2))
    plan = make_plan(path, *NOISY[1:], **MEMBERS)
    several, one = train_lanes(plan, development), train_lanes(replace(plan, members=1), development)
    first = several.member == 0
    for found, expected in ((several.weights, one.weights), (several.stopped, one.stopped)):
        check_near({name: values[first] for name, values in found.items()}, expected)
    kernels = plan.grid.by_point(several.weights["kernel_1"])[0]
    assert len(np.unique(kernels.round(2), axis=0)) == len(kernels)


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
    first, second = (subprocess.run(command, check=True, capture_output=True).stdout for _ in range(2))
    assert first == second


def test_only_what_is_written_while_tensorflow_starts_is_dropped(capfd):
    with silent_start():
        os.write(2, b"a banner")
    os.write(2, b"a mistake")
    assert capfd.readouterr().err == "a mistake"


@pytest.mark.parametrize("block_bytes", [10**9, 1])
def test_rows_that_are_encoded_batch_by_batch_give_the_bytes_of_those_encoded_in_advance(block_bytes, monkeypatch):
    """A missing value, a column that is clipped; in blocks of some replicates too, and in predictions."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    generator, labels = np.random.default_rng(0), np.arange(60, dtype=np.uint8) % 2
    columns = generator.normal(size=(60, NUM_FEATURES))
    columns[::7, 1] = np.nan
    split = RepeatedStratifiedKFold(folds=4, repeats=2, validation=0.2).split(labels, num_own_test=0, seed=3)
    rows = Rows(labels, columns, ("x",) * NUM_FEATURES, fit=lambda known: Encoder(-0.3, 1.5, known[:, 0].mean(), 0.7))
    stored, plan = store(rows, split)[0], make_plan(*NOISY, replicates=(7, 2, 3, 5, 1, 4, 0, 6))
    advance, later = (encode_development(stored, most) for most in (np.inf, 0))
    assert later.encoders and not advance.encoders
    runs = [train_lanes(plan, development) for development in (advance, later)]
    check_same(*runs)
    both = [predict_lanes(plan, runs[0].weights, one, one.validation[[*plan.replicates]]) for one in (advance, later)]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(("noise_bytes", "seen"), [(1, [4, 8, 12]), (1000, [16, 32, 48])])
def test_how_many_steps_a_call_trains_changes_no_byte(noise_bytes, seen, monkeypatch):
    plan, development, found = make_plan(*NOISY, callbacks=CALLBACKS), make_development(), []
    whole = train_lanes(plan, development)
    monkeypatch.setattr(training, "NOISE_BYTES", noise_bytes)
    check_same(train_lanes(plan, development, report=found.append), whole)
    assert found[:3] == seen


def test_how_validation_is_cut_into_chunks_does_not_matter(monkeypatch):
    plan, development = make_plan(*NOISY), make_development()
    whole = train_lanes(plan, development)
    monkeypatch.setattr(graph, "CHUNK_BYTES", 200)
    pieces = train_lanes(plan, development)
    check_near(pieces.weights, whole.weights)
    for name in ("loss", "val_loss", "val_auc"):
        np.testing.assert_allclose(pieces.history[name], whole.history[name], rtol=1e-6)


@pytest.mark.parametrize(("chunk_bytes", "num_chunks"), [(1, 11), (96, 6)])  # six units in two lanes: 48 bytes a row
def test_one_chunk_of_validation_rows_is_held_at_a_time(chunk_bytes, num_chunks, monkeypatch):
    """Nothing else makes TensorFlow wait with the next chunk."""
    monkeypatch.setattr(graph, "CHUNK_BYTES", chunk_bytes)
    plan, development = make_plan(), make_development()
    (block,) = cut_into_blocks(plan.grid, 1)
    built = graph.Graph(plan, development, make_start(plan), block, "float32")
    validate = built.prepare_validation(development.validation[block.starts])
    waiting = [one for one in validate.func.graph.get_operations() if one.control_inputs and is_read_by_gather(one)]
    assert len(waiting) == num_chunks - 1  # the first need not wait


def is_read_by_gather(operation):
    return any(reader.type == "ResourceGather" for output in operation.outputs for reader in output.consumers())


def test_a_batch_may_be_larger_than_the_rows():
    compare_with_stock(make_plan(hidden=(), batch_size=1000), lane=0, dtype="float64")


def test_start_weights_depend_on_seed_and_replicate_alone():
    network = NetworkPlan((6, 5), "relu", 10)
    plain = draw_weights(network, 4, seed=3, starts=[Start(0), Start(1)], normalized=[])
    normalized = draw_weights(network, 4, seed=3, starts=[Start(1)], normalized=[1, 2])
    other = draw_weights(network, 4, seed=4, starts=[Start(0), Start(1)], normalized=[])
    for name, values in plain.items():
        np.testing.assert_array_equal(normalized[name][0], values[1])
    assert {name: values.shape for name, values in normalized.items() if name.endswith("_1")} == {
        "kernel_1": (1, 4, 6)
    } | {f"{name}_1": (1, 1, 6) for name in ("bias", "gamma", "beta", "moving_mean", "moving_variance")}
    for layer in (1, 2, 3):
        assert not np.array_equal(other[f"kernel_{layer}"], plain[f"kernel_{layer}"])
        assert not np.array_equal(plain[f"kernel_{layer}"][0], plain[f"kernel_{layer}"][1])
