"""What a single field of params.yaml may hold."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stages.lib.catalogue import DATASETS, REGULARIZERS

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
