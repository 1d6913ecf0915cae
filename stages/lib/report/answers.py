"""The answer of a study in sentences, each of which follows from verdicts: for a terminal, and more for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from stages.lib.judge.arms import AT_KNOB, REFERENCE, TO_END, TUNED, ArmKey
from stages.lib.judge.comparison import ArmResult, Difference, Judgement, SearchResult, StudyResult, Use
from stages.lib.judge.scores import SCORES
from stages.lib.judge.verdicts import Pooled
from stages.lib.report import styles
from stages.lib.report.styles import VERDICTS, WARNINGS, describe_range, first_of, show_interval, style_of, tell_check

Effect = Difference | Pooled  # of an arm, on one data set or on several

NUM_NAMED = 3  # variants that a sentence names; the others are counted
NUM_MATTER = 5
MANY = 3  # regularisers that a survey compares at least
TO_THE_END = "training to the end"
GROUPS: dict[str, list[str]] = styles.WORDS["groups"]  # in the singular and in the plural
FAILURES: dict[str, str] = styles.WORDS["failures"]
MECHANISMS: dict[str, tuple[float, str]] = styles.WORDS["mechanisms"]  # name -> the least that is told, in words
IN_WORDS: dict[str, str] = styles.WORDS["in_words"]  # of a regulariser, or of training to the end
ANSWERS: dict[str, str] = styles.WORDS["answers"]  # whether the regulariser that validation rows choose helps


# A study in sentences ------------------------------------------------------------------------------------------------


def tell_study(study: StudyResult, confidence: float) -> list[str]:
    """The answer to one study in some fifteen lines: does a regulariser help, and what to do next."""
    score = study.scores["probabilities"]
    # Of the two on how far a study reaches, the second tells of both.
    checks = {(check.name.replace("margin", "reach"), check.columns): check for check in study.checks}.values()
    warnings = [f"Beware: {tell_check(check)}." for check in checks if check.name in WARNINGS]
    told = [*warnings, *tell_failures(study), tell_chosen(study, score, confidence), tell_leaders(study, score)]
    told += [*tell_effects(study, score), tell_training_on(study, confidence), *tell_scores(study)]
    reach, thinned = study.reach.get(score), any(check.name == "thinned" for check in checks)
    rest = [check for check in checks if check.name not in WARNINGS]
    told += [f"Check: {tell_check(check, reach, thinned=thinned)}." for check in rest]
    return [line for line in [*told, f"Next: {tell_next(study)}."] if line]


def tell_more(study: StudyResult, confidence: float) -> list[str]:
    """What a page tells beside that: by the score of discrimination, of searches, of a guess without skill."""
    score = study.scores["discrimination"]
    told = [tell_chosen(study, score, confidence), tell_leaders(study, score), *tell_effects(study, score)]
    told += [line for variant, search in study.searches.items() for line in tell_search(variant, search)]
    return [line for line in [*told, tell_skill(study)] if line]


def tell_brief(study: StudyResult, confidence: float) -> list[str]:
    """The same in a few lines, for a page of all studies."""
    score = study.scores["probabilities"]
    told = [*tell_failures(study), tell_chosen(study, score, confidence), *tell_effects(study, score)]
    return [line for line in [*told, tell_training_on(study, confidence), f"Next: {tell_next(study)}."] if line]


def tell_failures(study: StudyResult) -> list[str]:
    """Networks, all of whose lanes have failed, with which others are compared: a difference from them says little."""
    return [
        f"Beware: every network of the baseline, {style_of(name).label}, {words}, so it says little that another "
        "differs from it."
        for name in dict.fromkeys(arm.baseline for _, arm in study.list_arms())
        for mechanism, words in FAILURES.items()
        if is_failure(study, name, mechanism)
    ]


def is_failure(study: StudyResult, variant: str, *mechanisms: str) -> bool:
    """Whether all networks of a variant at its knob have failed, in one of these ways or in any.

    Where one class is rare, networks with skill give one answer, too: their probabilities differ.
    """
    arm = study.arms[variant]["at_knob"]
    has_skill = any(judged.skill.verdict == "better" for judged in arm.judged.values())
    return any(
        arm.mechanisms.get(name, 0.0) == 1 and not (name == "one_answer" and has_skill)
        for name in mechanisms or FAILURES
    )


def is_survey(study: StudyResult) -> bool:
    """Whether a study compares several regularisers of networks that stop in time."""
    regularizers = list_findings(study, study.scores["discrimination"], group="regularizers")
    return TO_END in study.arms[study.baseline] and len(regularizers) >= MANY


def name_first(names: Sequence[str], most: int = NUM_NAMED) -> str:
    """The first names in brackets, and the number of the others."""
    return f" ({', '.join(first_of(names, most))})"


def tell_skill(study: StudyResult) -> str:
    """How many networks differ from predictions that know the class shares alone."""
    told, networks = [], [arm for key, arm in study.list_arms() if key.kind != REFERENCE]
    for score in reversed(study.scores.values()):
        verdicts = [arm.judged[score].skill.verdict for arm in networks]
        counts = [f"{verdicts.count(verdict)} {VERDICTS[verdict].label}" for verdict in ("better", "worse")]
        told.append(f"by {SCORES[score].label}, of {len(verdicts)} arms, {' and '.join(counts)}")
    return f"Against a guess that knows the class shares alone: {'; '.join(told)}."


def tell_search(variant: str, search: SearchResult) -> Iterator[str]:
    """Whether a set of regularisers, tuned together, beats the best single one, tuned too; what each consists of."""
    subject = f"{capitalize(style_of(variant).label)}, {search.num_points} mixtures"
    lead = "By share of replicates, the best"
    yield tell_claim(f"{subject}, tuned together", search.against_best_single)
    yield tell_claim(f"{subject}, the {search.average} best averaged", search.averaged_against_best_single)
    yield f"{lead} mixture uses: {tell_uses(search.uses)}." if search.uses else ""
    yield f"{lead} single is: {tell_uses(search.singles)}." if search.singles else ""


def tell_claim(subject: str, against: dict[str, Difference]) -> str:
    """The verdict by each score, with its interval; the best single regulariser is chosen in the same way."""
    claims = [
        f"by {SCORES[score].label} {difference.value:+z.3f} ({show_interval(difference.low, difference.high, '+')})"
        + ("" if difference.verdict in ("undecided", "not_asked") else f", {VERDICTS[difference.verdict].label}")
        for score, difference in reversed(against.items())
    ]
    rival = "against the best single regulariser, chosen in the same way"
    return f"{subject}, {rival}: {'; '.join(claims)}." if claims else ""


def tell_uses(uses: Mapping[str, Use]) -> str:
    """`L2 penalty 0.01 to 0.1 in 90 %, dropout 0.5 in 40 %`: the most used first."""
    ranked = sorted(uses.items(), key=lambda entry: -entry[1].share)
    return ", ".join(
        f"{style_of(name).label} {describe_range([use.low, use.high])} in {use.share:.0%}" for name, use in ranked
    ).replace("%", " %")


def tell_mechanisms(mechanisms: Mapping[str, float]) -> str:
    """What the regulariser did inside the network, where it did something."""
    told = [
        words.format_map(mechanisms).replace("%", " %")
        for name, (least, words) in MECHANISMS.items()
        if mechanisms.get(name, 0.0) > 0 and mechanisms[name] >= least
    ]
    return "; ".join(told)


def capitalize(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def tell_chosen(study: StudyResult, score: str, confidence: float) -> str:
    """Whether a regulariser helps: the one that validation rows choose, over the baseline that stops in time."""
    if is_failure(study, study.baseline):
        never = "Whether a regulariser helps cannot be told here: there is no baseline that learns."
        return never if list_findings(study, score, group="regularizers") else ""
    difference = find_difference(find_choice(study), score)
    if difference is None:
        return ""
    change = tell_change(difference, SCORES[score].label, f"{100 * confidence:g} % interval ")
    by = "" if score == study.scores["probabilities"] else f" by {SCORES[score].label}"
    return f"Does a regulariser help{by}? {ANSWERS[difference.verdict]}: the one that validation rows choose {change}."


def tell_change(effect: Effect, score: str, interval: str = "") -> str:
    """`changes log loss by -0.020 (95 % interval -0.030 to -0.010)`, signed as in the picture.

    score: its label. interval: what its bounds are called.
    """
    return f"changes {score} by {effect.value:+z.3f} ({interval}{show_interval(effect.low, effect.high)})"


def tell_leaders(study: StudyResult, score: str) -> str:
    """The arms that no other is shown to beat, the best first."""
    keys = [key for key in sort_arms(study, score) if key in study.may_be_best.get(score, [])]
    tried = [key for key, arm in study.list_arms() if is_used(study, key) and arm.baseline == study.baseline]
    if not keys or (len(tried) == 1 and TO_END not in study.arms[study.baseline]):
        return ""
    names = [TO_THE_END if key.kind == TO_END else style_of(key.variant).label for key in keys]
    plain = style_of(study.baseline).label, TO_THE_END
    return f"By {SCORES[score].label}, {tell_best(names, plain, len(tried) - 1)}."


def tell_best(arms: Sequence[str], plain: Sequence[str], tried: int = 0) -> str:
    """`9 of 19 may be the best (dropout, 8 more), or no regulariser`; plain: arms of the baseline, none of the 19."""
    if len(arms) == 1:
        return f"shown to be the best: {arms[0]}"
    named, also = [arm for arm in arms if arm not in plain], [arm for arm in plain if arm in arms]
    counted = f"{len(named)}{f' of {tried}' * bool(tried)}" if named else also.pop(0)
    names = name_first(named) if tried and named else ""
    return f"{counted} may be the best{names}{''.join(f', or {arm}' for arm in also)}"


def join_words(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def tell_effects(study: StudyResult, score: str) -> Iterator[str]:
    """Which regularisers and settings are shown to help, and which to hurt, where there is a baseline that learns."""
    if is_failure(study, study.baseline):
        return
    for group, labels in GROUPS.items():
        findings, told = list_findings(study, score, group=group), []
        for verdict, effect in (("better", "to help"), ("worse", "to hurt")):
            names = [
                f"{style_of(variant).label} by {abs(found.value):.3f}{name_baseline(study, variant)}"
                for variant, found in findings.items()
                if found.verdict == verdict
            ]
            told.append(f"{len(names) or 'none'} {effect}{name_first(names) if names else ''}")
        by = "" if score == study.scores["probabilities"] else f" by {SCORES[score].label}"
        baselines = Counter(name_baseline(study, variant) for variant in findings)
        apart = "".join(f" ({number} of them{over})" for over, number in baselines.items() if over)
        if findings:
            yield f"Shown{by} of {len(findings)} {labels[len(findings) != 1]}{apart}: {', '.join(told)}."


def name_baseline(study: StudyResult, variant: str) -> str:
    """` over max norm`, of a variant with a baseline of its own."""
    baseline = next(iter(study.arms[variant].values())).baseline
    return f" over {style_of(baseline).label}" if baseline != study.baseline else ""


def tell_training_on(study: StudyResult, confidence: float) -> str:
    """What it costs not to stop in time."""
    score = study.scores["probabilities"]
    difference = find_difference(study.arms[study.baseline].get("to_end"), score)
    if difference is None or is_failure(study, study.baseline):
        return ""
    change = tell_change(difference, SCORES[score].label, f"{100 * confidence:g} % interval ")
    return f"To train to the end is {IN_WORDS[difference.verdict]}: it {change}."


def tell_scores(study: StudyResult) -> Iterator[str]:
    """The baseline, a guess without skill and the reference models, by each score."""
    for score in reversed(study.scores.values()):
        stopped = ", stopped" if TO_END in study.arms[study.baseline] else ""
        values = {f"{style_of(study.baseline).label}{stopped}": study.baseline_result.judged[score].value}
        values |= {"a guess by class shares": study.no_skill[score]}
        values |= {style_of(name).label: judged.value for name, judged in list_models(study, score).items()}
        way = "greater" if SCORES[score].greater_is_better else "less"
        listed = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        yield f"{capitalize(SCORES[score].label)} ({way} is good): {listed}."


def tell_next(study: StudyResult) -> str:
    """The first thing that follows from the result."""
    score, found = study.scores["probabilities"], {check.name for check in study.checks}
    models = {name: judged for name, judged in list_models(study, score).items() if judged.verdict == "better"}
    chosen = find_difference(find_choice(study), score)
    if "groups" in found:
        return "say which rows belong together, and judge it again"
    if "no_skill" in found:
        return "look for more rows, or for columns that say more of the target"
    if is_failure(study, study.baseline):
        return "mend the baseline, by another learning rate for one, and judge it again"
    if models:
        best = max(models, key=lambda name: SCORES[score].sign * models[name].value)
        return f"use {style_of(best).label}, which is shown to beat the network"
    findings = list_findings(study, score, group="regularizers")
    helping = [name for name, one in findings.items() if one.verdict == "better"]
    if helping and [key.variant for key in study.may_be_best.get(score, [])] == helping[:1]:
        return f"stop in time, on validation rows, and use {style_of(helping[0]).label}, which is shown to be the best"
    if chosen and chosen.verdict == "better":
        uses = next(search.singles for search in study.searches.values() if search.singles)
        most = max(uses, key=lambda name: uses[name].share)
        at = f"most often {tell_uses({most: uses[most]})} of replicates"
        return f"stop in time and choose the regulariser on validation rows, {at}"
    if helping:
        return f"stop in time, on validation rows, and try {style_of(helping[0]).label}, which is shown to help"
    if TO_END not in study.arms[study.baseline]:
        return "add none of them"
    to_end = find_difference(study.arms[study.baseline][TO_END], score)
    stopping = styles.WORDS["stopping"][to_end.verdict if to_end else "not_asked"]
    return f"{stopping}; a regulariser is not shown to add to that"


# What sentences are made of -------------------------------------------------------------------------------------------


def find_choice(study: StudyResult) -> ArmResult | None:
    """The arm whose regulariser validation rows choose."""
    names = [search.best_single for search in study.searches.values() if search.best_single]
    arms = [study.find(ArmKey(name, TUNED)) for name in names]
    return next((arm for arm in arms if arm.baseline == study.baseline), None)


def find_difference(arm: ArmResult | None, score: str) -> Difference | None:
    """The difference of an arm from its baseline."""
    return arm.judged[score].difference if arm else None


def list_findings(study: StudyResult, score: str, *, group: str) -> dict[str, Difference]:
    """Variant of a group -> the difference of its arm from its baseline by one score, the best first."""
    found = {
        key.variant: difference
        for key, arm in study.list_arms()
        if arm.group == group and is_used(study, key) and (difference := arm.judged[score].difference)
    }
    return dict(sorted(found.items(), key=lambda entry: -SCORES[score].sign * entry[1].value))


def list_models(study: StudyResult, score: str) -> dict[str, Judgement]:
    """The reference models by their names."""
    return {key.variant: arm.judged[score] for key, arm in study.list_arms() if key.kind == REFERENCE}


def is_used(study: StudyResult, key: ArmKey) -> bool:
    """Whether this is the arm of its variant as one would use it: tuned where it has a path, else at its knob.

    The best single regulariser of a search is an arm of other variants.
    """
    if any(key.variant in (search.best_single, search.best_singles) for search in study.searches.values()):
        return False
    return key.kind == TUNED or (key.kind == AT_KNOB and TUNED not in study.arms[key.variant])


def rank_arms(study: StudyResult, score: str | None = None) -> list[tuple[ArmKey, ArmResult]]:
    """All arms: the baseline, then by verdict from better to worse, then by difference, the best first.

    score: the study's score of probabilities if none is given.
    """
    name, order = score or study.scores["probabilities"], ["baseline", *VERDICTS]

    def place(entry: tuple[ArmKey, ArmResult]) -> tuple[int, float]:
        judged = entry[1].judged[name]
        value = judged.difference.value if judged.difference else judged.value
        return order.index(judged.verdict), -SCORES[name].sign * value

    return sorted(study.list_arms(), key=place)


def sort_arms(study: StudyResult, score: str) -> list[ArmKey]:
    """All arms by their values of a score, the best first."""
    arms = dict(study.list_arms())
    return sorted(arms, key=lambda key: -SCORES[score].sign * arms[key].judged[score].value)


def choose_arms(study: StudyResult) -> list[ArmKey]:
    """The NUM_MATTER arms that matter.

    The baseline, the best by each score, the worst, the best reference model; then the next best.
    """
    ranked, first = {score: sort_arms(study, score) for score in study.scores.values()}, study.scores["discrimination"]
    networks = {score: [key for key in keys if is_used(study, key)] for score, keys in ranked.items()}
    best = [
        next((key for key in keys if study.find(key).judged[score].verdict == "better"), keys[0])
        for score, keys in networks.items()
    ]
    models, worst = [key for key in ranked[first] if key.kind == REFERENCE], networks[first][-1]
    chosen = [ArmKey(study.baseline, AT_KNOB), *best, worst, *models[:1], *networks[first]]
    return list(dict.fromkeys(chosen))[:NUM_MATTER]
