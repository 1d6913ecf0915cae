"""One lane as an ordinary Keras model, in a file whose bytes repeat."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from stages.lib.core.files import pack_zip
from stages.lib.lanes.plan import RegularizerPlan, RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.lanes.run import Weights
from stages.lib.lanes.runtime import keras

SHARED_OBJECT = r'(?<="shared_object_id": )\d+'


def build_keras(plan: RunPlan, weights: Weights, *, lane: int, scale: float) -> keras.Model:
    """A plain Keras model of ordinary layers with the weights of one lane; it takes rows as preprocessed.

    Penalties, constraints, batch normalisation and dropout are Keras' own in it, at their first strengths, so it can
    be trained further. What Keras does outside the network (input noise, mixing of rows, averaging) is not in it.
    """
    model = keras.Sequential([keras.Input((weights["kernel_1"].shape[1],), name="rows")], name=plan.variant)
    if scale != 1:
        model.add(keras.layers.Rescaling(scale, name="rescaling"))
    for layer, units in enumerate(plan.network.hidden, start=1):
        acting = [entry for entry in plan.regularizers if layer in entry.layers]
        model.add(build_dense(layer, units, acting))
        add_layers(model, "keras_sums_layer", layer, acting)
        model.add(keras.layers.Activation(plan.network.activation, name=f"activation_{layer}"))
        add_layers(model, "keras_activity_layer", layer, acting)
    output = len(plan.network.hidden) + 1
    acting = [entry for entry in plan.regularizers if output in entry.layers]
    model.add(build_dense(output, plan.network.outputs, acting))
    activation = "sigmoid" if plan.network.outputs == 1 else "softmax"
    model.add(keras.layers.Activation(activation, name="probability"))
    for layer in model.layers:
        layer.set_weights(lane_weights(layer.name, weights, lane))
    return model


def build_dense(layer: int, units: int, acting: list[RegularizerPlan]) -> keras.layers.Dense:
    """A Dense layer with the penalties and the last of the constraints that act on its kernel."""
    penalty: dict[str, float] = {}
    constraint = None
    for entry in acting:
        penalty |= CATALOGUE[entry.name].keras_penalty(entry.strengths[0])
        constraint = CATALOGUE[entry.name].keras_constraint(entry.strengths[0]) or constraint
    return keras.layers.Dense(
        units,
        kernel_regularizer=keras.regularizers.L1L2(**penalty) if penalty else None,
        kernel_constraint=constraint,
        name=f"dense_{layer}",
    )


def add_layers(model: keras.Model, hook: str, layer: int, acting: list[RegularizerPlan]) -> None:
    """Add the Keras layers of the regularisers that act on a hidden layer."""
    for entry in acting:
        added = getattr(CATALOGUE[entry.name], hook)(entry.strengths[0], f"{entry.name}_{layer}")
        if added is not None:
            model.add(added)


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
    return pack_zip(members)


def number_shared_objects(config: str) -> str:
    """Number the objects that stand in several places of a model; Keras marks them by their memory addresses."""
    addresses = list(dict.fromkeys(re.findall(SHARED_OBJECT, config)))
    return re.sub(SHARED_OBJECT, lambda found: str(1 + addresses.index(found.group())), config)
