"""The typed schema of params.yaml, and its expansion into plans.

Every mistake is found here, before any work starts, and all of them are told at once: what stands there, what was
expected, how to mend it. YAML is read with the parser that DVC uses (YAML 1.2), so that `1e-4` and `off` mean the same
to both.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib import plans
from stages.lib.commands import UserError


class ParamsError(UserError):
    """params.yaml cannot be used; the message has one line per mistake."""


class Catalogued(NamedTuple):
    """The rules of one regulariser: which strengths are possible, and where it acts unless the network says otherwise."""

    minimum: float
    below: float  # the strength stays under this
    acts_on: Literal["kernels", "hidden", "whole"]  # kernels: hidden and output layers; whole: batch or network


INFINITY = float("inf")
REGULARIZERS: dict[str, Catalogued] = {
    "l1": Catalogued(0, INFINITY, "kernels"),
    "l2": Catalogued(0, INFINITY, "kernels"),
    "l1_proximal": Catalogued(0, INFINITY, "kernels"),
    "weight_decay": Catalogued(0, INFINITY, "kernels"),
    "activity_l1": Catalogued(0, INFINITY, "hidden"),
    "max_norm": Catalogued(1e-6, INFINITY, "hidden"),
    "unit_norm": Catalogued(1e-6, INFINITY, "hidden"),
    "batch_norm": Catalogued(0, 1, "hidden"),
    "dropout": Catalogued(0, 1, "hidden"),
    "label_smoothing": Catalogued(0, 1, "whole"),
    "cutout": Catalogued(0, 1, "whole"),
    "mixup": Catalogued(0, INFINITY, "whole"),
    "gaussian_noise": Catalogued(0, INFINITY, "whole"),
    "ema": Catalogued(0, 1, "whole"),
    "early_stopping": Catalogued(0, INFINITY, "whole"),
}
SOFT_TARGETS = ("label_smoothing", "mixup")  # a sparse loss, whose target is one class number, cannot express them


class DatasetFacts(NamedTuple):
    outputs: int
    protocol: str
    primaries: tuple[str, ...]
    features: tuple[str, ...]


DATASETS: dict[str, DatasetFacts] = {
    "thoracic_surgery": DatasetFacts(1, "repeated_stratified_k_fold", ("auc", "accuracy"), ("encoded", "raw")),
    "fashion_mnist": DatasetFacts(10, "fixed_test", ("accuracy",), ("encoded",)),
}

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
ACTS_ON_WEIGHTS = ("l1", "l2", "l1_proximal", "weight_decay", "max_norm", "unit_norm")
DatasetName = Literal[tuple(DATASETS)]  # type: ignore[valid-type]
OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw"]
RegularizerName = Literal[tuple(REGULARIZERS)]  # type: ignore[valid-type]
Monitor = Literal["loss", "val_loss", "val_auc", "val_accuracy"]
CallbackName = Literal["checkpoint", "reduce_lr_on_plateau", "terminate_on_nan"]
Activation = Literal["linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus"]

NAME = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def empty_if_none(value: Any) -> Any:
    """`none:` with nothing behind it means `none: {}`."""
    return {} if value is None else value


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


class KFoldParams(Strict):
    kind: Literal["repeated_stratified_k_fold"]
    folds: Annotated[int, Field(ge=2)]
    repeats: Count
    validation: Share

    def to_plan(self) -> plans.Protocol:
        return plans.Protocol(
            self.kind, self.folds * self.repeats, folds=self.folds, training=None, validation=self.validation
        )


class FixedTestParams(Strict):
    kind: Literal["fixed_test"]
    seeds: Count
    training: Count | None = None
    validation: Share

    def to_plan(self) -> plans.Protocol:
        return plans.Protocol(self.kind, self.seeds, folds=None, training=self.training, validation=self.validation)


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


class StudyParams(Strict):
    dataset: DatasetName
    features: Literal["encoded", "raw"] = "encoded"
    baseline: Name
    primary: Literal["auc", "accuracy"]
    protocol: Annotated[KFoldParams | FixedTestParams, Field(discriminator="kind")]
    network: NetworkParams
    training: TrainingParams
    variants: Annotated[dict[Name, Annotated[VariantParams, BeforeValidator(empty_if_none)]], Field(min_length=1)]

    def recipe(self, variant: VariantParams) -> Recipe:
        changed = variant.model_dump(exclude={"regularizers", "path"}, exclude_none=True)
        return Recipe(**{**self.network.model_dump(), **self.training.model_dump(), **changed})

    @model_validator(mode="after")
    def check(self) -> "StudyParams":
        facts = DATASETS[self.dataset]
        mistakes = [
            expect("protocol.kind", self.protocol.kind, [facts.protocol], f"that is how {self.dataset} is split"),
            expect("primary", self.primary, facts.primaries, f"these are the primary scores of {self.dataset}"),
            expect("features", self.features, facts.features, f"{self.dataset} has no other"),
            expect("baseline", self.baseline, self.variants, "the baseline is one of the variants"),
        ]
        for name, variant in self.variants.items():
            mistakes += [f"variants.{name}: {text}" for text in check_variant(self, variant) if text]
        raise_all(mistakes)
        return self


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
    layers, allowed = layers_of(name, recipe), allowed_layers(name, recipe)
    if REGULARIZERS[name].acts_on == "whole":
        return (
            f"layers.{name} is set, expected nothing: {name} acts on no single layer" if name in recipe.layers else ""
        )
    if not layers or not set(layers) <= set(allowed):
        return (
            f"{name} acts on layers {list(layers)}, expected some of {list(allowed)}: the network has "
            f"{len(recipe.hidden)} hidden layers, counted from 1; change hidden or layers.{name}"
        )
    return ""


def allowed_layers(name: str, recipe: Recipe) -> tuple[int, ...]:
    """Every layer with a kernel for what acts on weights, the hidden ones for what acts on activities."""
    num_layers = len(recipe.hidden) + (name in ACTS_ON_WEIGHTS)
    return tuple(range(1, num_layers + 1))


def layers_of(name: str, recipe: Recipe) -> tuple[int, ...]:
    if name in recipe.layers:
        return tuple(recipe.layers[name])
    num_layers = {"kernels": len(recipe.hidden) + 1, "hidden": len(recipe.hidden), "whole": 0}
    return tuple(range(1, num_layers[REGULARIZERS[name].acts_on] + 1))


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


Knobs = create_model(
    "Knobs",
    __base__=Strict,
    **{
        name: (Annotated[float, Field(ge=rule.minimum, lt=rule.below)], ...)
        for name, rule in REGULARIZERS.items()
        if name != "early_stopping"  # its knob is callbacks.early_stopping.patience
    },
)


class Params(Knobs):  # type: ignore[misc, valid-type]
    seed: Natural
    callbacks: CallbacksParams
    studies: Annotated[dict[Name, StudyParams], Field(min_length=1)]

    def knob(self, name: str) -> float:
        return float(self.callbacks.early_stopping.patience) if name == "early_stopping" else getattr(self, name)


def parse_params(text: str) -> Params:
    """Read the text of params.yaml; ParamsError lists every mistake, one a line."""
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParamsError(f"params.yaml is not YAML: {error}") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(line for entry in error.errors() for line in explain(entry))) from error


def explain(entry: Any) -> list[str]:
    """One mistake that pydantic found, in words."""
    skipped = {"[key]", "repeated_stratified_k_fold", "fixed_test"}  # pydantic's own marks, not keys of the file
    where = ".".join(str(part) for part in entry["loc"] if part not in skipped) or "params.yaml"
    if entry["type"] == "value_error":
        return [f"{where}: {line}" for line in str(entry["ctx"]["error"]).splitlines()]
    if entry["type"] == "missing":
        return [f"{where}: is missing, expected a value: add it"]
    if entry["type"] == "extra_forbidden":
        return [f"{where}: is not a known key, expected one that README.md lists: remove it or mend its spelling"]
    if entry["type"] == "string_pattern_mismatch":
        return [f"{where}: the name {entry['input']!r} expected small letters, digits and _, a letter first: rename it"]
    return [f"{where}: is {entry['input']!r}, expected: {entry['msg'].removeprefix('Input should be ')}"]


def split_plan(params: Params, study_name: str) -> plans.SplitPlan:
    study = params.studies[study_name]
    return plans.SplitPlan(study_name, study.dataset, study.features, study.protocol.to_plan(), params.seed)


def study_plan(params: Params, study_name: str) -> plans.StudyPlan:
    study = params.studies[study_name]
    return plans.StudyPlan(
        study_name, study.dataset, study.baseline, study.primary, study.protocol.to_plan(), tuple(study.variants)
    )


def run_plan(params: Params, study_name: str, variant_name: str) -> plans.RunPlan:
    """One variant with everything that shapes its networks, and nothing else: what is absent here retrains nothing."""
    study = params.studies[study_name]
    variant = study.variants[variant_name]
    recipe = study.recipe(variant)
    names = [name for name in REGULARIZERS if name in variant.regularizers]  # one order, whatever params.yaml says
    if recipe.optimizer == "adamw" and "weight_decay" not in names:
        names.append("weight_decay")
    return plans.RunPlan(
        study=study_name,
        variant=variant_name,
        seed=params.seed,
        replicates=tuple(range(study.protocol.to_plan().replicates)),
        primary=study.primary,
        network=plans.NetworkPlan(tuple(recipe.hidden), recipe.activation, DATASETS[study.dataset].outputs),
        regularizers=tuple(regularizer_plan(params, name, recipe, variant.path) for name in names),
        callbacks=callbacks_plan(params.callbacks, names, recipe.callbacks),
        loss=recipe.loss,
        optimizer=plans.OptimizerPlan(
            "adam" if recipe.optimizer == "adamw" else recipe.optimizer, recipe.learning_rate, recipe.momentum
        ),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
    )


def regularizer_plan(params: Params, name: str, recipe: Recipe, path: list[float]) -> plans.RegularizerPlan:
    knob = params.knob(name)
    strengths = (knob, *(strength for strength in sorted(set(path)) if strength != knob))
    return plans.RegularizerPlan(name, strengths, layers_of(name, recipe))


def callbacks_plan(callbacks: CallbacksParams, names: list[str], chosen: list[str]) -> plans.CallbacksPlan:
    stopping = callbacks.early_stopping.model_dump(exclude={"patience"})
    return plans.CallbacksPlan(
        early_stopping=plans.EarlyStopping(**stopping) if "early_stopping" in names else None,
        checkpoint=plans.Checkpoint(**callbacks.checkpoint.model_dump()) if "checkpoint" in chosen else None,
        reduce_lr_on_plateau=plans.ReduceLrOnPlateau(**callbacks.reduce_lr_on_plateau.model_dump())
        if "reduce_lr_on_plateau" in chosen
        else None,
        terminate_on_nan="terminate_on_nan" in chosen,
    )
