"""Results of two made-up studies, one of a table and one of images: what a report is written from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from stages import compare, report
from stages.lib.claims.judging import ClaimResult, QuantityResult
from stages.lib.data.protocols import FixedTest
from stages.lib.judge.arms import build_arms
from stages.lib.judge.comparison import StudyResult
from stages.lib.judge.plans import ComparedVariant, StudyPlan
from stages.lib.judge.predictions import Labels, Predictions, StudyPredictions
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RunPlan
from stages.lib.lanes.run import TrainedRun
from stages.lib.measured import OVER_TABLES
from stages.lib.report.answers import choose_arms
from stages.lib.report.page import StudyPart
from stages.lib.report.study import StudyRecords, draw_study
from stages.lib.settings.schema import read_statistics
from tests.conftest import ROOT

REPLICATES, ROWS, EPOCHS = 6, 120, 12
STATISTICS = read_statistics((ROOT / "params.yaml").read_text())
HOSTILE = '<img src=x onerror="alert(1)">|nan'
SKILL = {"unregularized": 1.0, "l2": 2.5, "dropout": 1.2, HOSTILE: 0.2}
DATASET = 'results: 2024 #1 "final" [x].csv'
PATHS = {"l2": [0.01, 0.1]}
QUANTITY = QuantityResult("gain", "nats <saved>", ["table"], 0.2, 0.1, 0.3, "supported")
CLASSES = {1: ("nan", HOSTILE), 3: ("hat", "shoe", "1")}


def make_files(*parts: StudyPart, audit=None) -> dict[Path, str]:
    """A report of these studies, or of both; with calibration and audit."""
    claim = ClaimResult("C1", "Stopping <early> helps", "supported", [QUANTITY])
    parts = parts or make_parts()
    return report.run(
        {records.plan.task: result for result, records in make_studies()},
        {part.name: part for part in parts},
        [claim] if audit is None else audit,
        make_calibration(),
        STATISTICS,
    )


def make_parts() -> tuple[StudyPart, ...]:
    return tuple(draw_study(*study) for study in make_studies())


def make_studies() -> tuple[tuple[StudyResult, StudyRecords], ...]:
    return make_study("table", 1), make_study("pictures", 3)


def make_study(name: str, outputs: int, task: str = "") -> tuple[StudyResult, StudyRecords]:
    """A study and what its stages have left; task: of one data set among several."""
    generator = np.random.default_rng(outputs)
    labels = make_labels(generator, outputs)
    predicted = {variant: make_predictions(generator, labels, outputs, variant) for variant in SKILL}
    at_end = {variant: make_predictions(generator, labels, outputs, variant, share=0.6) for variant in SKILL}
    plan = StudyPlan(
        task=task or name, dataset=f"{DATASET} {name}", features="encoded", outputs=outputs, baseline="unregularized",
        scores={"discrimination": "auc" if outputs == 1 else "accuracy", "probabilities": "log_loss"},
        select_by="log_loss", protocol=FixedTest(kind="fixed_test", seeds=REPLICATES, validation=0.2, test=0.2), seed=3,
        variants=tuple(ComparedVariant(variant, "unregularized", "regularizers") for variant in SKILL), references=(),
        title=f"{DATASET} {HOSTILE}", unit="rows" if outputs == 1 else "images", class_names=CLASSES[outputs],
    )  # fmt: skip
    result, paths, _ = compare.run(plan, STATISTICS, StudyPredictions(labels, predicted, at_end=at_end))
    arms = build_arms(plan, StudyPredictions(labels, predicted))
    records = StudyRecords(
        plan=plan,
        settings=STATISTICS,
        labels=labels,
        arms={key: arms[key] for key in choose_arms(result)},
        recipes={variant: make_recipe(name, variant, outputs) for variant in SKILL},
        runs={variant: make_run(generator, variant) for variant in SKILL},
        paths=paths,
    )
    return result, records


def make_recipe(study: str, variant: str, outputs: int) -> RunPlan:
    return RunPlan(
        task=study, variant=variant, seed=3, replicates=tuple(range(REPLICATES)),
        network=NetworkPlan((5,), "relu", outputs), regularizers=(), callbacks=CallbacksPlan(),
        loss="poisson", optimizer=OptimizerPlan("adam", 0.001, 0.0), batch_size=30, epochs=EPOCHS,
    )  # fmt: skip


def make_labels(generator: np.random.Generator, outputs: int) -> Labels:
    numbers = np.tile(np.arange(ROWS), (REPLICATES, 1))
    label = np.tile(generator.integers(0, max(2, outputs), ROWS), (REPLICATES, 1))
    shares = np.full((REPLICATES, outputs), 1 / max(2, outputs), np.float32)
    return Labels(label, label, label, numbers, numbers, shares)


def make_predictions(
    generator: np.random.Generator, labels: Labels, outputs: int, variant: str, *, share: float = 1.0
) -> Predictions:
    """Networks whose logits follow the label as much as a share of the variant's skill, at every point of its path."""
    points = [share * SKILL[variant] * factor for factor in (1.0, 1.1, 0.8)[: 1 + len(PATHS.get(variant, []))]]
    logits = []
    for skill in points:
        noise = generator.normal(0, 1, (*labels.test.shape, outputs))
        hot = labels.test[..., None] == np.arange(max(2, outputs))[-outputs:]
        logits.append(skill * (hot - (0.5 if outputs == 1 else 0)) + noise)
    logit = np.concatenate(logits)
    raised = np.exp(logit - logit.max(axis=-1, keepdims=True))
    probability = 1 / (1 + np.exp(-logit)) if outputs == 1 else raised / raised.sum(axis=-1, keepdims=True)
    probability = probability.astype(np.float32)
    lanes = REPLICATES * len(points)
    strengths = np.repeat([0.05, *PATHS.get(variant, [])], REPLICATES)
    mechanisms = {"epochs_run": 12.0, "best_epoch": 12.0, "stopped_early": 0.0, "diverged": 0.0, "zero_share": 0.5}
    mechanisms |= {"kernel_norm": 1.0, "bound_share": 0.0}
    return Predictions(
        np.tile(np.arange(REPLICATES), len(points)), {variant: strengths}, probability, probability, probability,
        {name: np.full(lanes, value) for name, value in mechanisms.items()},
        tried=len(points) if variant in PATHS else 0,
    )  # fmt: skip


