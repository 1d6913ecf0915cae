"""The table of scores: how good predictions on held-out rows are, which direction is better, and what is decided.

Layout  probability  [replicate, row] of class 1 (binary), or [replicate, row, class] (multiclass), each in [0, 1]
        label        [replicate, row], or [row] where all replicates share the rows; integers from 0
Result  [replicate], float64; a `row_` form gives what each row adds, [replicate, row], whose mean is the score

A decision takes class 1 where its probability exceeds 0.5, or the most probable class, the first of equals.
Of rows of one class only AUC, average precision and G-mean are not defined: protocols hold out every class.
To add a score: its function and its line in SCORES.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ClassNumbers = NDArray[np.intp]

THRESHOLD = 0.5  # probability of class 1 above which it is predicted
NUM_BINS = 15  # calibration bins of equal width, as in Guo et al. 2017


def expect_probabilities(label: ArrayLike, probability: ArrayLike) -> tuple[ClassNumbers, NDArray[np.floating]]:
    """Label [replicate, row] and probability; ValueError where the latter is not in [0, 1]."""
    probability = np.asarray(probability)
    if not (probability.min() >= 0 and probability.max() <= 1):  # NaN is neither
        raise ValueError("probability must lie in [0, 1], without NaN; apply the sigmoid or the softmax first")
    return np.broadcast_to(np.asarray(label, np.intp), probability.shape[:2]), probability


def decide(probability: NDArray[np.floating]) -> ClassNumbers:
    """The predicted class, [replicate, row]."""
    return probability.argmax(axis=2) if probability.ndim == 3 else (probability > THRESHOLD).astype(np.intp)


def gives_one_answer(probability: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether all rows of a replicate are put into the same class, [replicate]."""
    decided = decide(probability)
    return (decided == decided[:, :1]).all(axis=1)


def rank(values: NDArray[np.floating]) -> Array:
    """Mid-ranks of each replicate's rows, [replicate, row]: from 1, tied rows share the mean of their ranks."""
    ranks = np.empty(values.shape)
    for row, found in zip(values, ranks, strict=True):
        order = np.argsort(row)
        ordered = row[order]  # looked up in its own order, which is several times faster than in any other
        found[order] = (np.searchsorted(ordered, ordered) + 1 + np.searchsorted(ordered, ordered, side="right")) / 2
    return ranks


def count_up_to(values: NDArray[np.floating]) -> NDArray[np.intp]:
    """How many rows of the replicate have a value that is not greater, [replicate, row]."""
    return np.array([np.searchsorted(np.sort(row), row, side="right") for row in values])


def auc(label: ArrayLike, probability: ArrayLike) -> Array:
    """Area under the ROC curve: the chance that a row of class 1 outranks one of class 0, a tie counting one half.

    (sum of the mid-ranks of class 1 - n1 (n1 + 1) / 2) / (n1 n0), from Mann-Whitney's U (Hanley and McNeil 1982).
    """
    label, probability = expect_probabilities(label, probability)
    positives = label.sum(axis=1)
    rank_sum = (rank(probability) * label).sum(axis=1)
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (label.shape[1] - positives))


def row_auc(label: ArrayLike, probability: ArrayLike) -> Array:
    """What each row adds to the AUC of its replicate, [replicate, row]; the mean over rows is the AUC.

    auc + n / n_c (w - auc). w is the share of the other class against which the row is ranked right, a tie counting one
    half; n_c is the number of rows of its own class. This is the influence function of the AUC plus its value (DeLong
    et al. 1988, structural components; LeDell, Petersen and van der Laan 2015, equation 5).
    """
    label, probability = expect_probabilities(label, probability)
    num_rows, positives = label.shape[1], label.sum(axis=1, keepdims=True)
    ranks, won = rank(probability), np.empty(label.shape)
    for replicate, positive in enumerate(label == 1):
        for member in (positive, ~positive):
            (within,) = rank(probability[replicate : replicate + 1, member])
            won[replicate, member] = (ranks[replicate, member] - within) / (num_rows - member.sum())
    won = np.where(label == 1, won, 1 - won)
    area = (won * label).sum(axis=1, keepdims=True) / positives
    return area + num_rows / np.where(label == 1, positives, num_rows - positives) * (won - area)


