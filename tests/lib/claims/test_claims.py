"""Each verdict follows from numbers in files: turn them round, and it turns round."""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import pytest
from scipy.stats import ttest_1samp

from stages import audit
from stages.lib.claims.claims import CLAIMS
from stages.lib.claims.judging import AuditParams, ClaimResult, load_audit, save_audit
from stages.lib.settings.schema import read_params
from stages.lib.settings.yaml_text import load_document
from tests.lib.claims.made import PLAIN, SIZES, STUDIES, T1, TABLES, Json, difference, make_files, spread, to_records


@pytest.fixture(scope="module")
def plan(params_text: str) -> AuditParams:
    return read_params(load_document(params_text)[0])[0].fields["audit"]


def judge(plan: AuditParams, files: Json) -> dict[str, ClaimResult]:
    return {result.id: result for result in audit.run(plan, to_records(files))}


ALL, SIZES_OF_ALL = tuple(STUDIES), SIZES[:2]
PENALTIES, LAMBDAS = ("dropout", "l1", "l2", "activity_l1"), ("l1", "l2", "l1_proximal", "weight_decay", "activity_l1")
IMAGES, PATIENTS = ("tutorial_fashion",), ("tutorial_thoracic",)
SQUARED, ABSOLUTE = "mean_squared_error", "mean_absolute_error"
RECIPES = ("l2_activity_l1", "l2_activity_l1_max_norm", "l2_activity_l1_dropout")
DECAY, CONSTRAINT, DROPOUT = RECIPES

# Claim, rule -> what has to be turned round for its quantity to refute the claim: in these studies or experiments, of
# these variants or cases, a quantity, its new value, and the kind of arm; `difference`: of log loss from the baseline.
Key = str | int | slice
Flip = tuple[Sequence[str], Sequence[str], str, float] | tuple[Sequence[str], Sequence[str], str, float, str]
FLIPS: dict[tuple[str, str], list[Flip]] = {
    ("C1", "tables"): [(TABLES, [PLAIN], "difference", -0.3, "to_end")],
    ("C1", "images"): [((*SIZES, "images_57000"), [PLAIN], "difference", -0.3, "to_end")],
    ("C2", "norm"): [((*TABLES, *SIZES), ["l2", "weight_decay"], "kernel_norm", 20, "to_end")],
    ("C3", "over_bound"): [(TABLES, ["max_norm"], "num_over_bound", 300)],
    ("C3", "log_loss"): [((*TABLES, *SIZES), ["max_norm"], "log_loss", 0.5, "tuned")],
    ("C4", "geometric"): [(["thinned_images"], ["geometric"], "log_loss", 0.6)],
    ("C4", "arithmetic"): [(["thinned_images"], ["arithmetic"], "log_loss", 0.6)],
    ("C5", "to_end"): [(ALL, [PLAIN], "log_loss", 0.6, "to_end")],
    ("C5", "stopped"): [((*TABLES, *SIZES), PENALTIES, "difference", 0.2, "tuned")],
    ("C6", "training_loss"): [(["images_2000"], ["batch_norm_high"], "learning_loss", 0.9)],
    ("C6", "log_loss"): [((*TABLES, *SIZES), ["batch_norm"], "difference", 0.2, "tuned")],
    ("C7", "error"): [(["outliers"], [SQUARED], "clean_error", 0.4)],
    ("C8", "clean"): [(["outliers"], [SQUARED], "clean_error", 0.4)],
    ("C8", "with_outliers"): [(["outliers"], [ABSOLUTE], "all_error", 20.0)],
    ("C9", "gradient"): [(["useless_columns"], ["l1"], "real_columns_zero", 1.0)],
    ("C9", "proximal"): [(["useless_columns"], ["l1_proximal"], "real_columns_zero", 1.0)],
    ("C10", "tables"): [(TABLES, LAMBDAS, "gap", 0.9)],
    ("C10", "images"): [(SIZES, LAMBDAS, "gap", 0.9)],
    ("C11", "tables"): [(TABLES, ["l1_proximal"], "zero_share", 0.0)],
    ("C11", "images"): [(SIZES, ["l1_proximal"], "zero_share", 0.0)],
    ("C12", "sgd"): [(["decay"], ["sgd"], "distance", 0.5)],
    ("C12", "adam"): [(["decay"], ["adam"], "distance", 0.5)],
    ("D1", "accuracy"): [(ALL, [PLAIN], "training_accuracy", 0.85)],
    ("D1", "log_loss"): [(ALL, [PLAIN], "gap", 0.0)],
    ("D2", "accuracy"): [(PATIENTS, [T1], "held_out_accuracy", 0.9)],
    ("D3", "log_loss"): [(["patients"], ["without_id"], "log_loss", 0.7)],
    ("D4", "risk"): [(["patients"], ["largest_tumours"], "label", 0.0)],
    ("D5", "log_loss"): [(["patients"], ["mended"], "log_loss", 0.7)],
    ("D6", "accuracy"): [(["stopping_softmax"], ["stopping"], "flattery", 0.0)],
    ("D7", "other_ranking"): [(IMAGES, [CONSTRAINT], "accuracy", 0.81), (IMAGES, [DROPOUT], "accuracy", 0.7)],
    ("D7", "half_width"): [(IMAGES, [CONSTRAINT], "accuracy", 0.8135)],
    ("D8", "gap"): [(IMAGES, [PLAIN], "gap", 0.3)],
    ("D8", "log_loss"): [(IMAGES, RECIPES, "difference", -0.2)],
    ("D9", "at_bound"): [(IMAGES, [CONSTRAINT], "num_at_bound", 500)],
    ("D9", "start_norm"): [(IMAGES, [CONSTRAINT], "start_norm", 3.0)],
    ("T1", "accuracy"): [(["patients"], ["all_patients"], "accuracy", 0.8)],
    ("T2", "parameters"): [(IMAGES, [DECAY], "num_weights", 1)],
    ("T3", "accuracy"): [(IMAGES, [DECAY], "accuracy", 0.7)],
}
QUANTITIES = [(name, quantity.name) for name, claim in CLAIMS.items() for quantity in claim.quantities]


