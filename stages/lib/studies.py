"""The studies of params.yaml: their typed schema, and what must go together in one."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from stages.lib.catalogue import DATASETS, INFINITY, REGULARIZERS, SOFT_TARGETS, DatasetFacts
from stages.lib.fields import (
    Activation,
    CallbackName,
    Count,
    DatasetName,
    Loss,
    Momentum,
    Name,
    OptimizerName,
    Positive,
    RegularizerName,
    Share,
    Strengths,
    Strict,
    Unrepeated,
    empty_if_none,
    one_of,
)
from stages.lib.mistakes import expect, raise_all

NEEDS_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")


class KFoldParams(Strict):
    kind: Literal["repeated_stratified_k_fold"]
    folds: Annotated[int, Field(ge=2)]
    repeats: Count
    validation: Share


class FixedTestParams(Strict):
    kind: Literal["fixed_test"]
    seeds: Annotated[int, Field(ge=2)]
    training: Count | None = None
    validation: Share


class NetworkParams(Strict):
    hidden: list[Count]
    activation: Activation
    layers: dict[RegularizerName, list[Count]] = Field(default_factory=dict)


class TrainingParams(Strict):
    loss: Loss
    optimizer: OptimizerName
    momentum: Momentum = 0.0
    learning_rate: Positive
    batch_size: Count
    epochs: Count
    callbacks: list[CallbackName] = Field(default_factory=list)


class Recipe(NetworkParams, TrainingParams):
    """Network and training settings of one variant, overrides applied."""


class VariantParams(Strict):
    """One row of a study. What is not None takes the place of the study's own setting."""

    regularizers: list[RegularizerName] = Field(default_factory=list)
    path: list[float] = Field(default_factory=list)
    hidden: list[Count] | None = None
    activation: Activation | None = None
    layers: dict[RegularizerName, list[Count]] | None = None
    loss: Loss | None = None
    optimizer: OptimizerName | None = None
    momentum: Momentum | None = None
    learning_rate: Positive | None = None
    batch_size: Count | None = None
    epochs: Count | None = None
    callbacks: list[CallbackName] | None = None

    @model_validator(mode="after")
    def check(self) -> "VariantParams":
        mistakes = []
        if len(set(self.regularizers)) < len(self.regularizers):
            mistakes.append("regularizers names one twice, expected each at most once: remove the repetition")
        if self.path and len(self.regularizers) != 1:
            mistakes.append(
                f"path goes with {len(self.regularizers)} regularizers, expected exactly one whose strength it varies: "
                "remove the path or leave one regularizer"
            )
        elif self.path:
            mistakes += [check_strength(self.regularizers[0], strength) for strength in self.path]
        raise_all(mistakes)
        return self


class ReferencesParams(Strict):
    """What each scikit-learn model tries; the majority answer has nothing to try."""

    logistic_regression: Strengths[Positive]
    random_forest: Strengths[Count]
    gradient_boosting: Strengths[Positive]
    mlp: Strengths[Positive]


ReferenceName = Annotated[str, one_of([*ReferencesParams.model_fields, "majority"])]


class StudyParams(Strict):
    dataset: DatasetName
    features: Literal["encoded", "raw"] = "encoded"
    baseline: Name
    primary: Literal["auc", "accuracy"]
    protocol: Annotated[KFoldParams | FixedTestParams, Field(discriminator="kind")]
    network: NetworkParams
    training: TrainingParams
    variants: Annotated[dict[Name, Annotated[VariantParams, BeforeValidator(empty_if_none)]], Field(min_length=1)]
    select_by: Literal["log_loss", "auc", "accuracy"] | None = None
    references: Unrepeated[ReferenceName] = Field(default_factory=list)

    def recipe(self, variant: VariantParams) -> Recipe:
        changed = variant.model_dump(exclude={"regularizers", "path"}, exclude_none=True)
        return Recipe(**{**self.network.model_dump(), **self.training.model_dump(), **changed})

    def callbacks(self, variant: VariantParams) -> set[str]:
        """Those that a variant uses; early stopping is one of its regularisers."""
        return {*self.recipe(variant).callbacks, *variant.regularizers}

    @model_validator(mode="after")
    def check(self) -> "StudyParams":
        facts = DATASETS[self.dataset]
        mistakes = [
            expect("protocol.kind", self.protocol.kind, [facts.protocol], f"that is how {self.dataset} is split"),
            expect("primary", self.primary, facts.primaries, f"these are the primary scores of {self.dataset}"),
            expect("features", self.features, facts.features, f"{self.dataset} has no other"),
            expect(
                "select_by",
                self.select_by or self.primary,
                [*facts.primaries, "log_loss"],
                f"these choose strengths on validation rows of {self.dataset}",
            ),
            expect("baseline", self.baseline, self.variants, "the baseline is one of the variants"),
            check_protocol(self.protocol, facts),
        ]
        for name in [name for name in self.references if name in self.variants]:
            mistakes.append(f"variants and references both hold {name}, expected one of a name: rename the variant")
        for name, variant in self.variants.items():
            mistakes += [f"variants.{name}: {text}" for text in check_variant(self, variant) if text]
        raise_all(mistakes)
        return self


