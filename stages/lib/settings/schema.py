"""The schema of params.yaml: what each key may hold. What has to go together stands in checks.py.

Sections with entries of one's own (data sets, variants, studies) are checked entry by entry, so that a mistake in one
hides none in another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model, model_validator

from stages.lib.claims.experiment_kinds import EXPERIMENTS
from stages.lib.claims.judging import AuditParams
from stages.lib.core import fields
from stages.lib.core.records import adapter_of
from stages.lib.data.dataset import Dataset
from stages.lib.data.kinds import Declaration
from stages.lib.data.protocols import Protocol
from stages.lib.data.table import FOLDER
from stages.lib.judge.plans import Question, StatisticsPlan
from stages.lib.judge.references import REFERENCES
from stages.lib.judge.scores import SCORES
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.optimizers import SCHEDULES
from stages.lib.lanes.plan import CheckpointSettings, EarlyStoppingSettings, PlateauSettings
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.mistakes import MISSING, UNKNOWN, Mistake, explain, is_whole, limit, raise_all, salvage
from stages.lib.settings.search import Search, check_strength
from stages.lib.settings.yaml_text import load_document

RegularizerName = Annotated[str, fields.one_of(CATALOGUE)]
EITHER_CROSSENTROPY = "crossentropy"
LossName = Annotated[str, fields.one_of([*LOSSES, EITHER_CROSSENTROPY])]
ScheduleName = Annotated[str, fields.one_of(SCHEDULES)]
ScoreName = Annotated[str, fields.one_of(SCORES)]
ProperScoreName = Annotated[str, fields.one_of(name for name, score in SCORES.items() if score.proper)]
ReferenceName = Annotated[str, fields.one_of(REFERENCES)]
OptimizerName = Literal["sgd", "rmsprop", "adam"]  # adam with the regulariser weight_decay is AdamW
CallbackName = Literal["checkpoint", "reduce_lr_on_plateau", "terminate_on_nan"]
Activation = Literal["linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus"]
Hidden = Annotated[fields.Listed[fields.Units], Field(max_length=32)]
Path = Annotated[fields.Unrepeated[float], Field(max_length=100)]
Layers = dict[RegularizerName, fields.Listed[fields.Layer]]


class CallbacksParams(fields.Strict):
    early_stopping: EarlyStoppingSettings
    checkpoint: CheckpointSettings
    reduce_lr_on_plateau: PlateauSettings


class NetworkParams(fields.Strict):
    hidden: Hidden
    activation: Activation
    layers: Layers = Field(default_factory=dict)


class TrainingParams(fields.Strict):
    """What is left out is the same in most studies.

    loss: `crossentropy` is the binary one for two classes and the categorical one for more.
    steps: the number of epochs is what makes about so many training steps, in place of `epochs`.
    """

    loss: LossName = EITHER_CROSSENTROPY
    optimizer: OptimizerName = "adam"
    momentum: fields.Momentum = 0.0
    learning_rate: fields.Positive
    schedule: ScheduleName = "constant"
    batch_size: fields.Count
    epochs: fields.Epochs | None = None
    steps: fields.Count | None = None
    callbacks: fields.Listed[CallbackName] = Field(default_factory=lambda: list[CallbackName](["terminate_on_nan"]))

    @model_validator(mode="after")
    def check_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("has epochs and steps, or neither, expected one of the two: leave one")
        return self


class Recipe(NetworkParams, TrainingParams):
    """Network and training settings of one variant, overrides applied."""

    def loss_for(self, outputs: int) -> str:
        """The loss of a network with so many outputs."""
        if self.loss != EITHER_CROSSENTROPY:
            return self.loss
        return "binary_crossentropy" if outputs == 1 else "categorical_crossentropy"

    def count_epochs(self, num_training: int) -> int:
        """The number of epochs for so many training rows."""
        steps_per_epoch = -(-num_training // self.batch_size)
        return self.epochs or max(1, round((self.steps or 1) / steps_per_epoch))

    def layers_of(self, name: str) -> tuple[int, ...]:
        """The layers that a regulariser acts on, counted from 1; the last one is the output layer."""
        acts_on, num_hidden = CATALOGUE[name].acts_on, len(self.hidden)
        num_layers = {"kernels": num_hidden + 1, "whole": 0}.get(acts_on, num_hidden)
        return tuple(self.layers.get(name, range(1, num_layers + 1)))


class ScoresParams(fields.Strict):
    """The two scores by which a study is judged: one for each question."""

    discrimination: ScoreName  # does it rank or classify better?
    probabilities: ProperScoreName


class Variant(fields.Strict):
    """One row of the catalogue. What is not None takes the place of the study's own setting.

    baseline: the variant it is compared with, in place of the study's baseline; itself if it is compared with none.
    strengths: in place of the knobs, for regularisers that the variant names.
    path, search: strengths from which validation rows choose, of one regulariser or of several at once.
    members: numbers of networks, from starts of their own, whose probabilities are averaged: an ensemble for each.
    """

    baseline: fields.Name | None = None
    regularizers: fields.Listed[RegularizerName] = Field(default_factory=list)
    strengths: dict[RegularizerName, float] = Field(default_factory=dict)
    path: Path = Field(default_factory=list)
    search: Search | None = None
    members: fields.Unrepeated[fields.Members] = Field(default_factory=list)
    hidden: Hidden | None = None
    activation: Activation | None = None
    layers: Layers | None = None
    loss: LossName | None = None
    optimizer: OptimizerName | None = None
    momentum: fields.Momentum | None = None
    learning_rate: fields.Positive | None = None
    schedule: ScheduleName | None = None
    batch_size: fields.Count | None = None
    epochs: fields.Epochs | None = None
    callbacks: fields.Listed[CallbackName] | None = None

    @model_validator(mode="after")
    def check(self) -> Variant:
        if mistakes := list(self.find_mistakes()):
            raise ValueError("\n".join(mistakes))
        return self

    def find_mistakes(self) -> Iterator[str]:
        """A regulariser stands once; a path varies one, a search some of them, and not both; all within bounds."""
        names = self.regularizers
        if len(set(names)) < len(names):
            yield "regularizers names one twice, expected each at most once: remove the repetition"
        if self.path and self.search:
            yield "has a path and a search, expected at most one of the two: remove the path"
        if self.path and len(names) != 1:
            expected = "expected exactly one whose strength it varies: remove the path or leave one regularizer"
            yield f"path goes with {len(names)} regularizers, {expected}"
        for field, named in (("search", self.search.ranges if self.search else {}), ("strengths", self.strengths)):
            for name in (name for name in named if name not in names):
                expected = f"expected one of the variant's regularizers {names}: add it there or remove it here"
                yield f"{field} names {name}, {expected}"
        yield from find_wrong_strengths(self.strengths)
        for strength in self.path if len(names) == 1 else ():
            if text := check_strength(names[0], strength):
                yield f"path holds {text}"


def find_wrong_strengths(strengths: Mapping[str, float]) -> Iterator[str]:
    for name, strength in strengths.items():
        if text := check_strength(name, strength):
            yield f"strengths.{name} holds {text}"


Change = Annotated[dict[str, Any], BeforeValidator(fields.empty_if_none)]  # of entries of a variant


class OwnVariant(Variant):
    """A variant that one study alone compares."""

    study: fields.Name


TRIED: dict[str, Any] = {  # reference model -> the type of the strengths that it tries
    name: fields.Strengths[fields.Count] if model.whole_number else fields.Strengths[fields.Positive]
    for name, model in REFERENCES.items()
}
REQUIRED: dict[str, Any] = {name: (kind, ...) for name, kind in TRIED.items()}
NOT_REQUIRED: dict[str, Any] = {name: (kind | None, None) for name, kind in TRIED.items()}
ReferencesParams: Any = create_model("ReferencesParams", __base__=fields.Strict, **REQUIRED)
OwnReferencesParams: Any = create_model("OwnReferencesParams", __base__=fields.Strict, **NOT_REQUIRED)


class Study(fields.Strict):
    """One study.

    like: a study above it, whose entry it changes; `merge` says how.
    data: an entry of `datasets`: a data set, or a collection of them, each of which is judged by itself.
    only: the variants of the catalogue that it compares with its baseline, all if none are named.
    variants: what it changes in variants of the catalogue; `merge` says how.
    strengths: in place of the knobs, in all its variants.
    scores: AUC for two classes and accuracy for more, and log loss, if none are given.
    select_by: the score that chooses strengths on validation rows.
    stopped: networks are judged with the weights of their best epoch on validation rows, and at the end beside that;
        if not, with the weights that their callbacks hand on.
    explored: of its data sets, the first so many were seen while methods were chosen.
    reference_strengths: what its reference models try, in place of the strengths under `references`.
    """

    like: fields.Name | None = None
    data: fields.Name
    features: fields.Name = "encoded"
    baseline: fields.Name = "unregularized"
    scores: ScoresParams | None = None
    protocol: Protocol
    network: NetworkParams
    training: TrainingParams
    only: fields.Unrepeated[fields.Name] = Field(default_factory=list)
    variants: dict[fields.Name, Change] = Field(default_factory=dict)
    strengths: dict[RegularizerName, float] = Field(default_factory=dict)
    select_by: ScoreName = "log_loss"
    stopped: bool = True
    explored: fields.Rounds = 0
    references: fields.Unrepeated[ReferenceName] = Field(default_factory=list)
    reference_strengths: Annotated[OwnReferencesParams, BeforeValidator(fields.empty_if_none)] = Field(
        default_factory=OwnReferencesParams
    )

    @model_validator(mode="after")
    def check(self) -> Self:
        if mistakes := list(find_wrong_strengths(self.strengths)):
            raise ValueError("\n".join(mistakes))
        return self

    def scores_for(self, outputs: int) -> dict[Question, str]:
        """Question -> the score that answers it for networks with so many outputs."""
        if self.scores:
            return {"discrimination": self.scores.discrimination, "probabilities": self.scores.probabilities}
        return {"discrimination": "auc" if outputs == 1 else "accuracy", "probabilities": "log_loss"}


class ExperimentParams(fields.Strict):
    """An experiment of the audit: variants of a study, with fewer replicates, rows or epochs, and what it varies."""

    kind: Annotated[str, fields.one_of(EXPERIMENTS)]
    study: fields.Name
    variants: Annotated[fields.Unrepeated[fields.Name], Field(min_length=1)]
    replicates: fields.Count | None = None
    rows: fields.Count | None = None
    epochs: fields.Count | None = None
    levels: fields.Unrepeated[fields.NotNegative] = Field(default_factory=list)


EXACT = Field(strict=True, allow_inf_nan=False)  # what stands in no model is not strict by itself


def refuse_strength(name: str, strength: float) -> float:
    if text := check_strength(name, strength):
        raise ValueError(f"is {text}")
    return strength


FIELDS: dict[str, Any] = {
    "seed": Annotated[fields.Seed, Field(strict=True)],
    **{name: Annotated[float, EXACT, AfterValidator(partial(refuse_strength, name))] for name in CATALOGUE},
    "callbacks": CallbacksParams,
    "references": ReferencesParams,
    "statistics": StatisticsPlan,
    "audit": AuditParams,
}
AnyNumber = Field(max_length=fields.MOST_DECLARED)
OPTIONAL = {"tutorial", "own_variants", "experiments"}  # sections that may be left out
SECTIONS: dict[str, tuple[Any, Any]] = {  # section -> the type of an entry, how many there may be
    "datasets": (dict[str, Any], fields.Declared),
    "variants": (Annotated[Variant, BeforeValidator(fields.empty_if_none)], fields.Declared),
    "studies": (Study, fields.Declared),
    "tutorial": (Study, AnyNumber),
    "own_variants": (OwnVariant, AnyNumber),
    "experiments": (ExperimentParams, AnyNumber),
}


@dataclass(frozen=True)
class ResolvedStudy:
    """A study with its variants as they are trained.

    where: its section and its name.
    datasets: of its entry of `datasets`.
    variants: name -> the catalogue's entry with the study's changes, or the study's own; in the order of params.yaml.
    places: name -> where it stands in params.yaml.
    """

    where: tuple[str, str]
    settings: Study
    datasets: list[str]
    variants: dict[str, Variant]
    places: dict[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return self.where[1]

    @property
    def tasks(self) -> dict[str, str]:
        """Task -> its data set. A study of one data set is one task, by its own name; of a collection one for each."""
        return {self.name + dataset.removeprefix(self.settings.data): dataset for dataset in self.datasets}

    def baseline_of(self, name: str) -> str:
        """The variant that a variant is compared with."""
        return self.variants[name].baseline or self.settings.baseline

    def recipe_of(self, name: str) -> Recipe:
        """The study's network and training settings, with what the variant changes."""
        changed = self.variants[name].model_dump(include={*Recipe.model_fields}, exclude_none=True)
        network, training = self.settings.network.model_dump(), self.settings.training.model_dump()
        return Recipe.model_construct(**{**network, **training, **changed})


