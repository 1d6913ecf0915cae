"""The typed schema of params.yaml as a whole; a study's is in lib/studies.py.

Every mistake is found here, before any work starts, and all of them are told at once. YAML is read with the parser that
DVC uses (YAML 1.2), so that `1e-4` and `off` mean the same to both.
"""

from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.catalogue import REGULARIZERS
from stages.lib.fields import Monitor, Name, Natural, NotNegative, Share, Strict
from stages.lib.mistakes import ParamsError, explain, raise_all
from stages.lib.studies import ReferencesParams, StudyParams


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
