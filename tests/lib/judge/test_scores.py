"""Scores against scikit-learn, closed forms and hand-worked cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from stages.lib.judge import scores

EXTREME = [0.0, 5e-324, 1e-300, 1e-17, 0.2, 0.5, np.nextafter(0.5, 1), 0.8, 1 - 1e-16, 1.0]
deterministic = settings(max_examples=60)


@some.composite
def binary_cases(draw):
    """label [replicate, row] with both classes, probability [replicate, row] with many ties and extremes."""
    shape = draw(some.integers(1, 4)), draw(some.integers(2, 25))
    values = draw(some.sampled_from([some.sampled_from(EXTREME), some.floats(0, 1)]))
    label = draw(arrays(np.int64, shape, elements=some.integers(0, 1)))
    label[:, 0], label[:, -1] = 0, 1
    return label, draw(arrays(np.float64, shape, elements=values))


@some.composite
def multiclass_cases(draw):
    """label [row] with every class, probability [replicate, row, class] from few integer weights, so with ties."""
    num_replicates, num_rows, num_classes = draw(some.integers(1, 4)), draw(some.integers(5, 25)), 4
    label = draw(arrays(np.int64, num_rows, elements=some.integers(0, num_classes - 1)))
    label[:num_classes] = range(num_classes)
    weight = draw(arrays(np.float64, (num_replicates, num_rows, num_classes), elements=some.integers(0, 3)))
    weight[weight.sum(axis=2) == 0] = 1
    return label, weight / weight.sum(axis=2, keepdims=True)


def per_replicate(oracle, label, probability):
    return [oracle(np.broadcast_to(label, probability.shape[:2])[i], p) for i, p in enumerate(probability)]


def binned_error(hit, confidence):
    """Expected calibration error from scikit-learn's reliability curve, which leaves out empty bins."""
    observed, predicted = calibration_curve(hit, confidence, n_bins=scores.NUM_BINS, strategy="uniform")
    bins = np.searchsorted(np.linspace(0, 1, scores.NUM_BINS + 1)[1:-1], confidence)
    count = np.unique(bins, return_counts=True)[1]
    return (count * np.abs(observed - predicted)).sum() / len(hit)


BINARY_ORACLES = {
    "auc": metrics.roc_auc_score,
    "average_precision": metrics.average_precision_score,
    "brier": metrics.brier_score_loss,
    "log_loss": lambda y, p: metrics.log_loss(y, p, labels=[0, 1]),
    "g_mean": lambda y, p: np.sqrt(metrics.recall_score(y, p > 0.5) * metrics.recall_score(y, p > 0.5, pos_label=0)),
    "accuracy": lambda y, p: metrics.accuracy_score(y, p > 0.5),
    "calibration_error": binned_error,
}
MULTICLASS_ORACLES = {
    "accuracy": lambda y, p: metrics.accuracy_score(y, p.argmax(axis=1)),
    "log_loss": metrics.log_loss,
    "calibration_error": lambda y, p: binned_error(p.argmax(axis=1) == y, p.max(axis=1)),
    "brier": metrics.brier_score_loss,
}


@pytest.mark.parametrize("name", scores.list_scores(1))
def test_binary_scores_agree_with_scikit_learn(name):
    @deterministic
    @given(binary_cases())
    def check(case):
        expected = per_replicate(BINARY_ORACLES[name], *case)
        np.testing.assert_allclose(scores.SCORES[name].function(*case), expected, rtol=1e-12, atol=1e-12)

    check()


@pytest.mark.parametrize("name", scores.list_scores(10))
def test_multiclass_scores_agree_with_scikit_learn(name):
    @deterministic
    @given(multiclass_cases())
    def check(case):
        expected = per_replicate(MULTICLASS_ORACLES[name], *case)
        np.testing.assert_allclose(scores.SCORES[name].function(*case), expected, rtol=1e-12, atol=1e-12)

    check()


