"""The tutorial's defects, D1 to D9. Each function collects the figures of one defect."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.lib.claims import evidence
from stages.lib.claims.figures import Draft, Source, exact, share, share_difference
from stages.lib.claims.inputs import MissingError, Records
from stages.lib.claims.printed import PRINTED, RECIPES, RUN_ROWS, T1, find_source
from stages.lib.claims.regularization import WITH_PATHS, bound_effects
from stages.lib.judge.arms import AT_KNOB
from stages.lib.judge.comparison import COMPARISON

PATIENTS, IMAGES = "tutorial_thoracic", "tutorial_fashion"
COLUMNS = "columns"
CONSTRAINT, DECAY = "l2_activity_l1_max_norm", "l2_activity_l1"


def training_rows_flatter(records: Records) -> list[Draft]:
    """D1."""
    training, held_out = (
        records.values(PATIENTS, T1, AT_KNOB, f"{rows}_accuracy") for rows in ("training", "held_out")
    )
    where: dict[str, Any] = {"study": PATIENTS, "variant": T1, "kind": AT_KNOB}
    auc = np.array(records.arm(PATIENTS, T1, AT_KNOB).judged["auc"].replicates)
    return [
        records.mean_of(training - held_out, "training less held-out accuracy", quantity="accuracy", **where),
        records.mean_of(training, "training accuracy", **where),
        records.mean_of(held_out, "held-out accuracy", **where),
        records.mean_of(auc, "held-out AUC", **where),
    ]


def accuracy_hides_the_majority(records: Records) -> list[Draft]:
    """D2."""
    held_out = records.values(PATIENTS, T1, AT_KNOB, "held_out_accuracy")
    common = records.values(PATIENTS, T1, AT_KNOB, "commonest_answer")
    majority = np.array(records.measurements[PATIENTS].no_skill["held_out_accuracy"])
    where: dict[str, Any] = {"study": PATIENTS, "variant": T1, "kind": AT_KNOB}
    label = "held-out accuracy of the network less that of the majority answer"
    drafts = [
        records.mean_of(held_out - majority, label, quantity="accuracy", **where),
        records.mean_of(majority, "held-out accuracy of the majority answer", **where),
        records.mean_of(common, "share of held-out patients who get the network's commonest answer", **where),
    ]
    hits, cases = records.count(COLUMNS, "label_1")
    source = Source(str(evidence.find_path(COLUMNS)), PATIENTS)
    return [*drafts, Draft("accuracy of the majority answer on all patients", source, share(cases - hits, cases))]


def id_harms(records: Records) -> list[Draft]:
    """D3."""
    return compare_repair(records, "without_id", "without the id")


def wrong_units_harm(records: Records) -> list[Draft]:
    """D5."""
    return compare_repair(records, "mended", "with the wrong units mended")


def compare_repair(records: Records, repaired: str, words: str) -> list[Draft]:
    """T1 on its raw columns, with one defect repaired and as it is, on the same rows."""
    drafts = []
    for quantity, label, sign, unit in (
        ("log_loss", "log loss saved", -1, "nats"),
        ("auc", "AUC gained", 1, ""),
        ("accuracy", "accuracy gained", 1, ""),
    ):
        change = sign * (records.case(COLUMNS, repaired, quantity) - records.case(COLUMNS, "as_it_is", quantity))
        judged = quantity if quantity == "log_loss" else ""
        drafts.append(
            records.mean_in(COLUMNS, change, f"{label} {words}", variant=repaired, quantity=judged, unit=unit)
        )
    return drafts


def label_is_death(records: Records) -> list[Draft]:
    """D4."""
    large, small = records.count(COLUMNS, "label_1_largest"), records.count(COLUMNS, "label_1_smallest")
    source = Source(str(evidence.find_path(COLUMNS)), PATIENTS)
    return [
        Draft(
            "share of label 1 among the largest tumours less that among the smallest",
            source,
            share_difference(large, small),
            "risk",
        ),
        Draft("share of label 1 among all patients", source, share(*records.count(COLUMNS, "label_1"))),
    ]


def choosing_on_test_images_flatters(records: Records) -> list[Draft]:
    """D6."""
    name = "stopping_softmax"
    flattery = records.case(name, "stopping", "flattery")
    label = "accuracy on the rows that chose the epoch, less that of an epoch chosen on other rows"
    loss = records.case(name, "stopping", "loss_flattery")
    epochs = exact(float(records.measured(IMAGES, "softmax").at_knob("epochs_run")[0]))
    return [
        records.mean_in(name, flattery, label, variant="softmax", quantity="accuracy"),
        records.mean_in(name, loss, "the same of the loss", variant="softmax", unit="nats"),
        Draft("epochs that the tutorial's run can choose from", find_source("softmax"), epochs),
    ]


def one_run_cannot_rank(records: Records) -> list[Draft]:
    """D7."""
    scores = [records.arm(IMAGES, name, AT_KNOB).judged["accuracy"].replicates for name in RECIPES]
    ours = np.argsort(-np.array(scores), axis=0, kind="stable")
    printed = np.argsort([-PRINTED[name].accuracy for name in RECIPES], kind="stable")
    others = int((ours != printed[:, None]).any(axis=0).sum())
    source = Source(str(COMPARISON), IMAGES)
    gap = PRINTED[CONSTRAINT].accuracy - PRINTED[DECAY].accuracy
    hits = round(PRINTED[CONSTRAINT].accuracy * RUN_ROWS)

    def half_width(confidence: float) -> tuple[float, float, float]:
        _, low, high = share(hits, RUN_ROWS)(0.95)  # the usual one, whatever else decides on the claim
        return ((high - low) / 2,) * 3

    constraint, decay = (np.array(scores[RECIPES.index(name)]) for name in (CONSTRAINT, DECAY))
    spread = float(np.std(constraint - decay, ddof=1))
    return [
        Draft(
            "share of runs that rank the four recipes otherwise than the tutorial",
            source,
            share(others, ours.shape[1]),
            "other_ranking",
        ),
        Draft("half-width of the interval of one run's accuracy", source, half_width, "sampling_error"),
        Draft("difference that the tutorial reads as an effect", source, exact(gap)),
        Draft(
            "share of runs in which the constraint beats plain decay",
            source,
            share(int((constraint > decay).sum()), len(decay)),
        ),
        Draft("standard deviation of that difference over runs", source, exact(spread)),
    ]


def one_epoch_leaves_nothing_to_overfit(records: Records) -> list[Draft]:
    """D8."""
    baseline = records.baseline(IMAGES)
    gap = records.values(IMAGES, baseline, AT_KNOB, "gap")
    label = "held-out less training log loss after one epoch, no penalty"
    drafts = [
        records.mean_of(gap, label, study=IMAGES, variant=baseline, kind=AT_KNOB, quantity="gap", unit="nats"),
        *(
            records.improvement(IMAGES, name, AT_KNOB, "log_loss", quantity="log_loss", cost=True)
            for name in RECIPES
            if name != "softmax"
        ),
    ]
    name = "epochs"
    for case in records.experiment(name).cases:
        for quantity in ("gap", "log_loss"):
            words = {"gap": "held-out less training log loss", "log_loss": "log loss on other rows"}[quantity]
            label = f"{words} after {case.level:g} epochs on few images, {case.name}"
            values = records.case(name, case.name, quantity, case.level)
            drafts.append(records.mean_in(name, values, label, variant=case.name, unit="nats"))
    return drafts


def bound_hardly_binds(records: Records) -> list[Draft]:
    """D9."""
    where: dict[str, Any] = {"study": IMAGES, "variant": CONSTRAINT, "kind": AT_KNOB}
    shares, numbers, norms = (
        records.values(IMAGES, CONSTRAINT, AT_KNOB, name) for name in ("bound_share", "num_bounded", "start_norm")
    )
    held = share(round((shares * numbers).sum()), round(numbers.sum()))
    label = f"share of {round(numbers.sum())} units that are at the bound after the epoch"
    drafts = [
        Draft(label, find_source(CONSTRAINT), held, "at_bound"),
        records.mean_of(norms, "largest norm of a unit's weights at the start", quantity="start_norm", **where),
    ]
    if not any(study in records.comparison for study in WITH_PATHS):
        raise MissingError(f"one of the studies {', '.join(WITH_PATHS)}")
    return [*drafts, *bound_effects(records)]
