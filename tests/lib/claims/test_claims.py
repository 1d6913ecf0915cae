"""Each verdict follows from numbers in files: flip them, and it flips. No threshold is written in code."""

import copy
import operator
from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from stages import audit
from stages.lib.claims.claims import CLAIMS
from stages.lib.claims.judging import AuditParams, ClaimResult, Threshold, load_audit, save_audit
from stages.lib.settings.schema import read_params
from stages.lib.settings.yaml_text import load_document
from tests.lib.claims.made import PLAIN, SIZES, STUDIES, T1, TABLES, Json, difference, make_files, spread, to_records

Flip = Callable[[Json], None]


@pytest.fixture(scope="module")
def plan(params_text: str) -> AuditParams:
    return read_params(load_document(params_text)[0])[0].fields["audit"]


def judge(plan: AuditParams, files: Json) -> dict[str, ClaimResult]:
    return {result.id: result for result in audit.run(plan, to_records(files))}


def change(value: Callable[[Json], Json], *path: str) -> Flip:
    """Replace what stands at a path of the files by a function of it."""

    def flip(files: Json) -> None:
        *way, last = path
        place = reduce(operator.getitem, way, files)
        place[last] = value(place[last])

    return flip


def turn_difference(study: str, variant: str, kind: str = "at_knob") -> Flip:
    path = ("comparison", study, "arms", variant, kind, "judged", "log_loss", "difference")
    return change(lambda found: difference(-found["value"]), *path)


def set_replicates(study: str, variant: str, score: str, value: float, kind: str = "at_knob") -> Flip:
    return change(lambda _: spread(value), "comparison", study, "arms", variant, kind, "judged", score, "replicates")


def set_norm(study: str, variant: str, value: float) -> Flip:
    """Of the weights after the last epoch."""
    return change(lambda _: value, "comparison", study, "arms", variant, "to_end", "mechanisms", "kernel_norm")


def set_weights(study: str, variant: str, number: int) -> Flip:
    return change(lambda _: number, "measurements", study, variant, "num_weights")


def set_measured(study: str, variant: str, quantity: str, value: float) -> Flip:
    """In _measurements.json: a quantity at every point."""

    def flip(files: Json) -> None:
        for point in files["measurements"][study][variant]["points"]:
            point["values"][quantity] = spread(value)

    return flip


def set_case(experiment: str, name: str, quantity: str, value: float, *, low: float = 0.0) -> Flip:
    """In evidence.json: a quantity of a case, at all levels from `low` on."""

    def flip(files: Json) -> None:
        for case in files["experiments"][experiment]["cases"]:
            if case["name"] == name and case.get("level", 0.0) >= low:
                case["values"][quantity] = spread(value, 1e-5 * (value not in (0.0, 1.0)))

    return flip


ALL, ON_PATHS = tuple(STUDIES), (*TABLES, *SIZES)
PENALTIES, LAMBDAS = ("dropout", "l1", "l2", "activity_l1"), ("l1", "l2", "l1_proximal", "weight_decay", "activity_l1")
IMAGES, PATIENTS = "tutorial_fashion", "tutorial_thoracic"
SQUARED, ABSOLUTE = "mean_squared_error", "mean_absolute_error"
RECIPES = ("l2_activity_l1", "l2_activity_l1_max_norm", "l2_activity_l1_dropout")
DECAY, CONSTRAINT, DROPOUT = RECIPES

