"""A lane, or the average of several, as an ordinary Keras model, in a file whose bytes repeat."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib.core.files import pack_zip
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.lanes.run import Weights
from stages.lib.lanes.runtime import keras

SHARED_OBJECT = r'(?<="shared_object_id": )\d+'


def build_keras(plan: RunPlan, weights: Weights, *, lanes: Sequence[int], scale: float) -> keras.Model:
    """A plain Keras model of ordinary layers with the weights of one lane; it takes rows as preprocessed.

    plan: at one point of strengths, that of the lanes. Of several lanes it is the mean of their probabilities.

    Penalties, constraints, batch normalisation and dropout are Keras' own in it, at the plan's strengths, so it can be
    trained further. What Keras does outside the network (input noise, mixing of rows, averaging) is not in it.
    """
    if len(lanes) == 1:
        return build_lane(plan, weights, lanes[0], scale=scale, name=plan.variant)
    rows = keras.Input((weights["kernel_1"].shape[1],), name="rows")
    members = [
        build_lane(plan, weights, lane, scale=scale, name=f"member_{number}")
        for number, lane in enumerate(lanes, start=1)
    ]
    average = keras.layers.Average(name="probability")([member(rows) for member in members])
    return keras.Model(rows, average, name=plan.variant)


def build_lane(plan: RunPlan, weights: Weights, lane: int, *, scale: float, name: str) -> keras.Sequential:
    """The model of one lane; see `build_keras`."""
    model = keras.Sequential([keras.Input((weights["kernel_1"].shape[1],), name="rows")], name=name)
    if scale != 1:
        model.add(keras.layers.Rescaling(scale, name="rescaling"))
    network = plan.network
    activations = [(network.activation, f"activation_{layer}") for layer, _ in enumerate(network.hidden, start=1)]
    activations.append(("sigmoid" if network.outputs == 1 else "softmax", "probability"))
    for layer, units in enumerate((*network.hidden, network.outputs), start=1):
        parts = find_keras_parts(plan, layer)
        penalty = keras.regularizers.L1L2(**dict(parts["penalty"])) if parts["penalty"] else None
        last = next(reversed(parts["constraint"]), None)
        model.add(keras.layers.Dense(units, kernel_regularizer=penalty, kernel_constraint=last, name=f"dense_{layer}"))
        activation, label = activations[layer - 1]
        for added in (*parts["sums"], keras.layers.Activation(activation, name=label), *parts["activity"]):
            model.add(added)
    for layer in model.layers:
        layer.set_weights(lane_weights(layer.name, weights, lane))
    return model


def find_keras_parts(plan: RunPlan, layer: int) -> dict[str, list[Any]]:
    """Place -> what Keras has there for the regularisers that act on a layer."""
    parts = defaultdict[str, list[Any]](list)
    for entry in plan.regularizers:
        found = CATALOGUE[entry.name].keras_part(entry.strengths[0], f"{entry.name}_{layer}")
        if found and layer in entry.layers:
            parts[found.place].append(found.part)
    return parts


def lane_weights(name: str, weights: Weights, lane: int) -> list[np.ndarray]:
    """The weights of the Keras layer `dense_2`, `batch_norm_1` ..., in its order; none for other layers."""
    kind, _, number = name.rpartition("_")
    if kind == "dense":
        return [weights[f"kernel_{number}"][lane], weights[f"bias_{number}"][lane, 0]]
    parts = CATALOGUE[kind].keras_weights if kind in CATALOGUE else ()
    return [weights[f"{part}_{number}"][lane, 0] for part in parts]


def to_file(model: keras.Model) -> bytes:
    """The .keras file of a model, without what differs from run to run: dates, times and memory addresses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        saved = path.read_bytes()
    members = {}
    with zipfile.ZipFile(io.BytesIO(saved)) as source:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
            if name == "config.json":
                content = number_shared_objects(content.decode()).encode()
            members[name] = content
    return pack_zip(members.items())


def number_shared_objects(config: str) -> str:
    """Number the objects that stand in several places of a model; Keras marks them by their memory addresses."""
    addresses = list(dict.fromkeys(re.findall(SHARED_OBJECT, config)))
    return re.sub(SHARED_OBJECT, lambda found: str(1 + addresses.index(found.group())), config)
