"""params.yaml to plans: what a plan holds, which plans a changed knob changes, and every mistake in words."""

import dataclasses
import re
import subprocess
import sys

import pytest

from stages import plan
from stages.lib.claims.experiments import ExperimentPlan
from stages.lib.core.records import from_json, to_json
from stages.lib.data.kinds import KINDS, SplitPlan
from stages.lib.judge.plans import ReferenceModelPlan, ReferencePlan, StatisticsPlan
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.mistakes import ParamsError, raise_all
from stages.lib.settings.yaml_text import compose
from tests.conftest import ROOT


def read(path: str) -> bytes:
    return (ROOT / path).read_bytes()


def make_plans(text: str) -> dict[str, object]:
    return plan.run(text, read)[0]


def expand(text: str) -> dict[tuple[str, str], RunPlan]:
    return {(run.study, run.variant): run for run in make_plans(text).values() if isinstance(run, RunPlan)}


def mistakes(text: str) -> list[str]:
    """What is told, without the file and the line with which every mistake begins."""
    with pytest.raises(ParamsError) as caught:
        plan.run(text, read)
    told = str(caught.value).splitlines()
    assert all(re.match(r"params\.yaml, line \d+: ", line) for line in told), told
    return [re.sub(r"params\.yaml, line \d+: ", "", line) for line in told]


def remarks(text: str) -> list[str]:
    return plan.run(text, read)[1]


