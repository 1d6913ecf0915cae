"""Blocks: how a run is cut, and that its lanes do not notice."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.data.samples import Development
from stages.lib.lanes import blocks, kept, training
from stages.lib.lanes.blocks import cut_into_blocks
from stages.lib.lanes.graph import Graph
from stages.lib.lanes.plan import Grid, RegularizerPlan, RunPlan
from stages.lib.lanes.run import UNFINISHED, Arrays, TrainedRun, UnfinishedRun
from stages.lib.lanes.training import BlockTraining, train_lanes
from tests.lib.lanes.cases import CALLBACKS, OPTIMIZERS, check_near, check_same, make_development, make_plan

ALL_NOISE = (
    RegularizerPlan("l2", (0.01,), (1, 2)),
    RegularizerPlan("activity_l1", (0.01,), (1,)),
    RegularizerPlan("max_norm", (0.7,), (1,)),
    RegularizerPlan("batch_norm", (0.9,), (1,)),
    RegularizerPlan("dropout", (0.3, 0.5, 0.0), (1,)),
    RegularizerPlan("mixup", (0.4, 0.0, 1.0), ()),
    RegularizerPlan("gaussian_noise", (0.1,), ()),
    RegularizerPlan("ema", (0.8, 0.9, 0.5), ()),
    RegularizerPlan("early_stopping", (1.0, 2.0, 3.0), ()),
)


def make_run(num_replicates: int = 8, *, optimizer: str = "adam") -> tuple[RunPlan, Development]:
    settings = {"callbacks": CALLBACKS, "optimizer": OPTIMIZERS[optimizer], "stopped": True}
    plan = make_plan(*ALL_NOISE, outputs=10, replicates=tuple(range(num_replicates)), **settings)
    development = make_development(10, num_replicates=num_replicates)
    return plan, replace(development, validation=development.validation[:, :10])


@cache
def train_whole(num_replicates: int = 8, *, optimizer: str = "adam") -> TrainedRun:
    return train_lanes(*make_run(num_replicates, optimizer=optimizer))


def train_in_blocks(
    plan: RunPlan, development: Development, monkeypatch: pytest.MonkeyPatch, *, size: int, **arguments: Any
) -> TrainedRun:
    monkeypatch.setattr(training, "cut_into_blocks", lambda grid, _: cut_into_blocks(grid, lane_bytes(size)))
    return train_lanes(plan, development, **arguments)


def lane_bytes(size: int) -> int:
    """Of lanes of which so many fill a block."""
    return blocks.BLOCK_BYTES // blocks.COPIES // size


@pytest.mark.parametrize(
    ("grid", "size", "num_blocks"),
    [(Grid(4, 10), 4, 10), (Grid(3, 10), 4, 8), (Grid(6, 50), 8, 38), (Grid(2, 5, 3), 5, 8)],
)
def test_blocks_are_consecutive_lanes_of_one_size(grid, size, num_blocks):
    found = cut_into_blocks(grid, lane_bytes(size))
    assert len(found) == num_blocks
    lanes = np.concatenate([block.lanes for block in found])
    assert lanes.tolist() == [*range(grid.num_lanes), *range(len(lanes) - grid.num_lanes)]
    assert np.concatenate([block.counted for block in found]).sum() == grid.num_lanes
    for block in found:
        assert block.lanes[0] % blocks.LANE_STEP == len(block.lanes) % blocks.LANE_STEP == 0
        assert block.grid == Grid(1, len(block.lanes))
        np.testing.assert_array_equal(block.starts, block.lanes % grid.num_starts)


@pytest.mark.parametrize(
    ("grid", "size"),
    [(Grid(6, 50), 300), (Grid(6, 50), 1000), (Grid(1, 10), 4), (Grid(1, 5), 1)],
    ids=["fits", "fits twice", "two of twelve lanes would only fill up", "three of eight"],
)
def test_a_run_that_gains_nothing_is_not_cut(grid, size):
    (block,) = cut_into_blocks(grid, lane_bytes(size))
    assert block.grid == grid and block.counted.all()
    assert block.lanes.tolist() == list(range(grid.num_lanes))
    assert block.starts.tolist() == list(range(grid.num_starts))


@pytest.mark.parametrize(("optimizer", "size"), [("adam", 4), ("sgd_momentum", 8)])
def test_lanes_have_the_same_bytes_in_blocks(optimizer, size, monkeypatch):
    """Nothing of a block is left in the next. Here the rows of any four lanes fill whole packets."""
    whole = train_whole(optimizer=optimizer)
    check_same(train_in_blocks(*make_run(optimizer=optimizer), monkeypatch, size=size), whole)
    assert len(set(whole.epochs_run)) > 1  # lanes of a block end at different times
    assert (whole.stopped["kernel_1"] != whole.weights["kernel_1"]).any()


def test_lanes_that_fill_up_a_block_are_trained_for_nothing(monkeypatch):
    whole, cut = train_whole(10), train_in_blocks(*make_run(10), monkeypatch, size=4)
    assert len(cut.replicate) == 30 and len(cut.history) == len(whole.history)
    check_near(cut.weights, whole.weights)


def test_members_are_cut_as_other_lanes_are(monkeypatch):
    plan, development = make_run(4)
    plan = replace(plan, members=3)
    whole, cut = train_lanes(plan, development), train_in_blocks(plan, development, monkeypatch, size=4)
    assert (cut.member == whole.member).all() and (cut.stopped_epoch == whole.stopped_epoch).all()
    check_near(cut.weights, whole.weights)


def test_blocks_share_one_trace(monkeypatch):
    graphs = dict[str, Graph]()
    train_in_blocks(*make_run(), monkeypatch, size=4, graphs=graphs)
    (graph,) = graphs.values()
    # Of batches of four rows, and of the last one of two, as well.
    traced = graph._run_steps, graph._validate, graph.keep  # the last one for the weights in two places
    assert [function.experimental_get_tracing_count() for function in traced] == [1, 1, 2]


def test_a_data_set_of_other_rows_and_features_has_the_same_bytes_in_the_graph_of_another():
    plan, development = make_run()
    fewer = {"training": development.training[:, :-3], "validation": development.validation[:, :7]}
    smaller = replace(development, inputs=development.inputs[:, :3], **fewer)
    other = replace(plan, task="other", epochs=plan.epochs + 1), smaller
    graphs = dict[str, Graph]()
    train_lanes(plan, development, graphs=graphs)
    check_same(train_lanes(*other, graphs=graphs), train_lanes(*other))
    assert len(graphs) == 1


@pytest.mark.parametrize(("size", "seen"), [(8, [56, 58, 114, 116]), (4, [28, 29, 57, 58, 86, 87, 115, 116])])
def test_report_counts_the_rows_that_lanes_have_seen_on_average(size, seen, monkeypatch):
    found = []
    plan, development = make_plan(hidden=(), epochs=2, replicates=tuple(range(8))), make_development(num_replicates=8)
    train_in_blocks(plan, development, monkeypatch, size=size, report=found.append)
    assert found == seen


# Runs that are stopped ---------------------------------------------------------------------------------------------


class StoppedError(Exception):
    """As if the process had been killed."""


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnfinishedRun:
    """In a folder of its own, as are its inputs."""
    monkeypatch.chdir(tmp_path)
    Path("plan.json").write_text("{}")
    return UnfinishedRun("study/variant", [Path("plan.json")])


def stop_after(num_blocks: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the training of a block fail once so many have been trained; the numbers of those that are begun."""
    begun: list[int] = []
    run = BlockTraining.run

    def run_or_stop(block: BlockTraining) -> Arrays:
        begun.append(block.block.lanes[0] // block.graph.num_lanes)
        if len(begun) > num_blocks:
            raise StoppedError
        return run(block)

    monkeypatch.setattr(BlockTraining, "run", run_or_stop)
    return begun


def test_a_run_that_was_stopped_goes_on_from_the_blocks_that_are_kept(unfinished, monkeypatch):
    plan, development = make_run()
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        stop_after(2, patch)
        train_in_blocks(plan, development, monkeypatch, size=4, unfinished=unfinished)
    seen = []
    begun = stop_after(100, monkeypatch)
    again = train_in_blocks(plan, development, monkeypatch, size=4, unfinished=unfinished, report=seen.append)
    assert begun == [2, 3, 4, 5]
    assert seen == sorted(seen) and seen[-1] == plan.epochs * development.training.shape[1]
    check_same(again, train_whole())
    unfinished.forget()
    assert not list(UNFINISHED.rglob("*.npz"))


def test_a_damaged_block_is_trained_anew(unfinished, monkeypatch):
    plan, development = make_run()
    train_in_blocks(plan, development, monkeypatch, size=8, unfinished=unfinished)
    path = unfinished.folder / "1.npz"
    path.write_bytes(path.read_bytes()[:1000])
    begun = stop_after(100, monkeypatch)
    again = train_in_blocks(plan, development, monkeypatch, size=8, unfinished=unfinished)
    assert begun == [1]
    check_same(again, train_whole())


def test_blocks_of_other_inputs_are_not_taken(unfinished, monkeypatch):
    train_in_blocks(*make_run(), monkeypatch, size=8, unfinished=unfinished)
    Path("plan.json").write_text("{ }")
    other = UnfinishedRun("study/variant", [Path("plan.json")])
    assert other.folder != unfinished.folder and [*unfinished.folder.iterdir()]
    kept.describe_process.cache_clear()
    monkeypatch.setattr(kept, "distributions", list)
    assert UnfinishedRun("study/variant", [Path("plan.json")]).folder != other.folder
    kept.describe_process.cache_clear()


def test_a_run_of_one_block_keeps_nothing(unfinished):
    train_lanes(make_plan(hidden=(), epochs=1), make_development(), unfinished=unfinished)
    unfinished.forget()
    assert not UNFINISHED.exists()
