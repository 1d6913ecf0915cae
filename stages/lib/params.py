"""The typed schema of params.yaml, and its expansion into plans.

Every mistake is found here, before any work starts, and all of them are told at once: what stands there, what was
expected, how to mend it. YAML is read with the parser that DVC uses (YAML 1.2), so that `1e-4` and `off` mean the same
to both.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.catalogue import DATASETS, INFINITY, REGULARIZERS, SOFT_TARGETS, DatasetFacts
from stages.lib.commands import UserError


class ParamsError(UserError):
    """params.yaml cannot be used; the message has one line per mistake."""


Loss = Literal[
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_error",
    "r_squared",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "poisson",
]
NEEDS_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")
OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw"]
Monitor = Literal["loss", "val_loss", "val_auc", "val_accuracy"]
CallbackName = Literal["checkpoint", "reduce_lr_on_plateau", "terminate_on_nan"]
Activation = Literal["linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus"]


def one_of(names: Iterable[str]) -> AfterValidator:
    """Accept one of the names that a table of lib/catalogue.py lists."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"is {name!r}, expected one of {', '.join(names)}: mend its spelling")
        return name

    return AfterValidator(check)


RegularizerName = Annotated[str, one_of(REGULARIZERS)]
DatasetName = Annotated[str, one_of(DATASETS)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def empty_if_none(value: Any) -> Any:
    """`none:` with nothing behind it means `none: {}`."""
    return {} if value is None else value


def refuse_repetition(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"is {values}, expected each entry at most once: remove the repetition")
    return values


Entry = TypeVar("Entry")
Unrepeated = Annotated[list[Entry], AfterValidator(refuse_repetition)]
Strengths = Annotated[Unrepeated[Entry], Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class EarlyStoppingParams(Strict):
    monitor: Monitor
    min_delta: NotNegative
    patience: Natural
    start_from_epoch: Natural
    restore_best: bool


class CheckpointParams(Strict):
    monitor: Monitor
    save_best_only: bool


class ReduceLrOnPlateauParams(Strict):
    monitor: Monitor
    factor: Share
    patience: Natural
    min_delta: NotNegative
    cooldown: Natural
    min_lr: NotNegative


class CallbacksParams(Strict):
    early_stopping: EarlyStoppingParams
    checkpoint: CheckpointParams
    reduce_lr_on_plateau: ReduceLrOnPlateauParams

    def monitors(self) -> dict[str, Monitor]:
        return {name: getattr(self, name).monitor for name in type(self).model_fields}


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
    layers: dict[RegularizerName, list[Count]] = {}


class TrainingParams(Strict):
    loss: Loss
    optimizer: OptimizerName
    momentum: Momentum = 0.0
    learning_rate: Positive
    batch_size: Count
    epochs: Count
    callbacks: list[CallbackName] = []


class Recipe(NetworkParams, TrainingParams):
    """Network and training settings of one variant, overrides applied."""


class VariantParams(Strict):
    """One row of a study. What is not None takes the place of the study's own setting."""

    regularizers: list[RegularizerName] = []
    path: list[float] = []
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
    references: Unrepeated[ReferenceName] = []

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


def expect(field: str, found: str, allowed: Iterable[str], reason: str) -> str:
    return "" if found in allowed else f"{field} is {found}, expected {' or '.join(allowed)}: {reason}"


def raise_all(mistakes: list[str]) -> None:
    found = [text for text in mistakes if text]
    if found:
        raise ValueError("\n".join(found))


KNOBS: Any = {
    name: (Annotated[float, Field(ge=rule.minimum, lt=rule.below)], ...)
    for name, rule in REGULARIZERS.items()
    if name != "early_stopping"  # its knob is callbacks.early_stopping.patience
}
Knobs = create_model("Knobs", __base__=Strict, **KNOBS)


class EquivalenceParams(Strict):
    auc: NotNegative
    accuracy: NotNegative


class StatisticsParams(Strict):
    confidence: Share
    equivalence: EquivalenceParams


class Params(Knobs):  # type: ignore[misc, valid-type]
    seed: Natural
    callbacks: CallbacksParams
    references: ReferencesParams
    statistics: StatisticsParams
    studies: Annotated[dict[Name, StudyParams], Field(min_length=1)]

    @model_validator(mode="after")
    def check(self) -> "Params":
        raise_all([check_monitors(self.callbacks, name, study) for name, study in self.studies.items()])
        return self

    def knob(self, name: str) -> float:
        return float(self.callbacks.early_stopping.patience) if name == "early_stopping" else getattr(self, name)


def check_monitors(callbacks: CallbacksParams, name: str, study: StudyParams) -> str:
    """A study's validation rows are scored by its primary score alone."""
    for callback, monitor in callbacks.monitors().items():
        users = [variant for variant, entry in study.variants.items() if callback in study.callbacks(entry)]
        if users and monitor not in ("loss", "val_loss", f"val_{study.primary}"):
            return (
                f"callbacks.{callback}.monitor is {monitor}, expected loss, val_loss or val_{study.primary}, as "
                f"{name} uses {callback} ({users[0]}): change it"
            )
    return ""


def parse_yaml(text: str) -> Any:
    """YAML as DVC reads it; YAMLError if it is none."""
    return YAML(typ="safe", pure=True).load(text)


def parse_params(text: str) -> Params:
    """Read the text of params.yaml; ParamsError lists every mistake, one a line."""
    try:
        values = parse_yaml(text)
    except YAMLError as error:
        raise ParamsError(f"params.yaml is not YAML: {error}") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(line for entry in error.errors() for line in explain(entry))) from error


# What pydantic's errors expected, in words; {names} come from the error's own context.
EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number over {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number under {lt:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_pattern_mismatch": "a name of small letters, digits and _, a letter first",
    "string_type": "text",
    "too_short": "at least one entry",
    "union_tag_invalid": "a kind among {expected_tags}",
    "union_tag_not_found": "a mapping with a kind",
}
UNION_TAGS = ("repeated_stratified_k_fold", "fixed_test")  # stand in pydantic's locations, but are no keys of the file


def explain(entry: Any) -> list[str]:
    """One mistake that pydantic found, in words; a check of several fields at once may have found several."""
    parts = [str(part) for part in entry["loc"] if part != "[key]" and part not in UNION_TAGS]
    where = ".".join(parts) or "params.yaml"
    if entry["type"] == "value_error":
        return [f"{where}: {line}" for line in str(entry["ctx"]["error"]).splitlines()]
    if entry["type"] == "missing":
        return [f"{where}: is missing, expected a value: add it"]
    if entry["type"] == "extra_forbidden":
        return [f"{where}: is not a known key, expected one that README.md names: remove it or mend its spelling"]
    expected = EXPECTED.get(entry["type"], entry["msg"]).format(**entry.get("ctx", {}))
    return [f"{where}: is {entry['input']!r}, expected {expected}: change it"]
