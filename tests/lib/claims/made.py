"""Records made by hand, as the JSON of their files: every claim of the tutorial is true in them, by a wide margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.lib.claims.measurements import LAYOUT
from stages.lib.claims.quantities import PATIENTS_ACCURACY, PRINTED, Records
from stages.lib.judge import comparison

REPLICATES = 100  # enough for the exact intervals of counts
PLAIN, T1 = "unregularized", "mean_squared_logarithmic_error"
PATHS = ("dropout", "l1", "l2", "l1_proximal", "weight_decay", "activity_l1", "max_norm", "batch_norm")
SIZES = ("images_500", "images_2000", "images_8000")
TABLES = ("thoracic", "tables/german", "tables/spambase")
STUDIES = dict.fromkeys(TABLES, "auc") | dict.fromkeys((*SIZES, "images_57000"), "accuracy")
STRENGTHS = (0.01, 0.001, 0.1)  # the knob first
PROTOCOL = {"kind": "fixed_test", "seeds": REPLICATES, "validation": 0.1}

Json = Any


def spread(mean: float, width: float = 1e-5, number: int = REPLICATES) -> list[float]:
    """Replicates about a mean."""
    return (mean + min(width, abs(mean)) * np.linspace(-1, 1, number)).tolist()


def difference(value: float) -> Json:
    near, far = 0.9 * value, 1.1 * value
    bounds = {"own_low": min(near, far), "own_high": max(near, far), "low": min(near, far), "high": max(near, far)}
    return {"value": value, **bounds, "p_value": 0.001, "p_adjusted": 0.001, "verdict": "inconclusive"}


def arm(judged: dict[str, tuple[list[float], float | None]], *, kernel_norm: float = 10.0) -> Json:
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
        "mechanisms": {"kernel_norm": kernel_norm},
    }


def study(name: str, score: str, arms: dict[str, Json]) -> Json:
    return {
        "dataset": name,
        "features": "encoded",
        "protocol": PROTOCOL,
        "seed": 3,
        "scores": {"discrimination": score, "probabilities": "log_loss"},
        "baseline": next(iter(arms)),
        "no_skill": {"accuracy": 0.8511},
        "reach": {},
        "arms": arms,
    }


def make_comparison() -> Json:
    """Trained on to the end, every network is worse; regularised ones are less so."""
    made = {}
    for place, (name, score) in enumerate(STUDIES.items()):
        apart = 0.001 * place  # as tables differ from one another
        plain = {"at_knob": arm({score: (spread(0.7), None), "log_loss": (spread(0.6), None)})}
        plain["to_end"] = arm({score: (spread(0.6), -0.1), "log_loss": (spread(0.9), 0.3 + apart)})
        arms = {PLAIN: plain, "learning_rate_high": plain}
        for variant in PATHS:
            loss = 0.3 if variant == "max_norm" else 0.4
            helped = arm({score: (spread(0.8), 0.1), "log_loss": (spread(loss + apart), -0.2 - apart)})
            to_end = arm({score: (spread(0.6), -0.1), "log_loss": (spread(0.7 + apart), 0.1)}, kernel_norm=5 + apart)
            arms[variant] = {"at_knob": helped, "to_end": to_end}
            arms[variant] |= {} if name == "images_57000" else {"tuned": helped}
        made[name] = study(name, score, arms)
    patients = {T1: {"at_knob": arm({"auc": (spread(0.55), None), "log_loss": (spread(0.5), None)})}}
    made["tutorial_thoracic"] = study("tutorial_thoracic", "auc", patients)
    images = {PLAIN: {"at_knob": arm({"accuracy": (spread(0.83), None), "log_loss": (spread(0.5), None)})}}
    for name, printed in PRINTED.items():
        accuracy = printed.accuracy + 0.002 * (name == "l2_activity_l1_dropout")  # which so overtakes another one
        width = 0.01 if name == "l2_activity_l1_max_norm" else 1e-5  # between runs
        images[name] = {"at_knob": arm({"accuracy": (spread(accuracy, width), -0.02), "log_loss": (spread(0.7), 0.2)})}
    made["tutorial_fashion"] = study("tutorial_fashion", "accuracy", images)
    return made


def point(level: float = 0.0, **changed: float) -> Json:
    """A variant at one strength; by default nothing is regularised."""
    values = {"zero_share": 0.0, "gap": 0.3, "learning_loss": 0.5, "num_weights": 100.0}
    values |= {"training_accuracy": 0.9, "held_out_accuracy": 0.85}
    made = {name: spread(value, 1e-5 * (value < 1)) for name, value in (values | changed).items()}
    return {"level": level, "values": made}


def bounded(at_bound: int, **changed: float) -> Json:
    units = {"num_bounded": 640.0, "num_at_bound": at_bound, "num_over_bound": 0.0}
    made = point(2.0, **changed)
    made["values"] |= {name: [number] * REPLICATES for name, number in units.items()} | {"start_norm": spread(1.4)}
    return made


def make_measurements() -> Json:
    made = {}
    for place, name in enumerate(STUDIES):
        apart, strengths = 0.001 * place, STRENGTHS[: 1 if name == "images_57000" else None]
        variants = {PLAIN: [point(gap=0.3 + apart, training_accuracy=0.9 + apart)]}
        variants["learning_rate_high"] = variants[PLAIN]
        for variant in PATHS:
            zero = (0.8 + apart) * (variant == "l1_proximal")
            variants[variant] = [point(strength, gap=0.1 - strength / 2, zero_share=zero) for strength in strengths]
        variants["max_norm"] = [bounded(320)]
        made[name] = variants
    made["images_2000"]["batch_norm_high"] = [point(0.99, learning_loss=0.2)]
    made["tutorial_thoracic"] = {T1: [point(0.5)]}
    images = {PLAIN: [point(gap=0.001)]}
    images |= {name: [point(0.01, num_weights=printed.parameters)] for name, printed in PRINTED.items()}
    constraint = "l2_activity_l1_max_norm"
    images[constraint] = [bounded(0, num_weights=PRINTED[constraint].parameters)]
    return {
        task: [{"name": name} | one for name, points in variants.items() for one in points]
        for task, variants in (made | {"tutorial_fashion": images}).items()
    }


def case(name: str, level: float = 0.0, **values: float) -> Json:
    return {"name": name, "level": level, "values": {key: spread(value) for key, value in values.items()}}


def label(name: str, hits: int, cases: int) -> Json:
    return {"name": name, "values": {"label": [1.0] * hits + [0.0] * (cases - hits)}}


def make_experiments() -> Json:
    squared, absolute = "mean_squared_error", "mean_absolute_error"
    outliers = [case(loss, 0.0, clean_error=0.4, all_error=0.4) for loss in (squared, absolute)]
    outliers += [case(squared, 0.1, clean_error=6.0, all_error=20.0)]
    outliers += [case(absolute, 0.1, clean_error=0.4, all_error=22.0)]
    useless = [
        case(name, strength, useless_columns_zero=share, real_columns_zero=share / 9)
        for name, share in {"l1": 0.9, "l1_proximal": 0.9, "l2": 0.0}.items()
        for strength in STRENGTHS
    ]
    patients = [case("as_it_is", log_loss=0.6), case("without_id", log_loss=0.5), case("mended", log_loss=0.5)]
    patients += [case("all_patients", accuracy=PATIENTS_ACCURACY)]
    patients += [label("largest_tumours", 40, 80), label("smallest_tumours", 10, 200)]
    return {
        "stopping_softmax": [case("stopping", flattery=0.01)],
        "thinned_images": [case(name, log_loss=0.4) for name in ("all_units", "geometric", "arithmetic")],
        "outliers": outliers,
        "useless_columns": useless,
        "decay": [case(name, distance=1e-9) for name in ("sgd", "adam")],
        "patients": patients,
    }


def make_files() -> Json:
    cases = make_measurements() | make_experiments()
    measured = {name: {"test_train_ratio": 0.0, "cases": found} for name, found in cases.items()}
    return {"comparison": make_comparison(), "measured": measured}


def to_records(files: Json) -> Records:
    """What the audit would load from these files."""
    return Records(
        compared_at=0.95,
        comparison=comparison.LAYOUT.validate_python(files["comparison"]),
        measured={name: LAYOUT.validate_python(one) for name, one in files["measured"].items()},
    )
