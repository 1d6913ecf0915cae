"""The schema of params.yaml as a whole; a study's is in studies.py.

YAML is read with the parser that DVC uses (YAML 1.2), so that `1e-4` and `off` mean the same to both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import lru_cache, partial, reduce
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import Field, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.lib.claims.claims import CLAIMS
from stages.lib.claims.judging import AuditParams
from stages.lib.data.kinds import Declaration
from stages.lib.lanes.monitors import MONITORS
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings import studies
from stages.lib.settings.experiments import ExperimentParams, find_mistakes
from stages.lib.settings.fields import (
    LARGEST,
    MOST_DECLARED,
    Declared,
    Name,
    NotNegative,
    Rounds,
    Seed,
    Share,
    Strict,
    one_of,
)
from stages.lib.settings.mistakes import PARAMS, Mistake, ParamsError, explain, limit, raise_all, run_checks
from stages.lib.settings.salvage import salvage
from stages.lib.settings.studies import TRIED, ScoreName, StudyParams, VariantParams
from stages.lib.settings.yaml_text import TextError, compose, explain_yaml, list_children

Monitor = Annotated[str, one_of(["loss", "val_loss", *(f"val_{name}" for name in MONITORS)])]


class EarlyStoppingParams(Strict):
    monitor: Monitor
    min_delta: NotNegative
    patience: Rounds
    start_from_epoch: Rounds
    restore_best: bool


class CheckpointParams(Strict):
    monitor: Monitor
    save_best_only: bool


class ReduceLrOnPlateauParams(Strict):
    monitor: Monitor
    factor: Share
    patience: Rounds
    min_delta: NotNegative
    cooldown: Rounds
    min_lr: NotNegative


class CallbacksParams(Strict):
    early_stopping: EarlyStoppingParams
    checkpoint: CheckpointParams
    reduce_lr_on_plateau: ReduceLrOnPlateauParams

    def monitors(self) -> dict[str, str]:
        """Callback -> what it monitors."""
        return {name: getattr(self, name).monitor for name in type(self).model_fields}


KNOBS: dict[str, Any] = {
    name: (Annotated[float, Field(ge=rule.minimum, lt=rule.below, le=LARGEST if rule.below > LARGEST else None)], ...)
    for name, rule in CATALOGUE.items()
    if not rule.knob_path  # such a knob stands elsewhere in params.yaml
}
Knobs = create_model("Knobs", __base__=Strict, **KNOBS)

REQUIRED: dict[str, Any] = {name: (tried, ...) for name, tried in TRIED.items()}
ReferencesParams: Any = create_model("ReferencesParams", __base__=Strict, **REQUIRED)


class StatisticsParams(Strict):
    confidence: Annotated[float, Field(gt=0.5, lt=1)]  # from one half down, two one-sided tests make no interval
    equivalence: dict[ScoreName, NotNegative]


class Params(Knobs):  # type: ignore[misc, valid-type]
    seed: Seed
    callbacks: CallbacksParams
    references: ReferencesParams
    statistics: StatisticsParams
    audit: AuditParams
    datasets: Annotated[dict[Name, Declaration], Declared]
    studies: Annotated[dict[Name, StudyParams], Declared]
    experiments: Annotated[dict[Name, ExperimentParams], Field(max_length=MOST_DECLARED)]

    def strength(self, name: str, variant: VariantParams) -> float:
        """The strength of a regulariser in a variant: the variant's own, else the knob."""
        if name in variant.strengths:
            return float(variant.strengths[name])
        return float(reduce(getattr, (CATALOGUE[name].knob_path or name).split("."), self))


class Examined(NamedTuple):
    """What a text of params.yaml holds.

    params: where there are mistakes, those parts that have none. mistakes: all but those about data sets.
    root: its nodes, which know their lines.
    """

    params: Any
    mistakes: list[Mistake]
    root: yaml.Node | None


def find_wrong_experiment(params: Params, name: str, experiment: ExperimentParams) -> Iterator[Mistake]:
    for text in find_mistakes(name, experiment, params.studies):
        yield Mistake((), text, ("experiments", name))


def find_wrong_rules(params: Params) -> Iterator[Mistake]:
    for text in check_rules(params.audit):
        yield Mistake((), text, ("audit", "rules"))