def turn(
    files: Json, sources: Sequence[str], names: Sequence[str], quantity: str, value: float, kind: str = "at_knob"
) -> None:
    """Give a quantity another value, wherever the files have it."""
    for source, name in [(source, name) for source in sources for name in names]:
        cases = [case for case in files["measured"][source]["cases"] if case["name"] == name]
        arm = files["comparison"].get(source, {"arms": {}})["arms"].get(name)
        if not arm or quantity in cases[0]["values"]:
            for case in cases:
                case["values"][quantity] = spread(value, 1e-5 * (value not in (0.0, 1.0)))
        elif quantity == "difference":
            arm[kind]["judged"]["log_loss"]["difference"] = difference(value)
        elif quantity in arm[kind]["judged"]:
            arm[kind]["judged"][quantity]["replicates"] = spread(value)
        else:
            arm[kind]["mechanisms"][quantity] = value


def test_claims_and_defects_have_at_most_two_quantities_each_told_in_a_line() -> None:
    assert {*(f"C{number}" for number in range(1, 13)), *(f"D{number}" for number in range(1, 10))} < set(CLAIMS)
    assert all(len(c.quantities) in (1, 2) and all(len(q.label) < 69 for q in c.quantities) for c in CLAIMS.values())
    assert sorted(FLIPS) == sorted(QUANTITIES)


def test_claims_that_are_true_in_the_files_are_supported(plan: AuditParams) -> None:
    for name, result in judge(plan, make_files()).items():
        assert (result.verdict, result.missing) == ("supported", ""), name
        assert [one.name for one in result.quantities] == [rule for claim, rule in QUANTITIES if claim == name]
        assert all(one.low <= one.value <= one.high and one.sources for one in result.quantities), name