@dataclass(frozen=True)
class Params:
    """What is valid of params.yaml.

    fields: name -> value. sections: name -> entries; one that is not valid is None, so that its name is known. A data
        set of a collection is an entry by both names: `tables/german`.
    studies: all of them, those of the tutorial too.
    """

    fields: dict[str, Any]
    sections: dict[str, dict[str, Any]]
    studies: dict[str, ResolvedStudy]

    def strength(self, name: str, variant: Variant, study: Study) -> float:
        """The strength of a regulariser in a variant: the variant's own, else the study's, else the knob."""
        return float((self.fields | study.strengths | variant.strengths)[name])


MOST_RUNS = 5000  # each a variant on one data set; so many are planned within seconds


def read_params(values: Any) -> tuple[Params, list[Mistake]]:
    """The valid parts of params.yaml, and the mistakes of what each key holds."""
    mistakes: list[Mistake] = []
    given = validate(dict[str, Any], values, (), mistakes) or (values if isinstance(values, dict) else None)
    if given is None:
        return Params({}, {name: {} for name in SECTIONS}, {}), mistakes
    known = [*FIELDS, *SECTIONS]
    mistakes += [Mistake((name,), MISSING) for name in known if name not in {*given, *OPTIONAL}]
    for name in given.keys() & {"studies", "tutorial"}:
        given = given | {name: merge_studies(given[name], name, mistakes)}
    mistakes += [Mistake((name,), UNKNOWN) for name in given if isinstance(name, str) and name not in known]
    found = {name: validate(kind, given[name], (name,), mistakes) for name, kind in FIELDS.items() if name in given}
    sections = {
        name: read_entries(kind, bounds, given[name], (name,), mistakes) if name in given else {}
        for name, (kind, bounds) in SECTIONS.items()
    }
    sections["datasets"] = read_datasets(sections["datasets"], mistakes)
    valid = {name: value for name, value in found.items() if value is not None}
    studies = resolve_studies(given, sections, mistakes)
    num_runs = sum(len(study.tasks) * len(study.variants) for study in studies.values())
    if num_runs > MOST_RUNS:  # a short file can ask for millions
        text = f"train {num_runs:,} variants on data sets, expected at most {MOST_RUNS:,}: name fewer of either"
        return Params(valid, sections, {}), [*mistakes, Mistake(("studies",), text)]
    return Params(valid, sections, studies), mistakes