def replace(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def find_users(text: str, knob: str) -> set[tuple[str, str]]:
    """The runs whose variant names the regulariser and has no strength of its own for it."""
    return {
        (study, name)
        for study, settings in parse_params(text).studies.items()
        for name, variant in settings.variants.items()
        if knob in variant.regularizers and knob not in variant.strengths
    }


def test_a_plan_survives_its_file(params_text: str) -> None:
    for run in expand(params_text).values():
        assert from_json(RunPlan, to_json(run)) == run


@pytest.mark.parametrize("knob", [name for name, rule in CATALOGUE.items() if not rule.knob_path])
def test_a_knob_changes_the_plans_that_use_it_and_no_other(params_text: str, knob: str) -> None:
    before = expand(params_text)
    line = next(line for line in params_text.splitlines() if line.startswith(f"{knob}:"))
    after = expand(params_text.replace(line, f"{knob}: 0.123"))
    assert {key for key in before if before[key] != after[key]} == find_users(params_text, knob)


def test_the_patience_is_the_knob_of_early_stopping(params_text: str) -> None:
    before = expand(params_text)
    after = expand(replace(params_text, ("patience: 10 ", "patience: 3 ")))
    changed = {key for key in before if before[key] != after[key]}
    assert changed == find_users(params_text, "early_stopping")
    assert after["tutorial_fashion", "softmax"].regularizers[0].strengths == (3.0,)


def test_a_path_starts_with_the_knob_and_is_free_of_repetitions(params_text: str) -> None:
    text = replace(
        params_text,
        ("      l2_activity_l1:", "      path: {path: [0.1, 0.01, 0.001], regularizers: [l2]}\n      l2_activity_l1:"),
    )
    run = expand(text)["tutorial_fashion", "path"]
    assert run.regularizers[0].strengths == (0.01, 0.001, 0.1)
    assert run.grid.num_points == 3
    assert run.lane_strengths(run.regularizers[0]).tolist() == [0.01] * 10 + [0.001] * 10 + [0.1] * 10


def test_a_variant_overrides_the_study(params_text: str) -> None:
    softmax = expand(params_text)["tutorial_fashion", "softmax"]
    assert softmax.network.hidden == ()
    assert softmax.callbacks.checkpoint is not None
    assert expand(params_text)["tutorial_fashion", "l2_activity_l1_dropout"].callbacks.checkpoint is None


def test_adamw_is_adam_with_decoupled_decay(params_text: str) -> None:
    run = expand(
        replace(
            params_text,
            (
                "poisson: {regularizers: [dropout]",
                "poisson: {optimizer: adamw, regularizers: [dropout], baseline: poisson",
            ),
        )
    )
    run = run["tutorial_thoracic", "poisson"]
    assert run.optimizer.name == "adam"
    assert [entry.name for entry in run.regularizers] == ["dropout", "weight_decay"]


def test_the_decay_that_adamw_brings_along_has_no_part_in_a_path(params_text: str) -> None:
    text = replace(params_text, ("poisson: {regularizers: [dropout]", "poisson: {regularizers: [dropout], path: [0.1]"))
    run = expand(replace(text, ("loss: poisson}", "loss: poisson, optimizer: adamw}")))["tutorial_thoracic", "poisson"]
    assert {entry.name: entry.strengths for entry in run.regularizers} == {
        "dropout": (0.5, 0.1),
        "weight_decay": (0.1,),
    }


def test_numbers_mean_what_they_mean_to_dvc(params_text: str) -> None:
    assert parse_params(replace(params_text, ("l1: 0.001", "l1: 1e-4"))).l1 == 1e-4
    assert mistakes(replace(params_text, ("l1: 0.001", "l1: off"))) == ["l1: is 'off', expected a number: change it"]


def test_all_mistakes_are_told_at_once(params_text: str) -> None:
    text = replace(
        params_text,
        ("seed: 3", "seeed: 3"),
        ("dropout: 0.5", "dropout: 1.5"),
        ("loss: poisson", "loss: poison"),
        ("baseline: unregularized\n    scores", "baseline: nobody\n    scores"),
    )
    found = mistakes(text)
    assert len(found) == 5, found
    for start in ("seed: is missing", "seeed: is not a known key", "dropout: is 1.5, expected a number less than 1"):
        assert any(line.startswith(start) for line in found), found
    assert any("is 'poison', expected one of mean_squared_error" in line for line in found)
    assert any("baseline is nobody, expected one of the variants unregularized, softmax," in line for line in found)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("regularizers: [l2, activity_l1]", "regularizers: [l2, l2]", "names one twice"),
        ("regularizers: [l2, activity_l1]", "regularizers: [l3]", "'l3', expected one of l1, l2"),
        ("regularizers: [l2, activity_l1]", "regularizers: [l2, max_norm], path: [1]", "expected exactly one"),
        (
            "regularizers: [l2, activity_l1]",
            "regularizers: [dropout], path: [1.5]",
            "path holds 1.5, expected a number",
        ),
        ("regularizers: [l2, activity_l1]", "regularizers: [early_stopping], path: [1.5]", "a whole number"),
        ("regularizers: [l2, activity_l1]", "regularizers: [mixup]", "choose categorical_crossentropy"),
        ("regularizers: [l2, activity_l1]", "hidden: [], regularizers: [dropout]", "dropout acts on layers []"),
        ("layers: {dropout: [1]}", "layers: {dropout: [3]}", "dropout acts on layers [3], expected some of [1, 2]"),
        ("loss: poisson", "loss: categorical_crossentropy", "choose binary_crossentropy"),
        ("kind: fixed_test, seeds: 10", "kind: fixed_test, seeds: 1", "seeds: is 1, expected a number of at least 2"),
        (
            "folds: 5, repeats: 10",
            "folds: 71, repeats: 10",
            "folds is 71, expected at most 70, which is the number of rows",
        ),
        (
            "repeats: 10, validation: 0.2",
            "repeats: 10, validation: 0.01",
            "expected a share that puts at least one row of every class",
        ),
        ("training: 2000", "training: 60000", "makes 75000 rows, expected at most 59990"),
        ("training: 2000", "training: 20", "protocol.validation is 0.2, expected a share that puts"),
        (
            "  early_stopping:           # used by the regulariser early_stopping\n    monitor: val_loss",
            "  early_stopping:\n    monitor: val_auc",
            "callbacks.early_stopping.monitor is val_auc, expected loss, val_loss or val_accuracy for fashion_mnist",
        ),
        ("kind: fixed_test", "kind: fixed", "a kind among 'repeated_stratified_k_fold', 'fixed_test'"),
        (
            "discrimination: accuracy",
            "discrimination: auc",
            "discrimination is auc, expected one of accuracy, brier",
        ),
        ("dataset: fashion_mnist", "dataset: mnist", "is mnist, expected one of thoracic_surgery, fashion_mnist"),
        ("poisson: {", "Poisson: {", "expected a name of small letters"),
        ("seed: 3", "seed: [3", "not YAML"),
        ("seed: 3", "seed: 3\nseed: 4", "not YAML"),
        ("epochs: 1\n", "epochs: 0\n", "epochs: is 0, expected a number of at least 1"),
        ("l1: 0.001", "l1: .inf", "l1: is inf, expected a finite number"),
        ("batch_size: 30", "batch_size: true", "batch_size: is True, expected a whole number"),
        ("select_by: log_loss", "select_by: loss", "select_by: is 'loss', expected one of auc, accuracy,"),
        (
            "references: []",
            "references: []\n    select_by: auc",
            "select_by is auc, expected one of accuracy, brier, log_loss",
        ),
        ("references: []", "references: [knn]", "is 'knn', expected one of logistic_regression, random_forest"),
        ("references: []", "references: [mlp, mlp]", "is ['mlp', 'mlp'], expected each entry at most once"),
        (
            "poisson: {",
            "logistic_regression: {",
            "variants and references both hold logistic_regression, expected one of a name",
        ),
        ("  mlp: [", "  mlp: []\n  svm: [", "references.mlp: is [], expected at least one entry"),
        ("  mlp: [", "  mlp: [0.1]\n  svm: [", "references.svm: is not a known key"),
        ("  mlp: [", "  mlp: [0, ", "references.mlp.0: is 0, expected a number greater than 0"),
        ("  random_forest: [", "  random_forest: [2.5, ", "random_forest.0: is 2.5, expected a whole number"),
        ("  random_forest: [", "  random_forest: [30, ", "expected each entry at most once: remove the repetition"),
    ],
)
def test_every_mistake_in_words(params_text: str, old: str, new: str, message: str) -> None:
    found = mistakes(replace(params_text, (old, new)))
    assert any(message in line for line in found), found


