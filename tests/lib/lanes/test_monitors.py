"""What training follows on its validation rows: scikit-learn is the oracle."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from stages.lib.lanes.callbacks import accuracy, auc, log_loss


@pytest.mark.parametrize("decimals", [1, 7], ids=["ties", "no ties"])
def test_auc_is_that_of_scikit_learn(decimals):
    generator = np.random.default_rng(0)
    probability = generator.random((20, 76, 1)).round(decimals).astype(np.float32)
    label = (generator.random((20, 76)) < 0.2).astype(np.uint8)
    expected = [roc_auc_score(*pair) for pair in zip(label, probability[..., 0], strict=True)]
    np.testing.assert_allclose(auc(label, probability), expected, rtol=1e-12)


def test_auc_of_nan_is_nan_in_its_replicate_alone():
    probability = np.array([[0.1, np.nan, 0.3], [0.1, 0.2, 0.3]])
    label = np.array([[0, 0, 1]] * 2, np.uint8)
    np.testing.assert_array_equal(auc(label, probability[..., None]), [np.nan, 1])


@pytest.mark.parametrize("outputs", [1, 3])
def test_accuracy_is_that_of_scikit_learn(outputs):
    generator = np.random.default_rng(outputs)
    probability = generator.random((5, 40, outputs))
    label = generator.integers(0, max(outputs, 2), (5, 40), np.uint8)
    predicted = probability[..., 0] > 0.5 if outputs == 1 else probability.argmax(axis=-1)
    expected = [accuracy_score(*pair) for pair in zip(label, predicted, strict=True)]
    np.testing.assert_allclose(accuracy(label, probability), expected)


def test_log_loss_of_certain_answers_is_finite():
    """No probability is taken to be within 1e-7 of 0 or 1, as in Keras."""
    found = log_loss(np.array([[1, 0, 1]]), np.array([[1.0, 1.0, 0.25]])[..., None])
    np.testing.assert_allclose(found, -np.log([1 - 1e-7, 1e-7, 0.25]).mean(), rtol=1e-10)
