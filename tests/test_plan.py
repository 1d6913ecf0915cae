"""params.yaml to plans: what a plan holds, and which plans a changed setting changes."""

import dataclasses
import re
import subprocess
import sys
from typing import Any

import pytest

from stages import plan
from stages.lib.claims.experiment_kinds import ExperimentPlan
from stages.lib.core.records import from_json, to_json
from stages.lib.data.kinds import KINDS, SplitPlan
from stages.lib.judge.plans import ReferencePlan
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.schema import Params
from tests.conftest import ROOT
from tests.project import find_users, load_yaml

Run = tuple[str, str]  # task and variant
STUDY = "    data: thoracic_surgery\n    baseline: unregularized"
PAIR = "  pair: {first: {kind: thoracic_surgery}, second: {kind: thoracic_surgery}}\n"


def read(path: str) -> bytes:
    return (ROOT / path).read_bytes()


def make_plans(text: str) -> dict[str, Any]:
    return plan.run(text, read)


def read_params(text: str) -> Params:
    return plan.check(text, read)[0]


def expand(text: str) -> dict[Run, RunPlan]:
    named = [plans for plans in make_plans(text).values() if isinstance(plans, dict)]
    return {(run.task, run.variant): run for plans in named for run in plans.values() if isinstance(run, RunPlan)}