def test_a_variant_may_be_left_empty(params_text: str) -> None:
    text = replace(params_text, ("      poisson: {regularizers: [dropout], loss: poisson}", "      poisson:"))
    assert expand(text)["tutorial_thoracic", "poisson"].regularizers == ()


def test_a_study_names_the_reference_models_it_tries(params_text: str) -> None:
    text = replace(params_text, ("references: [logistic_regression]", "references: [random_forest, mlp]"))
    found = make_plans(text)["tutorial_thoracic/_reference"]
    assert isinstance(found, ReferencePlan)
    assert (found.seed, found.outputs, found.select_by) == (3, 1, "log_loss")
    tried = parse_params(params_text).references.model_dump()
    assert found.models == tuple(ReferenceModelPlan(name, tuple(tried[name])) for name in ("random_forest", "mlp"))
    assert from_json(ReferencePlan, to_json(found)) == found


def test_a_study_may_have_strengths_of_its_own_for_its_reference_models(params_text: str) -> None:
    old = "references: [logistic_regression]"
    text = replace(params_text, (old, f"{old}\n    reference_strengths: {{logistic_regression: [0.5, 0.25]}}"))
    found = make_plans(text)["tutorial_thoracic/_reference"]
    assert isinstance(found, ReferencePlan)
    assert found.models[0] == ReferenceModelPlan("logistic_regression", (0.5, 0.25))
    text = replace(params_text, (old, f"{old}\n    reference_strengths: {{mlp: [0.5]}}"))
    assert any("reference_strengths names mlp, expected one of" in line for line in mistakes(text))


