"""The schema of a study in params.yaml, and what must go together in one; rules about its data are in rules.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, create_model, field_validator, model_validator

from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.references import REFERENCES
from stages.lib.scores import SCORES
from stages.lib.settings.mistakes import raise_all
from stages.lib.settings.search import SearchParams, parse_search
from stages.lib.settings.strengths import check_strength
from stages.lib.studies.declarations import (
    Count,
    Momentum,
    Name,
    Positive,
    Strengths,
    Strict,
    Unrepeated,
    empty_if_none,
    one_of,
)
from stages.lib.studies.plans import BEST_SINGLE
from stages.lib.studies.protocols import Protocol

RegularizerName = Annotated[str, one_of(CATALOGUE)]
LossName = Annotated[str, one_of(LOSSES)]
ScoreName = Annotated[str, one_of(SCORES)]
ReferenceName = Annotated[str, one_of(REFERENCES)]
OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw"]
CallbackName = Literal["checkpoint", "reduce_lr_on_plateau", "terminate_on_nan"]
Activation = Literal["linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus"]

NO_SETTINGS = {"baseline", "regularizers", "strengths", "path", "search"}  # what a variant holds besides settings


class NetworkParams(Strict):
    hidden: list[Count]
    activation: Activation
    layers: dict[RegularizerName, list[Count]] = Field(default_factory=dict)


class TrainingParams(Strict):
    loss: LossName
    optimizer: OptimizerName
    momentum: Momentum = 0.0
    learning_rate: Positive
    batch_size: Count
    epochs: Count
    callbacks: list[CallbackName] = Field(default_factory=list)


class Recipe(NetworkParams, TrainingParams):
    """Network and training settings of one variant, overrides applied."""

    def layers_of(self, name: str) -> tuple[int, ...]:
        """The layers that a regulariser acts on, counted from 1; the last one is the output layer."""
        acts_on, num_hidden = CATALOGUE[name].acts_on, len(self.hidden)
        num_layers = {"kernels": num_hidden + 1, "whole": 0}.get(acts_on, num_hidden)
        return tuple(self.layers.get(name, range(1, num_layers + 1)))


class ScoresParams(Strict):
    """The two scores by which a study is judged: one for each question."""

    discrimination: ScoreName  # does it rank or classify better?
    probabilities: Annotated[str, one_of(name for name, score in SCORES.items() if score.proper)]  # a proper score


class VariantParams(Strict):
    """One row of a study. What is not None takes the place of the study's own setting.

    baseline: the variant it is compared with, in place of the study's baseline; itself if it is compared with none.
    strengths: in place of the knobs, for regularisers that the variant names.
    path, search: strengths that are trained beside them, of one regulariser or of several at once.
    """

    baseline: Name | None = None
    regularizers: list[RegularizerName] = Field(default_factory=list)
    strengths: dict[RegularizerName, float] = Field(default_factory=dict)
    path: list[float] = Field(default_factory=list)
    search: SearchParams | None = None
    hidden: list[Count] | None = None
    activation: Activation | None = None
    layers: dict[RegularizerName, list[Count]] | None = None
    loss: LossName | None = None
    optimizer: OptimizerName | None = None
    momentum: Momentum | None = None
    learning_rate: Positive | None = None
    batch_size: Count | None = None
    epochs: Count | None = None
    callbacks: list[CallbackName] | None = None

    @field_validator("search", mode="plain")
    @classmethod
    def read_search(cls, found: Any, info: ValidationInfo) -> SearchParams:
        return parse_search(found, info.data.get("regularizers"))

    @property
    def varied(self) -> list[str]:
        """The regularisers whose strengths differ between points."""
        return list(self.search.ranges) if self.search else self.regularizers if self.path else []

    @model_validator(mode="after")
    def check(self) -> VariantParams:
        mistakes = []
        if self.path and self.search:
            mistakes.append("has a path and a search, expected at most one of the two: remove the path")
        if len(set(self.regularizers)) < len(self.regularizers):
            mistakes.append("regularizers names one twice, expected each at most once: remove the repetition")
        if self.path and len(self.regularizers) != 1:
            mistakes.append(
                f"path goes with {len(self.regularizers)} regularizers, expected exactly one whose strength it varies: "
                "remove the path or leave one regularizer"
            )
        elif self.path:
            mistakes += [check_strength("path", self.regularizers[0], strength) for strength in self.path]
        for name, strength in self.strengths.items():
            mistakes.append(check_strength(f"strengths.{name}", name, strength))
            if name not in self.regularizers:
                mistakes.append(
                    f"strengths names {name}, expected one of the variant's regularizers {self.regularizers}: add it "
                    "there or remove its strength"
                )
        raise_all(mistakes)
        return self


TRIED: dict[str, Any] = {  # reference model -> the type of the strengths that it tries
    name: Strengths[Count] if model.whole_number else Strengths[Positive]
    for name, model in REFERENCES.items()
    if model.strength
}
OPTIONAL: dict[str, Any] = {name: (tried | None, None) for name, tried in TRIED.items()}
OwnReferencesParams: Any = create_model("OwnReferencesParams", __base__=Strict, **OPTIONAL)


class StudyParams(Strict):
    """One study.

    reference_strengths: what its reference models try, in place of the strengths under `references`.
    """

    dataset: Name
    features: str = "encoded"
    baseline: Name
    scores: ScoresParams
    protocol: Protocol
    network: NetworkParams
    training: TrainingParams
    variants: Annotated[dict[Name, Annotated[VariantParams, BeforeValidator(empty_if_none)]], Field(min_length=1)]
    select_by: ScoreName | None = None
    references: Unrepeated[ReferenceName] = Field(default_factory=list)
    reference_strengths: OwnReferencesParams = Field(default_factory=OwnReferencesParams)

    @property
    def choosing_score(self) -> str:
        """The score that chooses strengths on validation rows."""
        return self.select_by or self.scores.discrimination

    def baseline_of(self, name: str) -> str:
        """The variant that a variant is compared with."""
        return self.variants[name].baseline or self.baseline

    def recipe(self, variant: VariantParams) -> Recipe:
        changed = variant.model_dump(
            exclude={"baseline", "regularizers", "strengths", "path", "search"}, exclude_none=True
        )
        return Recipe(**{**self.network.model_dump(), **self.training.model_dump(), **changed})

    def callbacks(self, variant: VariantParams) -> set[str]:
        """The callbacks that a variant uses; early stopping is one of its regularisers."""
        return {*self.recipe(variant).callbacks, *variant.regularizers}

    @model_validator(mode="after")
    def check(self) -> StudyParams:
        mistakes = []
        if self.baseline not in self.variants:
            known = ", ".join(self.variants)
            mistakes.append(f"baseline is {self.baseline}, expected one of the variants {known}: change it")
        mistakes += [
            f"variants and references both hold {name}, expected one of a name: rename the variant"
            for name in self.references
            if name in self.variants
        ]
        mistakes += [
            f"reference_strengths names {name}, expected one of the study's references {self.references}: add it there "
            "or remove its strengths"
            for name in self.reference_strengths.model_dump(exclude_none=True)
            if name not in self.references
        ]
        mistakes += [
            f"variants holds {name}, expected another name, since a search has an arm of this name: rename the variant"
            for name in self.variants
            if name.startswith(BEST_SINGLE) and any(variant.search for variant in self.variants.values())
        ]
        for name, variant in self.variants.items():
            found = [*check_variant(self.recipe(variant), variant), check_baseline(self, name)]
            mistakes += [f"variants.{name}: {text}" for text in found if text]
        raise_all(mistakes)
        return self


def check_variant(recipe: Recipe, variant: VariantParams) -> list[str]:
    """The mistakes that a variant and its study make together."""
    mistakes = [check_layers(name, recipe) for name in variant.regularizers]
    soft = [name for name in variant.regularizers if CATALOGUE[name].softens_targets]
    if LOSSES[recipe.loss].sparse and soft:
        mistakes.append(
            f"{soft[0]} goes with {recipe.loss}, whose target is one class number, expected a loss with one target per "
            "class: choose categorical_crossentropy"
        )
    return mistakes


def check_baseline(study: StudyParams, name: str) -> str:
    """A difference has one cause: a variant differs from its baseline in regularisers or in settings, not in both."""
    variant, baseline_name = study.variants[name], study.baseline_of(name)
    if baseline_name not in study.variants:
        if variant.baseline is None:
            return ""  # told of the study, once
        return f"baseline is {baseline_name}, expected one of the variants {', '.join(study.variants)}: change it"
    baseline = study.variants[baseline_name]
    changed = find_changed_settings(study.recipe(baseline), study.recipe(variant))
    if not changed or set(variant.regularizers) == set(baseline.regularizers):
        return ""
    return (
        f"differs from its baseline {baseline_name} in its regularizers and in {', '.join(changed)}, expected one of "
        "the two, so that a difference has one cause: name a baseline with the same settings, as `baseline: <variant>` "
        f"(or `baseline: {name}` to compare it with none)"
    )


def find_changed_settings(before: Recipe, after: Recipe) -> list[str]:
    """Names of the settings in which two recipes differ."""
    return [name for name in Recipe.model_fields if getattr(before, name) != getattr(after, name)]


def check_layers(name: str, recipe: Recipe) -> str:
    """A regulariser of layers acts on at least one, and only on layers that the network has."""
    if CATALOGUE[name].acts_on == "whole":
        if name not in recipe.layers:
            return ""
        return f"layers.{name} is set, expected no such entry, as {name} acts on no single layer: remove it"
    layers = recipe.layers_of(name)
    allowed = range(1, len(recipe.hidden) + 1 + ("kernels" in CATALOGUE[name].acts_on))
    if layers and set(layers) <= set(allowed):
        return ""
    return (
        f"{name} acts on layers {list(layers)}, expected some of {list(allowed)} of a network with "
        f"{len(recipe.hidden)} hidden layers: change hidden or layers.{name}"
    )
