"""Synthetic twins of the Thoracic table: real rows resampled, measures jittered, outcomes drawn from a known risk.

A risk is a score of the standardised features of a patient. Its strength 0 is no signal; at 1 the best possible AUC is
that of a logistic regression fitted to the real table; at 2 the logits of that regression are doubled. Other risks are
scaled to the same AUC, so that the strengths of all risks mean the same. Every table is drawn from a seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from stages.lib.data.dataset import Encoder
from stages.lib.data.thoracic_surgery import FEATURES, LABEL, expand_columns, fit_thoracic_encoder, read_thoracic

SOURCE = Path("data/source/thoracic_surgery.csv")
JITTER = 0.25  # of a measure's interquartile range: standard deviation of the noise on PRE4, PRE5 and AGE
JITTERED = {"PRE4": 2, "PRE5": 2, "AGE": 0}  # measure -> decimals of the file
NUM_CALIBRATION = 20_000  # patients on which risks are scaled

Risk = Callable[[np.ndarray], np.ndarray]  # features [row, feature] -> score [row], any scale


def read_table() -> pd.DataFrame:
    """The real table, as the project carries it."""
    return read_thoracic(SOURCE.read_bytes())


@dataclass(frozen=True)
class Population:
    """The real table as a source of patients, with what scales a risk: logit = offset + scale * score."""

    table: pd.DataFrame
    encoder: Encoder
    regression: LogisticRegression

    @classmethod
    def fit(cls, table: pd.DataFrame) -> Population:
        columns = expand_columns(table)
        encoder = fit_thoracic_encoder(columns)
        regression = LogisticRegression(C=1.0, max_iter=10_000).fit(encoder.transform(columns), table[LABEL])
        return cls(table, encoder, regression)

    def encode(self, patients: pd.DataFrame) -> np.ndarray:
        """Inputs float32 [row, feature], encoded as those of the real table."""
        return self.encoder.transform(expand_columns(patients))

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


@dataclass(frozen=True)
class Twin:
    """One drawn table: outcome [row], and what encodes all rows [row, feature] by the training rows it is given."""

    label: np.ndarray
    encode: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """A risk at a strength, scaled: the chance of death of patients is expit(offset + scale * score)."""

    risk: str
    strength: float
    offset: float
    scale: float

    @property
    def name(self) -> str:
        return f"{self.risk}_{self.strength:g}"

    def draw(self, population: Population, num_rows: int, rng: np.random.Generator) -> Twin:
        """One twin of the table, outcomes included, encoded as the stage `preprocess` does."""
        drawn = population.draw_patients(num_rows, rng)
        score = RISKS[self.risk](population)(population.encode(drawn))
        outcome = rng.random(num_rows) < expit(self.offset + self.scale * score)
        columns = expand_columns(drawn)
        return Twin(outcome.astype(np.uint8), lambda rows: fit_thoracic_encoder(columns[rows]).transform(columns))


def scale_risk(population: Population, risk: str, strength: float, *, seed: int = 0) -> Setting:
    """Offset for the real death rate, and the scale that gives the best possible AUC its value at this strength."""
    features = population.encode(population.draw_patients(NUM_CALIBRATION, np.random.default_rng(seed)))
    score = RISKS[risk](population)(features)
    logit = strength * population.regression.decision_function(features)
    target = expected_auc(logit, fit_offset(logit, population.prevalence))

    def offset_at(scale: float) -> float:
        return fit_offset(scale * score, population.prevalence)

    if strength == 0:
        return Setting(risk, strength, offset_at(0.0), 0.0)
    scale = brentq(
        lambda x: expected_auc(x * score, offset_at(x)) - target, 1e-3, 100 / score.std(), xtol=1e-4, rtol=1e-4
    )
    return Setting(risk, strength, offset_at(scale), float(scale))


def fit_offset(logit: np.ndarray, prevalence: float) -> float:
    """The offset at which the mean risk is the prevalence."""
    return float(brentq(lambda x: expit(x + logit).mean() - prevalence, -200, 200))


def expected_auc(logit: np.ndarray, offset: float) -> float:
    """AUC of the true risk p itself, over its outcomes: sum p_i (1 - p_j) [p_i > p_j] / sum p_i (1 - p_j)."""
    risk = expit(offset + logit)
    order = np.argsort(risk)
    dead, alive = risk[order], 1 - risk[order]
    below = np.cumsum(alive) - alive / 2  # equal risks count one half on average
    return float((dead * below).sum() / (dead.sum() * alive.sum()))


# Exchangeable features -----------------------------------------------------------------------------------------------

NUM_SHARED, NUM_BLOCKS, BLOCK_SIZE = 6, 5, 3  # normal features: some for all, and blocks that are as good as each other
SHARED_WEIGHT, BLOCK_WEIGHT = 0.35, 0.15  # logits per standard deviation


def draw_exchangeable(prevalence: float, num_rows: int, rng: np.random.Generator) -> Twin:
    """Normal features in exchangeable blocks: networks that each do without one block are equal by construction."""
    weights = np.r_[np.full(NUM_SHARED, SHARED_WEIGHT), np.full(NUM_BLOCKS * BLOCK_SIZE, BLOCK_WEIGHT)]
    quantiles = norm.ppf((np.arange(1000) + 0.5) / 1000) * np.sqrt((weights**2).sum())
    features = rng.normal(size=(num_rows, len(weights)))
    risk = expit(fit_offset(quantiles, prevalence) + features @ weights)
    label = (rng.random(num_rows) < risk).astype(np.uint8)

    def encode(rows: np.ndarray) -> np.ndarray:
        return StandardScaler().fit(features[rows]).transform(features).astype(np.float32)

    return Twin(label, encode)


def mask_block(block: int) -> np.ndarray:
    """[feature], 0 for the features of a block and 1 for the others."""
    mask = np.ones(NUM_SHARED + NUM_BLOCKS * BLOCK_SIZE, np.float32)
    mask[NUM_SHARED + block * BLOCK_SIZE : NUM_SHARED + (block + 1) * BLOCK_SIZE] = 0
    return mask


# Risks ---------------------------------------------------------------------------------------------------------------


def logistic(population: Population) -> Risk:
    """The regression of the real table."""
    return population.regression.decision_function


def sparse(population: Population) -> Risk:
    """Two features carry everything."""
    first, second = FEATURES.index("PRE14"), FEATURES.index("AGE")
    return lambda features: features[:, first] + 0.7 * features[:, second]


def interaction(population: Population) -> Risk:
    """Products and a bend, hardly any main effect: what a network can learn and a regression cannot."""
    age, size, volume, pain = (FEATURES.index(name) for name in ("AGE", "PRE14", "PRE4", "PRE11"))
    return lambda x: x[:, age] * x[:, size] - x[:, volume] * x[:, pain] + 0.7 * (x[:, volume] ** 2 - 1)


def heavy_tailed(population: Population) -> Risk:
    """Weights from Student's t with 2 degrees of freedom on all features, the same for every table."""
    weights = np.random.default_rng(7).standard_t(2, len(FEATURES))
    return lambda features: features @ weights


RISKS: dict[str, Callable[[Population], Risk]] = {
    "logistic": logistic,
    "sparse": sparse,
    "interaction": interaction,
    "heavy_tailed": heavy_tailed,
}
