"""Results of two made-up studies, one of a table and one of images: what a report is written from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stages import compare
from stages.lib.claims.judging import ClaimResult, QuantityResult
from stages.lib.data.protocols import FixedTest
from stages.lib.judge.comparison import StudyResult
from stages.lib.judge.plans import ComparedVariant, StatisticsPlan, StudyPlan
from stages.lib.judge.predictions import Labels, Mistakes, Predictions
from stages.lib.lanes.run import TrainedRun
from stages.lib.report import summarize_predictions as prediction_quality
from stages.lib.report import summarize_training as training
from stages.lib.report.pictures import draw_first_layer, draw_mistakes
from stages.lib.report.sections import Results
from stages.lib.report.series import TABLES, Facts, Picture, RecipeFacts, StudyFacts

REPLICATES, ROWS, EPOCHS, IMAGE = 6, 120, 12, (4, 6)
STATISTICS = StatisticsPlan(confidence=0.95, equivalence={"auc": 0.01, "accuracy": 0.002, "log_loss": 0.01})
SKILL = {"unregularized": 1.0, "l2": 2.5, "dropout": 1.2, "a<b & c": 0.2}  # the last is no name that needs no escape
PATHS = {"l2": [0.01, 0.1]}
QUANTITY = QuantityResult("gain", "nats <saved>", ["table"], 0.2, 0.1, 0.3, "supported")
CLASSES = {1: ("no", 'yes & <b>"'), 3: ("hat", "shoe", "sock")}


def make_results() -> Results:
    """Everything that a report reads, calibration, bench and audit included."""
    studies = {"table": make_study("table", 1), "pictures": make_study("pictures", 3)}
    tables = {name: pd.concat([found[2][name] for found in studies.values()], ignore_index=True) for name in TABLES}
    return Results(
        comparison={name: found[0] for name, found in studies.items()},
        paths=[point for found in studies.values() for point in found[1]],
        tables=tables,
        pictures=[picture for found in studies.values() for picture in found[3]],
        facts=Facts(
            0.95,
            STATISTICS.equivalence,
            {"keras": "3"},
            "x86_64",
            {name: found[4] for name, found in studies.items()},
        ),
        bench=make_bench(),
        calibration=make_calibration(),
        audit=[ClaimResult("C1", "Stopping <early> helps", "supported", [QUANTITY])],
    )


def make_study(name: str, outputs: int):
    """Result, paths, tables, pictures and facts of one study."""
    generator = np.random.default_rng(outputs)
    labels = make_labels(generator, outputs)
    predicted = {variant: make_predictions(generator, labels, outputs, variant) for variant in SKILL}
    plan = StudyPlan(
        study=name, dataset=f"data_{name}", features="encoded", outputs=outputs, baseline="unregularized",
        scores={"discrimination": "auc" if outputs == 1 else "accuracy", "probabilities": "log_loss"},
        select_by="log_loss", protocol=FixedTest(kind="fixed_test", seeds=REPLICATES, validation=0.2, test=0.2), seed=3,
        variants=tuple(ComparedVariant(variant, "unregularized", "regularizers") for variant in SKILL), references=(),
    )  # fmt: skip
    result, paths, _ = compare.run(plan, STATISTICS, labels, predicted, {})
    runs = {variant: make_run(generator, variant) for variant in SKILL}
    tables, names = summarize(name, result, labels, predicted, runs, CLASSES[outputs])
    pictures = make_pictures(name, runs, names) if outputs > 1 else []
    recipe = RecipeFacts(24, (5,), outputs, "relu", "poisson", "adam", 0.001, 30, EPOCHS, {"l2": (0.1,)}, 131)
    rows = {"training": 300, "validation": 75, "test": ROWS}
    return result, paths, tables, pictures, StudyFacts("Data", "rows", names, rows, ROWS, dict.fromkeys(SKILL, recipe))


def make_labels(generator: np.random.Generator, outputs: int) -> Labels:
    numbers = np.tile(np.arange(ROWS), (REPLICATES, 1))
    label = np.tile(generator.integers(0, max(2, outputs), ROWS), (REPLICATES, 1))
    shares = np.full((REPLICATES, outputs), 1 / max(2, outputs), np.float32)
    return Labels(label, label, label, numbers, numbers, shares)


def make_predictions(generator: np.random.Generator, labels: Labels, outputs: int, variant: str) -> Predictions:
    """Networks whose logits follow the label as much as the variant's skill says, at every point of its path."""
    points = [SKILL[variant] * factor for factor in (1.0, 1.1, 0.8)[: 1 + len(PATHS.get(variant, []))]]
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
    mechanisms |= {"near_zero_share": 0.5, "kernel_norm": 1.0, "bound_share": 0.0}
    return Predictions(
        np.tile(np.arange(REPLICATES), len(points)), {variant: strengths}, probability, probability, probability,
        {name: np.full(lanes, value) for name, value in mechanisms.items()},
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
    return TrainedRun(weights, np.arange(REPLICATES), {}, counts, counts, never, never, {}, history)


def summarize(study, result: StudyResult, labels: Labels, predicted, runs, names):
    """The tables as `summarize` makes them, of the arms at their knobs."""
    from stages.summarize import list_differences

    found = {name: [] for name in TABLES}
    found["forest"].append(list_differences(result))
    reach = training.find_reach(runs["unregularized"])
    for variant, run in runs.items():
        found["learning"].append(training.summarize_learning(run).assign(variant=variant))
        found["weights"].append(training.summarize_weights(run, reach=reach).assign(variant=variant))
        features = tuple(f"f{number}" for number in range(24))
        found["inputs"].append(training.summarize_inputs(run, features).assign(variant=variant))
        arm = {"variant": variant, "arm": "at_knob"}
        probability = predicted[variant].test[:REPLICATES]
        if probability.shape[-1] == 1:
            found["curves"].append(prediction_quality.summarize_curves(labels.test, probability).assign(**arm))
        found["reliability"].append(prediction_quality.summarize_reliability(labels.test, probability).assign(**arm))
        found["confusion"].append(prediction_quality.summarize_confusion(labels.test, probability, names).assign(**arm))
    return {
        name: pd.concat(tables, ignore_index=True).assign(study=study) if tables else pd.DataFrame(columns=TABLES[name])
        for name, tables in found.items()
    }, names


def make_pictures(study: str, runs: dict[str, TrainedRun], names: tuple[str, ...]) -> list[Picture]:
    number = np.arange(2)
    inputs = np.arange(48, dtype=np.uint8).reshape(2, 24)
    mistakes = Mistakes(("l2", "l2"), number, number, number + 1, np.array([0.9, 0.8], np.float32), inputs, 1 / 255)
    layers = [picture for variant, run in runs.items() for picture in draw_first_layer(study, variant, run, IMAGE)]
    return [*layers, *draw_mistakes(study, "l2", mistakes, IMAGE, names)]


def make_bench():
    times = {"seconds": {"median": 0.01}, "times_lanes": {"median": 200.0}}
    workload = {"description": "100 epochs", "contenders": {"lanes": times, "stock": times}}
    return {"machine": {"cores": 2, "processor": "a processor"}, "workloads": {"work": workload}}


def make_calibration():
    share = {"value": 0.94, "low": 0.9, "high": 0.97, "count": 94, "of": 100}
    method = {"half_width": 0.1, "coverage": share, "found": share}
    arm = {"true_difference": 0.05, "spread": 0.02, "wrong_equivalent": share, "by_row": method, "resampled_t": method}
    counts = {
        "family_wise_error": {"true_nulls": 1, "by_row": share, "resampled_t": share},
        "scores": {"auc": {"l2_tuned": arm}},
    }
    return {"seed": 1, "confidence": 0.95, "table": {"tables": 100, "baseline": counts, "no_skill": counts}}
