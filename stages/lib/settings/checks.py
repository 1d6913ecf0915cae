"""What has to go together in params.yaml: a study with its variants, its data set and the other sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from stages.lib.core.fields import shorten
from stages.lib.data.dataset import DataError, Dataset, Facts, list_examples
from stages.lib.judge.plans import BEST_SINGLE, ENSEMBLE
from stages.lib.judge.scores import SCORES, list_scores
from stages.lib.lanes.callbacks import choose_monitor
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.mistakes import Mistake, limit
from stages.lib.settings.schema import ExperimentParams, Params, Recipe, ResolvedStudy

NUM_NAMED = 20  # names that a message lists
MEND = "mend its spelling or remove the experiment"


def find_mistakes(params: Params, facts: Mapping[str, Facts], *, whole: bool) -> Iterator[Mistake]:
    """Every mistake in what goes together; facts: of the data sets that can be used.

    Where params are not whole, a check that needs what they lack finds nothing.
    """
    for found in list_checks(params, facts):
        try:
            yield from found
        except (AttributeError, KeyError):
            if whole:
                raise


def list_checks(params: Params, facts: Mapping[str, Facts]) -> Iterator[Iterator[Mistake]]:
    """Each check by itself; none has begun."""
    yield find_wrong_names(params)
    for name, experiment in params.sections["experiments"].items():
        if experiment is not None:
            yield find_wrong_experiment(params, name, experiment)
    for study in params.studies.values():
        for check in (find_wrong_baseline, find_wrong_references, find_wrong_dataset, find_missing_margins):
            yield check(params, study)
        for variant in study.variants:
            for check_variant in (find_wrong_layers, find_wrong_loss, find_wrong_difference, find_wrong_members):
                yield check_variant(study, variant)
        for dataset in study.datasets:
            for of_data in (find_wrong_protocol, find_wrong_scores, find_undefined_losses, find_wrong_monitors):
                if dataset in facts:
                    yield of_data(params, study, dataset, facts[dataset])


def find_facts(params: Params, read: Callable[[str], bytes]) -> tuple[dict[str, Facts], list[Mistake]]:
    """Data set -> its facts, of those that can be used; and the faults of the others."""
    facts, faults = {}, list[Mistake]()
    for name, declaration in params.sections["datasets"].items():
        try:
            if isinstance(declaration, Dataset):
                facts[name] = declaration.facts(read)
        except DataError as error:
            faults.append(Mistake(("datasets", *name.split("/")), str(error)))
    return facts, faults


def name_some(names: Iterable[str]) -> str:
    """The first names, and how many more there are; `none` of none."""
    return list_examples(list(names), NUM_NAMED) or "none"


# Sections ------------------------------------------------------------------------------------------------------------


def find_wrong_names(params: Params) -> Iterator[Mistake]:
    """Names that stand in two places, or that an arm of a search has; own variants of a study that is not there."""
    sections = params.sections
    for name in sections["tutorial"]:
        if name in sections["studies"]:
            yield Mistake(("tutorial", name), "stands under studies, too, expected it once: rename one of the two")
    for name, variant in sections["own_variants"].items():
        if not hasattr(variant, "study"):
            continue
        known = [*sections["studies"], *sections["tutorial"]]
        if variant.study not in known:
            text = f"is {limit(variant.study)}, expected one of {name_some(known)}: mend its spelling"
            yield Mistake(("own_variants", name, "study"), text)
        if variant.study in sections["studies"] and name in sections["variants"]:
            text = f"is a name of the catalogue, which {variant.study} compares, too, expected another: rename it"
            yield Mistake(("own_variants", name), text)
    for section in ("variants", "own_variants"):
        for name in sections[section]:
            if name.startswith(BEST_SINGLE) or ENSEMBLE in name:
                text = "is the name of an arm that a search or an ensemble has, expected another: rename the variant"
                yield Mistake((section, name), text)


def find_wrong_experiment(params: Params, name: str, experiment: ExperimentParams) -> Iterator[Mistake]:
    """Its study and its variants are there, and the study has so many replicates."""
    where = ("experiments", name)
    known = {**params.sections["studies"], **params.sections["tutorial"]}
    if experiment.study not in known:
        yield Mistake((*where, "study"), f"is {experiment.study}, expected one of {name_some(known)}: {MEND}")
        return
    study = params.studies[experiment.study]
    for variant in experiment.variants:
        if variant not in study.places:
            yield Mistake((*where, "variants"), f"holds {variant}, expected some of {name_some(study.places)}: {MEND}")
    most = study.settings.protocol.num_replicates
    if (experiment.replicates or 0) > most:
        text = f"is {experiment.replicates}, expected at most the {most} of the study {experiment.study}: lower it"
        yield Mistake((*where, "replicates"), text)


# A study -------------------------------------------------------------------------------------------------------------


def find_wrong_baseline(params: Params, study: ResolvedStudy) -> Iterator[Mistake]:
    if (baseline := study.settings.baseline) not in study.places:
        text = f"baseline is {baseline}, expected one of the variants {name_some(study.places)}: change it"
        yield Mistake(study.where, text, ("baseline",))


def find_wrong_references(params: Params, study: ResolvedStudy) -> Iterator[Mistake]:
    """Reference models have names of their own, and strengths are of those that the study names."""
    references = study.settings.references
    for name in references:
        if name in study.places:
            text = f"variants and references both hold {name}, expected one of a name: rename the variant"
            yield Mistake(study.where, text, ("references",))
    for name in study.settings.reference_strengths.model_dump(exclude_none=True):
        if name not in references:
            expected = f"expected one of the study's references {references}: add it there or remove its strengths"
            yield Mistake(study.where, f"reference_strengths names {name}, {expected}", ("reference_strengths", name))


def find_wrong_dataset(params: Params, study: ResolvedStudy) -> Iterator[Mistake]:
    """A study's data are declared, and have the encoding that it asks for."""
    declared, features = params.sections["datasets"], study.settings.features
    if not study.datasets:
        known = name_some(dict.fromkeys(dataset.partition("/")[0] for dataset in declared))
        text = f"is {study.settings.data}, expected one of {known}: mend its spelling or declare it under datasets"
        yield Mistake((*study.where, "data"), text)
    for dataset in study.datasets:
        if features not in (encodings := declared[dataset].encodings):
            text = f"is {features}, expected {' or '.join(encodings)} for {dataset}: change it"
            yield Mistake((*study.where, "features"), text)


