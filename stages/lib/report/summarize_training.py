"""Learning curves and weights of the networks at their knobs, over replicates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from stages.lib.lanes.plan import Grid
from stages.lib.lanes.run import TrainedRun

NUM_EPOCHS, NUM_BINS = 16, 25  # points of a curve, bars of a histogram
LOW, HIGH = 0.1, 0.9  # the band holds the middle 80 % of the replicates
PARTS = {"training": "loss", "validation": "val_loss"}
NEAR_ZERO = 1e-3  # as in lanes/mechanisms.py
QUANTILE = 0.998  # of the baseline's weights: where the histogram ends


def num_replicates(run: TrainedRun) -> int:
    return int(run.replicate.max()) + 1


def at_knobs(run: TrainedRun) -> np.ndarray:
    """The lanes of point 0, [replicate]."""
    return Grid.of_lanes(len(run.replicate), num_replicates(run)).lanes_at(0)


def summarize_learning(run: TrainedRun) -> pd.DataFrame:
    """Mean and band of both losses, penalties included, at up to NUM_EPOCHS epochs.

    Epochs that fewer than half of the replicates reached are left out: early stopping would choose who is averaged.
    """
    lanes, history = at_knobs(run), run.history
    history = history[history["lane"].isin(lanes)]
    shown = np.unique(np.linspace(1, history["epoch"].max(), NUM_EPOCHS).round().astype(int))
    history = history[history["epoch"].isin(shown)].replace([np.inf, -np.inf], np.nan)
    found = []
    for part, column in PARTS.items():
        groups = history.groupby("epoch")[column]
        table = pd.DataFrame({"mean": groups.mean(), "low": groups.quantile(LOW), "high": groups.quantile(HIGH)})
        found.append(table[groups.count() * 2 >= len(lanes)].reset_index().assign(part=part))
    return pd.concat(found, ignore_index=True)


def list_kernels(run: TrainedRun) -> Iterator[np.ndarray]:
    """The kernels [replicate, in, out] at the knobs, layer by layer."""
    lanes, layer = at_knobs(run), 1
    while f"kernel_{layer}" in run.weights:
        yield run.weights[f"kernel_{layer}"][lanes]
        layer += 1


def collect_weights(run: TrainedRun) -> np.ndarray:
    """All finite kernel weights in one row."""
    weights = np.concatenate([kernel.ravel() for kernel in list_kernels(run)])
    return weights[np.isfinite(weights)]


def find_reach(run: TrainedRun) -> float:
    """The size that all but a few of the weights stay below."""
    sizes = np.abs(collect_weights(run))
    return float(f"{np.quantile(sizes, QUANTILE):.2g}") if len(sizes) else 1.0


def summarize_weights(run: TrainedRun, *, reach: float) -> pd.DataFrame:
    """Share of the weights in each of NUM_BINS bins from -reach to reach; larger ones count in the last bins."""
    edges = np.linspace(-reach, reach, NUM_BINS + 1)
    weights = collect_weights(run)
    count, _ = np.histogram(np.clip(weights, -reach, reach), edges)
    centres = (edges[:-1] + edges[1:]) / 2
    return pd.DataFrame({"weight": centres + 0.0, "share": count / max(1, len(weights))})


def summarize_inputs(run: TrainedRun, features: tuple[str, ...]) -> pd.DataFrame:
    """Mean size of the weights from each input, and the share of them that is nearly zero."""
    sizes = np.abs(next(list_kernels(run)))
    mean, zero = sizes.mean(axis=(0, 2)), (sizes < NEAR_ZERO).mean(axis=(0, 2))
    return pd.DataFrame({"input": features, "mean_size": mean, "zero_share": zero})
