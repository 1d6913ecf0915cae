"""Params turned into plans: every default filled in, and nothing in a plan that does not shape its result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from stages.lib.claims.experiment_kinds import ExperimentPlan
from stages.lib.claims.measurements import EXPERIMENT_PLANS
from stages.lib.data.dataset import Facts, FetchPlan, make_fetch_plan
from stages.lib.data.kinds import SplitPlan
from stages.lib.judge.plans import BEST_SINGLE, ComparedSearch, ComparedVariant, ReferencePlan, StudyPlan, name_ensemble
from stages.lib.lanes.plan import CallbacksPlan, NetworkPlan, OptimizerPlan, RegularizerPlan, RunPlan
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.checks import list_changed_settings
from stages.lib.settings.schema import ExperimentParams, Params, ResolvedStudy, Variant
from stages.lib.settings.search import Search, draw_points


def make_plans(params: Params, facts: Mapping[str, Facts], read: Callable[[str], bytes]) -> dict[str, object]:
    """Every plan by its name in the plan folder; `read` gives the content of a file by its path in the project."""
    named: dict[str, object] = {
        "_tasks": tuple(task for study in params.studies.values() for task in study.tasks),
        "_statistics": params.fields["statistics"],
        "_audit": params.fields["audit"],
        EXPERIMENT_PLANS: tuple(params.sections["experiments"]),
    }
    raw = dict[str, dict[str, str]]()  # of each data set
    fetched = defaultdict[str, dict[str, FetchPlan]](dict)  # of each entry of `datasets`
    for name, declaration in params.sections["datasets"].items():
        plan = make_fetch_plan(name, declaration.kind, declaration.source_files, read)
        fetched[name.partition("/")[0]][name] = plan
        raw[name] = {file: pin.sha256 for file, pin in declaration.pins(plan).items()}
    named |= {f"_datasets/{entry}": plans for entry, plans in fetched.items()}
    for name, study in params.studies.items():
        tasks = list_tasks(study, facts)
        named[f"{name}/_split"] = {task.name: split_plan(params, task, raw[task.dataset]) for task in tasks}
        named[f"{name}/_study"] = {task.name: study_plan(params, task) for task in tasks}
        named[f"{name}/_reference"] = {task.name: reference_plan(params, task) for task in tasks}
        if name in params.sections["studies"]:  # DVC has a stage for each of them, also for what `only` leaves out
            named |= {f"{name}/{variant}": {} for variant in params.sections["variants"]}
        for variant in study.variants:
            named[f"{name}/{variant}"] = {task.name: run_plan(params, task, variant) for task in tasks}
    for name in params.sections["experiments"]:
        named[f"{EXPERIMENT_PLANS}/{name}"] = experiment_plan(params, name, facts)
    return named


class Task(NamedTuple):
    """A study on one of its data sets."""

    name: str
    dataset: str
    study: ResolvedStudy
    facts: Facts


def list_tasks(study: ResolvedStudy, facts: Mapping[str, Facts]) -> list[Task]:
    return [Task(task, dataset, study, facts[dataset]) for task, dataset in study.tasks.items()]


def split_plan(params: Params, task: Task, raw: dict[str, str]) -> SplitPlan:
    settings, data, seed = task.study.settings, params.sections["datasets"][task.dataset], params.fields["seed"]
    return SplitPlan(task.name, task.dataset, data, settings.features, settings.protocol, seed, raw)


def study_plan(params: Params, task: Task) -> StudyPlan:
    study, facts, settings = task.study, task.facts, task.study.settings
    searched = {name: variant.search for name, variant in study.variants.items() if variant.search}
    return StudyPlan(
        task=task.name,
        dataset=task.dataset,
        features=settings.features,
        outputs=facts.outputs,
        baseline=settings.baseline,
        scores=settings.scores_for(facts.outputs),
        select_by=settings.select_by,
        protocol=settings.protocol,
        seed=params.fields["seed"],
        variants=tuple(compared for name in study.variants for compared in list_compared(study, name)),
        references=tuple(settings.references),
        searches=tuple(compared_search(study, name, search) for name, search in searched.items()),
        title=facts.title or task.dataset,
        unit=facts.unit,
        class_names=facts.class_names,
        stopped=settings.stopped,
        explored=study.datasets.index(task.dataset) < settings.explored,
    )


def list_compared(study: ResolvedStudy, name: str) -> Iterator[ComparedVariant]:
    """A variant with its baseline, and what it differs in from it; its ensembles, each compared with one as large.

    Those of a baseline are compared with one network of it.
    """
    baseline = study.baseline_of(name)
    same = set(study.variants[name].regularizers) == set(study.variants[baseline].regularizers)
    yield ComparedVariant(name, baseline, group="settings" if same and name != baseline else "regularizers")
    for members in study.variants[name].members:
        rival = baseline if name == baseline else name_ensemble(baseline, members)
        yield ComparedVariant(name_ensemble(name, members), rival, "ensembles", run=name, members=members)


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
        always_on=tuple(name for name in search.ranges if not CATALOGUE[name].inert_at_zero),
        singles=tuple(singles),
        best_single=f"{BEST_SINGLE}{suffix}",
        average=search.average,
        best_singles=f"{BEST_SINGLE}s_{search.average}{suffix}" if search.average else "",
    )


def reference_plan(params: Params, task: Task) -> ReferencePlan:
    study = task.study.settings
    tried = params.fields["references"].model_dump() | study.reference_strengths.model_dump(exclude_none=True)
    return ReferencePlan(
        task=task.name,
        seed=params.fields["seed"],
        outputs=task.facts.outputs,
        select_by=study.select_by,
        models={name: tuple(tried.get(name, (0.0,))) for name in study.references},
    )


def run_plan(params: Params, task: Task, variant_name: str) -> RunPlan:
    """One variant with everything that shapes its networks, and nothing else: what is absent here retrains nothing."""
    variant, recipe = task.study.variants[variant_name], task.study.recipe_of(variant_name)
    names = [name for name in CATALOGUE if name in variant.regularizers]  # one order, whatever params.yaml says
    points = plan_points(params, task.study, variant, name=f"{task.study.name}/{variant_name}")
    used = {*recipe.callbacks, *names}  # early stopping is one of the regularisers
    callbacks = {name: settings for name, settings in params.fields["callbacks"] if name in used}
    return RunPlan(
        task=task.name,
        variant=variant_name,
        seed=params.fields["seed"],
        replicates=tuple(range(task.study.settings.protocol.num_replicates)),
        network=NetworkPlan(tuple(recipe.hidden), recipe.activation, task.facts.outputs),
        regularizers=tuple(RegularizerPlan(name, points.strengths[name], recipe.layers_of(name)) for name in names),
        callbacks=CallbacksPlan(**callbacks, terminate_on_nan="terminate_on_nan" in recipe.callbacks),
        loss=recipe.loss_for(task.facts.outputs),
        optimizer=OptimizerPlan(recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.schedule),
        batch_size=recipe.batch_size,
        epochs=recipe.count_epochs(task.study.settings.protocol.count_training(task.facts)),
        stopped=task.study.settings.stopped,
        knob=points.knob,
        tried=points.tried,
        members=max([1, *variant.members]),
    )


class Points(NamedTuple):
    """Regulariser -> its strength at every point, or the one that it has at all; knob, tried: as in `RunPlan`."""

    strengths: dict[str, tuple[float, ...]]
    knob: int
    tried: int


def plan_points(params: Params, study: ResolvedStudy, variant: Variant, *, name: str) -> Points:
    """The points of a path or a search, and behind them that of the knobs where it is none of them.

    name: of the study and the variant, from which a search draws: the same points on all data sets of a study.
    """
    knobs = {name: params.strength(name, variant, study.settings) for name in variant.regularizers}
    drawn = {one: tuple(sorted(set(variant.path))) for one in variant.regularizers if variant.path}
    if variant.search:
        drawn = draw_points(variant.search, seed=params.fields["seed"], name=name)
    points = list(zip(*drawn.values(), strict=True))
    own = tuple(knobs[name] for name in drawn)
    places = points if own in points or not points else [*points, own]
    strengths: dict[str, tuple[float, ...]] = {name: (knob,) for name, knob in knobs.items()}
    strengths |= dict(zip(drawn, zip(*places, strict=True), strict=True))
    return Points(strengths, places.index(own) if points else 0, len(points))


def experiment_plan(params: Params, name: str, facts: Mapping[str, Facts]) -> ExperimentPlan:
    """An experiment's runs: those of the first task of its study, of one member, with own replicates and epochs."""
    experiment: ExperimentParams = params.sections["experiments"][name]
    study, most = params.studies[experiment.study], experiment.replicates
    first = list_tasks(study, facts)[0]

    def shrink(run: RunPlan) -> RunPlan:
        return replace(run, replicates=run.replicates[:most], epochs=experiment.epochs or run.epochs, members=1)

    return ExperimentPlan(
        name=name,
        kind=experiment.kind,
        study=first.name,
        runs={variant: shrink(run_plan(params, first, variant)) for variant in experiment.variants},
        rows=experiment.rows,
        levels=tuple(experiment.levels),
        shared_rows=not study.settings.protocol.fixed_test,
    )
