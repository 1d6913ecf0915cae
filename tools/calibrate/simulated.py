"""Studies and tables of made-up arms whose truth is known: regressions in the place of networks, and no training.

Blocks of features are exchangeable, so arms that do without as many of them are equal by construction, and those that
do without fewer are better. There are as many arms as in a real study, and as many studies as the counts need. Beside
them stand tables with several rows of each patient, and effects on several tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from stages.lib.data.protocols import Split
from stages.lib.judge.comparison import Difference
from stages.lib.judge.plans import StudyPlan
from stages.lib.judge.pooling import find_unbeaten, pool
from stages.lib.judge.predictions import Predictions, StudyPredictions
from tools.calibrate import training

NUM_SHARED, NUM_BLOCKS, NUM_NOISE = 6, 24, 30  # features: for all arms, one in each block, and useless ones
SHARED_WEIGHT, BLOCK_WEIGHT, RATE = 0.35, 0.25, 0.2  # logits per standard deviation; share of class 1
NUM_ARMS, LEFT_OUT, RIDGE = 20, 4, 0.3  # beside the baseline; blocks that an arm does without; penalty per row
SIMULATED = {"equal": (470, 0), "some_better": (470, 5), "large": (1500, 5)}  # rows, arms that lack one block alone
NUM_TABLES, TABLE_ARMS, NUM_FLIPS = (11, 27, 60), 22, 2_500  # of studies over tables
TABLE_SPREAD = 0.6  # of true effects between tables, as a part of the spread of those that are seen
EFFECTS = {"l1": -0.015 / 0.016, "l2": -0.011 / 0.0125, "label_smoothing": -0.009 / 0.0118}  # mean / spread of tables
SHARE_BEFORE, ARMS_BEFORE = 0.2 / 0.75, 19  # of the chance of an error, for a question about so many arms
NUM_COMPARED = 30  # simulated studies of a setting whose sets of the best are counted, and other methods tried
SETS = ("equal_7/at_knob", "better_1/at_knob")  # arms whose place in the set is counted
NUM_PATIENTS, NUM_VISITS, VISIT_SD = 150, 3, 0.1  # rows of a patient; noise between them, of features with variance 1
NUM_MEASURES, STRENGTH, PENALTIES = 8, 1.0, (1.0, 0.01)  # columns; sd of the logit; C of a regression, and of its rival


def judge_simulated(number: int, *, setting: str, study: training.PlannedStudy, seed: int) -> pd.DataFrame:
    """One simulated study."""
    predicted = simulate_study(setting, number, seed, study.study)
    if number < NUM_COMPARED:
        return training.judge_twin(predicted, study, methods=training.METHODS, in_sets=SETS)
    return training.judge_twin(predicted, study)


def simulate_study(setting: str, number: int, seed: int, plan: StudyPlan) -> training.Predicted:
    """One table, and all arms on it; drawn from (seed, number) alone."""
    num_rows, num_better = SIMULATED[setting]
    rng = np.random.default_rng([seed, number, *setting.encode()])
    features = rng.normal(size=(num_rows, NUM_SHARED + NUM_BLOCKS + NUM_NOISE))
    weights = np.repeat([SHARED_WEIGHT, BLOCK_WEIGHT, 0.0], [NUM_SHARED, NUM_BLOCKS, NUM_NOISE])
    label = (rng.random(num_rows) < expit(features @ weights + np.log(RATE / (1 - RATE)))).astype(np.uint8)
    split = plan.protocol.split(label, num_own_test=0, seed=number)
    fit = Ridge(features, label, split)
    predicted = {name: fit.predict(columns, RIDGE) for name, columns in choose_features(num_better).items()}
    at_end = {plan.baseline: fit.predict(np.arange(features.shape[1]), 1e-6)}
    labels = training.label_split(label, split)
    plan = training.choose_variants(plan, predicted, [name for name in predicted if name != plan.baseline])
    return training.Predicted(labels, training.name_arms(plan, StudyPredictions(labels, predicted, at_end=at_end)))


def choose_features(num_better: int) -> dict[str, np.ndarray]:
    """Arm -> its columns: the shared ones, and all blocks but some of its own; the same for every table."""
    rng, kept = np.random.default_rng(5), {}
    for place in range(NUM_ARMS + 1):
        name = f"{'better' if place <= num_better else 'equal'}_{place}" if place else "unregularized"
        left_out = [place] if name.startswith("better") else rng.choice(NUM_BLOCKS, LEFT_OUT, replace=False)
        kept[name] = np.r_[np.arange(NUM_SHARED), NUM_SHARED + np.setdiff1d(np.arange(NUM_BLOCKS), left_out)]
    return kept


class Ridge:
    """Linear models of the probability, for each replicate of a split, from moments that all arms share."""

    def __init__(self, features: np.ndarray, label: np.ndarray, split: Split):
        self.features, self.split = features, split
        inputs, outcome = features[split.training], label[split.training]  # [replicate, row, column], [replicate, row]
        self.mean, self.rate = inputs.mean(axis=1), outcome.mean(axis=1, keepdims=True)
        centred = inputs - self.mean[:, None]
        self.gram = centred.transpose(0, 2, 1) @ centred / inputs.shape[1]
        self.cross = np.einsum("krc,kr->kc", centred, outcome - self.rate) / inputs.shape[1]

    def predict(self, columns: np.ndarray, penalty: float) -> Predictions:
        """Probabilities within [0.01, 0.99] of the training, validation and test rows."""
        gram = self.gram[:, columns][:, :, columns] + penalty * np.eye(len(columns))
        slope = np.linalg.solve(gram, self.cross[:, columns, None])[..., 0]
        offset = self.rate - (self.mean[:, columns] * slope).sum(axis=1, keepdims=True)
        raw = np.clip(slope @ self.features[:, columns].T + offset, 0.01, 0.99)[..., None].astype(np.float32)
        places = np.arange(len(raw))[:, None]
        training, validation, test = (raw[places, rows] for rows in self.split)
        return Predictions(places[:, 0], {}, training, validation, test, {})


def draw_repeated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and patient of each row; a patient's rows are nearly alike, and the outcome is the patient's."""
    patients = rng.normal(size=(NUM_PATIENTS, NUM_MEASURES))
    logit = STRENGTH * patients @ np.full(NUM_MEASURES, NUM_MEASURES**-0.5)
    died = (rng.random(NUM_PATIENTS) < expit(logit)).astype(np.uint8)
    groups = np.repeat(np.arange(NUM_PATIENTS), NUM_VISITS)
    return patients[groups] + rng.normal(0, VISIT_SD, (len(groups), NUM_MEASURES)), died[groups], groups