def merge_studies(entries: Any, section: str, mistakes: list[Mistake]) -> Any:
    """The entries of a section of studies, each merged into the one above that it is `like`."""
    merged: dict[Any, Any] = {}
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        above = entry.get("like") if isinstance(entry, dict) else None
        if isinstance(above, str) and isinstance(merged.get(above), dict):
            common = {key: value for key, value in merged[above].items() if key != "data"}  # which dvc.yaml looks up
            entry = merge(common, entry)
        elif above is not None:
            expected = f"expected one of the studies above it ({', '.join(map(limit, merged)) or 'none'})"
            mistakes.append(Mistake((section, name, "like"), f"is {fields.shorten(above)}, {expected}: change it"))
        merged[name] = entry
    return merged if isinstance(entries, dict) else entries


def merge(entry: Any, change: Any) -> Any:
    """An entry with a change: mappings key by key, all else in its place.

    A change that names regularisers is another set of them, with strengths of its own, so it takes the place of all.
    """
    if not isinstance(entry, dict) or not isinstance(change, dict) or "regularizers" in change:
        return change
    return entry | {name: merge(entry.get(name), value) for name, value in change.items()}


def validate(kind: Any, value: Any, where: tuple[str, ...], mistakes: list[Mistake]) -> Any:
    """The value as its type has it, else what is valid of it, or None; what is wrong is added to the mistakes."""
    try:
        return adapter_of(kind).validate_python(value)
    except ValidationError as error:
        mistakes += [mistake for entry in error.errors() for mistake in explain(entry, where)]
        return salvage(kind, value, where, mistakes)


