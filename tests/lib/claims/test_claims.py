"""Each verdict follows from figures in files: flip them, and it flips. No threshold is written in code."""

import copy
from collections.abc import Callable

import numpy as np
import pytest

from stages import audit
from stages.lib.claims.claims import CLAIMS
from stages.lib.claims.record import ClaimResult, load_audit, save_audit
from stages.lib.claims.rules import AuditParams, Threshold
from tests.lib.claims.made import REPLICATES, Json, difference, make_files, spread, to_records

Flip = Callable[[Json], None]


@pytest.fixture(scope="module")
def plan(params_text: str) -> AuditParams:
    return parse_params(params_text).audit


def judge(plan: AuditParams, files: Json) -> dict[str, ClaimResult]:
    return {result.id: result for result in audit.run(plan, to_records(files))}


def turn_difference(study: str, variant: str, kind: str = "at_knob", score: str = "log_loss") -> Flip:
    """In comparison.json: the other sign."""

    def flip(files: Json) -> None:
        judged = files["comparison"][study]["arms"][variant][kind]["judged"][score]
        judged["difference"] = difference(-judged["difference"]["value"])

    return flip


def set_replicates(study: str, variant: str, value: float) -> Flip:
    """In comparison.json: the accuracy of every seed."""

    def flip(files: Json) -> None:
        files["comparison"][study]["arms"][variant]["at_knob"]["judged"]["accuracy"]["replicates"] = spread(value)

    return flip


def set_measured(study: str, variant: str, quantity: str, value: float) -> Flip:
    """In measurements.json: a quantity at every point."""

    def flip(files: Json) -> None:
        for point in files["measurements"][study]["variants"][variant]["points"]:
            point["values"][quantity] = spread(value)

    return flip


def set_case(experiment: str, name: str, quantity: str, value: float, *, low: float = 0.0) -> Flip:
    """In evidence.json: a quantity of a case, at all levels from `low` on."""

    def flip(files: Json) -> None:
        for case in files["evidence"][experiment]["cases"]:
            if case["name"] == name and case["level"] >= low and quantity in case["values"]:
                case["values"][quantity] = spread(value, 0.0 if value in (0.0, 1.0) else 1e-5)

    return flip


def set_count(experiment: str, name: str, hits: int) -> Flip:
    """In evidence.json."""

    def flip(files: Json) -> None:
        for count in files["evidence"][experiment]["counts"]:
            if count["name"] == name:
                count["hits"] = hits

    return flip


def set_addition(value: float) -> Flip:
    def flip(files: Json) -> None:
        files["measurements"]["tutorial_fashion"]["additions"][0] |= {"value": value, "low": value, "high": value}

    return flip


def set_weights(study: str, variant: str, number: int) -> Flip:
    def flip(files: Json) -> None:
        files["measurements"][study]["variants"][variant]["num_weights"] = number

    return flip


SIMPLE = ("thoracic", "fashion_small", "fashion")
PATHS = ("l1", "l2", "activity_l1")
SQUARED, ABSOLUTE = "mean_squared_error", "mean_absolute_error"
T1 = "mean_squared_logarithmic_error"
RECIPES = ("l2_activity_l1", "l2_activity_l1_max_norm", "l2_activity_l1_dropout")