def average_precision(label: ArrayLike, probability: ArrayLike) -> Array:
    """Mean over the rows of class 1 of the precision among all rows ranked at least as high; tied rows enter together.

    Equal to sum_n (recall_n - recall_{n-1}) precision_n over the distinct thresholds, without interpolation.
    """
    label, probability = expect_probabilities(label, probability)
    hits = np.take_along_axis(label, np.argsort(-probability, axis=1), axis=1).cumsum(axis=1)
    depth = count_up_to(-probability)  # rows ranked at least as high as this one
    precision = np.take_along_axis(hits, depth - 1, axis=1) / depth
    return (precision * label).sum(axis=1) / label.sum(axis=1)


def g_mean(label: ArrayLike, probability: ArrayLike) -> Array:
    """Geometric mean of sensitivity and specificity (Kubat and Matwin 1997)."""
    label, probability = expect_probabilities(label, probability)
    right = decide(probability) == label
    specificity, sensitivity = (
        (right & (label == number)).sum(axis=1) / (label == number).sum(axis=1) for number in (0, 1)
    )
    return np.sqrt(specificity * sensitivity)


def row_accuracy(label: ArrayLike, probability: ArrayLike) -> Array:
    """1 where the decision is the label, else 0, [replicate, row]."""
    label, probability = expect_probabilities(label, probability)
    return (decide(probability) == label).astype(np.float64)


def row_brier(label: ArrayLike, probability: ArrayLike) -> Array:
    """Squared error of the probabilities, [replicate, row] (Brier 1950).

    Binary (p - y)^2, from 0 to 1; multiclass sum_c (p_c - [y = c])^2, from 0 to 2, as scikit-learn scales them.
    """
    label, probability = expect_probabilities(label, probability)
    if probability.ndim == 2:
        return (probability.astype(np.float64) - label) ** 2
    error = probability - (label[:, :, None] == np.arange(probability.shape[2])).astype(np.float64)
    return (error**2).sum(axis=2)


def row_log_loss(label: ArrayLike, probability: ArrayLike) -> Array:
    """-log of the probability given to what happened, [replicate, row], in nats.

    Probabilities are clipped to [eps, 1 - eps] with the eps of their own type, as scikit-learn does: a certain error
    costs 36.0 in float64 and 15.9 in float32.
    """
    label, probability = expect_probabilities(label, probability)
    eps = np.finfo(probability.dtype).eps
    if probability.ndim == 2:
        given = np.where(label == 1, probability, 1 - probability.astype(np.float64))
    else:
        given = np.take_along_axis(probability, label[:, :, None], axis=2)[:, :, 0].astype(np.float64)
    return -np.log(np.clip(given, eps, 1 - np.float64(eps)))


def score_from_rows(by_row: Callable[[ArrayLike, ArrayLike], Array]) -> Callable[[ArrayLike, ArrayLike], Array]:
    """The score of what each row adds."""
    return lambda label, probability: by_row(label, probability).mean(axis=1)


def calibration_error(label: ArrayLike, probability: ArrayLike) -> Array:
    """Expected calibration error: sum over bins of (rows in bin / rows) |mean confidence - share of hits|.

    Binary: confidence is the probability of class 1, a hit is class 1. Multiclass: confidence is the highest
    probability, a hit is a right decision (top label). Bins are (low, high], 15 of equal width (Guo et al. 2017):
    unlike bins of equal mass they are the same for all models, do not depend on the order of tied rows, and give the
    constant answer at the base rate 0. Upward biased where bins hold few rows: compare at equal numbers of rows.
    """
    label, probability = expect_probabilities(label, probability)
    hit = label if probability.ndim == 2 else decide(probability) == label
    confidence = (probability if probability.ndim == 2 else probability.max(axis=2)).astype(np.float64)
    num_replicates, num_rows = confidence.shape
    bin_index = np.searchsorted(np.linspace(0, 1, NUM_BINS + 1)[1:-1], confidence)
    bin_index += NUM_BINS * np.arange(num_replicates)[:, None]
    gap = np.bincount(bin_index.ravel(), (confidence - hit).ravel(), minlength=num_replicates * NUM_BINS)
    return np.abs(gap.reshape(num_replicates, NUM_BINS)).sum(axis=1) / num_rows