def judge_repeated(number: int, *, setting: str, study: training.PlannedStudy, seed: int) -> pd.DataFrame:
    """A logistic regression against another, and against no skill, on one table; drawn from (seed, number) alone.

    Folds hold whole patients. Of the same difference there is the interval that counts patients, and one that counts
    rows, as if each was by itself.
    """
    features, label, groups = draw_repeated(np.random.default_rng([seed, number, *setting.encode()]))
    split = study.study.protocol.split(label, num_own_test=0, seed=number, groups=groups)
    model, rival = (fit_logistic(features, label, split, penalty) for penalty in PENALTIES)
    found = []
    for unit, units in (("patients", groups), ("rows", None)):
        arms = {"unregularized/at_knob": rival, f"{unit}/counted": model}
        found.append(training.judge_twin(training.Predicted(training.label_split(label, split, units), arms), study))
    return pd.concat(found).query("arm != 'unregularized/at_knob'").assign(asked=False)


def fit_logistic(features: np.ndarray, label: np.ndarray, split: Split, penalty: float) -> np.ndarray:
    """Probabilities of the test rows, [replicate, row]."""
    model = LogisticRegression(C=penalty, solver="newton-cholesky")
    parts = zip(split.training, split.test, strict=True)
    both = [model.fit(features[rows], label[rows]).predict_proba(features[test]) for rows, test in parts]
    return np.array(both)[..., 1]