def test_strengths_are_chosen_by_discrimination_unless_the_study_says_otherwise(params_text: str) -> None:
    for study, chosen in (("tutorial_fashion", "accuracy"), ("tutorial_thoracic", "log_loss")):
        for name in ("_study", "_reference"):
            assert make_plans(params_text)[f"{study}/{name}"].select_by == chosen


def test_settings_without_effect_are_told(params_text: str) -> None:
    (told,) = remarks(params_text)
    assert told.startswith("studies.tutorial_fashion.variants.softmax: early_stopping never stops a run, since its pat")
    last = replace(params_text, ("save_best_only: true ", "save_best_only: false "))
    assert any("softmax: the checkpoint has no effect" in line for line in remarks(last))


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (
            "cutout: {regularizers: [cutout], path: [0.1, 0.5]}",
            "cutout: {regularizers: [cutout], path: [0.5, 0.51]}",
            "cutout",
        ),
        ("path: [1, 3, 5, 20]", "path: [1, 100, 200]", "early_stopping"),
    ],
)
def test_strengths_of_a_path_that_act_alike_are_told(params_text: str, old: str, new: str, name: str) -> None:
    assert any(
        f"path holds strengths of {name} that act alike" in line for line in remarks(replace(params_text, (old, new)))
    )


def test_one_data_set_may_stand_under_two_protocols(params_text: str) -> None:
    k_fold = "{kind: repeated_stratified_k_fold, folds: 5, repeats: 2, validation: 0.2}"
    text = replace(params_text, ("{kind: fixed_test, seeds: 10, training: 2000, validation: 0.2}", k_fold))
    assert expand(text)["fashion_small", "l2"].grid.num_replicates == 10


def test_a_score_that_judges_needs_its_margin(params_text: str) -> None:
    text = replace(params_text, ("probabilities: log_loss", "probabilities: brier"))
    assert any(
        "statistics.equivalence: has no brier, expected the greatest difference" in line for line in mistakes(text)
    )
    with_margin = replace(text, ("    auc: 0.01", "    brier: 0.001\n    auc: 0.01"))
    assert make_plans(with_margin)["tutorial_thoracic/_study"].scores["probabilities"] == "brier"


def test_the_tables_are_read_without_tensorflow_and_scikit_learn() -> None:
    code = "import stages.plan, sys; sys.exit(bool({'tensorflow', 'sklearn', 'scipy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_probabilities_are_judged_by_a_proper_score(params_text: str) -> None:
    text = replace(params_text, ("probabilities: log_loss", "probabilities: accuracy"))
    assert any("probabilities: is 'accuracy', expected one of brier, log_loss" in line for line in mistakes(text))


def test_a_strength_of_its_own_stands_in_place_of_the_knob(params_text: str) -> None:
    runs = expand(params_text)
    assert runs["fashion", "l2"].regularizers[0].strengths == (0.0001,)
    assert runs["thoracic", "l2"].regularizers[0].strengths[0] == parse_params(params_text).l2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("strengths: {dropout: 0.1}", "strengths: {dropout: 1.5}", "strengths.dropout holds 1.5, expected a number"),
        ("strengths: {dropout: 0.1}", "strengths: {l2: 0.1}", "strengths names l2, expected one of the variant's"),
        (
            "strengths: {dropout: 0.1}",
            "epochs: 9",
            "its baseline unregularized in its regularizers and in epochs",
        ),
        ("epochs: 12, baseline: large", "epochs: 12", "large_ema_label_smoothing: differs from its baseline unregular"),
        ("baseline: large}", "baseline: larger}", "baseline is larger, expected one of the variants unregularized, l1"),
    ],
)
def test_a_difference_has_one_cause(params_text: str, old: str, new: str, message: str) -> None:
    found = mistakes(replace(params_text, (old, new)))
    assert any(message in line for line in found), found


