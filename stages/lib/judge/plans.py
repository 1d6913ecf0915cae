"""The plans of a study: what `evaluate`, `reference` and `compare` need to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stages.lib.core.fields import NotNegative, Share, Strict
from stages.lib.core.records import load_plan, load_task_plan, split_task
from stages.lib.data.protocols import Protocol

Question = Literal["discrimination", "probabilities"]
Subject = Literal["choice", "arms", "to_end", "ensembles", "mixtures"]

ENSEMBLE = "_ensemble_"  # in the name of an ensemble, behind that of its variant
BEST_SINGLE = "best_single"  # begins the name of an arm of the best points of all variants of one regulariser


@dataclass(frozen=True)
class ReferencePlan:
    """What `reference` needs to know of a task.

    models: of lib/judge/references.py -> the strengths that each tries, the simplest model first.
    """

    task: str
    seed: int
    outputs: int  # 1 is the probability of class 1, more one probability per class
    select_by: str  # the validation score that chooses strengths
    models: dict[str, tuple[float, ...]]


Questions = dict[Subject, dict[Question, Share]]


def check_shares(questions: Questions) -> Questions:
    total = sum(share for shares in questions.values() for share in shares.values())
    if questions and abs(total - 1) > 1e-9:
        raise ValueError(f"has shares that add up to {total:g}, expected 1: change them")
    return questions


class StatisticsPlan(Strict):
    """What all comparisons share, as params.yaml has it.

    confidence: from one half down, two one-sided tests make no interval.
    questions: of a study, in their order: what is asked -> which of its scores answers -> its share of 1 - confidence.
        `choice`: what validation rows choose among the variants of one regulariser. `arms`: each variant once, tuned
        where it has a path. `to_end`: the baseline not stopped in time. `ensembles`: means of several networks, those
        with a regulariser against as many without. Each is compared with its baseline. `mixtures`: each search,
        compared with the choice. Knobs of variants that are tuned are judged apart; what none asks has no verdict.
    equivalence: score -> the greatest difference that does not matter.
    """

    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    questions: Annotated[Questions, AfterValidator(check_shares)] = Field(default_factory=dict)
    equivalence: dict[str, NotNegative]


Group = Literal["regularizers", "settings", "ensembles"]


@dataclass(frozen=True)
class ComparedVariant:
    """A variant, or an ensemble of its networks, the variant it is compared with (itself where with none), and what the
    two differ in.

    run: the variant whose networks it has, its own name if empty. members: how many of them are averaged.
    """

    name: str
    baseline: str
    group: Group
    run: str = ""
    members: int = 1

    @property
    def networks(self) -> str:
        return self.run or self.name


def name_ensemble(variant: str, members: int) -> str:
    return f"{variant}{ENSEMBLE}{members}"


@dataclass(frozen=True)
class ComparedSearch:
    """A variant with a search, and what its best points are compared with besides its baseline.

    varied: the regularisers that have ranges; always_on: those of them for which 0 is a strength like any other.
    singles: the variants of one regulariser that are its rivals.
    best_single: the name of the arm that is the best of them.
    average: number of the best points that are averaged, or 0. best_singles: the name of the arm that averages as many
        points of the rivals, or empty.
    """

    variant: str
    num_points: int
    varied: tuple[str, ...]
    always_on: tuple[str, ...]
    singles: tuple[str, ...]
    best_single: str
    average: int = 0
    best_singles: str = ""


@dataclass(frozen=True)
class StudyPlan:
    """What `evaluate` and `compare` need to know of a task: a study on one of its data sets."""

    task: str
    dataset: str
    features: str
    outputs: int
    baseline: str
    scores: dict[Question, str]  # question -> the score that answers it
    select_by: str  # the validation score that chooses strengths
    protocol: Protocol
    seed: int
    variants: tuple[ComparedVariant, ...]
    references: tuple[str, ...]
    searches: tuple[ComparedSearch, ...] = ()
    title: str = ""  # of the data set
    unit: str = "rows"  # what a row of it is, in the plural
    class_names: tuple[str, ...] = ()
    stopped: bool = False  # networks are judged at their best epoch, and at their last one beside it
    explored: bool = False  # the data set was seen while methods were chosen, so it does not confirm what they find

    @property
    def runs(self) -> list[str]:
        """The variants that are trained."""
        return list(dict.fromkeys(variant.networks for variant in self.variants))


def load_reference_plans(study: str) -> dict[str, ReferencePlan]:
    """Task of the study -> its plan."""
    return load_plan(dict[str, ReferencePlan], f"{study}/_reference")


def load_study_plans(study: str) -> dict[str, StudyPlan]:
    """Task of the study -> its plan."""
    return load_plan(dict[str, StudyPlan], f"{study}/_study")


def load_study_plan(task: str) -> StudyPlan:
    return load_task_plan(StudyPlan, task, "_study")


def load_tasks() -> tuple[str, ...]:
    """The names of all tasks of the plan, in the order of params.yaml.

    A study of one data set is one task, by its own name; of a collection it has one for each, `tables/german`.
    """
    return load_plan(tuple[str, ...], "_tasks")


def load_studies() -> list[str]:
    """The names of all studies, in the order of params.yaml."""
    return list(dict.fromkeys(split_task(task)[0] for task in load_tasks()))


def load_statistics_plan() -> StatisticsPlan:
    return load_plan(StatisticsPlan, "_statistics")
