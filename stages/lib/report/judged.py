"""The answer to one study in some fifteen lines: does a regulariser help, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from stages.lib.judge.arms import REFERENCE, TUNED, ArmKey
from stages.lib.judge.comparison import ArmResult, Difference, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.answers import list_findings, name_first, name_leaders, sign_of, tell_failures, tell_size
from stages.lib.report.styles import WARNINGS, describe_range, style_of, tell_check

ANSWERS = {  # verdict on the regulariser that validation rows choose -> the answer to the title
    "better": "Yes",
    "worse": "No, it hurts",
    "equivalent": "No, by no more than matters",
    "undecided": "Not shown",
}


def tell_study(study: StudyResult, confidence: float) -> list[str]:
    """The answer, a sentence or two a line; confidence: of the intervals."""
    warnings = [f"Beware: {tell_check(check)}." for check in study.checks if check.name in WARNINGS]
    told = [*warnings, tell_chosen(study, confidence), tell_leaders(study), *tell_effects(study)]
    told += [tell_training_on(study, confidence), *tell_failures(study), *tell_scores(study)]
    told += [f"Check: {tell_check(check)}." for check in study.checks if check.name not in WARNINGS]
    return [line for line in [*told, f"Next: {tell_next(study)}."] if line]


def find_choice(study: StudyResult) -> ArmResult | None:
    """The arm whose regulariser validation rows choose."""
    names = [search.best_single for search in study.searches.values() if search.best_single]
    arms = [study.find(ArmKey(name, TUNED)) for name in names]
    return next((arm for arm in arms if arm.baseline == study.baseline), None)


def find_difference(study: StudyResult, arm: ArmResult | None) -> Difference | None:
    """The difference of an arm from its baseline, by the score of probabilities."""
    return arm.judged[study.scores["probabilities"]].difference if arm else None


def tell_chosen(study: StudyResult, confidence: float) -> str:
    """Whether a regulariser helps: the one that validation rows choose, over the baseline that stops in time."""
    difference = find_difference(study, find_choice(study))
    if difference is None:
        return ""
    change = tell_change(study, difference, confidence)
    return f"Does a regulariser help? {ANSWERS[difference.verdict]}: the one that validation rows choose {change}."


def tell_change(study: StudyResult, difference: Difference, confidence: float) -> str:
    """`lowers log loss by 0.020 (95 % interval 0.010 to 0.030)`."""
    effect = "raises" if difference.value > 0 else "lowers"
    return f"{effect} {SCORES[study.scores['probabilities']].label} by {tell_size(difference, confidence)}"


def tell_leaders(study: StudyResult) -> str:
    """The arms that no other is shown to beat."""
    score = study.scores["probabilities"]
    names = name_leaders(study, score)
    if not names:
        return ""
    several = f"{len(names)} arms may be the best{name_first(names)}"
    return f"By {SCORES[score].label}, {several if names[1:] else f'{names[0]} is shown to be the best'}."


def tell_effects(study: StudyResult) -> Iterator[str]:
    """Which regularisers and settings are shown to help, and which to hurt."""
    score = study.scores["probabilities"]
    for group, label in (("regularizers", "regularisers"), ("settings", "settings of training")):
        findings = list_findings(study, score, group=group)
        told = []
        for verdict, effect in (("better", "to help"), ("worse", "to hurt")):
            found = [finding for finding in findings if finding.verdict == verdict]
            names = [f"{style_of(one.key.variant).label} by {abs(one.difference.value):.3f}" for one in found]
            told.append(f"{len(found) or 'none'} {effect}{name_first(names) if names else ''}")
        if findings:
            yield f"Shown of {len(findings)} {label}: {', '.join(told)}."


def tell_training_on(study: StudyResult, confidence: float) -> str:
    """What it costs not to stop in time."""
    difference = find_difference(study, study.arms[study.baseline].get("to_end"))
    if difference is None:
        return ""
    words = {"better": "helps", "worse": "hurts", "equivalent": "matters little", "undecided": "may or may not hurt"}
    return f"To train to the end {words[difference.verdict]}: it {tell_change(study, difference, confidence)}."


def tell_scores(study: StudyResult) -> Iterator[str]:
    """The baseline, a guess without skill and the reference models, by each score."""
    for score in study.scores.values():
        values = {"no regulariser, stopped": study.baseline_result.judged[score].value}
        values |= {"no skill": study.no_skill[score]}
        models = [(key.variant, arm.judged[score].value) for key, arm in study.list_arms() if key.kind == REFERENCE]
        values |= {style_of(name).label: value for name, value in models}
        way = "greater" if SCORES[score].greater_is_better else "less"
        listed = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        yield f"{SCORES[score].label[:1].upper()}{SCORES[score].label[1:]} ({way} is better): {listed}."


def tell_next(study: StudyResult) -> str:
    """The first thing that follows from the result."""
    score, found = study.scores["probabilities"], {check.name for check in study.checks}
    models = {
        key.variant: sign_of(score) * arm.judged[score].value
        for key, arm in study.list_arms()
        if key.kind == REFERENCE and (difference := arm.judged[score].difference) and difference.verdict == "better"
    }
    chosen = find_difference(study, find_choice(study))
    if "groups" in found:
        return "say which rows belong together, and judge it again"
    if "no_skill" in found:
        return "look for more rows, or for columns that say more of the target"
    if models:
        return f"use {style_of(min(models, key=models.__getitem__)).label}, which is shown to beat the network"
    if chosen and chosen.verdict == "better":
        uses = next(search.singles for search in study.searches.values() if search.singles)
        most = max(uses, key=lambda name: uses[name].share)
        at = f"{style_of(most).label} {describe_range([uses[most].low, uses[most].high])}"
        return f"stop in time and choose the regulariser on validation rows; it is mostly {at} ({uses[most].share:.0%})"
    return "stop in time, on validation rows; a regulariser is not shown to add to that"