def find_missing_margins(params: Params, study: ResolvedStudy) -> Iterator[Mistake]:
    """Each score that judges a study has a margin of equivalence, and margins are of scores."""
    margins, place = params.fields["statistics"].equivalence, ("statistics", "equivalence")
    for score in {score for outputs in (1, 2) for score in study.settings.scores_for(outputs).values()}:
        if score not in margins:
            reason = f"as {'.'.join(study.where)} is judged by it"
            text = f"has no {score}, expected the greatest difference that does not matter, {reason}: add it"
            yield Mistake(place, text)
    for score in margins:
        if score not in SCORES:
            text = f"is {shorten(score)}, expected one of {', '.join(SCORES)}: mend its spelling"
            yield Mistake((*place, score), text)


# A variant in its study ----------------------------------------------------------------------------------------------


def blame(study: ResolvedStudy, name: str, text: str, below: tuple[str, ...] = ()) -> Mistake:
    """A mistake of a variant; where an entry of the catalogue is none by itself, with the study in which it is one."""
    where = study.places[name]
    return Mistake(where, f"in the study {study.name}, {text}" if where[0] == "variants" else text, below)


def find_wrong_layers(study: ResolvedStudy, name: str) -> Iterator[Mistake]:
    """A regulariser of layers acts on at least one, and only on layers that the network has."""
    variant, recipe = study.variants[name], study.recipe_of(name)
    for regularizer in variant.regularizers:
        acts_on = CATALOGUE[regularizer].acts_on
        if acts_on == "whole":
            if regularizer in recipe.layers:
                text = f"layers.{regularizer} is set, expected no such entry, as it acts on no single layer: remove it"
                yield blame(study, name, text, ("layers", regularizer))
            continue
        layers = recipe.layers_of(regularizer)
        allowed = range(1, len(recipe.hidden) + 1 + ("kernels" in acts_on))
        if not layers or not set(layers) <= set(allowed):
            found = f"{regularizer} acts on layers {shorten(list(layers))}"
            expected = f"expected some of {list(allowed)} of a network with {len(recipe.hidden)} hidden layers"
            text = f"{found}, {expected}: change hidden or layers.{regularizer}"
            yield blame(study, name, text, ("layers", regularizer) if variant.layers else ())


def find_wrong_loss(study: ResolvedStudy, name: str) -> Iterator[Mistake]:
    """What softens targets needs a loss with one target per class."""
    loss = study.recipe_of(name).loss_for(1)
    soft = [entry for entry in study.variants[name].regularizers if CATALOGUE[entry].softens_targets]
    if LOSSES[loss].sparse and soft:
        expected = "expected a loss with one target per class: choose categorical_crossentropy"
        text = f"{soft[0]} goes with {loss}, whose target is one class number, {expected}"
        yield blame(study, name, text, ("regularizers",))