# Claim -> all that has to be turned round for it to be refuted.
FLIPS: dict[str, list[Flip]] = {
    "C1": [
        *(turn_difference(study, "early_stopping") for study in SIMPLE),
        *(set_case(f"stopping_{name}", "stopping", "worse_at_the_end", 0.0) for name in ("thoracic", "fashion")),
    ],
    "C2": [set_measured(study, name, "kernel_norm", 20.0) for study in SIMPLE for name in ("l2", "weight_decay")],
    "C3": [set_measured("fashion", "max_norm", "num_over_bound", 300.0), set_addition(-0.01)],
    "C4": [set_case(f"thinned_{name}", "all_units", "log_loss", 0.9) for name in ("thoracic", "fashion")],
    "C5": [
        *(turn_difference(study, "dropout") for study in SIMPLE),
        *(turn_difference(study, name, "tuned") for study in SIMPLE for name in PATHS),
        *(set_measured(study, name, "gap", 0.9) for study in SIMPLE for name in ("dropout", *PATHS)),
    ],
    "C6": [
        *(turn_difference(study, "batch_norm") for study in SIMPLE),
        *(set_measured(study, "batch_norm", "learning_loss", 0.9) for study in SIMPLE),
    ],
    "C7": [
        set_case("outliers", SQUARED, "clean_error", 0.4),
        set_case("outliers", f"{SQUARED}_as_in_the_file", "clean_error", 0.4),
        set_case("flips", SQUARED, "accuracy", 0.8),
    ],
    "C8": [
        set_case("outliers", SQUARED, "clean_error", 0.4),
        set_case("outliers", ABSOLUTE, "all_error", 20.0, low=0.1),
        set_case("flips", ABSOLUTE, "accuracy", 0.5, low=0.4),
    ],
    "C9": [
        *(set_case("noise_columns", name, "noise_columns_zero", 0.0) for name in ("l1", "l1_proximal")),
        set_case("noise_columns", "l2", "noise_columns_zero", 0.8),
        *(set_case("noise_columns", name, "real_columns_zero", 0.9) for name in ("l1", "l1_proximal")),
    ],
    "C10": [
        set_measured(study, name, "gap", 0.9)
        for study in SIMPLE[:2]
        for name in (*PATHS, "l1_proximal", "weight_decay")
    ],
    "C11": [set_measured(study, "l1_proximal", "zero_share", 0.0) for study in SIMPLE],
    "C12": [set_case("decay", name, "distance", 0.5) for name in ("sgd", "adam")],
    "D1": [set_measured("tutorial_thoracic", T1, "training_accuracy", 0.85)],
    "D2": [set_measured("tutorial_thoracic", T1, "held_out_accuracy", 0.9)],
    "D3": [set_case("columns", "without_id", "log_loss", 0.7)],
    "D4": [set_count("columns", "label_1_largest", 1)],
    "D5": [set_case("columns", "mended", "log_loss", 0.7)],
    "D6": [set_case("stopping_softmax", "stopping", "flattery", 0.0)],
    "D7": [set_replicates("tutorial_fashion", "l2_activity_l1_dropout", 0.7)],
    "D8": [
        set_measured("tutorial_fashion", "unregularized", "gap", 0.3),
        *(turn_difference("tutorial_fashion", name) for name in RECIPES),
    ],
    "D9": [
        set_measured("tutorial_fashion", "l2_activity_l1_max_norm", "bound_share", 0.9),
        set_measured("tutorial_fashion", "l2_activity_l1_max_norm", "start_norm", 3.0),
    ],
    "T1": [set_case("whole_table", T1, "accuracy", 0.8)],
    "T2": [set_weights("tutorial_fashion", name, 1) for name in ("softmax", *RECIPES)],
    "T3": [set_replicates("tutorial_fashion", name, 0.7) for name in ("softmax", *RECIPES)],
}
HELD_BY_ARITHMETIC = {"D7": "sampling_error"}  # follows from printed numbers, so no file can refute it


def test_every_claim_is_flipped_below() -> None:
    assert set(FLIPS) == set(CLAIMS)
    assert {*(f"C{number}" for number in range(1, 13)), *(f"D{number}" for number in range(1, 10))} < set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_is_true_in_the_files_is_supported(plan: AuditParams, name: str) -> None:
    result = judge(plan, make_files())[name]
    assert (result.verdict, result.condition) == ("supported", "")
    judged = [figure for figure in result.figures if figure.quantity]
    assert {figure.quantity for figure in judged} == set(CLAIMS[name].quantities)
    assert all(figure.low <= figure.value <= figure.high and figure.file for figure in result.figures)
    assert result.decisive_figure is not None
    assert result.decisive_figure.finding == "supported"


@pytest.mark.parametrize("name", CLAIMS)
def test_one_flipped_figure_flips_the_verdict(plan: AuditParams, name: str) -> None:
    for flip in FLIPS[name]:
        files = make_files()
        flip(files)
        assert judge(plan, files)[name].verdict != "supported"