# Claim -> rule -> all that has to be turned round for its quantity to refute the claim.
FLIPS: dict[str, dict[str, list[Flip]]] = {
    "C1": {
        "tables": [turn_difference(task, PLAIN, "to_end") for task in TABLES],
        "images": [turn_difference(task, PLAIN, "to_end") for task in (*SIZES, "images_57000")],
    },
    "C2": {"norm": [set_norm(task, name, 20) for task in ON_PATHS for name in ("l2", "weight_decay")]},
    "C3": {
        "over_bound": [set_measured(task, "max_norm", "num_over_bound", 300.0) for task in TABLES],
        "log_loss": [set_replicates(task, "max_norm", "log_loss", 0.5, "tuned") for task in ON_PATHS],
    },
    "C4": {name: [set_case("thinned_images", name, "log_loss", 0.6)] for name in ("geometric", "arithmetic")},
    "C5": {
        "to_end": [set_replicates(task, PLAIN, "log_loss", 0.6, "to_end") for task in ON_PATHS],
        "stopped": [turn_difference(task, name, "tuned") for task in ON_PATHS for name in PENALTIES],
    },
    "C6": {
        "training_loss": [set_measured("images_2000", "batch_norm_high", "learning_loss", 0.9)],
        "log_loss": [turn_difference(task, "batch_norm", "tuned") for task in ON_PATHS]
        + [turn_difference("images_57000", "batch_norm")],
    },
    "C7": {"error": [set_case("outliers", SQUARED, "clean_error", 0.4)]},
    "C8": {
        "clean": [set_case("outliers", SQUARED, "clean_error", 0.4)],
        "with_outliers": [set_case("outliers", ABSOLUTE, "all_error", 20.0, low=0.1)],
    },
    "C9": {
        rule: [set_case("useless_columns", name, "real_columns_zero", 1.0)]
        for rule, name in {"gradient": "l1", "proximal": "l1_proximal"}.items()
    },
    "C10": {
        rule: [set_measured(task, name, "gap", 0.9) for task in tasks for name in LAMBDAS]
        for rule, tasks in {"tables": TABLES, "images": SIZES}.items()
    },
    "C11": {
        rule: [set_measured(task, "l1_proximal", "zero_share", 0.0) for task in tasks]
        for rule, tasks in {"tables": TABLES, "images": SIZES}.items()
    },
    "C12": {name: [set_case("decay", name, "distance", 0.5)] for name in ("sgd", "adam")},
    "D1": {
        "accuracy": [set_measured(task, PLAIN, "training_accuracy", 0.85) for task in ALL],
        "log_loss": [set_measured(task, PLAIN, "gap", 0.0) for task in ALL],
    },
    "D2": {"accuracy": [set_measured(PATIENTS, T1, "held_out_accuracy", 0.9)]},
    "D3": {"log_loss": [set_case("patients", "without_id", "log_loss", 0.7)]},
    "D4": {"risk": [set_case("patients", "largest_tumours", "label", 0.0)]},
    "D5": {"log_loss": [set_case("patients", "mended", "log_loss", 0.7)]},
    "D6": {"accuracy": [set_case("stopping_softmax", "stopping", "flattery", 0.0)]},
    "D7": {
        "other_ranking": [
            set_replicates(IMAGES, CONSTRAINT, "accuracy", 0.81),
            set_replicates(IMAGES, DROPOUT, "accuracy", 0.7),
        ],
        "half_width": [set_replicates(IMAGES, CONSTRAINT, "accuracy", 0.8135)],
    },
    "D8": {
        "gap": [set_measured(IMAGES, "unregularized", "gap", 0.3)],
        "log_loss": [turn_difference(IMAGES, name) for name in RECIPES],
    },
    "D9": {
        "at_bound": [set_measured(IMAGES, CONSTRAINT, "num_at_bound", 500)],
        "start_norm": [set_measured(IMAGES, CONSTRAINT, "start_norm", 3.0)],
    },
    "T1": {"accuracy": [set_case("patients", "all_patients", "accuracy", 0.8)]},
    "T2": {"parameters": [set_weights(IMAGES, DECAY, 1)]},
    "T3": {"accuracy": [set_replicates(IMAGES, DECAY, "accuracy", 0.7)]},
}
QUANTITIES = [(name, quantity.rule) for name, claim in CLAIMS.items() for quantity in claim.quantities]


def test_claims_and_defects_of_the_tutorial_have_at_most_two_quantities_each() -> None:
    assert {*(f"C{number}" for number in range(1, 13)), *(f"D{number}" for number in range(1, 10))} < set(CLAIMS)
    assert {len(claim.quantities) for claim in CLAIMS.values()} == {1, 2}
    flipped = [(name, rule) for name, rules in FLIPS.items() for rule in rules]
    assert sorted(flipped) == sorted(QUANTITIES)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_is_true_in_the_files_is_supported(plan: AuditParams, name: str) -> None:
    result = judge(plan, make_files())[name]
    assert (result.verdict, result.missing) == ("supported", "")
    assert [quantity.rule for quantity in result.quantities] == [quantity.rule for quantity in CLAIMS[name].quantities]
    assert all(quantity.low <= quantity.value <= quantity.high and quantity.sources for quantity in result.quantities)


@pytest.mark.parametrize(("name", "rule"), QUANTITIES)
def test_a_flipped_quantity_refutes_and_the_verdict_follows(plan: AuditParams, name: str, rule: str) -> None:
    files = make_files()
    for flip in FLIPS[name][rule]:
        flip(files)
    result = judge(plan, files)[name]
    verdicts = {quantity.rule: quantity.verdict for quantity in result.quantities}
    assert verdicts[rule] == "refuted"
    assert result.verdict == ("refuted" if set(verdicts.values()) == {"refuted"} else "depends")


def test_a_verdict_that_depends_says_on_what(plan: AuditParams) -> None:
    files = make_files()
    for flip in FLIPS["C1"]["images"]:
        flip(files)
    results = judge(plan, files)
    assert results["C1"].depends_on == "It holds on tables, but not on images."
    assert results["C2"].depends_on == ""


