"""Lanes of a search, as `plan` draws its points, against stock Keras with the strengths of the lane's point."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stages import plan
from stages.lib.lanes.plan import NetworkPlan, RunPlan
from tests.conftest import ROOT, keep_studies
from tests.lib.lanes.cases import compare_with_stock
from tests.project import load_yaml

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
    params = load_yaml(ROOT / "tests/params.yaml")
    if ranges:
        params["variants"]["cocktail"] = {"regularizers": [*ranges], "search": {"points": 32, "off": 0.3, **ranges}}
        params = keep_studies(params, "thoracic")
    plans = plan.run(json.dumps(params), lambda path: (ROOT / path).read_bytes()).plans
    run = plans["thoracic/cocktail"]["thoracic"]
    return replace(run, network=NetworkPlan((6, 5), "tanh", 1), replicates=(2, 0), batch_size=4, epochs=3)


@pytest.mark.parametrize("ranges", [None, OTHERS], ids=["cocktail", "other"])
def test_any_lane_of_a_search_equals_stock(ranges):
    run, search = None, make_search(ranges)
    for lane in np.random.default_rng(0).choice(search.grid.num_lanes, 4, replace=False):
        run, _ = compare_with_stock(search, lane=int(lane), dtype="float64", run=run)
