"""Predictions of trained lanes for given rows."""

import numpy as np

from stages.lib.lanes.graph import CHUNK_BYTES, build_regularizers
from stages.lib.lanes.network import Network
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.runtime import tf
from stages.lib.lanes.trained import Weights


def predict_lanes(plan: RunPlan, weights: Weights, *, inputs: np.ndarray, rows: np.ndarray, scale: float) -> np.ndarray:
    """Probabilities [lane, row, output], float32.

    Args:
        weights: name -> [lane, ...].
        inputs: [row of the pool, feature].
        rows: [replicate, row], positions in the pool: the rows that every lane of a replicate predicts.
    """
    network = Network(plan.network, build_regularizers(plan, "float32"))
    tensors = {name: tf.constant(value, tf.float32) for name, value in weights.items()}
    num_lanes = plan.grid.num_lanes
    shared = bool((rows == rows[0]).all())  # then every lane reads one copy of the inputs
    rows = rows[:1] if shared else plan.grid.over_points(rows)
    widest = max(len(rows) * inputs.shape[1], num_lanes * max(*plan.network.hidden, plan.network.outputs, 1))
    size = max(1, CHUNK_BYTES // (4 * widest))
    answers = []
    for first in range(0, rows.shape[1], size):
        chunk = inputs[rows[:, first : first + size]].astype(np.float32) * np.float32(scale)
        answers.append(network.output(network.forward(tensors, tf.constant(chunk), None)[0]).numpy())
    return np.concatenate(answers, axis=1)
