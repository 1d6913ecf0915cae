"""Params turned into plans: every default filled in, and nothing in a plan that does not shape its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stages.lib.data.dataset import Facts, make_fetch_plan
from stages.lib.data.kinds import KINDS, SplitPlan
from stages.lib.judge.plans import (
    BEST_SINGLE,
    ComparedSearch,
    ComparedVariant,
    ReferenceModelPlan,
    ReferencePlan,
    StatisticsPlan,
    StudyPlan,
)
from stages.lib.lanes.plan import (
    CallbacksPlan,
    CheckpointPlan,
    EarlyStoppingPlan,
    NetworkPlan,
    OptimizerPlan,
    ReduceLrOnPlateauPlan,
    RegularizerPlan,
    RunPlan,
)
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.experiments import make_experiment_plans
from stages.lib.settings.params import CallbacksParams, Params
from stages.lib.settings.search import SearchParams, can_be_off, draw_points
from stages.lib.settings.studies import StudyParams, find_changed_settings

NO_STRENGTH = (0.0,)  # what a reference model without a strength tries


def make_plans(params: Params, facts: Mapping[str, Facts], read: Callable[[str], bytes]) -> dict[str, object]:
    """Every plan by its name in the plan folder; `read` gives the content of a file by its path in the project."""
    named: dict[str, object] = {
        "_studies": tuple(params.studies),
        "_statistics": StatisticsPlan(params.statistics.confidence, dict(params.statistics.equivalence)),
        "_audit": params.audit,
    }
    raw: dict[str, dict[str, str]] = {}  # of each data set
    named |= make_experiment_plans(
        params.experiments,
        params.studies,
        lambda study, variant: run_plan(params, study, variant, outputs=facts[params.studies[study].dataset].outputs),
    )
    for name, declaration in params.datasets.items():
        fetched = make_fetch_plan(name, declaration.kind, declaration.source_files, read)
        named[f"_datasets/{name}"] = fetched
        raw[name] = {file: pin.sha256 for file, pin in KINDS[declaration.kind].pins(fetched).items()}
    for name, study in params.studies.items():
        outputs = facts[study.dataset].outputs
        named[f"{name}/_split"] = split_plan(params, name, raw[study.dataset])
        named[f"{name}/_study"] = study_plan(params, name, facts[study.dataset])
        named[f"{name}/_reference"] = reference_plan(params, name, outputs=outputs)
        for variant in study.variants:
            named[f"{name}/{variant}"] = run_plan(params, name, variant, outputs=outputs)
    return named


def split_plan(params: Params, study_name: str, raw: dict[str, str]) -> SplitPlan:
    study = params.studies[study_name]
    declaration = params.datasets[study.dataset]
    return SplitPlan(study_name, study.dataset, declaration, study.features, study.protocol, params.seed, raw)


def study_plan(params: Params, study_name: str, facts: Facts) -> StudyPlan:
    study = params.studies[study_name]
    return StudyPlan(
        study=study_name,
        dataset=study.dataset,
        features=study.features,
        outputs=facts.outputs,
        baseline=study.baseline,
        scores={"discrimination": study.scores.discrimination, "probabilities": study.scores.probabilities},
        select_by=study.choosing_score,
        protocol=study.protocol,
        seed=params.seed,
        variants=tuple(compared_variant(study, name) for name in study.variants),
        references=tuple(study.references),
        searches=tuple(
            compared_search(study, name, variant.search) for name, variant in study.variants.items() if variant.search
        ),
        title=facts.title or study.dataset,
        unit=facts.unit,
        class_names=facts.class_names,
    )


def compared_variant(study: StudyParams, name: str) -> ComparedVariant:
    """A variant with its baseline, and what it differs in from it."""
    baseline = study.baseline_of(name)
    same = set(study.variants[name].regularizers) == set(study.variants[baseline].regularizers)
    return ComparedVariant(name, baseline, group="settings" if same and name != baseline else "regularizers")


def compared_search(study: StudyParams, name: str, search: SearchParams) -> ComparedSearch:
    """A search with the variants of one regulariser that are its rivals: those with its settings and its baseline."""
    baseline = study.baseline_of(name)
    singles = [
        other
        for other, variant in study.variants.items()
        if other not in (name, baseline) and len(variant.regularizers) == 1 and not variant.search
        if study.baseline_of(other) == baseline
        if not find_changed_settings(study.recipe(variant), study.recipe(study.variants[name]))
    ]
    suffix = "" if baseline == study.baseline else f"_{baseline}"
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
    study = params.studies[study_name]
    tried = params.references.model_dump() | study.reference_strengths.model_dump(exclude_none=True)
    return ReferencePlan(
        study=study_name,
        seed=params.seed,
        outputs=outputs,
        select_by=study.choosing_score,
        models=tuple(ReferenceModelPlan(name, tuple(tried.get(name, NO_STRENGTH))) for name in study.references),
    )


def run_plan(params: Params, study_name: str, variant_name: str, *, outputs: int) -> RunPlan:
    """One variant with everything that shapes its networks, and nothing else: what is absent here retrains nothing."""
    study = params.studies[study_name]
    variant = study.variants[variant_name]
    recipe = study.recipe(variant)
    names = [name for name in CATALOGUE if name in variant.regularizers]  # one order, whatever params.yaml says
    if recipe.optimizer == "adamw" and "weight_decay" not in names:
        names.append("weight_decay")
    points = point_strengths(params, study_name, variant_name)
    optimizer = "adam" if recipe.optimizer == "adamw" else recipe.optimizer
    return RunPlan(
        study=study_name,
        variant=variant_name,
        seed=params.seed,
        replicates=tuple(range(study.protocol.num_replicates)),
        network=NetworkPlan(tuple(recipe.hidden), recipe.activation, outputs),
        regularizers=tuple(
            RegularizerPlan(name, points.get(name, (params.strength(name, variant),)), recipe.layers_of(name))
            for name in names
        ),
        callbacks=callbacks_plan(params.callbacks, names, recipe.callbacks),
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
        return draw_points(variant.search, knobs, seed=params.seed, name=f"{study_name}/{variant_name}")
    return {
        name: (knob, *(strength for strength in sorted(set(variant.path)) if strength != knob))
        for name, knob in knobs.items()
    }


def callbacks_plan(callbacks: CallbacksParams, names: Sequence[str], chosen: Sequence[str]) -> CallbacksPlan:
    """Early stopping is one of the regularisers `names`; the other callbacks are `chosen` by the recipe."""
    stopping = callbacks.early_stopping.model_dump(exclude={"patience"})
    plateau = ReduceLrOnPlateauPlan(**callbacks.reduce_lr_on_plateau.model_dump())
    return CallbacksPlan(
        early_stopping=EarlyStoppingPlan(**stopping) if "early_stopping" in names else None,
        checkpoint=CheckpointPlan(**callbacks.checkpoint.model_dump()) if "checkpoint" in chosen else None,
        reduce_lr_on_plateau=plateau if "reduce_lr_on_plateau" in chosen else None,
        terminate_on_nan="terminate_on_nan" in chosen,
    )