def find_wrong_difference(study: ResolvedStudy, name: str) -> Iterator[Mistake]:
    """A difference has one cause: a variant differs from its baseline in regularisers or in settings, not in both."""
    variant, baseline = study.variants[name], study.baseline_of(name)
    if baseline not in study.places:
        if variant.baseline is not None:  # else it is told of the study, once
            text = f"baseline is {baseline}, expected one of the variants {name_some(study.places)}: change it"
            yield blame(study, name, text, ("baseline",))
        return
    changed = list_changed_settings(study.recipe_of(baseline), study.recipe_of(name))
    if changed and set(variant.regularizers) != set(study.variants[baseline].regularizers):
        found = f"differs from its baseline {baseline} in its regularizers and in {', '.join(changed)}"
        expected = "expected one of the two, so that a difference has one cause"
        mend = f"name a baseline with the same settings, as `baseline: <variant>` (or `baseline: {name}` to compare it"
        yield blame(study, name, f"{found}, {expected}: {mend} with none)")


def find_wrong_members(study: ResolvedStudy, name: str) -> Iterator[Mistake]:
    """An ensemble is compared with one of its baseline that is as large."""
    baseline = study.baseline_of(name)
    if baseline in study.variants and (
        more := set(study.variants[name].members) - set(study.variants[baseline].members)
    ):
        found = f"members holds {min(more)}, and those of its baseline {baseline} do not"
        text = f"{found}, expected an ensemble of as many to compare it with: add it there or remove it here"
        yield blame(study, name, text, ("members",))


def list_changed_settings(before: Recipe, after: Recipe) -> list[str]:
    """Names of the settings in which two recipes differ."""
    return [name for name in Recipe.model_fields if getattr(before, name) != getattr(after, name)]


# A study and its data set --------------------------------------------------------------------------------------------


def find_wrong_protocol(params: Params, study: ResolvedStudy, dataset: str, facts: Facts) -> Iterator[Mistake]:
    for text in study.settings.protocol.check(facts):
        yield Mistake(study.where, text, ("protocol",))


def find_wrong_scores(params: Params, study: ResolvedStudy, dataset: str, facts: Facts) -> Iterator[Mistake]:
    defined, settings = list_scores(facts.outputs), study.settings
    named = {("scores", question): score for question, score in settings.scores_for(facts.outputs).items()}
    for field, score in [*named.items(), (("select_by",), settings.select_by)]:
        if score not in defined:
            text = f"{'.'.join(field)} is {score}, expected one of {', '.join(defined)}"
            yield Mistake(study.where, f"{text}, as {dataset} has {facts.num_classes} classes: change it", field)


def find_undefined_losses(params: Params, study: ResolvedStudy, dataset: str, facts: Facts) -> Iterator[Mistake]:
    """A loss of the study's own is told once, not of every variant that takes it over."""
    expected = f"expected one that is defined for the single output of {dataset}: choose binary_crossentropy"
    undefined = {name for name, loss in LOSSES.items() if loss.needs_classes and facts.outputs == 1}
    common, own = study.settings.training.loss, {name: variant.loss for name, variant in study.variants.items()}
    if common in undefined and None in own.values():
        yield Mistake(study.where, f"loss is {common}, {expected}", ("training", "loss"))
    for name, loss in own.items():
        if loss in undefined:
            yield blame(study, name, f"loss is {loss}, {expected}", ("loss",))


def find_wrong_monitors(params: Params, study: ResolvedStudy, dataset: str, facts: Facts) -> Iterator[Mistake]:
    """Callbacks can follow the losses and the one score that training measures on validation rows."""
    allowed = ("loss", "val_loss", f"val_{choose_monitor(facts.outputs)}")
    used = {name: (*study.recipe_of(name).callbacks, *study.variants[name].regularizers) for name in study.variants}
    for callback, settings in params.fields["callbacks"]:
        users = [name for name, callbacks in used.items() if callback in callbacks]
        if users and settings.monitor not in allowed:
            found = f"uses {callback}, and callbacks.{callback}.monitor is {settings.monitor}"
            expected = f"{', '.join(allowed[:-1])} or {allowed[-1]} for {dataset}"
            yield blame(study, users[0], f"{found}, expected {expected}: change it")