def test_other_settings_are_a_group_of_their_own(params_text: str) -> None:
    groups = {variant.name: variant for variant in make_plans(params_text)["fashion/_study"].variants}
    assert (groups["large"].baseline, groups["large"].group) == ("unregularized", "settings")
    stacked = groups["large_ema_label_smoothing"]
    assert (stacked.baseline, stacked.group) == ("large", "regularizers")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("stages: [", "dvc.yaml, line 2: is not YAML (while parsing a "),
        ("[1, 2]", "dvc.yaml, line 1: is not a mapping in YAML"),
        ("", "dvc.yaml, line 1: has no stages that are mappings"),
        ("stages: {train_a: }", "dvc.yaml, line 1: has no stages that are mappings"),
        ("stages: {train_b: {}}", "params.yaml, line 3: studies.a: has no block train_a in dvc.yaml"),
        ("stages:\n  train_b: {}", "dvc.yaml, line 2: stages.train_b: expected a study b in params.yaml"),
        (
            "stages:\n  train_a:\n    vars: [{study: b}]",
            "dvc.yaml, line 3: stages.train_a: has vars [{'study': 'b'}], exp",
        ),
    ],
)
def test_blocks_of_dvc_yaml_and_studies_go_together(graph: str, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        found, root = examine_graph(graph, ["a"])
        raise_all(found, {"params.yaml": compose("# a\nstudies:\n  a:"), "dvc.yaml": root})
    assert any(line.startswith(message) for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("C2:   ", "C99:  ", "audit.rules.C2 holds nothing, expected norm: change it"),
        ("C2:   ", "C99:  ", "audit.rules.C99 holds norm, expected no such entry: change it"),
        ("norm: {matters: 0.1}", "size: {matters: 0.1}", "audit.rules.C2 holds size, expected norm: change it"),
        ("norm: {matters: 0.1}", "norm: {}", "audit.rules.C2.norm: holds nothing, expected exactly one of matters"),
        ("kind: decay", "kind: delay", "experiments.decay.kind: is 'delay', expected one of stopping, thinned"),
        (
            "kind: decay, study: thoracic",
            "kind: decay, study: none",
            "experiments.decay.study is none, expected one",
        ),
        (
            "variants: [l2], replicates",
            "variants: [l7], replicates",
            "experiments.decay.variants holds l7, expected",
        ),
        (
            "variants: [l2], replicates: 10",
            "variants: [l2], replicates: 99",
            "experiments.decay.replicates is 99, expected at most the 50 of the study thoracic: lower it",
        ),
    ],
)
def test_mistakes_of_the_audit_are_told_in_words(params_text: str, old: str, new: str, message: str) -> None:
    assert any(message in line for line in mistakes(replace(params_text, (old, new))))


def test_an_experiment_shrinks_the_runs_of_its_variants(params_text: str) -> None:
    plans = make_plans(params_text)
    found, run = plans["_experiments/decay"], plans["thoracic/l2"]
    assert isinstance(found, ExperimentPlan)
    assert found.runs == {"l2": dataclasses.replace(run, replicates=tuple(range(10)), epochs=30)}
    assert (found.levels, found.shared_rows) == ((0.1,), True)
    assert from_json(ExperimentPlan, to_json(found)) == found
    assert plans["_experiments"] == tuple(parse_params(params_text).experiments)


def test_plans_of_a_study_hold_what_params_say_of_it(params_text: str) -> None:
    params, plans = parse_params(params_text), make_plans(params_text)
    assert plans["_studies"] == tuple(params.studies)
    assert plans["_audit"] == params.audit
    assert plans["_statistics"] == StatisticsPlan(params.statistics.confidence, dict(params.statistics.equivalence))
    for name, study in params.studies.items():
        split, compared = plans[f"{name}/_split"], plans[f"{name}/_study"]
        fetched = plans[f"_datasets/{study.dataset}"]
        assert split == SplitPlan(
            study=name,
            dataset=study.dataset,
            declaration=params.datasets[study.dataset],
            features=study.features,
            protocol=study.protocol,
            seed=params.seed,
            raw={file: pin.sha256 for file, pin in KINDS[params.datasets[study.dataset].kind].pins(fetched).items()},
        )
        images = study.dataset == "fashion_mnist"
        facts = (10, "Fashion-MNIST", "images") if images else (1, "Thoracic Surgery", "patients")
        assert (compared.outputs, compared.title, compared.unit) == facts
        assert len(compared.class_names) == (10 if images else 2)
        same = ("dataset", "features", "baseline", "protocol")
        assert [getattr(compared, field) for field in same] == [getattr(study, field) for field in same]
        assert (compared.study, compared.seed) == (name, params.seed)
        assert compared.scores == study.scores.model_dump()
        assert [variant.name for variant in compared.variants] == list(study.variants)
        assert list(compared.references) == study.references


