"""Lanes of a search, as `plan` draws its points, against stock Keras with the strengths of the lane's point."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import plan
from stages.lib.lanes import training
from stages.lib.lanes.blocks import BLOCK_BYTES, COPIES, cut_into_blocks
from stages.lib.lanes.plan import NetworkPlan, RunPlan
from tests.conftest import ROOT, keep_studies
from tests.lib.lanes.cases import compare_with_stock

OTHERS = {  # ranges of those that the cocktail is without
    "l1": [0.0003, 0.03],
    "weight_decay": [0.3, 30],
    "activity_l1": [0.001, 0.3],
    "unit_norm": [0.5, 2],
    "mixup": [0.1, 2],
    "gaussian_noise": [0, 1],
    "ema": [0.5, 0.95],
    "early_stopping": [1, 3],
}


def make_search(ranges: dict | None = None) -> RunPlan:
    """The cocktail of the study thoracic, or other ranges in its place, with a small network and few steps."""
    params = YAML(typ="safe", pure=True).load((ROOT / "tests/params.yaml").read_text())
    if ranges:
        params["variants"]["cocktail"] = {"regularizers": [*ranges], "search": {"points": 32, "off": 0.3, **ranges}}
        params = keep_studies(params, "thoracic")
    plans = plan.run(json.dumps(params), lambda path: (ROOT / path).read_bytes()).plans
    run = plans["thoracic/cocktail"]["thoracic"]
    return replace(run, network=NetworkPlan((6, 5), "tanh", 1), replicates=(2, 0), batch_size=4, epochs=3)


COCKTAIL, OTHER = make_search(), make_search(OTHERS)


@pytest.mark.parametrize("search", [COCKTAIL, OTHER], ids=["cocktail", "other"])
def test_any_lane_of_a_search_equals_stock(search):
    run = None
    for lane in np.random.default_rng(0).choice(search.grid.num_lanes, 4, replace=False):
        run, _ = compare_with_stock(search, lane=int(lane), dtype="float64", run=run)


def test_a_lane_of_a_search_that_is_cut_into_blocks_equals_stock(monkeypatch):
    blocks = []

    def cut(grid, _):
        blocks.extend(cut_into_blocks(grid, BLOCK_BYTES // COPIES // 16))
        return blocks

    monkeypatch.setattr(training, "cut_into_blocks", cut)
    run, _ = compare_with_stock(COCKTAIL, lane=77, dtype="float64")
    assert len(blocks) == 8 and len(run.replicate) == 128