def check_protocol(protocol: KFoldParams | FixedTestParams, facts: DatasetFacts) -> str:
    """Each part of a replicate holds every class, or no score could be computed on it."""
    smallest = facts.smallest_class
    if isinstance(protocol, KFoldParams):
        if protocol.folds > smallest:
            return f"protocol.folds is {protocol.folds}, expected at most the rarest class's {smallest} rows: lower it"
        smallest -= -(-smallest // protocol.folds)
    elif protocol.training:
        drawn, most = round(protocol.training / (1 - protocol.validation)), facts.development - facts.outputs
        if drawn > most:
            return (
                f"protocol.training is {protocol.training}, with its validation rows {drawn}, expected at most {most} "
                "in all: lower it, or leave it out for all rows"
            )
        smallest = drawn * smallest // facts.development
    if min(int(smallest * protocol.validation), int(smallest * (1 - protocol.validation))) < 1:
        return (
            f"protocol.validation is {protocol.validation}, expected a share that leaves training and validation a row "
            f"of each class (of the rarest there are {smallest}): change it"
        )
    return ""


def check_variant(study: StudyParams, variant: VariantParams) -> list[str]:
    """The mistakes that only a variant and its study together can make."""
    recipe, mistakes = study.recipe(variant), []
    if recipe.loss in NEEDS_CLASSES and DATASETS[study.dataset].outputs == 1:
        mistakes.append(
            f"loss is {recipe.loss}, expected one that is defined for the single output of {study.dataset}: "
            "choose binary_crossentropy"
        )
    soft = [name for name in variant.regularizers if name in SOFT_TARGETS]
    if recipe.loss == "sparse_categorical_crossentropy" and soft:
        mistakes.append(
            f"{soft[0]} goes with sparse_categorical_crossentropy, whose target is one class number, expected a loss "
            "with one target per class: choose categorical_crossentropy"
        )
    for name in variant.regularizers:
        mistakes.append(check_layers(name, recipe))
    return mistakes


def check_layers(name: str, recipe: Recipe) -> str:
    if REGULARIZERS[name].acts_on == "whole":
        if name not in recipe.layers:
            return ""
        return f"layers.{name} is set, expected no such entry, as {name} acts on no single layer: remove it"
    layers = layers_of(name, recipe)
    allowed = range(1, len(recipe.hidden) + 1 + ("kernels" in REGULARIZERS[name].acts_on))
    if layers and set(layers) <= set(allowed):
        return ""
    return (
        f"{name} acts on layers {list(layers)}, expected some of {list(allowed)} of a network with "
        f"{len(recipe.hidden)} hidden layers: change hidden or layers.{name}"
    )


def layers_of(name: str, recipe: Recipe) -> tuple[int, ...]:
    """The layers that a regulariser acts on, counted from 1; the last one is the output layer."""
    acts_on, num_hidden = REGULARIZERS[name].acts_on, len(recipe.hidden)
    num_layers = {"kernels": num_hidden + 1, "whole": 0}.get(acts_on, num_hidden)
    return tuple(recipe.layers.get(name, range(1, num_layers + 1)))


def check_strength(name: str, strength: float) -> str:
    rule = REGULARIZERS[name]
    if rule.minimum <= strength < rule.below and (name != "early_stopping" or strength == int(strength)):
        return ""
    whole = "a whole number" if name == "early_stopping" else "a number"
    upper = "" if rule.below == INFINITY else f" and under {rule.below:g}"
    return f"path holds {strength!r}, expected {whole} of at least {rule.minimum:g}{upper} for {name}"
