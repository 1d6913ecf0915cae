"""What figures show, against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from stages.lib.lanes.run import TrainedRun
from stages.lib.report import figures

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 2, (3, 400))
PROBABILITY = np.clip(0.4 * LABELS + GENERATOR.uniform(0, 0.6, LABELS.shape), 0, 1)[..., None]


def test_reliability_is_that_of_scikit_learn() -> None:
    table = figures.summarize_reliability(LABELS, PROBABILITY)
    observed, predicted = calibration_curve(LABELS.ravel(), PROBABILITY.ravel(), n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table[["predicted", "observed"]], np.stack([predicted, observed], axis=1), atol=0.02)
    assert table["rows"].tolist() == [LABELS.size // 10] * 10


def test_of_more_classes_the_predicted_one_is_meant() -> None:
    labels, sure = np.array([[0, 1, 2, 2]]), np.eye(3)[[[0, 1, 2, 0]]]
    table = figures.summarize_reliability(labels, 0.7 * sure + 0.1)
    assert table["predicted"].to_numpy() == pytest.approx(0.8)
    assert table["observed"].tolist() == [1, 1, 1, 0]


def test_a_learning_curve_has_the_lanes_at_the_knob_while_half_of_them_run() -> None:
    """Four lanes at the knob and four at another point; three of each stop after two of three epochs."""
    lanes, never = np.arange(8), np.zeros(8, bool)
    history = pd.DataFrame(
        [(epoch, lane, epoch + lane, 10.0 * epoch) for epoch in (1, 2, 3) for lane in lanes[:: 4 if epoch == 3 else 1]],
        columns=["epoch", "lane", "loss", "val_loss"],
    )
    curve = figures.summarize_learning(TrainedRun({}, lanes % 4, {}, lanes, lanes, never, never, history))
    assert curve[curve["part"] == "training"]["mean"].tolist() == [1 + 1.5, 2 + 1.5]
    assert curve[curve["part"] == "validation"]["high"].tolist() == [10, 20]