@dataclass(frozen=True)
class World:
    """Tables on which effects are simulated.

    skewness: of a table's error, as that of a mean over rows of which few count most; on eleven real tables its root
        mean square is 0.28, with both signs.
    ratio: of the greatest standard error of a table to the least.
    grows: whether true effects are in proportion to the standard error.
    """

    skewness: float = 0.0
    ratio: float = 1.0
    grows: bool = False

    def draw(self, truth: np.ndarray, num_tables: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Effects as they are seen and as they are, [table, arm], in units of their spread; truth: their means.

        An error is in equal parts that of the baseline, which arms share, and of the arm.
        """
        error = rng.permutation(np.geomspace(1, self.ratio, num_tables))[:, None]
        error /= np.sqrt((error**2).mean())
        sizes = error if self.grows else np.ones_like(error)
        shape = (num_tables, 1 + len(truth))
        noise = rng.normal(size=shape)
        if self.skewness:
            degree = 4 / self.skewness**2  # of a gamma distribution
            noise = (rng.gamma(degree, size=shape) - degree) / np.sqrt(degree)
        own = truth * sizes / sizes.mean() + TABLE_SPREAD * sizes * rng.normal(size=(num_tables, len(truth)))
        return own + error * (noise[:, :1] + noise[:, 1:]) * np.sqrt((1 - TABLE_SPREAD**2) / 2), own


WORLDS = {
    "alike": World(),
    "skewed": World(skewness=0.5),
    "unequal": World(ratio=10.0),
    "growing": World(skewness=0.5, ratio=10.0, grows=True),
}


def simulate_tables(number: int, *, world: str, seed: int, confidence: float) -> list[dict[str, bool | int]]:
    """One study for each number of tables, whether what is said of it is right; every second one without any effect.

    found_...: whether an arm that helps is found, as now, and by what was done before: a t-test by Bonferroni, within
    the share that the question about regularisers had.
    """
    rng, rows, flips = np.random.default_rng([seed, number, *world.encode()]), [], NUM_FLIPS
    truth = np.zeros(TABLE_ARMS)
    if number % 2:
        truth[: len(EFFECTS)] = list(EFFECTS.values())
    blank = (0.0, 0.0, 0.0, 0.0, 0.5, 0.5)
    for num_tables in NUM_TABLES:
        seen, own = WORLDS[world].draw(truth, num_tables + 1, rng)
        seen, new = seen[:-1], own[-1, -1]
        values = {str(arm): column for arm, column in enumerate(seen.T)}
        effects = {arm: [Difference(each, *blank, "inconclusive") for each in column] for arm, column in values.items()}
        pooled = pool(effects, sign=-1, margin=0.0, confidence=confidence, num_flips=flips, seed=number)
        last, found = pooled[str(TABLE_ARMS - 1)], [pooled[arm].verdict in ("better", "worse") for arm in effects]
        p_before = stats.ttest_1samp(seen, 0).pvalue
        row: dict[str, bool | int] = {
            "tables": num_tables,
            "family_wise_error": any(np.array(found)[truth == 0]),
            "all_intervals": all(pooled[arm].low <= truth[int(arm)] <= pooled[arm].high for arm in effects),
            "new_table": bool(last.new_low <= new <= last.new_high),
        }
        if number % 2:
            best = find_unbeaten(values, sign=-1, confidence=confidence, num_flips=flips, seed=number)
            row["best_set"] = "0" in best
            for place, arm in enumerate(EFFECTS):
                row[f"found_{arm}"] = found[place]
                row[f"found_{arm}_before"] = bool(p_before[place] < (1 - confidence) * SHARE_BEFORE / ARMS_BEFORE)
        rows.append(row)
    return rows
