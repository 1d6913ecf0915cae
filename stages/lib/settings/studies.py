"""The schema of a study in params.yaml, and what must go together in one; rules about its data are in rules.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, create_model, field_validator

from stages.lib.data.protocols import Protocol
from stages.lib.judge.plans import BEST_SINGLE
from stages.lib.judge.references import REFERENCES
from stages.lib.judge.scores import SCORES
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.fields import (
    Count,
    Declared,
    Epochs,
    Layer,
    Listed,
    Momentum,
    Name,
    Positive,
    Strengths,
    Strict,
    Units,
    Unrepeated,
    empty_if_none,
    one_of,
    shorten,
)
from stages.lib.settings.mistakes import Mistake
from stages.lib.settings.search import SearchParams, parse_search
from stages.lib.settings.strengths import check_strength

RegularizerName = Annotated[str, one_of(CATALOGUE)]
LossName = Annotated[str, one_of(LOSSES)]
ScoreName = Annotated[str, one_of(SCORES)]
ReferenceName = Annotated[str, one_of(REFERENCES)]
OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw"]
CallbackName = Literal["checkpoint", "reduce_lr_on_plateau", "terminate_on_nan"]
Activation = Literal["linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus"]


NO_SETTINGS = {"baseline", "regularizers", "strengths", "path", "search"}  # what a variant holds besides settings
Hidden = Annotated[list[Units], Field(max_length=32)]
Path = Annotated[Unrepeated[float], Field(max_length=100)]


class NetworkParams(Strict):
    hidden: Hidden
    activation: Activation
    layers: dict[RegularizerName, Listed[Layer]] = Field(default_factory=dict)


class TrainingParams(Strict):
    loss: LossName
    optimizer: OptimizerName
    momentum: Momentum = 0.0
    learning_rate: Positive
    batch_size: Count
    epochs: Epochs
    callbacks: Listed[CallbackName] = Field(default_factory=list)


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
    regularizers: Listed[RegularizerName] = Field(default_factory=list)
    strengths: dict[RegularizerName, float] = Field(default_factory=dict)
    path: Path = Field(default_factory=list)
    search: SearchParams | None = None
    hidden: Hidden | None = None
    activation: Activation | None = None
    layers: dict[RegularizerName, Listed[Layer]] | None = None
    loss: LossName | None = None
    optimizer: OptimizerName | None = None
    momentum: Momentum | None = None
    learning_rate: Positive | None = None
    batch_size: Count | None = None
    epochs: Epochs | None = None
    callbacks: Listed[CallbackName] | None = None

    @field_validator("search", mode="plain")
    @classmethod
    def read_search(cls, found: Any, info: ValidationInfo) -> SearchParams:
        return parse_search(found, info.data.get("regularizers"))

    @property
    def varied(self) -> list[str]:
        """The regularisers whose strengths differ between points."""
        return list(self.search.ranges) if self.search else self.regularizers if self.path else []


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
    features: Name = "encoded"
    baseline: Name
    scores: ScoresParams
    protocol: Protocol
    network: NetworkParams
    training: TrainingParams
    variants: Annotated[dict[Name, Annotated[VariantParams, BeforeValidator(empty_if_none)]], Declared]
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
        changed = variant.model_dump(exclude=NO_SETTINGS, exclude_none=True)
        return Recipe.model_construct(**{**self.network.model_dump(), **self.training.model_dump(), **changed})

    def callbacks(self, variant: VariantParams) -> set[str]:
        """The callbacks that a variant uses; early stopping is one of its regularisers."""
        return {*self.recipe(variant).callbacks, *variant.regularizers}


Check = Callable[[], Iterator[Mistake]]


def list_checks(study: StudyParams) -> Iterator[Check]:
    """What is to be asked of a study by itself; each check needs few of its fields."""
    yield partial(find_wrong_baseline, study)
    yield partial(find_repeated_names, study)
    yield partial(find_taken_names, study)
    yield partial(find_unused_strengths, study)
    for name, variant in study.variants.items():
        for check in list_variant_checks(study, name, variant):
            yield partial(tell_of_variant, check, name)


def tell_of_variant(check: Check, name: str) -> Iterator[Mistake]:
    return (mistake.within("variants", name) for mistake in check())


def list_variant_checks(study: StudyParams, name: str, variant: VariantParams) -> Iterator[Check]:
    """What is to be asked of a variant, by itself and in its study."""
    yield partial(find_two_ways, variant)
    yield partial(find_repeated_regularizers, variant)
    yield partial(find_wrong_path, variant)
    yield partial(find_wrong_strengths, variant)
    yield partial(find_wrong_layers, study, variant)
    yield partial(find_wrong_loss, study, variant)
    yield partial(find_wrong_difference, study, name)


def find_wrong_baseline(study: StudyParams) -> Iterator[Mistake]:
    if study.baseline not in study.variants:
        known = ", ".join(study.variants)
        text = f"is {study.baseline}, expected one of the variants {known}: change it"
        yield Mistake((), f"baseline {text}", ("baseline",))


def find_repeated_names(study: StudyParams) -> Iterator[Mistake]:
    for name in study.references:
        if name in study.variants:
            yield Mistake(
                (),
                f"variants and references both hold {name}, expected one of a name: rename the variant",
                ("references",),
            )


def find_taken_names(study: StudyParams) -> Iterator[Mistake]:
    """A search has an arm of its own."""
    for name in study.variants if any(variant.search for variant in study.variants.values()) else ():
        if name.startswith(BEST_SINGLE):
            text = (
                f"variants holds {name}, expected another name, since a search has an arm of this name: rename the "
                "variant"
            )
            yield Mistake((), text, ("variants", name))


def find_unused_strengths(study: StudyParams) -> Iterator[Mistake]:
    for name in study.reference_strengths.model_dump(exclude_none=True):
        if name not in study.references:
            text = (
                f"reference_strengths names {name}, expected one of the study's references {study.references}: add it "
                "there or remove its strengths"
            )
            yield Mistake((), text, ("reference_strengths", name))


def find_two_ways(variant: VariantParams) -> Iterator[Mistake]:
    if variant.path and variant.search:
        text = "has a path and a search, expected at most one of the two: remove the path"
        yield Mistake((), text, ("path",))


def find_repeated_regularizers(variant: VariantParams) -> Iterator[Mistake]:
    if len(set(variant.regularizers)) < len(variant.regularizers):
        text = "regularizers names one twice, expected each at most once: remove the repetition"
        yield Mistake((), text, ("regularizers",))


def find_wrong_path(variant: VariantParams) -> Iterator[Mistake]:
    """A path varies the strength of one regulariser, within its bounds."""
    if variant.path and len(variant.regularizers) != 1:
        text = (
            f"path goes with {len(variant.regularizers)} regularizers, expected exactly one whose strength it varies: "
            "remove the path or leave one regularizer"
        )
        yield Mistake((), text, ("path",))
    elif variant.path:
        for place, strength in enumerate(variant.path):
            if text := check_strength("path", variant.regularizers[0], strength):
                yield Mistake((), text, ("path", place))


def find_wrong_strengths(variant: VariantParams) -> Iterator[Mistake]:
    """Strengths of its own are of regularisers that the variant names, within their bounds."""
    for name, strength in variant.strengths.items():
        below = ("strengths", name)
        if text := check_strength(f"strengths.{name}", name, strength):
            yield Mistake((), text, below)
        if name not in variant.regularizers:
            text = (
                f"strengths names {name}, expected one of the variant's regularizers {variant.regularizers}: add it "
                "there or remove its strength"
            )
            yield Mistake((), text, below)


def find_wrong_loss(study: StudyParams, variant: VariantParams) -> Iterator[Mistake]:
    """What softens targets needs a loss with one target per class."""
    recipe = study.recipe(variant)
    soft = [name for name in variant.regularizers if CATALOGUE[name].softens_targets]
    if LOSSES[recipe.loss].sparse and soft:
        text = (
            f"{soft[0]} goes with {recipe.loss}, whose target is one class number, expected a loss with one target per "
            "class: choose categorical_crossentropy"
        )
        yield Mistake((), text, ("regularizers",))


def find_wrong_difference(study: StudyParams, name: str) -> Iterator[Mistake]:
    """A difference has one cause: a variant differs from its baseline in regularisers or in settings, not in both."""
    variant, baseline_name = study.variants[name], study.baseline_of(name)
    if baseline_name not in study.variants:
        if variant.baseline is not None:  # else it is told of the study, once
            known = ", ".join(study.variants)
            text = f"baseline is {baseline_name}, expected one of the variants {known}: change it"
            yield Mistake((), text, ("baseline",))
        return
    baseline = study.variants[baseline_name]
    changed = find_changed_settings(study.recipe(baseline), study.recipe(variant))
    if changed and set(variant.regularizers) != set(baseline.regularizers):
        text = (
            f"differs from its baseline {baseline_name} in its regularizers and in {', '.join(changed)}, expected one "
            "of the two, so that a difference has one cause: name a baseline with the same settings, as "
            f"`baseline: <variant>` (or `baseline: {name}` to compare it with none)"
        )
        yield Mistake((), text)


def find_changed_settings(before: Recipe, after: Recipe) -> list[str]:
    """Names of the settings in which two recipes differ; one that is not valid in either is the same in both."""
    return [name for name in Recipe.model_fields if getattr(before, name, None) != getattr(after, name, None)]


def find_wrong_layers(study: StudyParams, variant: VariantParams) -> Iterator[Mistake]:
    """A regulariser of layers acts on at least one, and only on layers that the network has."""
    recipe = study.recipe(variant)
    for name in dict.fromkeys(variant.regularizers):
        if CATALOGUE[name].acts_on == "whole":
            if name in recipe.layers:
                text = f"layers.{name} is set, expected no such entry, as {name} acts on no single layer: remove it"
                yield Mistake((), text, ("layers", name))
            continue
        layers = recipe.layers_of(name)
        allowed = range(1, len(recipe.hidden) + 1 + ("kernels" in CATALOGUE[name].acts_on))
        if not layers or not set(layers) <= set(allowed):
            text = (
                f"{name} acts on layers {shorten(list(layers))}, expected some of {list(allowed)} of a network with "
                f"{len(recipe.hidden)} hidden layers: change hidden or layers.{name}"
            )
            yield Mistake((), text, ("layers", name) if variant.layers else ())