@pytest.mark.parametrize(("name", "rule"), QUANTITIES)
def test_a_quantity_that_is_turned_round_refutes_and_the_verdict_follows(
    plan: AuditParams, name: str, rule: str
) -> None:
    files = make_files()
    for flip in FLIPS[name, rule]:
        turn(files, *flip)
    result = judge(plan, files)[name]
    verdicts = {quantity.name: quantity.verdict for quantity in result.quantities}
    assert verdicts[rule] == "refuted"
    assert result.verdict == ("refuted" if set(verdicts.values()) == {"refuted"} else "depends")
    if (name, rule) == ("C1", "images"):
        assert result.depends_on == "It holds on tables, but not on images."


def test_a_mean_over_sizes_is_as_wide_as_its_parts_on_average(plan: AuditParams) -> None:
    files = make_files()
    for size, value in zip((*SIZES, "images_57000"), (0.2, 0.2, 0.2, -0.2), strict=True):
        turn(files, [size], [PLAIN], "difference", value, "to_end")
    quantity = judge(plan, files)["C1"].quantities[1]
    assert quantity.value == pytest.approx((0.2 + 0.2 + 0.2 - 0.2) / 4)
    assert quantity.high - quantity.low == pytest.approx(2 * 0.02 * 2.241403 / 1.959964), "97.5 % instead of 95 %"


def test_a_mean_over_tables_is_as_sure_as_they_agree(plan: AuditParams) -> None:
    """Student's interval of the tables' values, however sure each of them is by itself."""
    files = make_files()
    for table, value in zip(TABLES, (0.1, 0.2, 0.6), strict=True):
        turn(files, [table], [PLAIN], "difference", value, "to_end")
    quantity = judge(plan, files)["C1"].quantities[0]
    expected = ttest_1samp([0.1, 0.2, 0.6], 0).confidence_interval(0.975)
    assert (quantity.value, quantity.low, quantity.high) == pytest.approx((0.3, *expected))
    assert quantity.sources == ["thoracic", "tables"]


def get(files: Json, *path: Key) -> Json:
    return reduce(operator.getitem, path, files)


def drop(*path: Key) -> Callable[[Json], None]:
    """Take out what stands at a path of the files."""
    return lambda files: operator.delitem(get(files, *path[:-1]), path[-1])


ARMS, SGD = ("comparison", "images_500", "arms"), ("measured", "decay", "cases", 0, "values", "distance")
USELESS = ("measured", "useless_columns", "cases", slice(None))
MISSING: list[tuple[Callable[[Json], None], str, str]] = [  # what is taken out, the claim that lacks it, what it says
    (drop("measured", "decay"), "C12", "decay"),
    (drop("measured", "decay", "cases", 1), "C12", "adam in decay"),
    (
        lambda files: operator.setitem(get(files, *SGD), 3, None),
        "C12",
        "a finite distance of sgd for every network in decay",
    ),
    (drop("measured", "thoracic"), "C1", "thoracic"),
    (lambda files: [files["measured"].pop(name) for name in TABLES[1:]], "C1", "tables"),
    (drop(*ARMS, "dropout"), "C5", "dropout in images_500"),
    (drop(*ARMS, "l2", "to_end"), "C2", "to_end in images_500"),
    (drop("measured", "images_500", "cases", slice(1, None)), "C10", "l1 in images_500"),
    (drop(*USELESS), "C9", "l1 in useless_columns"),
    (
        lambda files: turn(files, ["thoracic"], ["max_norm"], "num_at_bound", 0.0),
        "C3",
        "a unit that max_norm holds in thoracic",
    ),
]


@pytest.mark.parametrize(("spoil", "name", "message"), MISSING, ids=[message for *_, message in MISSING])
def test_a_claim_without_all_its_evidence_stays_open(
    plan: AuditParams, spoil: Callable[[Json], None], name: str, message: str
) -> None:
    files = make_files()
    spoil(files)
    result = judge(plan, files)
    assert (result[name].verdict, result[name].quantities, result[name].missing) == ("inconclusive", [], message)
    assert result["D2"].verdict == "supported"


def test_the_record_survives_its_file(plan: AuditParams, inside: Path) -> None:
    results = audit.run(plan, to_records(make_files()))
    save_audit(results)
    assert load_audit() == results
