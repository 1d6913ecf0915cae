"""Parameters of the tests' own, the real table, and all of it shrunk."""

import gc
from collections.abc import Container
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent

# The same examples everywhere, however slow the machine is.
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=slow)
hypothesis.settings.load_profile("same")

# The files whose tests take longest: pytest-xdist gives each to one process, in this order, so that none comes last,
# and test_cluster finds what test_repro has made for both.
LONG = ("test_repro", "test_dvc", "test_recipes", "test_cluster", "test_judging_tables", "test_browser")
LONG += ("test_bad_files", "test_regularizers", "test_review", "test_report", "test_experiment_kinds", "test_training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    gc.set_threshold(50_000)  # to look for garbage takes a sixth of the time, and there is little


@pytest.fixture(scope="session")
def params_text() -> str:
    return (ROOT / "tests/params.yaml").read_text()


@pytest.fixture(scope="session")
def thoracic_csv() -> bytes:
    return (ROOT / "data/source/thoracic_surgery.csv").read_bytes()


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, made the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shrink_params(text: str) -> dict:
    """params.yaml with all its studies and variants, on few rows, small networks, few replicates and epochs."""
    params = YAML(typ="safe", pure=True).load(text)
    params["references"] = {name: strengths[:2] for name, strengths in params["references"].items()}
    studies = [*params["studies"].values(), *params["tutorial"].values()]
    for study in studies:
        if study["protocol"]["kind"] == "fixed_test":
            study["protocol"] |= {"seeds": 2, "training": 200, "validation": 0.2}
        else:
            study["protocol"] |= {"folds": 2, "repeats": 1}
        study["training"] |= {"epochs": 2, "batch_size": 64}
    changes = [study["variants"] for study in studies if "variants" in study]
    variants = [entry for named in (params["variants"], params["own_variants"], *changes) for entry in named.values()]
    for settings in (*variants, *(study["network"] for study in studies)):
        if "hidden" in settings:
            settings["hidden"] = [4 for _ in settings["hidden"]]
    for variant in variants:
        variant.pop("epochs", None)
        if variant.get("search"):
            variant["search"] |= {"points": 4, "average": 2}
    for experiment in params["experiments"].values():
        experiment |= {"replicates": 2, "levels": experiment.get("levels", [])[:2]}
        experiment.pop("epochs", None)
    return params


def pick(mapping: dict, names: Container[str]) -> dict:
    return {name: value for name, value in mapping.items() if name in names}


def keep_studies(params: dict, *names: str) -> dict:
    """These studies alone, with their variants, the data sets that they use and the experiments that train in them.

    Where all of them are the tutorial's, the first becomes a study like the others, and its variants the catalogue.
    """
    studies, tutorial, catalogue = pick(params["studies"], names), pick(params["tutorial"], names), params["variants"]
    own = {name: variant for name, variant in params["own_variants"].items() if variant["study"] in names}
    if not studies:
        first = next(iter(tutorial))
        studies[first] = tutorial.pop(first)
        moved = [name for name, variant in own.items() if variant["study"] == first]
        catalogue = {name: pick(own[name], own[name].keys() - {"study"}) for name in moved}
        own = pick(own, own.keys() - set(moved))
    used = {study["data"] for study in [*studies.values(), *tutorial.values()]}
    params = params | {"datasets": pick(params["datasets"], used), "variants": catalogue, "own_variants": own}
    return keep_experiments(params | {"studies": studies, "tutorial": tutorial})


def keep_variants(params: dict, *names: str) -> dict:
    """These variants alone, and the experiments that train no others; baselines are left as they are."""
    studies = {
        name: study | {"variants": pick(study.get("variants", {}), names)} for name, study in params["studies"].items()
    }
    variants = {section: pick(params[section], names) for section in ("variants", "own_variants")}
    return keep_experiments(params | {"studies": studies} | variants)


def keep_experiments(params: dict) -> dict:
    """The experiments whose study and variants are there."""
    studies, variants = params["studies"] | params["tutorial"], params["variants"] | params["own_variants"]
    kept = {
        name: entry
        for name, entry in params["experiments"].items()
        if entry["study"] in studies and variants.keys() >= set(entry["variants"])
    }
    return params | {"experiments": kept}


@pytest.fixture(scope="session")
def fashion_files() -> dict[str, bytes]:
    """The four files in the real format and at the real size."""
    return make_fashion_files(60_000, 10_000)


def make_fashion_files(num_training: int, num_test: int) -> dict[str, bytes]:
    """Each class is a bright column with noise around it."""
    generator = np.random.Generator(np.random.PCG64(0))
    files = {}
    for name, num_rows in (("train", num_training), ("t10k", num_test)):
        labels = np.arange(num_rows, dtype=np.uint8) % 10
        images = np.tile(generator.integers(0, 100, (1000, 28, 28), np.uint8), (num_rows // 1000, 1, 1))
        images[np.arange(num_rows), :, 2 * labels + 3] = 255
        images[:, 0, :4] = np.arange(num_rows, dtype="<u4").view(np.uint8).reshape(-1, 4)  # no two images are equal
        for kind, values in {"images-idx3-ubyte": images, "labels-idx1-ubyte": labels}.items():
            header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            files[f"{name}-{kind}"] = header + values.tobytes()
    return files