def replace(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def find_changed(before: str, after: str) -> set[Run]:
    """The runs whose plans differ between two texts."""
    plans, others = expand(before), expand(after)
    return {run for run in plans.keys() | others.keys() if plans.get(run) != others.get(run)}


# What a changed setting changes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", CATALOGUE)
def test_a_knob_changes_the_plans_that_use_it_and_no_other(params_text: str, knob: str) -> None:
    changed = re.sub(rf"(?m)^{knob}: \S+", f"{knob}: {7 if CATALOGUE[knob].whole_number else 0.123}", params_text)
    users = find_users(load_yaml(params_text), knob)
    assert users and find_changed(params_text, changed) == users


CHANGES: dict[tuple[str, str], set[Run]] = {  # old, new -> the runs that change
    ("l2: {path: [0.0001, 0.001, 0.003]}", "l2: {path: [0.2]}"): {("fashion_small", "l2")},
    ("      l2: {path: [0.0001, 0.001, 0.003]}\n", ""): {("fashion_small", "l2")},
    ("      l2: {strengths: {l2: 0.0001}, path: []}", "      l2: {epochs: 3, baseline: l2}"): {("fashion", "l2")},
    ("      points: 64", "      points: 16"): {("thoracic", "cocktail")},
    ("          points: 12", "          points: 16"): {("fashion_small", "cocktail")},
    ("  l2: {regularizers: [l2], path: [", "  l2: {regularizers: [l2], path: [7, "): {("thoracic", "l2")},
    ("loss: poisson", "loss: mean_squared_error"): {("tutorial_thoracic", "poisson")},
    ("  tutorial: {reg", "  more: {regularizers: [l1, l2]}\n  tutorial: {reg"): {
        (study, "more") for study in ("thoracic", "fashion_small", "fashion")
    },
    ("own_variants:\n", "own_variants:\n  more: {study: fashion}\n"): {("fashion", "more")},
    (
        "{kind: decay, study: thoracic, variants: [l2], replicates: 10",
        "{kind: decay, study: thoracic, variants: [l2]",
    ): set(),
}


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_setting_changes_the_plans_of_its_study_alone(params_text: str, old: str, new: str) -> None:
    assert find_changed(params_text, replace(params_text, (old, new))) == CHANGES[old, new]


def test_a_setting_that_a_study_changes_in_a_variant_leaves_the_others_of_the_catalogue(params_text: str) -> None:
    """An entry that is empty changes nothing, one that is null takes back what the catalogue has."""
    runs = expand(params_text)
    assert runs["fashion", "l2"].regularizers[0].strengths == (0.0001,)
    assert runs["thoracic", "l2"].regularizers[0].strengths[:2] == (0.001, 0.003)
    assert runs["fashion_small", "l2"].regularizers[0].strengths == (0.0001, 0.001, 0.003, 0.01)
    assert runs["fashion", "cocktail"].grid.num_points == 1 and runs["fashion", "cocktail"].network.hidden == (256, 128)
    for new in ("      l2: {}", "      l2:"):
        run = expand(replace(params_text, ("      l2: {path: [0.0001, 0.001, 0.003]}", new)))["fashion_small", "l2"]
        assert run.regularizers[0].strengths == runs["thoracic", "l2"].regularizers[0].strengths


def test_a_study_of_a_collection_has_a_task_for_each_of_its_data_sets(params_text: str) -> None:
    more = ("  fashion_mnist: {kind", f"{PAIR}  fashion_mnist: {{kind")
    text = replace(params_text, more, (STUDY, STUDY.replace("thoracic_surgery", "pair")))
    plans, runs = make_plans(text), expand(text)
    tasks = ("thoracic/first", "thoracic/second")
    assert plans["_tasks"][-4:] == (*tasks, "fashion_small", "fashion")
    for name in ("_split", "_study", "_reference", "l2", "cocktail"):
        planned = plans[f"thoracic/{name}"]
        assert [*planned] == [entry.task for entry in planned.values()] == [*tasks]
    assert [plans["thoracic/_study"][task].dataset for task in tasks] == ["pair/first", "pair/second"]
    assert list(plans["_datasets/pair"]) == ["pair/first", "pair/second"]
    first, second = (runs[task, "l2"] for task in tasks)
    assert dataclasses.replace(first, task="") == dataclasses.replace(second, task="")
    assert runs[tasks[0], "cocktail"].regularizers == runs[tasks[1], "cocktail"].regularizers, "they share its points"
    assert plans["_experiments/decay"].study == tasks[0], "an experiment trains on the first"


def test_studies_of_the_tutorial_and_own_variants_may_be_left_out(params_text: str) -> None:
    kept = params_text[: params_text.index("# The tutorial's own studies")]
    kept = replace(kept, ("        baseline: large\n", ""), ("        hidden: [256, 128]\n        epochs: 12\n", ""))
    for text in (f"{kept}\ntutorial: {{}}\nown_variants: {{}}\nexperiments: {{}}\n", kept):
        assert list(read_params(text).studies) == ["thoracic", "fashion_small", "fashion"]
        assert {variant for _, variant in expand(text)} == set(read_params(text).sections["variants"])


# What a run's plan holds ---------------------------------------------------------------------------------------------


def test_a_plan_survives_its_file(params_text: str) -> None:
    for run in expand(params_text).values():
        assert from_json(RunPlan, to_json(run)) == run


@pytest.mark.parametrize(
    ("knob", "place"), [(0.01, 1), (0.02, 3), (0.001, 0), (0.1, 2), (0.0, 3), (5.0, 3)]
)  # on the path, off it, its ends, none, beyond
def test_a_knob_is_a_point_of_its_own_and_leaves_what_is_tried_as_it_is(
    params_text: str, knob: float, place: int
) -> None:
    variant = "  path: {study: tutorial_fashion, path: '0.1, 0.01, 0.001', regularizers: l2}\n"
    text = replace(params_text, ("own_variants:\n", f"own_variants:\n{variant}"), ("l2: 0.01 ", f"l2: {knob} "))
    run = expand(text)["tutorial_fashion", "path"]
    first, *others = run.parts
    assert (run.knob, run.tried, run.grid.num_points) == (place, 3, max(3, place + 1))
    assert first.regularizers[0].strengths == (0.001, 0.01, 0.1), "the same bytes, whatever the knob is"
    assert run.at_knob.regularizers[0].strengths == (knob,)
    assert others == ([run.at_knob] if place == 3 else [])
    assert run.lane_strengths(run.regularizers[0])[:30].tolist() == [0.001] * 10 + [0.01] * 10 + [0.1] * 10


@pytest.mark.parametrize("knob", [*CATALOGUE])
def test_no_knob_changes_what_another_is_compared_with(params_text: str, knob: str) -> None:
    """Over the catalogue, for a knob on each point of its path, between them, at 0 and beyond: no path changes."""
    rule, before = CATALOGUE[knob], expand(params_text)
    users = {key for key, run in before.items() if knob in {entry.name for entry in run.regularizers}}
    path = next(run.regularizers[0].strengths for (_, name), run in before.items() if name == knob and run.tried)
    beyond = (min(path) / 2, max(path) * 1.03) if not rule.whole_number else (max(path) + 1,)
    given = {strength for strength in (*path, 0.0, *beyond) if rule.minimum <= strength < rule.below}
    number = re.search(rf"(?m)^{knob}: \S+", params_text)
    for strength in sorted(given) if number else []:
        after = expand(replace(params_text, (number[0], f"{knob}: {strength}")))
        assert {key for key in before if after[key] != before[key]} <= users
        tried = {key: (run.tried, after[key].tried) for key, run in before.items() if run.tried}
        assert all(was == now for was, now in tried.values())
        assert all(after[key].parts[0] == before[key].parts[0] for key in tried)


def test_a_study_like_another_takes_over_what_it_does_not_say(params_text: str) -> None:
    more = "  more: {like: fashion_small, data: fashion_mnist, protocol: {training: 500}, strengths: {dropout: 0.25}}\n"
    text = replace(params_text, ("# The tutorial's own studies", f"{more}\n# The tutorial's own studies"))
    params, runs = read_params(text), expand(text)
    one, other = (params.studies[name].settings for name in ("fashion_small", "more"))
    assert other.protocol == one.protocol.model_copy(update={"training": 500})
    assert (other.network, other.variants) == (one.network, one.variants)
    assert runs["more", "dropout"].at_knob.regularizers[0].strengths == (0.25,), "in the place of the knob"
    assert runs["more", "l2"].regularizers == runs["fashion_small", "l2"].regularizers


def test_a_variant_takes_the_place_of_settings_of_its_study(params_text: str) -> None:
    other = "poisson: {study: tutorial_thoracic, regularizers: [dropout], loss: poisson}"
    runs = expand(replace(params_text, (other, "l2:\n    study: tutorial_thoracic")))
    softmax, other = runs["tutorial_fashion", "softmax"], runs["tutorial_fashion", "l2_activity_l1_dropout"]
    assert softmax.network.hidden == () and other.network.hidden == (64,)
    assert softmax.callbacks.checkpoint is not None and other.callbacks.checkpoint is None
    assert softmax.regularizers[0].strengths == (10.0,)
    assert runs["tutorial_thoracic", "l2"].regularizers == (), "a name of the catalogue is another variant here"


def test_steps_of_training_make_whole_epochs_of_ten_batches(params_text: str) -> None:
    for steps, epochs in ((1, 1), (14, 1), (16, 2), (300, 30)):
        text = replace(params_text, ("epochs: 100\n", f"steps: {steps}\n"))
        assert expand(text)["thoracic", "l2"].epochs == epochs


def test_a_run_has_the_callbacks_that_its_variant_names(params_text: str) -> None:
    text = params_text.replace("callbacks: [terminate_on_nan]", "callbacks: [reduce_lr_on_plateau]")
    runs, callbacks = expand(text), read_params(text).fields["callbacks"]
    plain, stopped = (runs["thoracic", name].callbacks for name in ("unregularized", "early_stopping"))
    assert plain.early_stopping is None and plain.checkpoint is None and not plain.terminate_on_nan
    assert plain.reduce_lr_on_plateau == callbacks.reduce_lr_on_plateau
    assert stopped.early_stopping == callbacks.early_stopping
    assert expand(params_text)["thoracic", "unregularized"].callbacks.reduce_lr_on_plateau is None
    assert expand(params_text)["thoracic", "unregularized"].callbacks.terminate_on_nan


def test_numbers_mean_what_they_mean_to_dvc(params_text: str) -> None:
    assert read_params(replace(params_text, ("l1: 0.001", "l1: 1e-4"))).fields["l1"] == 1e-4


def test_one_data_set_may_stand_under_two_protocols(params_text: str) -> None:
    k_fold = "{kind: repeated_stratified_k_fold, folds: 5, repeats: 2, validation: 0.2}"
    text = replace(params_text, ("{kind: fixed_test, seeds: 10, training: 2000, validation: 0.2}", k_fold))
    assert expand(text)["fashion_small", "l2"].grid.num_replicates == 10


def test_plan_is_quick_to_import() -> None:
    slow = "{'tensorflow', 'sklearn', 'scipy', 'pandas'}"
    code = f"import stages.plan, sys; sys.exit(' '.join({slow} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# What the other plans hold -------------------------------------------------------------------------------------------


def test_a_study_names_the_reference_models_it_tries(params_text: str) -> None:
    """With strengths of its own, where it has some."""
    text = replace(
        params_text,
        ("references: []", "references: [mlp]\n    reference_strengths: {mlp: [0.5]}"),
        ("references: [logistic_regression]", "references: [random_forest, mlp]"),
    )
    plans, tried = make_plans(text), read_params(text).fields["references"]
    both = {name: tuple(map(float, getattr(tried, name))) for name in ("random_forest", "mlp")}
    for study, outputs, models in (("tutorial_thoracic", 1, both), ("fashion", 10, {"mlp": (0.5,)})):
        planned = plans[f"{study}/_reference"][study]
        assert planned == ReferencePlan(study, 3, outputs, "log_loss", models)
        assert from_json(ReferencePlan, to_json(planned)) == planned


def test_strengths_are_chosen_by_log_loss_unless_the_study_says_otherwise(params_text: str) -> None:
    plans = make_plans(replace(params_text, ("select_by: log_loss", "select_by: auc")))
    for study, chosen in (("thoracic", "auc"), ("fashion_small", "log_loss")):
        assert {plans[f"{study}/{name}"][study].select_by for name in ("_study", "_reference")} == {chosen}


def test_a_score_with_a_margin_may_judge(params_text: str) -> None:
    text = replace(
        params_text, ("probabilities: log_loss", "probabilities: brier"), ("    auc:", "    brier: 0.001\n    auc:")
    )
    assert make_plans(text)["thoracic/_study"]["thoracic"].scores["probabilities"] == "brier"
    assert make_plans(re.sub(r" +scores: .*\n", "", params_text)) == make_plans(params_text), "left out: the usual ones"


def test_other_settings_are_a_group_of_their_own(params_text: str) -> None:
    groups = {variant.name: variant for variant in make_plans(params_text)["fashion/_study"]["fashion"].variants}
    assert (groups["large"].baseline, groups["large"].group) == ("unregularized", "settings")
    stacked = groups["large_ema_label_smoothing"]
    assert (stacked.baseline, stacked.group) == ("large", "regularizers")


def test_plans_of_a_study_hold_what_params_say_of_it(params_text: str) -> None:
    params, plans = read_params(params_text), make_plans(params_text)
    fields, declared = params.fields, params.sections["datasets"]
    assert plans["_tasks"] == tuple(params.studies)
    assert (plans["_audit"], plans["_statistics"]) == (fields["audit"], fields["statistics"])
    for name, study in params.studies.items():
        split, compared = plans[f"{name}/_split"][name], plans[f"{name}/_study"][name]
        settings, (dataset,) = study.settings, study.datasets
        data, fetched = declared[dataset], plans[f"_datasets/{dataset}"][dataset]
        raw = {file: pin.sha256 for file, pin in KINDS[data.kind].pins(fetched).items()}
        assert split == SplitPlan(name, dataset, data, settings.features, settings.protocol, fields["seed"], raw)
        images = dataset == "fashion_mnist"
        facts = (10, "Fashion-MNIST", "images") if images else (1, "Thoracic Surgery", "patients")
        assert (compared.outputs, compared.title, compared.unit) == facts
        assert len(compared.class_names) == (10 if images else 2)
        same = ("features", "baseline", "protocol", "stopped")
        assert [getattr(compared, field) for field in same] == [getattr(settings, field) for field in same]
        assert (compared.task, compared.dataset, compared.seed) == (name, dataset, fields["seed"])
        assert compared.scores == settings.scores.model_dump()
        assert [variant.name for variant in compared.variants] == list(study.variants)
        assert list(compared.references) == settings.references


def test_experiments_hold_what_params_say_of_them(params_text: str) -> None:
    experiments, plans = read_params(params_text).sections["experiments"], make_plans(params_text)
    assert plans["_experiments"] == tuple(experiments)
    for name, experiment in experiments.items():
        found = plans[f"_experiments/{name}"]
        for field in ("kind", "study", "rows"):
            assert getattr(found, field) == getattr(experiment, field)
        assert list(found.levels) == experiment.levels
        assert found.shared_rows == experiment.study.endswith("thoracic")
        assert from_json(ExperimentPlan, to_json(found)) == found
        assert list(found.runs) == experiment.variants
        for variant, run in found.runs.items():
            whole = plans[f"{experiment.study}/{variant}"][experiment.study]
            assert len(run.replicates) == (experiment.replicates or len(whole.replicates))
            assert run.epochs == (experiment.epochs or whole.epochs)
