"""model.keras: ordinary layers, opened by a process that knows nothing of this project; the same bytes every time."""

import dataclasses
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stages.lib.data.samples import Development
from stages.lib.lanes import graph
from stages.lib.lanes.export import build_keras, number_shared_objects, to_file
from stages.lib.lanes.graph import predict_lanes
from stages.lib.lanes.plan import RegularizerPlan, RunPlan
from stages.lib.lanes.training import train_lanes
from tests.lib.lanes.cases import make_development, make_plan

LOAD = """
import sys, keras, numpy
assert not any(name.startswith("stages") for name in sys.modules)
for name in sys.argv[1:]:
    model = keras.models.load_model(f"{name}.keras")
    numpy.save(f"{name}_answer.npy", model.predict(numpy.load(f"{name}.npy"), verbose=0))
"""
HIDDEN = (1, 2)
REGULARIZERS = (
    RegularizerPlan("l1", (1e-4,), (1, 2, 3)),
    RegularizerPlan("l2", (1e-4,), (1,)),
    RegularizerPlan("activity_l1", (1e-4,), HIDDEN),
    RegularizerPlan("max_norm", (1.0,), HIDDEN),
    RegularizerPlan("batch_norm", (0.9,), HIDDEN),
    RegularizerPlan("dropout", (0.3,), HIDDEN),
)


@cache
def train_case(outputs: int) -> tuple[RunPlan, Development, dict[str, np.ndarray]]:
    """A network of two hidden layers on pixels (softmax) or numbers (sigmoid), and its weights."""
    settings = {"hidden": (5, 4), "activation": "relu", "replicates": (0, 1), "epochs": 2, "batch_size": 16}
    plan = make_plan(*REGULARIZERS, outputs=outputs, **settings)
    development = make_development(outputs, pixels=outputs > 1)
    return plan, development, train_lanes(plan, development).weights


def test_a_stranger_loads_the_models_and_predicts_as_the_lanes_do_on_average(tmp_path: Path) -> None:
    cases = {"one": (1, [0]), "ten": (10, [0]), "one_averaged": (1, [0, 1]), "ten_averaged": (10, [1, 0])}
    for name, (outputs, lanes) in cases.items():
        plan, development, weights = train_case(outputs)
        model = to_file(build_keras(plan, weights, lanes=lanes, scale=development.scale))
        (tmp_path / f"{name}.keras").write_bytes(model)
        np.save(tmp_path / f"{name}.npy", development.inputs)
    subprocess.run([sys.executable, "-I", "-c", LOAD, *cases], cwd=tmp_path, check=True, capture_output=True)
    for name, (outputs, lanes) in cases.items():
        plan, development, weights = train_case(outputs)
        every_row = np.tile(np.arange(len(development.labels)), (2, 1))
        expected = predict_lanes(plan, weights, development, every_row)[lanes].mean(axis=0)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}_answer.npy"), expected, atol=1e-6)


@pytest.mark.parametrize(("chunk_bytes", "num_rows"), [(graph.CHUNK_BYTES, 4), (400, 1)])
def test_rows_of_one_replicate_are_predicted_as_rows_of_all(chunk_bytes, num_rows, monkeypatch):
    """Rows that all replicates share are read once for all lanes; in chunks as small as they have to be."""
    plan, development, weights = train_case(10)
    seen, take = [], Development.take
    monkeypatch.setattr(Development, "take", lambda own, rows, of: seen.append(rows.shape[1]) or take(own, rows, of))
    monkeypatch.setattr(graph, "CHUNK_BYTES", chunk_bytes)
    rows, others = [0, 1, 2, 3], [3, 1, 0, 2]
    shared, apart = (predict_lanes(plan, weights, development, np.array([rows, of_1])) for of_1 in (rows, others))
    owner = plan.grid.over_points(np.array(plan.replicates))
    np.testing.assert_allclose(shared[owner == 0], apart[owner == 0], atol=1e-6)
    np.testing.assert_allclose(shared[owner == 1][:, others], apart[owner == 1], atol=1e-6)
    assert set(seen) == {num_rows}


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_constraints_stand_where_the_plan_has_them(strength: float) -> None:
    plan, development, _ = train_case(10)
    plan = dataclasses.replace(plan, regularizers=(RegularizerPlan("unit_norm", (strength,), HIDDEN),))
    model = build_keras(plan, train_lanes(plan, development).weights, lanes=[0], scale=1.0)
    kernel = np.random.Generator(np.random.PCG64(0)).normal(size=(5, 4)).astype(np.float32)
    for layer in HIDDEN:
        constrained = np.asarray(model.get_layer(f"dense_{layer}").kernel_constraint(kernel))
        np.testing.assert_allclose(np.linalg.norm(constrained, axis=0), strength, rtol=1e-5)
    assert model.get_layer("dense_3").kernel_constraint is None


def test_layers_and_penalties_have_the_first_strengths() -> None:
    plan, _, weights = train_case(1)
    model = build_keras(plan, weights, lanes=[0], scale=1.0)
    for name, field, value in (("activity_l1", "l1", 1e-4), ("dropout", "rate", 0.3), ("batch_norm", "momentum", 0.9)):
        assert [getattr(model.get_layer(f"{name}_{layer}"), field) for layer in HIDDEN] == [value, value]
    penalties = [model.get_layer(f"dense_{layer}").kernel_regularizer.get_config() for layer in (1, 2, 3)]
    assert penalties == [{"l1": 1e-4, "l2": 1e-4}, {"l1": 1e-4, "l2": 0.0}, {"l1": 1e-4, "l2": 0.0}]


def test_the_file_is_the_same_bytes_every_time() -> None:
    plan, _, weights = train_case(1)
    first, second = (to_file(build_keras(plan, weights, lanes=[0, 1], scale=1.0)) for _ in range(2))
    assert first == second


def test_shared_objects_are_counted_in_the_order_they_come() -> None:
    config = '{"shared_object_id": 140596, "a": {"shared_object_id": 7}, "b": {"shared_object_id": 140596}}'
    expected = '{"shared_object_id": 1, "a": {"shared_object_id": 2}, "b": {"shared_object_id": 1}}'
    assert number_shared_objects(config) == expected
