"""What figures show, against scikit-learn and by hand."""

import base64
import dataclasses
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_auc_score

from stages.lib.lanes.run import TrainedRun
from stages.lib.report import predictions, training
from stages.lib.report.predictions import CALIBRATION, RECALL, ROC

REPLICATES, ROWS = 3, 400
GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 2, (REPLICATES, ROWS))
PROBABILITY = np.clip(0.4 * LABELS + GENERATOR.uniform(0, 0.6, LABELS.shape), 0, 1)[..., None]


def test_curves_are_those_of_scikit_learn_averaged() -> None:
    curves = predictions.summarize_curves(LABELS, PROBABILITY)
    roc, recall = (curves[curves["panel"] == panel].set_index("x")["y"] for panel in (ROC, RECALL))
    areas = [roc_auc_score(*pair) for pair in zip(LABELS, PROBABILITY[..., 0], strict=True)]
    assert np.trapezoid(roc, roc.index) == pytest.approx(np.mean(areas), abs=0.02)
    assert recall.loc[1.0] < 0.9 < recall.loc[0.0] == 1.0


def test_reliability_is_that_of_scikit_learn() -> None:
    table = predictions.summarize_reliability(LABELS, PROBABILITY)
    observed, predicted = calibration_curve(LABELS.ravel(), PROBABILITY.ravel(), n_bins=10, strategy="quantile")
    np.testing.assert_allclose(table[["x", "y"]], np.stack([predicted, observed], axis=1), atol=0.02)
    assert set(table["panel"]) == {CALIBRATION}
    assert table["rows"].tolist() == [LABELS.size // 10] * 10


def test_of_more_classes_the_predicted_one_is_meant() -> None:
    labels, sure = np.array([[0, 1, 2, 2]]), np.eye(3)[[[0, 1, 2, 0]]]
    table = predictions.summarize_reliability(labels, 0.7 * sure + 0.1)
    assert table["x"].to_numpy() == pytest.approx(0.8)
    assert table["y"].tolist() == [1, 1, 1, 0]
    shares = predictions.summarize_confusion(labels, sure, ("a", "nan", "2"))
    expected = confusion_matrix(labels.ravel(), sure.argmax(axis=-1).ravel(), normalize="true")
    np.testing.assert_allclose(shares["share"].to_numpy().reshape(3, 3), expected)


def make_run(**fields: object) -> TrainedRun:
    """Four lanes at the knob and four at another point; three of each stop after two of three epochs."""
    lanes = np.arange(8)
    history = pd.DataFrame(
        [(epoch, lane, epoch + lane, 10.0 * epoch) for epoch in (1, 2, 3) for lane in lanes[:: 4 if epoch == 3 else 1]],
        columns=["epoch", "lane", "loss", "val_loss"],
    )
    kernel = np.arange(8.0).reshape(8, 1, 1) * np.ones((8, 2, 3))
    never = np.zeros(8, bool)
    run = TrainedRun({"kernel_1": kernel}, lanes % 4, {}, lanes, lanes, never, never, {}, history)
    return dataclasses.replace(run, **fields)


def test_a_learning_curve_has_the_lanes_at_the_knob_while_half_of_them_run() -> None:
    curve = training.summarize_learning(make_run())
    assert curve[curve["part"] == "training"]["mean"].tolist() == [1 + 1.5, 2 + 1.5]
    assert curve[curve["part"] == "validation"]["high"].tolist() == [10, 20]


def test_weights_that_are_too_large_count_in_the_last_bins() -> None:
    weights = training.summarize_weights(make_run(), limit=1.0)
    assert weights["share"].sum() == pytest.approx(1)
    assert weights["share"].iloc[-1] == pytest.approx(0.75), "of four lanes, those with weights 1, 2 and 3"
    lost = make_run(weights={"kernel_1": np.full((8, 1, 1), np.nan)})
    assert training.find_limit(lost) == 1.0
    assert training.summarize_weights(lost, limit=1.0)["share"].sum() == 0


def test_a_picture_is_a_png_of_sixteen_greys() -> None:
    levels = np.array([[0.0, 0.5, 1.0], [1.0, 2.0, -1.0]])
    kind, _, text = predictions.encode_png(levels).partition(",")
    content = base64.b64decode(text)
    assert (kind, content[:8]) == ("data:image/png;base64", b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">IIBB", content[16:26]) == (3, 2, 4, 0)
    size = struct.unpack(">I", content[33:37])[0]
    assert zlib.decompress(content[41 : 41 + size]) == bytes([0, 0x08, 0xF0, 0, 0xFF, 0x00])
