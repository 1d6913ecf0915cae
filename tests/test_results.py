"""The committed results: they are those of params.yaml, and what it says of them is true."""

import pandas as pd
import pytest

from stages import plan
from stages.lib.judge.comparison import StudyResult, parse_comparison
from stages.lib.settings.schema import Params
from tests.conftest import ROOT

METRICS = ROOT / "metrics"
MOST = 0.6  # share of the epochs, within which the baseline overfits
LEAST = 0.88  # accuracy of the baseline that learns from all images


@pytest.fixture(scope="module")
def params() -> Params:
    return plan.check((ROOT / "params.yaml").read_text(), None)[0]


@pytest.fixture(scope="module")
def results() -> dict[str, StudyResult]:
    texts = [path.read_bytes() for path in METRICS.glob("comparison/*.json")]
    return {task: result for text in texts for task, result in parse_comparison(text).items()}


def test_every_study_is_there_with_all_that_it_compares(params: Params, results: dict[str, StudyResult]) -> None:
    tasks = {task: study for study in params.studies.values() for task in study.tasks}
    assert results.keys() == tasks.keys()
    for task, study in tasks.items():
        assert results[task].arms.keys() >= {*study.variants, *study.settings.references}, task


def test_every_baseline_has_more_epochs_than_it_needs(params: Params) -> None:
    """Its mean loss on validation rows is least within the first 60 % of them, so that there is something to stop."""
    late = {}
    for name in params.sections["studies"]:
        study = params.studies[name]
        for task in study.tasks:
            table = pd.read_csv(METRICS / f"series/learning/{task}.csv")
            curve = table[(table["variant"] == study.settings.baseline) & (table["part"] == "validation")]
            share = curve["epoch"][curve["mean"].idxmin()] / curve["epoch"].max()
            late |= {task: share} if share > MOST else {}
    assert late == {}


def test_the_stopped_baseline_is_as_good_as_dense_networks_are(results: dict[str, StudyResult]) -> None:
    assert results["images_57000"].baseline_result.judged["accuracy"].value >= LEAST
