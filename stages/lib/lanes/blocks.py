"""Cut the lanes of a run into blocks that are trained one after another in one graph.

A step reads and writes every weight and every slot of the optimiser, so when many large networks are trained at once,
each step waits for the computer's memory. A few of them at a time stay in the processor's cache. Lanes do not touch
one another, so it is the same training.

How a run is cut depends on the run alone and never on the machine, because the last bit of a lane can depend on its
place in the block. TensorFlow works on packets of numbers: it sums over rows in another order where a packet holds
units of two lanes, and rounds exp and log otherwise where the last numbers do not fill a packet. A block therefore
begins where a whole packet does, and its lanes have the bytes that they would have in an uncut run of such lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.lib.lanes.plan import Grid

BLOCK_BYTES = 5_000_000  # of weights and slots; with gradients and the like about twice that is in use
LANE_STEP = 4  # a block has a multiple of so many lanes: their units fill packets of eight where their number is even
MOST_FILLING = 0.1  # a run whose last block would be filled up by more than this share of the run's lanes is not cut
COPIES = 3  # of a weight: itself and two slots


@dataclass(frozen=True)
class Block:
    """Some lanes of a run.

    lanes: numbers of the lanes in the run.
    counted: [lane], False for a lane that fills up the last block and has been trained before.
    grid: of the block's lanes.
    starts: [start of the block], positions among the starts of the run.
    """

    lanes: np.ndarray
    counted: np.ndarray
    grid: Grid
    starts: np.ndarray


def cut_into_blocks(grid: Grid, bytes_per_lane: int) -> list[Block]:
    """Blocks of one size, each of consecutive lanes; one block where there is nothing to gain.

    Args:
        grid: of the run.
        bytes_per_lane: of its weights.
    """
    num_lanes, starts = grid.num_lanes, np.arange(grid.num_starts)
    size = max(1, BLOCK_BYTES // (COPIES * bytes_per_lane) // LANE_STEP) * LANE_STEP
    num_blocks = -(-num_lanes // size)
    if num_blocks == 1 or num_blocks * size > num_lanes * (1 + MOST_FILLING):
        return [Block(np.arange(num_lanes), np.ones(num_lanes, bool), grid, starts)]
    places = np.arange(num_blocks * size).reshape(num_blocks, size)
    of_lanes = grid.over_points(starts)
    return [
        Block(lanes, place < num_lanes, Grid(1, size), of_lanes[lanes])
        for lanes, place in zip(places % num_lanes, places, strict=True)
    ]