def make_run(generator: np.random.Generator, variant: str) -> TrainedRun:
    weights = {
        "kernel_1": generator.normal(0, SKILL[variant], (REPLICATES, 24, 5)).astype(np.float32),
        "kernel_2": generator.normal(0, 1, (REPLICATES, 5, 1)).astype(np.float32),
    }
    epochs, lanes = np.repeat(np.arange(1, EPOCHS + 1), REPLICATES), np.tile(np.arange(REPLICATES), EPOCHS)
    history = pd.DataFrame({"epoch": epochs, "lane": lanes, "loss": 1 / epochs, "val_loss": 0.5 + 1 / epochs})
    counts = np.full(REPLICATES, EPOCHS)
    never = np.zeros(REPLICATES, bool)
    strengths = {variant: np.full(REPLICATES, 0.05)}
    return TrainedRun(weights, np.arange(REPLICATES), strengths, counts, counts, never, never, history)


def make_calibration():
    share = {"value": 0.94, "low": 0.9, "high": 0.97, "count": 94, "of": 100}
    method = {"half_width": 0.1, "coverage": share, "found": share}
    arm = {"true_difference": 0.05, "spread": 0.02, "wrong_equivalent": share, "by_row": method}
    counts = {"family_wise_error": {"true_nulls": 1, "by_row": share}, "scores": {"auc": {"l2_tuned": arm}}}
    counted = {"true_difference": 0.05, "spread": 0.02, "by_row": {"half_width": 0.1, "coverage": share}}
    repeated = {"scores": {"auc": {"patients_counted": counted, "rows_counted": counted}}}
    return {
        "seed": 1,
        "confidence": 0.95,
        "table": {"tables": 100, "baseline": counts, "no_skill": counts},
        "repeated": {"baseline": repeated, "no_skill": repeated, "tables": 100},
        "over_tables": {"alike": {"11": dict.fromkeys(OVER_TABLES, share)}},
    }