def check_rules(audit: AuditParams) -> list[str]:
    """Each claim of the audit has the thresholds that judge it, and no others."""
    found = {name: set(quantities) for name, quantities in audit.rules.items()}
    expected = {name: {quantity.rule for quantity in claim.quantities} for name, claim in CLAIMS.items()}
    return [
        f"audit.rules.{limit(name)} holds {', '.join(map(limit, sorted(found.get(name, []))[:20])) or 'nothing'}, "
        f"expected {', '.join(sorted(expected.get(name, []))) or 'no such entry'}: change it"
        for name in dict.fromkeys([*expected, *found])
        if found.get(name) != expected.get(name)
    ]


def parse_yaml(text: str) -> Any:
    """YAML as DVC reads it; TextError, a UserError, if it is none or more than is read."""
    return deepcopy(load_document(text)[0])


@lru_cache(maxsize=4)  # a review reads two texts, twice each, and they are often one
def load_document(text: str) -> tuple[Any, yaml.Node | None]:
    """The values of a text and its nodes, which nobody changes."""
    root = compose(text)
    return load_values(text, root), root


def load_values(text: str, root: yaml.Node | None) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise explain_yaml(error, text) from None
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, AttributeError) as error:  # May 45th
        reason = " ".join(str(error).split())[:100]
        raise TextError(f"holds no value ({reason}), expected one: change it", find_bad_value(root)) from None


ORDINARY = re.compile(r"[-+]?\d{1,40}(\.\d{0,40})?([eE][-+]?\d{1,3})?")  # numbers of which each has a value


def find_bad_value(root: yaml.Node | None) -> int:
    """The line of the first value that ruamel.yaml cannot make one of."""
    waiting, tried = [root] if root else [], set[str]()
    while waiting:
        node = waiting.pop()
        waiting += reversed(list(list_children(node)))
        is_number = isinstance(node, yaml.ScalarNode) and not node.style and node.value[:1] in "+-.0123456789"
        if is_number and not ORDINARY.fullmatch(node.value) and node.value not in tried:
            tried.add(node.value)
            try:
                YAML(typ="safe", pure=True).load(node.value)
            except (ValueError, OverflowError, YAMLError):
                return node.start_mark.line + 1
    return 0


def examine(text: str) -> Examined:
    """Read the text of params.yaml and find its mistakes. Data sets are not looked at. ParamsError if it is no YAML."""
    try:
        values, root = load_document(text)
    except TextError as error:
        raise ParamsError(f"{PARAMS}, {error}" if error.line else f"{PARAMS}: {error}") from None
    mistakes, params = list[Mistake](), None
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        mistakes = [mistake for entry in error.errors() for mistake in explain(entry)]
        params = salvage(Params, values)
    mistakes += run_checks(list_checks(params), whole=not mistakes)
    return Examined(params, mistakes, root)


def list_checks(params: Any) -> Iterator[Callable[[], Iterable[Mistake]]]:
    """What is to be asked of the studies, by themselves and beside the other sections."""
    for name, study in getattr(params, "studies", {}).items():
        for check in (find_wrong_dataset, find_missing_margins):
            yield partial(check, params, name, study)
        for own in studies.list_checks(study) if isinstance(study, StudyParams) else ():
            yield partial(tell_of_study, own, name)
    for name, experiment in getattr(params, "experiments", {}).items():
        yield partial(find_wrong_experiment, params, name, experiment)
    yield partial(find_wrong_rules, params)


def tell_of_study(check: studies.Check, name: str) -> Iterator[Mistake]:
    return (mistake.within("studies", name) for mistake in check())


def find_wrong_dataset(params: Params, name: str, study: StudyParams) -> Iterator[Mistake]:
    """A study's data set is declared, and has the encoding that it asks for."""
    where = ("studies", name)
    if study.dataset not in params.datasets:
        text = (
            f"is {study.dataset}, expected one of {', '.join(params.datasets)}: mend its spelling or declare it under "
            "datasets"
        )
        yield Mistake((*where, "dataset"), text)
        return
    encodings = params.datasets[study.dataset].encodings
    if study.features not in encodings:
        yield Mistake((*where, "features"), f"is {study.features}, expected {' or '.join(encodings)}: change it")


def find_missing_margins(params: Params, name: str, study: StudyParams) -> Iterator[Mistake]:
    for score in study.scores.model_dump().values():
        if score not in params.statistics.equivalence:
            text = (
                f"has no {score}, expected the greatest difference that does not matter, as studies.{name} is judged "
                "by it: add it"
            )
            yield Mistake(("statistics", "equivalence"), text)


def parse_params(text: str) -> Params:
    """Read the text of params.yaml; ParamsError lists every mistake, one a line. Data sets are not looked at."""
    params, mistakes, root = examine(text)
    raise_all(mistakes, {PARAMS: root})
    return params