@pytest.mark.parametrize("name", CLAIMS)
def test_thresholds_decide_and_they_come_from_the_plan(plan: AuditParams, name: str) -> None:
    """With thresholds that nothing can reach, what is true in the files is no longer supported."""
    unreachable = {"matters": 1e9, "more_than": 1e9, "less_than": -1e9, "within": 1e-300}
    rules = copy.deepcopy(plan.rules)
    for rule, threshold in rules[name].items():
        (kind,) = threshold.given
        rules[name][rule] = Threshold(**{kind: unreachable[kind]})
    moved = judge(AuditParams(confidence=plan.confidence, rules=rules), make_files())[name]
    assert moved.verdict != "supported" or moved.quantities[0].value == 0, "0 is within anything"


def test_a_value_outside_its_own_interval_decides_nothing(plan: AuditParams) -> None:
    files = make_files()
    judged = files["comparison"]["images_500"]["arms"][PLAIN]["to_end"]["judged"]["log_loss"]
    judged["difference"]["value"] *= -1
    assert judge(plan, files)["C1"].verdict == "undecided"


def test_a_mean_over_sizes_is_as_wide_as_its_parts_on_average(plan: AuditParams) -> None:
    files = make_files()
    for size, value in zip((*SIZES, "images_57000"), (0.2, 0.2, 0.2, -0.2), strict=True):
        files["comparison"][size]["arms"][PLAIN]["to_end"]["judged"]["log_loss"]["difference"] = difference(value)
    quantity = judge(plan, files)["C1"].quantities[1]
    assert quantity.value == pytest.approx((0.2 + 0.2 + 0.2 - 0.2) / 4)
    assert quantity.high - quantity.low == pytest.approx(2 * 0.02 * 2.241403 / 1.959964), "97.5 % instead of 95 %"


def test_a_mean_over_tables_is_as_sure_as_they_agree(plan: AuditParams) -> None:
    """Student's interval of the tables' values, however sure each of them is by itself."""
    files = make_files()
    for table, value in zip(TABLES, (0.1, 0.2, 0.6), strict=True):
        files["comparison"][table]["arms"][PLAIN]["to_end"]["judged"]["log_loss"]["difference"] = difference(value)
    quantity = judge(plan, files)["C1"].quantities[0]
    expected = ttest_1samp([0.1, 0.2, 0.6], 0).confidence_interval(0.975)
    assert (quantity.value, quantity.low, quantity.high) == pytest.approx((0.3, *expected))
    assert quantity.sources == ["thoracic", "tables"]


def drop(*path: str | int) -> Flip:
    """Take out what stands at a path of the files."""

    def flip(files: Json) -> None:
        *way, last = path
        del reduce(operator.getitem, way, files)[last]

    return flip


ARMS = ("comparison", "images_500", "arms")
SGD = ("experiments", "decay", "cases", 0, "values", "distance", 3)
MISSING: list[tuple[Flip, str, str]] = [  # what is taken out, the claim that lacks it, what it says
    (drop("experiments", "decay"), "C12", "the experiment decay"),
    (drop("experiments", "decay", "cases", 1), "C12", "distance of adam at 0 in the experiment decay"),
    (change(lambda _: None, *SGD), "C12", "a finite distance of sgd at 0 in the experiment decay for every network"),
    (drop("comparison", "thoracic"), "C1", "the study thoracic"),
    (lambda files: [files["comparison"].pop(name) for name in TABLES[1:]], "C1", "the study tables"),
    (drop(*ARMS, "dropout"), "C5", "dropout to_end in the study images_500"),
    (drop(*ARMS, "l2", "to_end"), "C2", "l2 to_end in the study images_500"),
    (drop("measurements", "images_500", "l2"), "C10", "l2 in the study images_500"),
    (drop("measurements", "images_2000", "batch_norm_high"), "C6", "batch_norm_high in the study images_2000"),
    (change(lambda _: [], "experiments", "useless_columns", "cases"), "C9", "l1 in the experiment useless_columns"),
    (
        set_measured("thoracic", "max_norm", "num_at_bound", 0.0),
        "C3",
        "a unit that max_norm holds in the study thoracic",
    ),
]


@pytest.mark.parametrize(("spoil", "name", "message"), MISSING, ids=[message for *_, message in MISSING])
def test_a_claim_without_all_its_evidence_stays_open(plan: AuditParams, spoil: Flip, name: str, message: str) -> None:
    files = make_files()
    spoil(files)
    result = judge(plan, files)
    assert (result[name].verdict, result[name].quantities, result[name].missing) == ("undecided", [], message)
    assert result["D2"].verdict == "supported"


def test_the_record_survives_its_file(
    plan: AuditParams, tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    results = audit.run(plan, to_records(make_files()))
    save_audit(results)
    assert load_audit() == results
    assert np.isfinite([quantity.value for result in results for quantity in result.quantities]).all()
