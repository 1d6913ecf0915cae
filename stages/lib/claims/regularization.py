"""The claims about regularisers: C1 to C6, C9 to C12. Each function collects the figures of one claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stages.lib.claims import evidence, measurements
from stages.lib.claims.figures import Draft, Source, clustered_share, fixed, share
from stages.lib.claims.inputs import MissingError, Records, expect_finite
from stages.lib.judge.arms import AT_KNOB

STUDIES = ("thoracic", "fashion_small", "fashion")  # that have a line for every regulariser
WITH_PATHS = STUDIES[:2]
DECAYS = ("l2", "weight_decay")
PENALTIES = ("dropout", "l1", "l2", "activity_l1")  # the tutorial's, dropout among them
LAMBDAS = ("l1", "l2", "l1_proximal", "weight_decay", "activity_l1")  # strengths that are called lambda
STOPPING = ("stopping_thoracic", "stopping_fashion")
THINNED = ("thinned_thoracic", "thinned_fashion")
DECAY_OPTIMIZERS = ("sgd", "adam")
L1_FORMS = ("l1", "l1_proximal")


def stopping_helps(records: Records) -> list[Draft]:
    """C1."""
    drafts = [
        records.improvement(study, "early_stopping", AT_KNOB, "log_loss", quantity="log_loss")
        for study in records.studies_with("early_stopping", STUDIES)
    ]
    for name in STOPPING:
        worse = records.case(name, "stopping", "worse_at_the_end")
        label = "share of networks that do worse at the end than at the stop"
        drafts.append(records.share_in(name, worse, label, quantity="overfitting"))
    for name in STOPPING:
        for quantity, label in (
            ("turn", "epoch of the lowest loss on the rows that are watched"),
            ("turns_apart", "epochs between that and the epoch of the lowest loss on other rows"),
        ):
            drafts.append(records.mean_in(name, records.case(name, "stopping", quantity), label))
        saved = records.case(name, "stopping", "saved")
        drafts.append(records.mean_in(name, saved, "loss saved by stopping, on other rows", unit="nats"))
    return drafts


def decay_keeps_weights_small(records: Records) -> list[Draft]:
    """C2."""
    drafts = []
    for variant in DECAYS:
        for study in records.studies_with(variant, STUDIES):
            kind, baseline = records.best_kind(study, variant), records.baseline(study)
            norm, plain = (records.values(study, *arm, "kernel_norm") for arm in ((variant, kind), (baseline, AT_KNOB)))
            label = f"share of the weights' norm that {variant} takes off"
            drafts.append(
                records.mean_of(1 - norm / plain, label, study=study, variant=variant, kind=kind, quantity="norm")
            )
    for variant in DECAYS:
        for study in records.studies_with(variant, WITH_PATHS):
            label = f"share of pairs of strengths of {variant} whose norms are in order"
            ordered = order_share(records, study, variant, "kernel_norm")
            drafts.append(records.mean_of(ordered, label, study=study, variant=variant, kind="path", is_share=True))
    return drafts


def order_share(records: Records, study: str, variant: str, quantity: str) -> np.ndarray:
    """Share of pairs of strengths, 0 included, of which the larger has the smaller quantity, [replicate]."""
    where = f"{quantity} along the path of {variant} in the study {study}"
    points = sorted(records.measured(study, variant).points, key=lambda point: point.strengths[variant])
    rows = [records.values(study, records.baseline(study), AT_KNOB, quantity)]
    rows += [expect_finite(point.of(quantity), where) for point in points]
    values = np.stack(rows)
    first, second = np.triu_indices(len(values), 1)
    return (values[second] < values[first]).mean(axis=0)


def constraint_limits_weights(records: Records) -> list[Draft]:
    """C3."""
    hits = cases = 0
    for found in (found for study in records.measurements.values() for found in study.variants.values()):
        for point in found.points:
            if "num_bounded" in point.values:
                hits += int(expect_finite(point.of("num_over_bound"), "number of units over their bound").sum())
                cases += int(point.of("num_bounded").sum())
    if not cases:
        raise MissingError("a variant with max_norm")
    label = f"share of {cases:,} bounded units, in all studies, that are over their bound"
    drafts = [Draft(label, Source(str(measurements.FOLDER)), share(hits, cases), "over_bound")]
    gain = find_addition(records, "tutorial_fashion", "l2_activity_l1_max_norm", "l2_activity_l1", "accuracy")
    return [*drafts, gain, *bound_effects(records)]


def find_addition(
    records: Records, study: str, variant: str, without: str, score: str, quantity: str = "accuracy"
) -> Draft:
    """What one more regulariser adds on held-out rows."""
    if study not in records.measurements:
        raise MissingError(f"the study {study}")
    for found in records.measurements[study].additions:
        if (found.variant, found.without, found.score) == (variant, without, score):
            source = Source(str(measurements.find_path(study)), study, variant, AT_KNOB)
            label = f"held-out {score} gained by {variant} over {without}"
            return Draft(label, source, fixed(found.value, found.low, found.high), quantity)
    raise MissingError(f"{variant} and {without} in the study {study}")


def bound_effects(records: Records) -> Iterator[Draft]:
    """The share of units at each bound, and what it does to the loss, for information."""
    for study in WITH_PATHS:
        if study not in records.comparison or "max_norm" not in records.comparison[study].arms:
            continue
        plain = records.values(study, records.baseline(study), AT_KNOB, "held_out_log_loss")
        for point in records.measured(study, "max_norm").points:
            bound = f"{point.strengths['max_norm']:g}"
            for quantity, values, unit in (
                ("units at the bound", point.of("bound_share"), ""),
                ("held-out log loss saved by the bound", plain - point.of("held_out_log_loss"), "nats"),
            ):
                label = f"{quantity} {bound}"
                yield records.mean_of(
                    values, label, study=study, variant="max_norm", kind=bound, unit=unit, is_share=not unit
                )


def units_act_like_an_ensemble(records: Records) -> list[Draft]:
    """C4."""
    drafts: list[Draft] = []
    for name in THINNED:
        passes = records.levels(name, "passes")
        most, units = max(passes), records.case(name, "all_units", "log_loss")
        many, one = (records.case(name, "passes", "log_loss", level) for level in (most, min(passes)))
        label = f"log loss of all units less that of the mean of {most:g} passes"
        drafts.append(records.mean_in(name, units - many, label, quantity="log_loss", unit="nats"))
        label = "log loss of one pass less that of all units"
        drafts.append(records.mean_in(name, one - units, label, quantity="one_pass", unit="nats"))
    for name in THINNED:
        members = max(records.levels(name, "separate"))
        apart = records.case(name, "all_units", "log_loss") - records.case(name, "separate", "log_loss", members)
        label = f"log loss of all units less that of {members:g} separately trained thinned networks"
        drafts.append(records.mean_in(name, apart, label, unit="nats"))
    for name in THINNED:
        for case in records.experiment(name).cases:
            for quantity, values in case.values.items():
                what = {"passes": "the mean of {} passes", "separate": "{} separately trained thinned networks"}
                words = what.get(case.name, "all units").format(f"{case.level:g}")
                unit = "nats" if quantity == "log_loss" else ""
                label = f"{quantity.replace('_', ' ')} of {words}"
                drafts.append(records.mean_in(name, np.array(values), label, unit=unit))
    return drafts


def penalties_reduce_overfitting(records: Records) -> list[Draft]:
    """C5."""
    drafts = []
    for variant in PENALTIES:
        for study in records.studies_with(variant, STUDIES):
            kind = records.best_kind(study, variant)
            gap = records.values(study, variant, kind, "gap")
            plain = records.values(study, records.baseline(study), AT_KNOB, "gap")
            label = f"gap between held-out and training log loss that {variant} takes off"
            drafts.append(
                records.mean_of(
                    plain - gap, label, study=study, variant=variant, kind=kind, quantity="gap", unit="nats"
                )
            )
            drafts.append(records.improvement(study, variant, kind, "log_loss", quantity="log_loss"))
    return drafts


def batch_norm_helps_learning(records: Records) -> list[Draft]:
    """C6."""
    drafts = []
    for study in records.studies_with("batch_norm", STUDIES):
        loss = records.values(study, "batch_norm", AT_KNOB, "learning_loss")
        plain = records.values(study, records.baseline(study), AT_KNOB, "learning_loss")
        label = "share of the training loss, mean over all epochs, that batch_norm takes off"
        drafts.append(
            records.mean_of(
                1 - loss / plain, label, study=study, variant="batch_norm", kind=AT_KNOB, quantity="training_loss"
            )
        )
        drafts.append(records.improvement(study, "batch_norm", AT_KNOB, "log_loss", quantity="log_loss"))
    for study in records.studies_with("batch_norm", STUDIES):
        score = records.comparison[study].scores["discrimination"]
        drafts.append(records.improvement(study, "batch_norm", AT_KNOB, score))
    return drafts


def l1_selects_features(records: Records) -> list[Draft]:
    """C9. Each network has columns of noise of its own, so networks count as independent clusters of columns."""
    name, drafts = "noise_columns", []
    for variant, quantity in (*((variant, "l1_found") for variant in L1_FORMS), ("l2", "l2_found")):
        found = records.case(name, variant, "noise_columns_zero")
        number = int(records.case(name, variant, "num_noise_columns")[0])
        label = f"share of {number * len(found)} columns of noise whose weights {variant} makes exactly 0"
        source = Source(str(evidence.find_path(name)), records.experiment(name).study, variant)
        drafts.append(Draft(label, source, clustered_share(found, number), quantity))
    for variant in L1_FORMS:
        noise, real = (records.case(name, variant, f"{columns}_columns_zero") for columns in ("noise", "real"))
        label = f"that share less the share of real columns, {variant}"
        drafts.append(records.mean_in(name, noise - real, label, variant=variant, quantity="l1_selects"))
    for variant in (*L1_FORMS, "l2"):
        for quantity in ("precision", "recall", "near_precision", "near_recall"):
            words = quantity.replace("near_", "")
            size = "smaller than a thousandth" if "near" in quantity else "exactly 0"
            label = f"{words} of 'all weights of the column are {size}' for noise, {variant}"
            drafts.append(
                records.mean_in(name, records.case(name, variant, quantity), label, variant=variant, is_share=True)
            )
    return drafts


def weaker_towards_zero(records: Records) -> list[Draft]:
    """C10."""
    drafts = []
    for variant in LAMBDAS:
        for study in records.studies_with(variant, WITH_PATHS):
            label = f"share of pairs of strengths of {variant} whose gaps are in order"
            ordered = order_share(records, study, variant, "gap")
            drafts.append(
                records.mean_of(
                    ordered, label, study=study, variant=variant, kind="path", quantity="in_order", is_share=True
                )
            )
    for variant in LAMBDAS:
        for study in records.studies_with(variant, WITH_PATHS):
            drafts += records.path_points(study, variant, "log_loss")
    return drafts


def l1_needs_care(records: Records) -> list[Draft]:
    """C11."""
    drafts, shares = [], []
    for study in records.studies_with("l1_proximal", STUDIES):
        zeros = {
            variant: records.values(study, variant, records.best_kind(study, variant), "zero_share")
            for variant in L1_FORMS
        }
        label = "share of weights that are exactly 0 by a proximal step, less that by the penalty's gradient"
        where: dict[str, Any] = {
            "study": study,
            "variant": "l1_proximal",
            "kind": records.best_kind(study, "l1_proximal"),
        }
        drafts.append(records.mean_of(zeros["l1_proximal"] - zeros["l1"], label, quantity="exact_zeros", **where))
        for variant in L1_FORMS:
            kind = records.best_kind(study, variant)
            for quantity, words in (("zero_share", "exactly 0"), ("near_zero_share", "smaller than a thousandth")):
                values = records.values(study, variant, kind, quantity)
                label = f"share of weights that are {words}, {variant}"
                shares.append(records.mean_of(values, label, study=study, variant=variant, kind=kind, is_share=True))
    return [*drafts, *shares]


def l2_is_weight_decay(records: Records) -> list[Draft]:
    """C12."""
    name, drafts = "decay", []
    for quantity, words, judged in (
        ("distance", "distance of the weights by L2 from those by decoupled decay, share of their norm", "weights"),
        ("saved", "loss on other rows that decoupled decay saves over L2", ""),
    ):
        for optimizer in DECAY_OPTIMIZERS:
            values = records.case(name, optimizer, quantity)
            unit = "nats" if quantity == "saved" else ""
            label = f"{words}, {optimizer}"
            drafts.append(records.mean_in(name, values, label, variant=optimizer, quantity=judged, unit=unit))
    return drafts
