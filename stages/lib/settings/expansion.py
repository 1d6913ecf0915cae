"""Params turned into plans: every default filled in, and nothing in a plan that does not shape its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stages.lib.claims.experiment_plan import FOLDER, ExperimentPlan
from stages.lib.data.facts import Facts
from stages.lib.data.fetch_kinds import KINDS
from stages.lib.data.fetch_plan import make_fetch_plan
from stages.lib.data.split_plan import SplitPlan
from stages.lib.judge.plans import (
    BEST_SINGLE,
    ComparedSearch,
    ComparedVariant,
    ReferenceModelPlan,
    ReferencePlan,
    StudyPlan,
)
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.checks import list_changed_settings
from stages.lib.settings.schema import CallbacksParams, ExperimentParams, Params, ResolvedStudy
from stages.lib.settings.search import Search, can_be_off, draw_points


def make_plans(params: Params, facts: Mapping[str, Facts], read: Callable[[str], bytes]) -> dict[str, object]:
    """Every plan by its name in the plan folder; `read` gives the content of a file by its path in the project."""
    named: dict[str, object] = {
        "_studies": tuple(params.studies),
        "_statistics": params.fields["statistics"],
        "_audit": params.fields["audit"],
        FOLDER: tuple(params.sections["experiments"]),
    }
    raw: dict[str, dict[str, str]] = {}  # of each data set
    for name, declaration in params.sections["datasets"].items():
        fetched = make_fetch_plan(name, declaration.kind, declaration.source_files, read)
        named[f"_datasets/{name}"] = fetched
        raw[name] = {file: pin.sha256 for file, pin in KINDS[declaration.kind].pins(fetched).items()}
    for name, study in params.studies.items():
        known = facts[study.settings.dataset]
        named[f"{name}/_split"] = split_plan(params, name, raw[study.settings.dataset])
        named[f"{name}/_study"] = study_plan(params, name, known)
        named[f"{name}/_reference"] = reference_plan(params, name, outputs=known.outputs)
        for variant in study.variants:
            named[f"{name}/{variant}"] = run_plan(params, name, variant, outputs=known.outputs)
    for name, experiment in params.sections["experiments"].items():
        outputs = facts[params.studies[experiment.study].settings.dataset].outputs
        named[f"{FOLDER}/{name}"] = experiment_plan(params, name, experiment, outputs=outputs)
    return named


def split_plan(params: Params, study_name: str, raw: dict[str, str]) -> SplitPlan:
    study = params.studies[study_name].settings
    declaration = params.sections["datasets"][study.dataset]
    return SplitPlan(study_name, study.dataset, declaration, study.features, study.protocol, params.fields["seed"], raw)


def study_plan(params: Params, study_name: str, facts: Facts) -> StudyPlan:
    study = params.studies[study_name]
    settings = study.settings
    return StudyPlan(
        study=study_name,
        dataset=settings.dataset,
        features=settings.features,
        outputs=facts.outputs,
        baseline=settings.baseline,
        scores={"discrimination": settings.scores.discrimination, "probabilities": settings.scores.probabilities},
        select_by=settings.choosing_score,
        protocol=settings.protocol,
        seed=params.fields["seed"],
        variants=tuple(compared_variant(study, name) for name in study.variants),
        references=tuple(settings.references),
        searches=tuple(
            compared_search(study, name, variant.search) for name, variant in study.variants.items() if variant.search
        ),
        title=facts.title or settings.dataset,
        unit=facts.unit,
        class_names=facts.class_names,
    )


def compared_variant(study: ResolvedStudy, name: str) -> ComparedVariant:
    """A variant with its baseline, and what it differs in from it."""
    baseline = study.baseline_of(name)
    same = set(study.variants[name].regularizers) == set(study.variants[baseline].regularizers)
    return ComparedVariant(name, baseline, group="settings" if same and name != baseline else "regularizers")


def compared_search(study: ResolvedStudy, name: str, search: Search) -> ComparedSearch:
    """A search with the variants of one regulariser that are its rivals: those with its settings and its baseline."""
    baseline, recipe = study.baseline_of(name), study.recipe_of(name)
    singles = [
        other
        for other, variant in study.variants.items()
        if other not in (name, baseline) and len(variant.regularizers) == 1 and not variant.search
        if study.baseline_of(other) == baseline and not list_changed_settings(study.recipe_of(other), recipe)
    ]
    suffix = "" if baseline == study.settings.baseline else f"_{baseline}"
    return ComparedSearch(
        variant=name,
        num_points=search.points,
        varied=tuple(search.ranges),
        always_on=tuple(name for name in search.ranges if not can_be_off(name)),
        singles=tuple(singles),
        best_single=f"{BEST_SINGLE}{suffix}",
        average=search.average,
        best_singles=f"{BEST_SINGLE}s_{search.average}{suffix}" if search.average else "",
    )


def reference_plan(params: Params, study_name: str, *, outputs: int) -> ReferencePlan:
    study = params.studies[study_name].settings
    tried = params.fields["references"].model_dump() | study.reference_strengths.model_dump(exclude_none=True)
    return ReferencePlan(
        study=study_name,
        seed=params.fields["seed"],
        outputs=outputs,
        select_by=study.choosing_score,
        models=tuple(ReferenceModelPlan(name, tuple(tried.get(name, (0.0,)))) for name in study.references),
    )


def run_plan(params: Params, study_name: str, variant_name: str, *, outputs: int) -> RunPlan:
    """One variant with everything that shapes its networks, and nothing else: what is absent here retrains nothing."""
    study = params.studies[study_name]
    variant, recipe = study.variants[variant_name], study.recipe_of(variant_name)
    names = [name for name in CATALOGUE if name in variant.regularizers]  # one order, whatever params.yaml says
    if recipe.optimizer == "adamw" and "weight_decay" not in names:
        names.append("weight_decay")
    points = point_strengths(params, study_name, variant_name)
    optimizer = "adam" if recipe.optimizer == "adamw" else recipe.optimizer
    return RunPlan(
        study=study_name,
        variant=variant_name,
        seed=params.fields["seed"],
        replicates=tuple(range(study.settings.protocol.num_replicates)),
        network=NetworkPlan(tuple(recipe.hidden), recipe.activation, outputs),
        regularizers=tuple(
            RegularizerPlan(name, points.get(name, (params.strength(name, variant),)), recipe.layers_of(name))
            for name in names
        ),
        callbacks=callbacks_plan(params.fields["callbacks"], names, recipe.callbacks),
        loss=recipe.loss,
        optimizer=OptimizerPlan(optimizer, recipe.learning_rate, recipe.momentum),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
    )


def point_strengths(params: Params, study_name: str, variant_name: str) -> dict[str, tuple[float, ...]]:
    """Regulariser -> its strength at every point, of those whose strengths a path or a search varies; the knob first.

    So the weight decay that adamw adds has no part in a path.
    """
    variant = params.studies[study_name].variants[variant_name]
    knobs = {name: params.strength(name, variant) for name in variant.varied}
    if variant.search:
        return draw_points(variant.search, knobs, seed=params.fields["seed"], name=f"{study_name}/{variant_name}")
    return {
        name: (knob, *(strength for strength in sorted(set(variant.path)) if strength != knob))
        for name, knob in knobs.items()
    }


def callbacks_plan(callbacks: CallbacksParams, names: Sequence[str], chosen: Sequence[str]) -> CallbacksPlan:
    """Early stopping is one of the regularisers `names`; the other callbacks are `chosen` by the recipe."""
    used = {name: settings for name, settings in callbacks if name in {*chosen, *names}}
    return CallbacksPlan(**used, terminate_on_nan="terminate_on_nan" in chosen)


def experiment_plan(params: Params, name: str, experiment: ExperimentParams, *, outputs: int) -> ExperimentPlan:
    """An experiment's runs: those of its study, with its own replicates and epochs."""
    runs = {variant: run_plan(params, experiment.study, variant, outputs=outputs) for variant in experiment.variants}
    return ExperimentPlan(
        name=name,
        kind=experiment.kind,
        study=experiment.study,
        runs={
            variant: replace(
                run, replicates=run.replicates[: experiment.replicates], epochs=experiment.epochs or run.epochs
            )
            for variant, run in runs.items()
        },
        rows=experiment.rows,
        levels=tuple(experiment.levels),
        members=experiment.members,
        shared_rows=not params.studies[experiment.study].settings.protocol.fixed_test,
    )
