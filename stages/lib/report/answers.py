"""The answer of a study in sentences, each of which follows from verdicts: for a terminal, and more for a page.

Here is what the sentences are made of; their words stand in templates/study/sentences.jinja and in words.yaml.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from stages.lib.judge.arms import AT_KNOB, REFERENCE, TO_END, TUNED, ArmKey
from stages.lib.judge.comparison import ArmResult, Difference, SearchResult, StudyResult, Use
from stages.lib.judge.findings import (
    find_choice,
    find_difference,
    is_failure,
    is_used,
    list_findings,
    list_models,
    recommend,
)
from stages.lib.judge.scores import SCORES
from stages.lib.report import styles
from stages.lib.report.styles import (
    VERDICTS,
    WARNINGS,
    capitalize,
    describe_range,
    say,
    show_change,
    style_of,
    tell_check,
)  # fmt: skip

NUM_MATTER = 5
MANY = 2  # regularisers that a survey compares at least
TO_THE_END, BASELINE = styles.ARMS["to_end"], "no regulariser"
GROUPS: dict[str, list[str]] = styles.WORDS["groups"]  # in the singular and in the plural
FAILURES: dict[str, str] = styles.WORDS["failures"]
MECHANISMS: dict[str, tuple[float, str]] = styles.WORDS["mechanisms"]  # name -> the least that is told, in words
IN_WORDS: dict[str, str] = styles.WORDS["in_words"]  # of a regulariser, or of training without early stopping
ANSWERS: dict[str, str] = styles.WORDS["answers"]  # whether the validation-selected regulariser helps


# A study in sentences ------------------------------------------------------------------------------------------------


def tell_study(study: StudyResult, confidence: float) -> list[str]:
    """The answer to one study in some fifteen lines: does a regulariser help, and what to do next."""
    score = study.scores["probabilities"]
    # Of the two on how far a study reaches, the second tells of both.
    checks = {(check.name.replace("margin", "reach"), check.columns): check for check in study.checks}.values()
    told = [say("warned", told=tell_check(check)) for check in checks if check.name in WARNINGS]
    told += [*tell_failures(study), tell_chosen(study, score, confidence), tell_leaders(study, score)]
    told += [*tell_effects(study, score), tell_training_on(study, confidence), *tell_scores(study)]
    reach, thinned = study.reach.get(score), any(check.name == "thinned" for check in checks)
    rest = [check for check in checks if check.name not in WARNINGS]
    told += [say("checked", told=tell_check(check, reach, thinned=thinned)) for check in rest]
    return [line for line in [*told, say("next", told=tell_next(study))] if line]


def tell_more(study: StudyResult, confidence: float) -> list[str]:
    """What a page tells beside that: by the score of discrimination, of searches, of a guess without skill."""
    score = study.scores["discrimination"]
    told = [tell_chosen(study, score, confidence), tell_leaders(study, score), *tell_effects(study, score)]
    told += [line for variant, search in study.searches.items() for line in tell_search(variant, search)]
    return [line for line in [*told, tell_skill(study)] if line]


def tell_brief(study: StudyResult, confidence: float) -> list[str]:
    """The answer in a few lines, for a page of all studies."""
    score = study.scores["probabilities"]
    told = [*tell_failures(study), tell_chosen(study, score, confidence), *tell_effects(study, score)]
    told += [tell_training_on(study, confidence), say("next", told=tell_next(study))]
    return [line for line in told if line]


def tell_failures(study: StudyResult) -> list[str]:
    """Networks, all of whose lanes have failed, with which others are compared: a difference from them says little."""
    return [
        say("failed", baseline=style_of(name).label, how=words)
        for name in dict.fromkeys(arm.baseline for _, arm in study.list_arms())
        for mechanism, words in FAILURES.items()
        if is_failure(study, name, mechanism)
    ]


def is_survey(study: StudyResult) -> bool:
    """Whether a study compares several regularisers of networks that stop in time."""
    regularizers = list_findings(study, study.scores["discrimination"], group="regularizers")
    return TO_END in study.arms[study.baseline] and len(regularizers) >= MANY


def tell_skill(study: StudyResult) -> str:
    """How many networks differ from predictions that know the class shares alone."""
    counts, networks = {}, [arm for key, arm in study.list_arms() if key.kind != REFERENCE]
    for score in reversed(study.scores.values()):
        verdicts = [arm.judged[score].skill.verdict for arm in networks]
        found = (f"{verdicts.count(verdict)} {VERDICTS[verdict].label}" for verdict in ("better", "worse"))
        counts[SCORES[score].label] = [*found]
    return say("skill", arms=len(networks), counts=counts)


def tell_search(variant: str, search: SearchResult) -> Iterator[str]:
    """Whether a set of regularisers, tuned together, beats the best single one, tuned too; what each consists of."""
    rivals = (0, search.against_best_single), (search.average, search.averaged_against_best_single)
    for average, against in rivals:
        claims = [
            (SCORES[score].label, show_change(found), styles.name_found(found))
            for score, found in reversed(against.items())
        ]
        if claims:
            subject = capitalize(style_of(variant).label)
            yield say("search", subject=subject, number=search.num_points, average=average, claims=claims)
    for what, uses in (("selected combination", search.uses), ("selected single regulariser", search.singles)):
        if uses:
            yield say("uses", what=what, uses=tell_uses(uses))


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


def find_share(study: StudyResult, arm: ArmResult, score: str) -> float | None:
    """What a change of an arm is a share of: its baseline's score, where less is better; else a ratio says nothing."""
    return None if SCORES[score].greater_is_better else study.arms[arm.baseline]["at_knob"].judged[score].value


