"""Models of scikit-learn that a study's networks are measured against.

A builder takes one strength and a random state. All else a model could be told stands here and is the same for every
study: small recipes that 300 patients bear, and that two cores fit hundreds of times within a minute.
"""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def logistic_regression(strength: float, random_state: int) -> ClassifierMixin:
    """strength: C. Features are standardised, so that one grid of C serves every study.

    tol: at 1e-3 the validation scores are those of 1e-4 to three digits, in a third of its time.
    """
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, tol=1e-3, max_iter=1000, random_state=random_state)
    )


def random_forest(strength: float, random_state: int) -> ClassifierMixin:
    """strength: min_samples_leaf."""
    return RandomForestClassifier(n_estimators=100, min_samples_leaf=int(strength), n_jobs=1, random_state=random_state)


def gradient_boosting(strength: float, random_state: int) -> ClassifierMixin:
    """strength: learning rate; the number of trees is fixed, so a low rate is what stopping early would be.

    Trees are small and see a third of the features at each split, since 300 patients with 45 deaths bear no more.
    """
    return HistGradientBoostingClassifier(
        learning_rate=strength,
        max_iter=100,
        max_leaf_nodes=4,
        min_samples_leaf=5,
        max_features=0.3,
        early_stopping=False,
        random_state=random_state,
    )


def mlp(strength: float, random_state: int) -> ClassifierMixin:
    """strength: alpha, as the penalty alpha / (2 * rows) * sum w^2.

    One hidden layer; L-BFGS is the solver that scikit-learn's guide advises for few rows. After 50 of its iterations
    the best alpha's validation score is what it is after 100.
    """
    network = MLPClassifier(
        hidden_layer_sizes=(32,), alpha=strength, solver="lbfgs", max_iter=50, random_state=random_state
    )
    return make_pipeline(StandardScaler(), network)


def majority(strength: float, random_state: int) -> ClassifierMixin:
    """The shares of the classes among the training rows, for every row; it has no strength."""
    return DummyClassifier(strategy="prior", random_state=random_state)


Builder = Callable[[float, int], ClassifierMixin]
REFERENCES: dict[str, Builder] = {
    "logistic_regression": logistic_regression,
    "random_forest": random_forest,
    "gradient_boosting": gradient_boosting,
    "mlp": mlp,
    "majority": majority,
}
NOT_CONVERGED = ("mlp",)  # its number of iterations is part of the recipe, as a network's epochs are


def fit_reference(
    name: str, inputs: np.ndarray, labels: np.ndarray, *, strength: float, random_state: int
) -> ClassifierMixin:
    """A fitted model; inputs [row, feature], labels [row]."""
    model = REFERENCES[name](strength, random_state)
    with warnings.catch_warnings():
        if name in NOT_CONVERGED:
            warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(inputs, labels)


def predict_reference(model: ClassifierMixin, inputs: np.ndarray, *, outputs: int) -> np.ndarray:
    """Probabilities [row, output] float32; one output is class 1. A class that no training row has gets 0."""
    probability = np.zeros((len(inputs), max(outputs, 2)), np.float32)
    probability[:, model.classes_] = model.predict_proba(inputs)
    return probability[:, 1:] if outputs == 1 else probability
