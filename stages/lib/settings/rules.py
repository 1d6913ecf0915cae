"""Rules about a study and its data set together, and settings that have no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from stages.lib.data.dataset import DataError, Dataset, Facts
from stages.lib.judge.scores import list_scores
from stages.lib.lanes.losses import LOSSES
from stages.lib.lanes.monitors import choose_monitor
from stages.lib.lanes.regularizers import CATALOGUE
from stages.lib.settings.mistakes import Mistake
from stages.lib.settings.params import Params
from stages.lib.settings.search import can_be_off
from stages.lib.settings.studies import StudyParams, VariantParams


def find_facts(params: Any, read: Callable[[str], bytes]) -> tuple[dict[str, Facts], list[Mistake]]:
    """Data set -> its facts, of those that can be used; and the faults of the others."""
    facts, faults = {}, list[Mistake]()
    for name, declaration in getattr(params, "datasets", {}).items():
        try:
            if isinstance(declaration, Dataset):
                facts[name] = declaration.facts(read)
        except DataError as error:
            faults.append(Mistake(("datasets", name), str(error)))
    return facts, faults


def list_checks(params: Any, facts: Mapping[str, Facts]) -> Iterator[Callable[[], Iterable[Mistake]]]:
    """What is to be asked of each study about its data set."""
    for name, study in getattr(params, "studies", {}).items():
        for check in (find_wrong_protocol, find_wrong_scores, find_wrong_losses, partial(find_wrong_monitors, params)):
            yield partial(tell_of_study, check, name, study, facts)


def tell_of_study(
    check: Callable[[StudyParams, Facts], Iterator[Mistake]], name: str, study: StudyParams, facts: Mapping[str, Facts]
) -> Iterator[Mistake]:
    """What a check finds; nothing where the data set cannot be used, which is told of that."""
    if study.dataset in facts:
        for mistake in check(study, facts[study.dataset]):
            yield mistake.within("studies", name)


def find_wrong_protocol(study: StudyParams, facts: Facts) -> Iterator[Mistake]:
    for text in study.protocol.check(facts):
        yield Mistake((), text, ("protocol",))


def find_wrong_scores(study: StudyParams, facts: Facts) -> Iterator[Mistake]:
    defined = list_scores(facts.outputs)
    named = {("scores", question): score for question, score in study.scores.model_dump().items()}
    for field, score in (named | {("select_by",): study.choosing_score}).items():
        if score not in defined:
            text = (
                f"{'.'.join(field)} is {score}, expected one of {', '.join(defined)}, as {study.dataset} has "
                f"{facts.num_classes} classes: change it"
            )
            yield Mistake((), text, field)


def find_wrong_losses(study: StudyParams, facts: Facts) -> Iterator[Mistake]:
    for name, variant in study.variants.items():
        loss = getattr(study.recipe(variant), "loss", None)
        if loss and LOSSES[loss].needs_classes and facts.outputs == 1:
            text = (
                f"loss is {loss}, expected one that is defined for the single output of {study.dataset}: choose "
                "binary_crossentropy"
            )
            yield Mistake(("variants", name), text, ("loss",))


def find_wrong_monitors(params: Params, study: StudyParams, facts: Facts) -> Iterator[Mistake]:
    """Callbacks can follow the losses and the one score that training measures on validation rows."""
    allowed = ("loss", "val_loss", f"val_{choose_monitor(facts.outputs)}")
    for callback, monitor in params.callbacks.monitors().items():
        users = [name for name, variant in study.variants.items() if callback in study.callbacks(variant)]
        if users and monitor not in allowed:
            text = (
                f"uses {callback}, and callbacks.{callback}.monitor is {monitor}, expected "
                f"{', '.join(allowed[:-1])} or {allowed[-1]} for {study.dataset}: change it"
            )
            yield Mistake(("variants", users[0]), text)


def find_idle(params: Params, facts: Mapping[str, Facts]) -> list[str]:
    """Settings that have no effect, in words. They are told, not refused: a knob may be meant for another study."""
    return [
        f"studies.{name}.variants.{variant_name}: {text}"
        for name, study in params.studies.items()
        for variant_name, variant in study.variants.items()
        for text in find_idle_in(params, study, variant, image=facts[study.dataset].image)
    ]


def find_idle_in(
    params: Params, study: StudyParams, variant: VariantParams, *, image: tuple[int, ...]
) -> Iterator[str]:
    recipe = study.recipe(variant)
    if "checkpoint" in recipe.callbacks and not params.callbacks.checkpoint.save_best_only:
        yield "the checkpoint has no effect, since it keeps the last epoch's weights: set save_best_only, or remove it"
    search = variant.search
    if search and search.off and not any(map(can_be_off, search.ranges)):
        yield f"search.off has no effect, since {', '.join(search.ranges)} cannot be off: set it to 0"
    for name in variant.regularizers:
        rule, strengths = CATALOGUE[name], [params.strength(name, variant), *variant.path]
        strengths += [search.ranges[name].low] if search and name in search.ranges else []
        if rule.stops_training and min(strengths) >= recipe.epochs:
            yield (
                f"{name} never stops a run, since its patience {min(strengths):g} is not below the {recipe.epochs} "
                "epochs: it only hands on the best epoch's weights"
            )
        acting = [rule.effective(strength, epochs=recipe.epochs, image=image) for strength in sorted(set(strengths))]
        if variant.path and len(set(acting)) < len(acting):
            yield f"path holds strengths of {name} that act alike ({sorted(set(strengths))}): leave one of them"