def read_entries(kind: Any, bounds: Any, value: Any, where: tuple[str, ...], mistakes: list[Mistake]) -> dict[str, Any]:
    """Each entry of a mapping from names, None where it is not valid."""
    wrong: list[Mistake] = []
    validate(Annotated[dict[fields.Name, Any], bounds], value, where, wrong)
    mistakes += wrong
    if not isinstance(value, dict) or len(value) > fields.MOST_DECLARED:
        return {}
    misnamed = {mistake.where[len(where)] for mistake in wrong if len(mistake.where) > len(where)}
    named = {key: entry for key, entry in value.items() if isinstance(key, str) and key not in misnamed}
    return {key: validate(kind, entry, (*where, key), mistakes) for key, entry in named.items()}


def read_datasets(entries: Mapping[str, dict[str, Any] | None], mistakes: list[Mistake]) -> dict[str, Dataset | None]:
    """Each data set by its name; an entry without `kind`, whose values are mappings, is a collection.

    In it an entry without `kind` is a table, in the file of its name where it names none.
    """
    datasets: dict[str, Dataset | None] = {}
    for name, entry in entries.items():
        where = ("datasets", name)
        if entry is None:
            datasets[name] = None
        elif "kind" in entry:
            datasets[name] = validate(Declaration, entry, where, mistakes)
        elif not any(isinstance(value, dict) for value in entry.values()):
            datasets[name] = None
            expected = "expected a mapping with a kind, or a collection of such by name: change it"
            mistakes.append(Mistake(where, f"is {fields.shorten(entry)}, {expected}"))
        else:
            tables = {member: complete_table(member, value) for member, value in entry.items()}
            members = read_entries(Declaration, fields.Declared, tables, where, mistakes)
            datasets |= {f"{name}/{member}": declaration for member, declaration in members.items()}
    return datasets


