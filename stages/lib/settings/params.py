"""The schema of params.yaml as a whole; a study's is in studies.py.

YAML is read with the parser that DVC uses (YAML 1.2), so that `1e-4` and `off` mean the same to both.
"""

from __future__ import annotations

from functools import reduce
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.audit.claims import CLAIMS
from stages.lib.audit.rules import AuditParams
from stages.lib.datasets.kinds import Declaration
from stages.lib.lanes.monitors import MONITORS
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.experiments import ExperimentParams, find_mistakes
from stages.lib.settings.mistakes import ParamsError, explain, raise_all
from stages.lib.settings.studies import TRIED, ScoreName, StudyParams, VariantParams
from stages.lib.studies.declarations import (
    Name,
    Natural,
    NotNegative,
    Share,
    Strict,
    one_of,
)

Monitor = Annotated[str, one_of(["loss", "val_loss", *(f"val_{name}" for name in MONITORS)])]


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

    def monitors(self) -> dict[str, str]:
        """Callback -> what it monitors."""
        return {name: getattr(self, name).monitor for name in type(self).model_fields}


KNOBS: dict[str, Any] = {
    name: (Annotated[float, Field(ge=rule.minimum, lt=rule.below)], ...)
    for name, rule in CATALOGUE.items()
    if not rule.knob_path  # such a knob stands elsewhere in params.yaml
}
Knobs = create_model("Knobs", __base__=Strict, **KNOBS)

REQUIRED: dict[str, Any] = {name: (tried, ...) for name, tried in TRIED.items()}
ReferencesParams: Any = create_model("ReferencesParams", __base__=Strict, **REQUIRED)


class StatisticsParams(Strict):
    confidence: Share
    equivalence: dict[ScoreName, NotNegative]


class Params(Knobs):  # type: ignore[misc, valid-type]
    seed: Natural
    callbacks: CallbacksParams
    references: ReferencesParams
    statistics: StatisticsParams
    audit: AuditParams
    datasets: Annotated[dict[Name, Declaration], Field(min_length=1)]
    studies: Annotated[dict[Name, StudyParams], Field(min_length=1)]
    experiments: dict[Name, ExperimentParams]

    @model_validator(mode="after")
    def check(self) -> Params:
        mistakes = []
        for name, study in self.studies.items():
            mistakes.append(check_dataset(self.datasets, name, study))
            mistakes += [
                f"statistics.equivalence has no {score}, expected the greatest difference that does not matter, as "
                f"studies.{name} is judged by it: add it"
                for score in study.scores.model_dump().values()
                if score not in self.statistics.equivalence
            ]
        for name, experiment in self.experiments.items():
            mistakes += find_mistakes(name, experiment, self.studies)
        raise_all([*mistakes, *check_rules(self.audit)])
        return self

    def strength(self, name: str, variant: VariantParams) -> float:
        """The strength of a regulariser in a variant: the variant's own, else the knob."""
        if name in variant.strengths:
            return float(variant.strengths[name])
        return float(reduce(getattr, (CATALOGUE[name].knob_path or name).split("."), self))


def check_dataset(datasets: dict[str, Any], name: str, study: StudyParams) -> str:
    """A study's data set is declared, and has the encoding that it asks for."""
    if study.dataset not in datasets:
        return (
            f"studies.{name}.dataset is {study.dataset}, expected one of {', '.join(datasets)}: mend its spelling or "
            "declare it under datasets"
        )
    encodings = datasets[study.dataset].encodings
    if study.features not in encodings:
        return f"studies.{name}.features is {study.features}, expected {' or '.join(encodings)}: change it"
    return ""


def check_rules(audit: AuditParams) -> list[str]:
    """Each claim of the audit has the thresholds that judge it, and no others."""
    found = {name: set(quantities) for name, quantities in audit.rules.items()}
    expected = {name: set(claim.quantities) for name, claim in CLAIMS.items()}
    return [
        f"audit.rules.{name} holds {', '.join(sorted(found.get(name, []))) or 'nothing'}, expected "
        f"{', '.join(sorted(expected.get(name, []))) or 'no such entry'}: change it"
        for name in dict.fromkeys([*expected, *found])
        if found.get(name) != expected.get(name)
    ]


def parse_yaml(text: str) -> Any:
    """YAML as DVC reads it; YAMLError if it is none."""
    return YAML(typ="safe", pure=True).load(text)


def parse_params(text: str) -> Params:
    """Read the text of params.yaml; ParamsError lists every mistake, one a line. Data sets are not looked at."""
    try:
        values = parse_yaml(text)
    except YAMLError as error:
        raise ParamsError(f"params.yaml is not YAML: {error}") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(line for entry in error.errors() for line in explain(entry))) from error