@pytest.mark.parametrize("name", CLAIMS)
def test_all_figures_flipped_refute_the_claim(plan: AuditParams, name: str) -> None:
    files = make_files()
    for flip in FLIPS[name]:
        flip(files)
    result = judge(plan, files)[name]
    held = {figure.quantity for figure in result.figures if figure.finding == "supported"}
    assert held == {HELD_BY_ARITHMETIC[name]} if name in HELD_BY_ARITHMETIC else not held
    assert result.verdict == ("depends" if name in HELD_BY_ARITHMETIC else "refuted")
    assert result.decisive_figure is not None
    assert result.decisive_figure.finding == "refuted"


@pytest.mark.parametrize("name", CLAIMS)
def test_thresholds_decide_and_they_come_from_the_plan(plan: AuditParams, name: str) -> None:
    """With thresholds that nothing can reach, what is true in the files is no longer supported."""
    unreachable = {"matters": 1e9, "more_than": 1e9, "less_than": -1e9, "within": 1e-300}
    rules = copy.deepcopy(plan.rules)
    for quantity, threshold in rules[name].items():
        (kind,) = threshold.given
        rules[name][quantity] = Threshold(**{kind: unreachable[kind]})
    moved = judge(AuditParams(confidence=plan.confidence, rules=rules), make_files())[name]
    assert moved.verdict != "supported" or moved.figures[0].value == 0, "0 is within anything"


def test_a_mixed_finding_depends_and_says_on_what(plan: AuditParams) -> None:
    files = make_files()
    set_case("decay", "adam", "distance", 0.5)(files)
    result = judge(plan, files)["C12"]
    assert result.verdict == "depends"
    holds, fails = result.condition.split("; ")
    assert holds.startswith("holds: ")
    assert holds.endswith("sgd (thoracic)")
    assert fails.startswith("fails: ")
    assert fails.endswith("adam (thoracic)")


def test_what_does_not_stand_in_its_family_supports_nothing(plan: AuditParams) -> None:
    files = make_files()
    for study in SIMPLE:
        judged = files["comparison"][study]["arms"]["early_stopping"]["at_knob"]["judged"]["log_loss"]
        judged["difference"]["p_adjusted"] = 0.2
    assert judge(plan, files)["C1"].verdict == "undecided"


def test_a_value_outside_its_own_interval_decides_nothing(plan: AuditParams) -> None:
    files = make_files()
    judged = files["comparison"]["fashion"]["arms"]["early_stopping"]["at_knob"]["judged"]["log_loss"]
    judged["difference"]["value"] *= -1
    assert judge(plan, files)["C1"].verdict == "undecided"


def test_a_claim_about_networks_of_which_one_has_diverged_stays_open(plan: AuditParams) -> None:
    files = make_files()
    files["evidence"]["decay"]["cases"][0]["values"]["distance"][3] = None
    found = judge(plan, files)["C12"]
    assert (found.verdict, found.figures) == ("undecided", [])
    assert found.condition.startswith("missing: a finite distance of ")


def test_a_study_or_an_experiment_that_is_gone_leaves_its_claims_open(plan: AuditParams) -> None:
    files = make_files()
    del files["evidence"]["decay"], files["comparison"]["tutorial_thoracic"], files["measurements"]["tutorial_thoracic"]
    found = judge(plan, files)
    assert found["C12"].condition == "missing: the experiment decay"
    for name in ("C12", "D1", "D2"):
        assert (found[name].verdict, found[name].figures, found[name].decisive) == ("undecided", [], None)
    assert found["C2"].verdict == "supported"


def test_fewer_replicates_decide_less(plan: AuditParams) -> None:
    """The intervals of counts are as wide as their numbers ask for: two networks cannot show a share."""
    files = make_files()
    for name in ("stopping_thoracic", "stopping_fashion"):
        for case in files["evidence"][name]["cases"]:
            case["values"]["worse_at_the_end"] = [1.0, 1.0]
    assert judge(plan, files)["C1"].verdict == "undecided"
    assert REPLICATES > 10


def test_the_record_survives_its_file(
    plan: AuditParams, tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    results = audit.run(plan, to_records(make_files()))
    save_audit(results)
    assert load_audit() == results
    assert np.isfinite([figure.value for result in results for figure in result.figures]).all()