def complete_table(name: str, entry: Any) -> Any:
    is_short = isinstance(entry, dict) and "kind" not in entry
    return {"kind": "table", "file": f"{FOLDER}/{name}.csv", **entry} if is_short else entry


def resolve_studies(
    given: Mapping[str, Any], sections: Mapping[str, dict[str, Any]], mistakes: list[Mistake]
) -> dict[str, ResolvedStudy]:
    """Every study with its variants: those of the catalogue, unless it is one of the tutorial, and its own."""
    resolved = {}
    for section in ("tutorial", "studies"):
        for name, study in sections[section].items():
            if all(hasattr(study, field) for field in ("data", "only", "variants")):
                datasets = [dataset for dataset in sections["datasets"] if dataset.partition("/")[0] == study.data]
                resolved[name] = ResolvedStudy((section, name), study, datasets, {}, {})
                add_catalogue(resolved[name], given, sections["variants"], mistakes)
                add_own(resolved[name], given, sections["own_variants"])
    return resolved


EXPECT_VARIANT = "expected one under variants: add it there, or under own_variants"
NOT_IN_CATALOGUE = f"is no variant of the catalogue, {EXPECT_VARIANT}"
NOT_COMPARED = "is a change in the catalogue, expected none in a study of the tutorial: add it under own_variants"


def add_catalogue(
    study: ResolvedStudy, given: Mapping[str, Any], catalogue: Mapping[str, Any], mistakes: list[Mistake]
) -> None:
    """Add the variants of the catalogue, each with what the study changes in it; none to a study of the tutorial."""
    changes, named = study.settings.variants, study.settings.only
    only = [*named, getattr(study.settings, "baseline", "")] if named else list(catalogue)  # it may not be valid
    if study.where[0] == "tutorial":
        mistakes += [Mistake((*study.where, "variants", name), NOT_COMPARED) for name in changes]
        return
    unknown = [name for name in named if name not in catalogue]
    mistakes += [Mistake((*study.where, "only"), f"names {name}, {EXPECT_VARIANT}") for name in unknown]
    absent = [name for name in changes if name not in catalogue]
    mistakes += [Mistake((*study.where, "variants", name), NOT_IN_CATALOGUE) for name in absent]
    for name in (name for name in catalogue if name in only):
        place = (*study.where, "variants", name) if name in changes else ("variants", name)
        entry, study.places[name] = catalogue[name], place
        if name in changes and is_whole(entry):
            entry = validate(Variant, merge(given["variants"][name] or {}, changes[name]), place, mistakes)
        if entry:
            study.variants[name] = entry


def add_own(study: ResolvedStudy, given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Add the variants that this study alone compares; of one that is not valid the name is known."""
    for name, entry in own.items():
        named = given["own_variants"][name]
        if isinstance(named, dict) and named.get("study") == study.name:
            study.places[name] = ("own_variants", name)
            study.variants.update({name: entry} if entry else {})


def read_statistics(text: str) -> StatisticsPlan:
    """The section `statistics` of the text of params.yaml; ParamsError where it or its place is not valid."""
    values, root = load_document(text)
    params, mistakes = read_params(values)
    raise_all([mistake for mistake in mistakes if mistake.where[:1] in ((), ("statistics",))], root)
    return params.fields["statistics"]