@pytest.mark.parametrize(("outputs", "cases"), [(1, binary_cases()), (10, multiclass_cases())])
def test_contributions_of_rows_average_to_the_score(outputs, cases):
    @deterministic
    @given(cases)
    def check(case):
        for score in (scores.SCORES[name] for name in scores.list_scores(outputs)):
            if score.by_row:
                rows = score.by_row(*case)
                assert rows.shape == case[1].shape[:2]
                np.testing.assert_allclose(rows.mean(axis=1), score.function(*case), rtol=1e-12)

    check()


def test_a_perfect_answer_is_better_by_the_sign_of_every_score():
    label = np.array([[0, 1, 0, 1]])
    for score in scores.SCORES.values():
        perfect, wrong = score.function(label, label.astype(float)), score.function(label, 1.0 - label)
        assert score.sign * perfect > score.sign * wrong


def test_decisions_and_their_commonest_answer():
    binary = np.array([[0.5, 0.5, 0.1, 0.9], [0.6, 0.7, 0.8, 0.9]])
    several = np.array([[[0.2, 0.4, 0.4], [0.5, 0.5, 0.0]], [[0.1, 0.2, 0.7], [0.0, 0.0, 1.0]]])
    assert scores.decide(binary).tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]
    assert scores.decide(several).tolist() == [[1, 0], [2, 2]], "the first of equals"
    assert scores.gives_one_answer(binary).tolist() == [False, True]
    assert scores.gives_one_answer(several).tolist() == [False, True]


def test_log_loss_is_clipped_by_the_type_of_the_probabilities():
    label = [1, 0]
    for dtype in (np.float32, np.float64):
        certain_error = scores.SCORES["log_loss"].function(label, np.array([[0, 1]], dtype=dtype))
        assert certain_error == pytest.approx([-np.log(float(np.finfo(dtype).eps))], rel=1e-12)


@pytest.mark.parametrize("wrong", [np.nan, 1.5, -0.1])
def test_what_is_no_probability_is_refused(wrong):
    for score in scores.SCORES.values():
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\], without NaN; apply the sigmoid"):
            score.function([0, 1], np.array([[0.5, wrong]]))


def test_no_skill_scores_what_closed_forms_say():
    label = np.array([[0] * 80 + [1] * 14, [0] * 47 + [1] * 47])
    share = label.mean(axis=1)
    guess = np.broadcast_to(share[:, None, None], (*label.shape, 1))
    expected = {
        "auc": 0.5,
        "accuracy": 1 - share,
        "brier": share * (1 - share),
        "log_loss": stats.bernoulli(share).entropy(),
        "calibration_error": 0,
        "g_mean": 0,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(scores.measure_no_skill(name, label, guess), values, rtol=1e-10, err_msg=name)
    assert scores.list_scores(1) == [*list(expected)[:2], "average_precision", *list(expected)[2:]]


def test_no_skill_of_several_classes_scores_what_closed_forms_say():
    label, share = np.array([0] * 5 + [1] * 3 + [2] * 2), np.array([0.5, 0.3, 0.2])
    guess = np.broadcast_to(share, (1, 10, 3))
    expected = {"accuracy": 0.5, "brier": 1 - share @ share, "log_loss": stats.entropy(share), "calibration_error": 0}
    for name in scores.list_scores(3):
        assert scores.measure_no_skill(name, label, guess) == pytest.approx(expected[name], rel=1e-10), name


@pytest.mark.parametrize(("num_rows", "num_positives"), [(2, 1), (5, 1), (6, 2), (7, 4), (7, 6)])
def test_no_skill_average_precision_is_the_mean_over_all_rankings(num_rows, num_positives):
    chosen = itertools.combinations(range(num_rows), num_positives)
    labels = np.array([[int(row in positives) for row in range(num_rows)] for positives in chosen])
    ranking = np.broadcast_to(np.linspace(1, 0, num_rows), labels.shape)
    expected = scores.average_precision(labels, ranking).mean()
    found = scores.measure_no_skill("average_precision", labels[:1], np.full((1, num_rows, 1), 0.5))
    assert found == pytest.approx(expected, rel=1e-10)
