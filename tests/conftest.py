"""Parameters of the tests' own, the real table, and all of it shrunk."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent


# The files whose tests take longest: pytest-xdist gives each to one process, in this order, so that none comes last.
LONG = (
    "test_dvc",
    "test_repro",
    "test_cluster",
    "test_review",
    "test_browser",
    "test_recipes",
    "test_knobs",
    "test_guard",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def params_text() -> str:
    return (ROOT / "tests/params.yaml").read_text()


@pytest.fixture(scope="session")
def thoracic_csv() -> bytes:
    return (ROOT / "data/source/thoracic_surgery.csv").read_bytes()


def shrink_params(text: str) -> dict:
    """params.yaml with all its studies and variants, on few rows, small networks, few replicates and epochs."""
    params = YAML(typ="safe", pure=True).load(text)
    params["references"] = {name: strengths[:2] for name, strengths in params["references"].items()}
    for study in params["studies"].values():
        if study["protocol"]["kind"] == "fixed_test":
            study["protocol"] |= {"seeds": 2, "training": 200, "validation": 0.2}
        else:
            study["protocol"] |= {"folds": 2, "repeats": 1}
        study["network"]["hidden"] = [4 for _ in study["network"]["hidden"]]
        study["training"] |= {"epochs": 2, "batch_size": 64}
        for variant in study["variants"].values():
            variant.pop("epochs", None)
            if "search" in variant:
                variant["search"] |= {"points": 4, "average": 2}
            if "hidden" in variant:
                variant["hidden"] = [4 for _ in variant["hidden"]]
    for experiment in params["experiments"].values():
        experiment |= {"replicates": 2, "levels": experiment.get("levels", [])[:2]}
        experiment.pop("epochs", None)
    return keep_experiments(params)


def keep_experiments(params: dict) -> dict:
    """The experiments whose study and variants are there."""
    studies = params["studies"]
    kept = {
        name: experiment
        for name, experiment in params["experiments"].items()
        if set(experiment["variants"]) <= set(studies.get(experiment["study"], {}).get("variants", []))
    }
    return params | {"experiments": kept}


def keep_studies(params: dict, *names: str) -> dict:
    """These studies alone, and the data sets that they use."""
    studies = {name: params["studies"][name] for name in names}
    used = {study["dataset"] for study in studies.values()}
    datasets = {name: entry for name, entry in params["datasets"].items() if name in used}
    return keep_experiments(params | {"datasets": datasets, "studies": studies})


@pytest.fixture(scope="session")
def fashion_files() -> dict[str, bytes]:
    """The four files in the real format and at the real size; each class is a bright column with noise around it."""
    generator = np.random.Generator(np.random.PCG64(0))
    files = {}
    for name, num_rows in (("train", 60_000), ("t10k", 10_000)):
        labels = np.arange(num_rows, dtype=np.uint8) % 10
        images = np.tile(generator.integers(0, 100, (1000, 28, 28), np.uint8), (num_rows // 1000, 1, 1))
        images[np.arange(num_rows), :, 2 * labels + 3] = 255
        images[:, 0, :4] = np.arange(num_rows, dtype="<u4").view(np.uint8).reshape(-1, 4)  # no two images are equal
        files[f"{name}-images-idx3-ubyte"] = (
            bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes() + images.tobytes()
        )
        files[f"{name}-labels-idx1-ubyte"] = (
            bytes([0, 0, 8, 1]) + np.array(labels.shape, ">u4").tobytes() + labels.tobytes()
        )
    return files
