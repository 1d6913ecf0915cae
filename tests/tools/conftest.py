"""The real pipeline with few variants, and what `dvc repro` makes of it."""

import os

import pytest

from stages.lib.core.files import write_bytes
from tests.conftest import keep_studies, keep_variants, pick, shrink_params
from tests.project import make_project


@pytest.fixture(scope="session")
def few_params(params_text: str) -> dict:
    """One variant of one study, and one experiment: TensorFlow's start is what a run costs."""
    params = keep_studies(shrink_params(params_text), "tutorial_thoracic")
    (name,) = params["experiments"]["patients"]["variants"]
    params["studies"]["tutorial_thoracic"]["baseline"] = name
    params = keep_variants(params, name)
    return params | {"experiments": pick(params["experiments"], ["patients"])}


@pytest.fixture(scope="session")
def expected_lock(tmp_path_factory: pytest.TempPathFactory, few_params: dict) -> bytes:
    """The dvc.lock that `dvc repro` leaves, with the digest of every output. Processes of pytest-xdist share it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "expected.lock"
    if not shared.is_file():
        project = make_project(tmp_path_factory.mktemp("expected") / "project", few_params)
        project.call("dvc", "repro", "--quiet")
        write_bytes(shared, project.read("dvc.lock"))
    return shared.read_bytes()