def random_average_precision(label: ArrayLike, probability: ArrayLike) -> Array:
    """Exact mean of the average precision over random rankings of n rows, n1 of them of class 1 (Bestgen 2015).

    q + (1 - q) H_n / n with q = (n1 - 1) / (n - 1) and H_n = 1 + 1/2 + ... + 1/n: above n1 / n, the more so the fewer
    the rows.
    """
    label, _ = expect_probabilities(label, probability)
    num_rows = label.shape[1]
    q = (label.sum(axis=1) - 1) / (num_rows - 1)
    return q + (1 - q) * (1 / np.arange(1, num_rows + 1)).mean()


class Score(NamedTuple):
    """All that is to be said of a score.

    label: its name for people.
    function: (label, probability) -> [replicate].
    by_row: what each row adds, (label, probability) -> [replicate, row]; None where that is not known.
    at_random: its mean over random orders of the rows, (label, probability) -> [replicate], where that is not what a
        constant probability scores; see `measure_no_skill`.
    proper: it is best for the true probabilities, so it judges probabilities and not decisions alone.
    binary, multiclass: the outcomes it is defined for.
    least, most: the smallest and the greatest value that it can have.
    """

    label: str
    function: Callable[[ArrayLike, ArrayLike], Array]
    greater_is_better: bool
    by_row: Callable[[ArrayLike, ArrayLike], Array] | None = None
    at_random: Callable[[ArrayLike, ArrayLike], Array] | None = None
    proper: bool = False
    binary: bool = True
    multiclass: bool = True
    least: float = 0.0
    most: float = 1.0

    @property
    def sign(self) -> int:
        """1 where greater is better, else -1: of two values the better one is greater after multiplication by it."""
        return 1 if self.greater_is_better else -1


SCORES: dict[str, Score] = {
    "auc": Score("AUC", auc, True, row_auc, multiclass=False),
    "accuracy": Score("accuracy", score_from_rows(row_accuracy), True, row_accuracy),
    "average_precision": Score(
        "average precision", average_precision, True, at_random=random_average_precision, multiclass=False
    ),
    "brier": Score("Brier score", score_from_rows(row_brier), False, row_brier, proper=True, most=2.0),
    "log_loss": Score("log loss", score_from_rows(row_log_loss), False, row_log_loss, proper=True, most=1000.0),
    "calibration_error": Score("calibration error", calibration_error, False),
    "g_mean": Score("G-mean", g_mean, True, multiclass=False),
}


def list_scores(outputs: int) -> list[str]:
    """The scores of a network with so many outputs; one output is a binary outcome."""
    return [name for name, score in SCORES.items() if (score.binary if outputs == 1 else score.multiclass)]


def measure(name: str, label: ArrayLike, probability: np.ndarray) -> Array:
    """A score [replicate] of labels [replicate, row] and probabilities [replicate, row, output]."""
    return SCORES[name].function(label, squeeze(probability))


def squeeze(probability: np.ndarray) -> np.ndarray:
    """[replicate, row, output] in the layout of this module: a single output loses its axis."""
    return probability[..., 0] if probability.shape[-1] == 1 else probability


def measure_no_skill(name: str, label: ArrayLike, probability: np.ndarray) -> Array:
    """`measure` for a guess, the same for all rows of a replicate; rounded, so that 0 is 0 without a rounding error."""
    score = SCORES[name]
    return (score.at_random or score.function)(label, squeeze(probability)).round(12)
