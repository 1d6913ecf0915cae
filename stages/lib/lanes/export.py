"""One lane as an ordinary Keras model, in a file whose bytes repeat."""

import io
import json
import re
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

from stages.lib.plans import RunPlan
from stages.lib.runs import Weights

EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip archive can hold
SHARED_OBJECT = r'(?<="shared_object_id": )\d+'
BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")  # in the order of the layer's weights


def build_keras(plan: RunPlan, weights: Weights, *, lane: int, scale: float) -> keras.Model:
    """A plain Keras model of ordinary layers with the weights of one lane; it takes the rows as preprocessed.

    Penalties, constraints and dropout stand in it as Keras' own, so that it can be trained on. Input noise, mixing of
    rows and other things that Keras does outside the network do not.
    """
    strengths = {entry.name: entry.strengths[0] for entry in plan.regularizers}
    model = keras.Sequential([keras.Input((weights["kernel_1"].shape[1],), name="rows")], name=plan.variant)
    if scale != 1:
        model.add(keras.layers.Rescaling(scale, name="rescaling"))
    for layer, units in enumerate(plan.network.hidden, start=1):
        acting = {entry.name for entry in plan.regularizers if layer in entry.layers}
        model.add(build_dense(layer, units, strengths, acting))
        if "batch_norm" in acting:
            model.add(keras.layers.BatchNormalization(momentum=strengths["batch_norm"], name=f"batch_norm_{layer}"))
        model.add(keras.layers.Activation(plan.network.activation, name=f"activation_{layer}"))
        if "activity_l1" in acting:
            penalty = keras.layers.ActivityRegularization(l1=strengths["activity_l1"], name=f"activity_l1_{layer}")
            model.add(penalty)
        if "dropout" in acting:
            model.add(keras.layers.Dropout(strengths["dropout"], name=f"dropout_{layer}"))
    output = len(plan.network.hidden) + 1
    acting = {entry.name for entry in plan.regularizers if output in entry.layers}
    model.add(build_dense(output, plan.network.outputs, strengths, acting))
    activation = "sigmoid" if plan.network.outputs == 1 else "softmax"
    model.add(keras.layers.Activation(activation, name="probability"))
    for layer in model.layers:
        layer.set_weights(lane_weights(layer.name, weights, lane))
    return model


def build_dense(layer: int, units: int, strengths: dict[str, float], acting: set[str]) -> keras.layers.Dense:
    penalty = {name: strengths[name] for name in ("l1", "l2") if name in acting}
    constraint = None
    if "max_norm" in acting:
        constraint = keras.constraints.MaxNorm(strengths["max_norm"])
    if "unit_norm" in acting:  # Keras' UnitNorm knows no norm but 1
        constraint = keras.constraints.MinMaxNorm(strengths["unit_norm"], strengths["unit_norm"])
    return keras.layers.Dense(
        units,
        kernel_regularizer=keras.regularizers.L1L2(**penalty) if penalty else None,
        kernel_constraint=constraint,
        name=f"dense_{layer}",
    )


def lane_weights(name: str, weights: Weights, lane: int) -> list[np.ndarray]:
    """The weights of the Keras layer `dense_2`, `batch_norm_1` ..., in its order; none for other layers."""
    kind, _, number = name.rpartition("_")
    if kind == "dense":
        return [weights[f"kernel_{number}"][lane], weights[f"bias_{number}"][lane, 0]]
    if kind == "batch_norm":
        return [weights[f"{part}_{number}"][lane, 0] for part in BATCH_NORM]
    return []


def to_file(model: keras.Model) -> bytes:
    """The .keras file of a model, less what differs from run to run: date and times, and objects' places in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        saved = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
            if name == "config.json":
                content = number_shared_objects(content.decode()).encode()
            target.writestr(zipfile.ZipInfo(name, EPOCH_OF_ZIP), content)
    return buffer.getvalue()


def number_shared_objects(config: str) -> str:
    """Keras marks an object that stands in several places by its memory address: count such objects instead."""
    addresses = list(dict.fromkeys(re.findall(SHARED_OBJECT, config)))
    return re.sub(SHARED_OBJECT, lambda found: str(1 + addresses.index(found.group())), config)
