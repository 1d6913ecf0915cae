"""Records made by hand, as the JSON of their files: every claim of the tutorial is true in them, by a wide margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.lib.claims import evidence, measurements
from stages.lib.claims.inputs import Records
from stages.lib.claims.printed import PRINTED, T1, T1_ACCURACY
from stages.lib.judge import comparison
from stages.lib.judge.comparison import PathPoint

REPLICATES = 100  # enough for the exact intervals of counts
PLAIN = "unregularized"
REGULARIZED = ("early_stopping", "dropout", "l1", "l2", "l1_proximal", "weight_decay", "activity_l1", "max_norm")
PATHS = ("l1", "l2", "l1_proximal", "weight_decay", "activity_l1", "max_norm")
SIMPLE = {"thoracic": "auc", "fashion_small": "accuracy", "fashion": "accuracy"}
STRENGTHS = (0.01, 0.001, 0.1)  # the knob first
PROTOCOL = {"kind": "fixed_test", "seeds": REPLICATES, "validation": 0.1}

Json = Any


def spread(mean: float, width: float = 1e-5, number: int = REPLICATES) -> list[float]:
    """Replicates about a mean."""
    return (mean + min(width, abs(mean)) * np.linspace(-1, 1, number)).tolist()


def difference(value: float) -> Json:
    near, far = 0.9 * value, 1.1 * value
    bounds = {"ci_low": min(near, far), "ci_high": max(near, far)}
    inner = {"equivalence_low": min(near, far), "equivalence_high": max(near, far)}
    return {"value": value, **bounds, **inner, "p_value": 0.001, "p_adjusted": 0.001, "verdict": "undecided"}


def arm(judged: dict[str, tuple[list[float], float | None]]) -> Json:
    """score -> its replicates, and the difference from the baseline."""
    return {
        "baseline": PLAIN,
        "group": "regularizers",
        "judged": {
            score: {
                "value": float(np.mean(replicates)),
                "replicates": replicates,
                "difference": None if gained is None else difference(gained),
                "skill": difference(0.1),
            }
            for score, (replicates, gained) in judged.items()
        },
        "strengths": {},
        "scores": {},
        "mechanisms": {},
    }


def study(name: str, score: str, arms: dict[str, Json]) -> Json:
    return {
        "dataset": name,
        "features": "encoded",
        "protocol": PROTOCOL,
        "seed": 3,
        "scores": {"discrimination": score, "probabilities": "log_loss"},
        "baseline": next(iter(arms)),
        "no_skill": {},
        "reach": {},
        "arms": arms,
    }


def make_comparison() -> Json:
    found = {}
    for name, score in SIMPLE.items():
        plain = {"at_knob": arm({score: (spread(0.7), None), "log_loss": (spread(0.6), None)})}
        arms = {PLAIN: plain}
        for variant in (*REGULARIZED, "batch_norm"):
            helped = arm({score: (spread(0.8), 0.1), "log_loss": (spread(0.4), -0.2)})
            arms[variant] = {"at_knob": helped} | ({"tuned": helped} if variant in PATHS else {})
        found[name] = study(name, score, arms)
    patients = {T1: {"at_knob": arm({"auc": (spread(0.55), None), "log_loss": (spread(0.5), None)})}}
    found["tutorial_thoracic"] = study("tutorial_thoracic", "auc", patients)
    images = {PLAIN: {"at_knob": arm({"accuracy": (spread(0.83), None), "log_loss": (spread(0.5), None)})}}
    for name, printed in PRINTED.items():
        accuracy = printed.accuracy + 0.002 * (name == "l2_activity_l1_dropout")  # which so overtakes another one
        images[name] = {"at_knob": arm({"accuracy": (spread(accuracy), -0.02), "log_loss": (spread(0.7), 0.2)})}
    found["tutorial_fashion"] = study("tutorial_fashion", "accuracy", images)
    return found


def point(variant: str, strength: float, **changed: float) -> Json:
    """By default nothing is regularised."""
    values = {"kernel_norm": 10.0, "zero_share": 0.0, "near_zero_share": 0.1, "bound_share": 0.0, "epochs_run": 20.0}
    values |= {"gap": 0.3, "learning_loss": 0.5, "held_out_log_loss": 0.6, "training_log_loss": 0.3}
    values |= {"training_accuracy": 0.9, "held_out_accuracy": 0.85, "commonest_answer": 0.9}
    return {"strengths": {variant: strength}, "values": {name: spread(v) for name, v in (values | changed).items()}}


def measured(points: list[Json], num_weights: int = 100) -> Json:
    return {"points": points, "tuned": [0] * REPLICATES, "num_weights": num_weights}


def bounded(at_bound: float) -> Json:
    found = point("max_norm", 2.0, bound_share=at_bound)
    counts = {"num_bounded": [640.0] * REPLICATES, "num_over_bound": [0.0] * REPLICATES, "start_norm": spread(1.4)}
    return found | {"values": found["values"] | counts}


def make_measurements() -> Json:
    found = {}
    for name in SIMPLE:
        variants = {PLAIN: measured([point(PLAIN, 0.0)])}
        for variant in (*REGULARIZED, "batch_norm"):
            points = [
                point(variant, s, kernel_norm=5 - 10 * s, gap=0.1 - s / 2, zero_share=0.8 * (variant == "l1_proximal"))
                for s in STRENGTHS
            ]
            variants[variant] = measured(points if variant in PATHS else points[:1])
        variants["batch_norm"] = measured([point("batch_norm", 0.99, learning_loss=0.2)])
        variants["max_norm"] = measured([bounded(0.5)])
        found[name] = {"test_train_ratio": 0.0, "no_skill": {}, "variants": variants, "additions": []}
    found["tutorial_thoracic"] = {
        "test_train_ratio": 0.0,
        "no_skill": {"held_out_accuracy": spread(0.8511)},
        "variants": {T1: measured([point("dropout", 0.5, training_accuracy=0.9, held_out_accuracy=0.85)])},
        "additions": [],
    }
    variants = {PLAIN: measured([point(PLAIN, 0.0, gap=0.001)])}
    variants |= {name: measured([point("l2", 0.01)], printed.parameters) for name, printed in PRINTED.items()}
    variants["l2_activity_l1_max_norm"]["points"] = [bounded(0.0)]
    gained = {"variant": "l2_activity_l1_max_norm", "without": "l2_activity_l1", "score": "accuracy"}
    gained |= {"value": 0.0075, "low": 0.006, "high": 0.009}
    found["tutorial_fashion"] = {
        "test_train_ratio": 0.0,
        "no_skill": {},
        "variants": variants,
        "additions": [gained],
    }
    return found


def case(name: str, level: float = 0.0, **values: float) -> Json:
    return {"name": name, "level": level, "values": {key: spread(value) for key, value in values.items()}}


def experiment(study: str, cases: list[Json], counts: dict[str, tuple[int, int]] | None = None) -> Json:
    counted = [{"name": name, "hits": hits, "cases": cases} for name, (hits, cases) in (counts or {}).items()]
    return {"study": study, "test_train_ratio": 0.0, "cases": cases, "counts": counted}


def make_evidence() -> Json:
    stopping = case("stopping", saved=0.1, turn=5, turns_apart=1, flattery=0.01, loss_flattery=0.01)
    stopping["values"]["worse_at_the_end"] = [1.0] * REPLICATES
    scores = {"accuracy": 0.8, "calibration_error": 0.05}
    thinned = [case("all_units", log_loss=0.4, **scores)]
    thinned += [case("passes", level, log_loss=0.4 + 0.1 * (level == 1), **scores) for level in (1.0, 100.0)]
    thinned += [case("separate", 1.0, log_loss=0.5, **scores), case("separate", 10.0, log_loss=0.4, **scores)]
    squared, absolute = "mean_squared_error", "mean_absolute_error"
    outliers = [case(loss, 0.0, clean_error=0.4, all_error=0.4) for loss in (squared, absolute)]
    outliers += [case(squared, 0.1, clean_error=6.0, all_error=20.0)]
    outliers += [case(absolute, 0.1, clean_error=0.4, all_error=22.0)]
    outliers += [case(f"{loss}_as_in_the_file", clean_error=error) for loss, error in ((squared, 2.0), (absolute, 0.4))]
    flips = [case(loss, 0.0, accuracy=0.8) for loss in (squared, absolute)]
    flips += [case(squared, 0.4, accuracy=0.6), case(absolute, 0.4, accuracy=0.7)]
    told = {"precision": 0.9, "recall": 0.9, "near_precision": 0.9, "near_recall": 0.9, "num_noise_columns": 10}
    noise = [case(form, noise_columns_zero=0.9, real_columns_zero=0.1, **told) for form in ("l1", "l1_proximal")]
    noise += [case("l2", noise_columns_zero=0.0, real_columns_zero=0.0, **told)]
    return {
        "stopping_thoracic": experiment("thoracic", [stopping]),
        "stopping_fashion": experiment("fashion_small", [stopping]),
        "stopping_softmax": experiment("tutorial_fashion", [stopping]),
        "thinned_thoracic": experiment("thoracic", thinned),
        "thinned_fashion": experiment("fashion_small", thinned),
        "outliers": experiment("tutorial_thoracic", outliers),
        "flips": experiment("fashion_small", flips),
        "noise_columns": experiment("thoracic", noise),
        "decay": experiment("thoracic", [case(name, distance=1e-9, saved=0.0) for name in ("sgd", "adam")]),
        "columns": experiment(
            "tutorial_thoracic",
            [
                case("as_it_is", log_loss=0.6, auc=0.55, accuracy=0.8),
                *(case(name, log_loss=0.5, auc=0.6, accuracy=0.8) for name in ("without_id", "mended")),
            ],
            {"label_1": (70, 470), "label_1_largest": (40, 80), "label_1_smallest": (10, 200)},
        ),
        "whole_table": experiment("tutorial_thoracic", [case(T1, accuracy=T1_ACCURACY)]),
        "epochs": experiment("tutorial_fashion", [case(PLAIN, 20.0, gap=0.3, log_loss=0.5)]),
    }


def make_files() -> Json:
    return {"comparison": make_comparison(), "measurements": make_measurements(), "evidence": make_evidence()}


def to_records(files: Json) -> Records:
    """What the audit would load from these files."""
    return Records(
        confidence=0.95,
        comparison=comparison.LAYOUT.validate_python(files["comparison"]),
        paths=[PathPoint("thoracic", "log_loss", "l2", 0.01, 0.5, 0.4, 0.6, 0.1)],
        measurements={name: measurements.LAYOUT.validate_python(one) for name, one in files["measurements"].items()},
        evidence={name: evidence.LAYOUT.validate_python(one) for name, one in files["evidence"].items()},
    )