def tell_chosen(study: StudyResult, score: str, confidence: float) -> str:
    """Whether a regulariser helps: the one that validation rows choose, over the baseline that stops in time."""
    if is_failure(study, study.baseline):
        return say("not_chosen") if list_findings(study, score, group="regularizers") else ""
    arm = find_choice(study)
    if not arm or not (found := arm.judged[score].difference):
        return ""
    by, change = score != study.scores["probabilities"], show_change(found, find_share(study, arm, score), confidence)
    return say("chosen", answer=ANSWERS[found.verdict], score=SCORES[score].label, change=change, by=by)


def tell_leaders(study: StudyResult, score: str) -> str:
    """The arms that no other is shown to beat, the best first."""
    keys = [key for key in sort_arms(study, score) if key in study.may_be_best.get(score, [])]
    tried = [key for key, arm in study.list_arms() if is_used(study, key) and arm.baseline == study.baseline]
    if not keys or (len(tried) == 1 and TO_END not in study.arms[study.baseline]):
        return ""
    names = [TO_THE_END if key.kind == TO_END else style_of(key.variant).label for key in keys]
    plain = style_of(study.baseline).label, TO_THE_END
    told = say("best", arms=names, tried=len(tried) - 1, plain=plain)
    return say("leaders", score=SCORES[score].label, told=told)


def tell_effects(study: StudyResult, score: str) -> Iterator[str]:
    """Which regularisers and settings are shown to help, and which to hurt, where there is a baseline that learns."""
    if is_failure(study, study.baseline):
        return
    by = "" if score == study.scores["probabilities"] else SCORES[score].label
    for group, labels in GROUPS.items():
        findings = list_findings(study, score, group=group)
        helping, hurting = (
            [name_effect(study, name, score, found) for name, found in findings.items() if found.verdict == verdict]
            for verdict in ("better", "worse")
        )
        baselines = Counter(name_baseline(study, variant) for variant in findings)
        apart = "".join(f" ({number} of them{over})" for over, number in baselines.items() if over)
        shown = {"group": labels[len(findings) != 1], "apart": apart, "helping": helping, "hurting": hurting}
        if findings:
            yield say("effects", by=by, number=len(findings), **shown)


def name_effect(study: StudyResult, variant: str, score: str, found: Difference) -> str:
    """`dropout -0.050 (-10.0 %) over max norm`: a variant with its change."""
    share_of = find_share(study, next(iter(study.arms[variant].values())), score)
    change = show_change(found, share_of, interval=False)
    return f"{style_of(variant).label} {change}{name_baseline(study, variant)}"


def name_baseline(study: StudyResult, variant: str) -> str:
    """` over max norm`, of a variant with a baseline of its own."""
    baseline = next(iter(study.arms[variant].values())).baseline
    return f" over {style_of(baseline).label}" if baseline != study.baseline else ""


def tell_training_on(study: StudyResult, confidence: float) -> str:
    """What it costs the baseline not to stop in time."""
    score, arm = study.scores["probabilities"], study.arms[study.baseline].get("to_end")
    if not arm or not (found := arm.judged[score].difference) or is_failure(study, study.baseline):
        return ""
    words = {"score": SCORES[score].label, "verdict": IN_WORDS[found.verdict]}
    change = show_change(found, find_share(study, arm, score), confidence)
    return say("training_on", baseline=style_of(study.baseline).label, change=change, **words)


def tell_scores(study: StudyResult) -> Iterator[str]:
    """The baseline, a guess without skill and the reference models, by each score."""
    for score in reversed(study.scores.values()):
        stopped = " with early stopping" if TO_END in study.arms[study.baseline] else ""
        values = {f"{style_of(study.baseline).label}{stopped}": study.baseline_result.judged[score].value}
        values |= {styles.NO_SKILL: study.no_skill[score]}
        values |= {style_of(name).label: judged.value for name, judged in list_models(study, score).items()}
        way = "higher" if SCORES[score].greater_is_better else "lower"
        yield say("scores", score=capitalize(SCORES[score].label), way=way, values=values)


def tell_next(study: StudyResult) -> str:
    """What to do, how much that brings, and how sure it is."""
    advice, score = recommend(study), study.scores["probabilities"]
    if advice.obstacle:
        return str(styles.WORDS["obstacles"][advice.obstacle])
    arm, to_end = study.find(advice.network), find_difference(study.arms[study.baseline].get("to_end"), score)
    judged, against, thinned = arm.judged[score], advice.against, any(check.name == "thinned" for check in study.checks)
    share_of = None if SCORES[score].greater_is_better else judged.value
    return say(
        "advice",
        network=name_network(study, advice.network),
        verdict=judged.verdict,
        stopping=styles.WORDS["stopping"][to_end.verdict] if to_end else "",
        baseline=style_of(arm.baseline).label,
        score=SCORES[score].label,
        change=show_change(judged.difference, find_share(study, arm, score)) if judged.difference else "",
        model=style_of(advice.model).label,
        against=show_change(against, share_of) if against else "",
        standing=against.verdict if against else "",
        mend=styles.WORDS["mends"][True] if thinned else "",
    ).replace(" ;", ";")


def name_network(study: StudyResult, key: ArmKey) -> str:
    """`L1 penalty (tuned, 0.001 to 0.01)`: an arm of networks with the strengths that it has in the study."""
    if any(key == (search.best_single, TUNED) for search in study.searches.values()):
        return f"the {styles.CHOSEN} regulariser"
    ranges = [describe_range(strengths) for strengths in study.find(key).strengths.values() if strengths]
    told = [*([] if key.kind == AT_KNOB else [styles.ARMS[key.kind]]), *(ranges if len(ranges) == 1 else [])]
    return styles.name_variant(*key) + (f" ({', '.join(told)})" if told else "")


# What sentences are made of -------------------------------------------------------------------------------------------


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
