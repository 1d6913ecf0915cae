"""Synthetic twins of the Thoracic table: patients drawn from it, measures jittered, outcomes drawn from a known risk.

A risk is a score of the standardised features of a patient. Its strength 0 is no signal; at 1 the best possible AUC is
that of a logistic regression fitted to the real table. Other risks are scaled to the same AUC, so that the strengths of
all risks mean the same. Every twin is drawn from a seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from stages.lib.data.dataset import Rows
from stages.lib.data.samples import Encoder
from stages.lib.data.thoracic_surgery import FEATURES, LABEL, expand_columns, fit_thoracic_encoder, read_thoracic

SOURCE = Path("data/source/thoracic_surgery.csv")
JITTER = 0.25  # of a measure's interquartile range: standard deviation of the noise on PRE4, PRE5 and AGE
JITTERED = {"PRE4": 2, "PRE5": 2, "AGE": 0}  # measure -> decimals of the file
NUM_CALIBRATION = 20_000  # patients on which risks are scaled
SMALL_TABLE = 240  # rows of the settings in SMALL


@dataclass(frozen=True)
class Population:
    """The real table as a source of patients, and the regression that strengths of a risk are measured by."""

    table: pd.DataFrame
    encoder: Encoder
    regression: LogisticRegression

    @classmethod
    def fit(cls) -> Population:
        table = read_thoracic(SOURCE.read_bytes())
        columns = expand_columns(table)
        encoder = fit_thoracic_encoder(columns)
        regression = LogisticRegression(C=1.0, max_iter=10_000).fit(encoder.transform(columns), table[LABEL])
        return cls(table, encoder, regression)

    @property
    def prevalence(self) -> float:
        return float(self.table[LABEL].mean())

    def draw_patients(self, num_rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Patients without outcome: rows drawn with replacement, measures jittered inside the range of the file."""
        rows = rng.integers(len(self.table), size=num_rows)
        drawn = self.table.iloc[rows].reset_index(drop=True).assign(id=np.arange(1, num_rows + 1))
        for name, decimals in JITTERED.items():
            column = self.table[name]
            spread = JITTER * (column.quantile(0.75) - column.quantile(0.25))
            noisy = drawn[name] + rng.normal(0, spread, num_rows)
            drawn[name] = noisy.round(decimals).clip(column.min(), column.max()).astype(column.dtype)
        return drawn


def draw_twin(population: Population, setting: str, number: int, seed: int) -> Rows:
    """One twin of the table in a setting, drawn from (seed, number) alone; it is encoded as the table itself is."""
    rng = np.random.default_rng([seed, number, *setting.encode()])
    risk, strength = SETTINGS[setting]
    num_rows = SMALL_TABLE if setting in SMALL else len(population.table)
    offset, scale = scale_risk(population, risk, strength)
    columns = expand_columns(population.draw_patients(num_rows, rng))
    died = rng.random(num_rows) < expit(offset + scale * risk(population, population.encoder.transform(columns)))
    return Rows(died.astype(np.uint8), columns, FEATURES, fit=fit_thoracic_encoder)


def scale_risk(population: Population, risk: Risk, strength: float) -> tuple[float, float]:
    """Offset and scale: the chance of death is expit(offset + scale * risk).

    They give the real death rate, and the best possible AUC its value at this strength.
    """
    patients = population.draw_patients(NUM_CALIBRATION, np.random.default_rng(0))
    features = population.encoder.transform(expand_columns(patients))
    score, logit = risk(population, features), strength * logistic(population, features)
    target = expected_auc(logit, fit_offset(logit, population.prevalence))

    def excess_at(scale: float) -> float:
        return expected_auc(scale * score, fit_offset(scale * score, population.prevalence)) - target

    scale = float(brentq(excess_at, 1e-3, 100 / score.std(), xtol=1e-4, rtol=1e-4)) if strength else 0.0
    return fit_offset(scale * score, population.prevalence), scale


def fit_offset(logit: np.ndarray, prevalence: float) -> float:
    """The offset at which the mean risk is the prevalence."""
    return float(brentq(lambda x: expit(x + logit).mean() - prevalence, -50 - logit.max(), 50 - logit.min()))


def expected_auc(logit: np.ndarray, offset: float) -> float:
    """AUC of the true risk p itself, over its outcomes: sum p_i (1 - p_j) [p_i > p_j] / sum p_i (1 - p_j)."""
    risk = expit(offset + logit)
    return float(roc_auc_score(np.repeat([1, 0], len(risk)), np.tile(risk, 2), sample_weight=np.r_[risk, 1 - risk]))


# Risks: features [row, feature] to a score [row], on any scale -------------------------------------------------------


def logistic(population: Population, features: np.ndarray) -> np.ndarray:
    """The regression of the real table."""
    return population.regression.decision_function(features)


def steps(population: Population, features: np.ndarray) -> np.ndarray:
    """Thresholds: the risk jumps where one of three measures is high, and is flat between."""
    return (np.column_stack(pick_columns(features, "AGE", "PRE14", "PRE4")) > 0.3) @ np.array([1.0, 1.5, -1.0])


def bumps(population: Population, features: np.ndarray) -> np.ndarray:
    """Waves: the risk rises and falls along each of two measures."""
    age, volume = pick_columns(features, "AGE", "PRE4")
    return np.sin(2 * age) + np.cos(2 * volume)


def centres(population: Population, features: np.ndarray) -> np.ndarray:
    """Clusters: the risk falls with the distance from the nearest of four typical patients, the same for every twin."""
    typical = np.random.default_rng(8).normal(size=(4, features.shape[1]))
    return np.exp(-((features[:, None] - typical) ** 2).mean(axis=2)).max(axis=1)


def pick_columns(features: np.ndarray, *names: str) -> list[np.ndarray]:
    return [features[:, FEATURES.index(name)] for name in names]


Risk = Callable[[Population, np.ndarray], np.ndarray]
SETTINGS: dict[str, tuple[Risk, float]] = {  # risk, strength of its signal; at strength 0 all risks are the same
    "none": (logistic, 0.0),
    "table": (logistic, 1.0),
    "steps": (steps, 1.0),
    "bumps": (bumps, 1.0),
    "centres": (centres, 1.0),
    "small": (steps, 1.0),
}
SMALL = ("small",)
CHOSEN_ON = ("none", "table")  # what shaped constants of the method
