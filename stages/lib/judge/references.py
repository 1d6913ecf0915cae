"""The table of reference models: models of scikit-learn that a study's networks are compared with.

A builder takes one strength and a random state. Everything else about a model is written here and is the same for every
study: small models that suit 300 patients, and that two cores fit hundreds of times within a minute.
To add one: its builder, its line in REFERENCES, and the strengths it tries under `references` in params.yaml.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


def logistic_regression(strength: float, random_state: int) -> ClassifierMixin:
    """strength: C. Features are standardised, so that one list of C serves every study.

    tol: at 1e-3 the validation scores are those of 1e-4 to three digits, in a third of the time.
    """
    from sklearn.linear_model import LogisticRegression  # here, since `plan` reads the table without scikit-learn

    return standardize(LogisticRegression(C=strength, tol=1e-3, max_iter=1000, random_state=random_state))


def random_forest(strength: float, random_state: int) -> ClassifierMixin:
    """strength: min_samples_leaf."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, min_samples_leaf=int(strength), n_jobs=1, random_state=random_state)


def gradient_boosting(strength: float, random_state: int) -> ClassifierMixin:
    """strength: learning rate. The number of trees is fixed, so a low rate acts like stopping early.

    Trees are small and see a third of the features at each split: 300 patients with 45 deaths support no more.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

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
    """strength: alpha, for the penalty alpha / (2 * rows) * sum w^2.

    One hidden layer; L-BFGS is the solver that scikit-learn's guide advises for few rows. After 50 of its iterations
    the best alpha's validation score is what it is after 100.
    """
    from sklearn.neural_network import MLPClassifier

    return standardize(
        MLPClassifier(hidden_layer_sizes=(32,), alpha=strength, solver="lbfgs", max_iter=50, random_state=random_state)
    )


def standardize(model: ClassifierMixin) -> ClassifierMixin:
    """The model on features of mean 0 and deviation 1 over its training rows."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


class Reference(NamedTuple):
    """All that is to be said of a reference model.

    label: its name for people.
    build: from a strength, which its docstring explains, and a random state.
    whole_number: the strength counts something.
    stops_early: its number of iterations is part of the recipe, so it need not converge.
    """

    label: str
    build: Callable[[float, int], ClassifierMixin]
    whole_number: bool = False
    stops_early: bool = False


REFERENCES: dict[str, Reference] = {
    "logistic_regression": Reference("logistic regression", logistic_regression),
    "random_forest": Reference("random forest", random_forest, whole_number=True),
    "gradient_boosting": Reference("gradient boosting", gradient_boosting),
    "mlp": Reference("scikit-learn's MLP", mlp, stops_early=True),
}


def fit_reference(
    name: str, inputs: np.ndarray, labels: np.ndarray, *, strength: float, random_state: int
) -> ClassifierMixin:
    """A fitted model; inputs [row, feature], labels [row]."""
    from sklearn.exceptions import ConvergenceWarning

    model = REFERENCES[name].build(strength, random_state)
    with warnings.catch_warnings():
        if REFERENCES[name].stops_early:
            warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(inputs, labels)


def predict_reference(model: ClassifierMixin, inputs: np.ndarray, *, outputs: int) -> np.ndarray:
    """Probabilities [row, output] float32; one output is class 1. A class that no training row has gets 0."""
    probability = np.zeros((len(inputs), max(outputs, 2)), np.float32)
    probability[:, model.classes_] = model.predict_proba(inputs)
    return probability[:, 1:] if outputs == 1 else probability