def test_experiments_hold_what_params_say_of_them(params_text: str) -> None:
    params, plans = parse_params(params_text), make_plans(params_text)
    for name, experiment in params.experiments.items():
        found = plans[f"_experiments/{name}"]
        for field in ("kind", "study", "rows"):
            assert getattr(found, field) == getattr(experiment, field)
        assert list(found.levels) == experiment.levels
        assert list(found.runs) == experiment.variants
        for variant, run in found.runs.items():
            whole = plans[f"{experiment.study}/{variant}"]
            assert len(run.replicates) == (experiment.replicates or len(whole.replicates))
            assert run.epochs == (experiment.epochs or whole.epochs)


@pytest.mark.parametrize(
    ("optimizer", "named", "decays"), [("adam", "adam", False), ("sgd", "sgd", False), ("adamw", "adam", True)]
)
def test_adamw_is_adam_with_weight_decay(params_text: str, optimizer: str, named: str, decays: bool) -> None:
    runs = expand(params_text.replace("optimizer: adam\n", f"optimizer: {optimizer}\n"))
    plain, decayed = runs["thoracic", "unregularized"], runs["thoracic", "weight_decay"]
    assert plain.optimizer.name == decayed.optimizer.name == named
    assert [entry.name for entry in plain.regularizers] == (["weight_decay"] if decays else [])
    assert [entry.name for entry in decayed.regularizers] == ["weight_decay"]


def test_a_run_has_the_callbacks_that_its_variant_names(params_text: str) -> None:
    text = params_text.replace("callbacks: [terminate_on_nan]", "callbacks: [reduce_lr_on_plateau]")
    runs, callbacks = expand(text), parse_params(text).callbacks
    plain, stopped = (runs["thoracic", name].callbacks for name in ("unregularized", "early_stopping"))
    assert plain.early_stopping is None and plain.checkpoint is None and not plain.terminate_on_nan
    assert vars(plain.reduce_lr_on_plateau) == callbacks.reduce_lr_on_plateau.model_dump()
    assert vars(stopped.early_stopping) == callbacks.early_stopping.model_dump(exclude={"patience"})
    assert expand(params_text)["thoracic", "unregularized"].callbacks.reduce_lr_on_plateau is None
    assert expand(params_text)["thoracic", "unregularized"].callbacks.terminate_on_nan


@pytest.mark.parametrize(("patience", "told"), [(99, 0), (100, 1)])
def test_a_patience_of_all_epochs_never_stops_a_run(params_text: str, patience: int, told: int) -> None:
    study = parse_params(params_text).studies["thoracic"]
    assert study.recipe(study.variants["early_stopping"]).epochs == 100
    text = replace(
        params_text,
        ("patience: 10 ", f"patience: {patience} "),
        (
            "early_stopping: {regularizers: [early_stopping], path:",
            "early_stopping: {regularizers: [early_stopping]} #",
        ),
    )
    found = [remark for remark in remarks(text) if remark.startswith("studies.thoracic.variants.early_stopping: ")]
    assert len(found) == told and all("it only hands on the best epoch's weights" in remark for remark in found)


def test_few_of_many_names_are_told() -> None:
    assert name_some("abc") == "a, b, c"
    names = [f"name_{number}" for number in range(NUM_NAMED + 1)]
    assert name_some(names[:-1]) == ", ".join(names[:-1])
    assert name_some(names) == ", ".join([*names[:-1], "1 more"])
