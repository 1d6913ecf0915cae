"""The schema of the audit's experiments in params.yaml, and their plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from stages.lib.claims.experiment_kinds import EXPERIMENTS
from stages.lib.claims.experiments import ExperimentPlan
from stages.lib.claims.measurements import EXPERIMENT_PLANS
from stages.lib.lanes.plan import RunPlan
from stages.lib.settings.fields import Count, Name, NotNegative, Strict, Unrepeated, one_of
from stages.lib.settings.studies import StudyParams

ExperimentKind = Annotated[str, one_of(EXPERIMENTS)]


class ExperimentParams(Strict):
    """An experiment: variants of a study, with fewer replicates, rows or epochs, and what it varies."""

    kind: ExperimentKind
    study: Name
    variants: Annotated[Unrepeated[Name], Field(min_length=1)]
    replicates: Count | None = None
    rows: Count | None = None
    epochs: Count | None = None
    levels: Unrepeated[NotNegative] = Field(default_factory=list)


NUM_NAMED = 20  # names that a message lists


def name_some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    found = list(names)
    more = [f"{len(found) - NUM_NAMED} more"] if len(found) > NUM_NAMED else []
    return ", ".join([*found[:NUM_NAMED], *more])


def find_mistakes(name: str, experiment: ExperimentParams, studies: Mapping[str, StudyParams]) -> list[str]:
    """What does not go together with the studies, in words."""
    if experiment.study not in studies:
        return [
            f"experiments.{name}.study is {experiment.study}, expected one of {name_some(studies)}: mend its spelling "
            "or remove the experiment"
        ]
    study = studies[experiment.study]
    mistakes = [
        f"experiments.{name}.variants holds {variant}, expected some of {name_some(study.variants)}: mend its spelling "
        "or remove the experiment"
        for variant in experiment.variants
        if variant not in study.variants
    ]
    most = study.protocol.num_replicates
    if (experiment.replicates or 0) > most:
        mistakes.append(
            f"experiments.{name}.replicates is {experiment.replicates}, expected at most the {most} of the study "
            f"{experiment.study}: lower it"
        )
    return mistakes


def make_experiment_plans(
    experiments: Mapping[str, ExperimentParams],
    studies: Mapping[str, StudyParams],
    make_run: Callable[[str, str], RunPlan],
) -> dict[str, object]:
    """Every plan by its name in the plan folder; make_run: of a study and a variant."""
    named: dict[str, object] = {EXPERIMENT_PLANS: tuple(experiments)}
    for name, experiment in experiments.items():
        protocol = studies[experiment.study].protocol
        named[f"{EXPERIMENT_PLANS}/{name}"] = ExperimentPlan(
            name=name,
            kind=experiment.kind,
            study=experiment.study,
            runs={variant: shrink(make_run(experiment.study, variant), experiment) for variant in experiment.variants},
            rows=experiment.rows,
            levels=tuple(experiment.levels),
            shared_rows=not protocol.fixed_test,
        )
    return named


def shrink(run: RunPlan, experiment: ExperimentParams) -> RunPlan:
    """A run with the replicates and epochs of an experiment."""
    return replace(run, replicates=run.replicates[: experiment.replicates], epochs=experiment.epochs or run.epochs)
