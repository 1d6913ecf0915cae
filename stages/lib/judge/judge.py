"""Judge the arms of a study: measure them, compare them, and say which differences are real and which matter.

Every arm is compared with its baseline and with no skill, by both scores of its study. Of the networks the questions of
params.yaml are asked, in their order; what none of them asks has no verdict. These are families of their own, each
judged over its arms and scores: variants at their knobs, where they have a tuned arm as well; the reference models
against the study's baseline; networks, and models, against no skill. So a knob takes nothing from the questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np

from stages.lib.core.records import round_number
from stages.lib.data.protocols import RepeatedStratifiedKFold
from stages.lib.judge import designs, verdicts
from stages.lib.judge.arms import (
    AT_KNOB,
    AVERAGED,
    DEFAULT,
    NO_SKILL,
    REFERENCE,
    TO_END,
    TUNED,
    Arm,
    ArmKey,
    predict_no_skill,
)
from stages.lib.judge.comparison import ArmResult, Difference, Judgement, Reach, SearchResult, StudyResult, Use, Verdict
from stages.lib.judge.designs import Design, Estimate
from stages.lib.judge.plans import ENSEMBLE, ComparedSearch, Question, StatisticsPlan, StudyPlan, Subject
from stages.lib.judge.predictions import Labels, class_shares
from stages.lib.judge.scores import SCORES, gives_one_answer, list_scores, measure, measure_no_skill, squeeze
from stages.lib.judge.verdicts import Member, Together

CHOSEN = (TUNED, DEFAULT, TO_END, AVERAGED)  # kinds of arms whose points are chosen on validation rows
NUM_KEPT = 22_000_000  # numbers of `contributions` in memory: of a table of 16 MB, for all pairs in `find_best`
NUM_BEST_DRAWS = 2_000  # of the joint distribution of each arm's rivals
RIVALRIES = {TUNED: "against_best_single", AVERAGED: "averaged_against_best_single"}  # in place of the kind of arm


class ComparisonKey(NamedTuple):
    """Names a comparison within its family: an arm, or a search and what it is asked, and a score."""

    variant: str
    kind: str  # of arm, or one of RIVALRIES
    score: str


Part = Literal["training", "validation", "test"]
Family = dict[ComparisonKey, Estimate]
Differences = dict[ComparisonKey, Difference]


class Judge:
    """Measures and compares the arms of a study.

    plan, settings, labels: of the study. arms: all of them, by their keys.
    """

    def __init__(self, plan: StudyPlan, settings: StatisticsPlan, labels: Labels, arms: Mapping[ArmKey, Arm]):
        self.plan, self.settings, self.labels = plan, settings, labels
        self.arms = {**arms, NO_SKILL: predict_no_skill(labels.shares, labels)}
        self.scores = tuple(plan.scores.values())  # discrimination first
        of_arm = partial(find_contributions, labels.test, self.arms)  # and not of self, which would hold on to itself
        self.contributions = lru_cache(max(2, NUM_KEPT // labels.test.size))(of_arm)

    @cached_property
    def baselines(self) -> dict[str, str]:
        """Variant, or best single one of a search -> the variant that it is compared with."""
        baselines = {variant.name: variant.baseline for variant in self.plan.variants}
        for search in self.plan.searches:
            baselines |= dict.fromkeys((search.best_single, search.best_singles), baselines[search.variant])
        return baselines

    @cached_property
    def design(self) -> Design | None:
        """How rows and replicates enter a standard error; None where the protocol does not show a row's influence."""
        protocol, groups = self.plan.protocol, self.labels.test_groups
        if protocol.fixed_test:
            return designs.CrossedEffects(groups[0] if groups.size else None)
        if not isinstance(protocol, RepeatedStratifiedKFold) or protocol.repeats < designs.MIN_REPEATS:
            return None
        numbers = self.labels.test_numbers, self.labels.training_numbers
        return designs.CrossValidation(*numbers, protocol.repeats, groups if groups.size else None)

    def measure(self, score: str, key: ArmKey, part: Part = "test") -> np.ndarray:
        """A score on held-out rows or others, [replicate]."""
        arm = self.arms[key]
        return measure(score, self.labels.test, arm.test) if part == "test" else arm.measured[score, part]

    def gap(self, score: str, key: ArmKey, part: Part) -> float:
        """The score on training rows, or on the validation rows that chose the arm's points, less that held out."""
        return float(self.measure(score, key, part).mean() - self.measure(score, key).mean())

    def estimate(self, score: str, key: ArmKey) -> Estimate:
        """The mean of a score with its standard error."""
        if self.design and (rows := self.contributions(score, key)) is not None:
            return self.design.estimate(rows, alone=True)
        return designs.resampled_mean(self.measure(score, key), test_train_ratio=self.plan.protocol.test_train_ratio)

    def compare(self, score: str, key: ArmKey, other: ArmKey) -> Estimate:
        """A score of one arm less that of another."""
        if self.design and (rows := self.contributions(score, key)) is not None:
            rows = rows - self.contributions(score, other)
            return self.design.estimate(rows, alone=self.arms[key].is_guess or self.arms[other].is_guess)
        replicates = self.measure(score, key) - self.measure(score, other)
        return designs.resampled_mean(replicates, test_train_ratio=self.plan.protocol.test_train_ratio)

    def compare_all(self, pairs: Mapping[ArmKey, ArmKey]) -> Family:
        """The first arm of each pair less the second, by both scores."""
        return {
            ComparisonKey(*key, score): self.compare(score, key, other)
            for key, other in pairs.items()
            for score in self.scores
        }


def find_contributions(label: np.ndarray, arms: Mapping[ArmKey, Arm], score: str, key: ArmKey) -> np.ndarray | None:
    """What each row adds to a score of an arm, [replicate, row]; None where the score is not known by row."""
    by_row = SCORES[score].by_row
    return by_row(label, squeeze(arms[key].test)) if by_row else None


def judge_all(
    family: Mapping[Member, Estimate], settings: StatisticsPlan, *, seed: int, share: float = 1.0, joint: bool = True
) -> dict[Member, Difference]:
    """Differences with verdicts, judged together; share: of 1 - confidence, what they may spend.

    joint: by their joint distribution; if not, by Bonferroni, so that each depends on the number of the others alone.
    """
    together = verdicts.judge_together(family, seed=seed) if joint else Together(family, np.zeros(0))
    level = share * (1 - settings.confidence)
    return {key: describe_difference(together, key, level, settings) for key in family}


def describe_difference(together: Together[Member], key: Member, level: float, settings: StatisticsPlan) -> Difference:
    """A difference with its verdict, rounded as it is kept.

    key: names it, its score last. level: at which it is judged together with others.
    """
    difference, alpha, score = together.members[key], 1 - settings.confidence, key[-1]
    half_width, margin = together.half_width(key, level), settings.equivalence[score]
    word = verdicts.verdict(difference, half_width, margin=margin, sign=SCORES[score].sign, alpha=alpha)
    interval = verdicts.find_interval(difference, half_width, word, alpha=alpha)
    return record_difference(difference, interval, min(1.0, together.p_value(key) * alpha / level), word, alpha)


def record_difference(
    estimate: Estimate, interval: tuple[float, float], p_adjusted: float, word: Verdict, alpha: float
) -> Difference:
    """interval: that which is shown; the arm's own stands beside it."""
    value, p_value, p_adjusted = map(round_number, (estimate.value, estimate.p_value, p_adjusted))
    both = interval, estimate.interval(1 - alpha)
    shown, own = [(round_number(low), round_number(high)) for low, high in both]
    return Difference(value, *shown, *own, p_value, p_adjusted, word)


# A study -------------------------------------------------------------------------------------------------------------


def judge_study(judge: Judge) -> StudyResult:
    """Judge every arm of a study."""
    plan, arms = judge.plan, [key for key in judge.arms if key != NO_SKILL]
    models = [key for key in arms if key.kind == REFERENCE]
    networks = [key for key in arms if key.kind != REFERENCE]
    differences, levels = judge_networks(judge, networks)
    differences |= judge_all(judge.compare_all(pair_with_baselines(judge, models)), judge.settings, seed=plan.seed)
    skills = judge_skills(judge, networks) | judge_skills(judge, models)
    results: dict[str, dict] = {plan.baseline: {}}  # the baseline comes first
    for key in arms:
        results.setdefault(key.variant, {})[key.kind] = describe_arm(judge, key, differences, skills)
    return StudyResult(
        dataset=plan.dataset,
        features=plan.features,
        protocol=plan.protocol,
        seed=plan.seed,
        scores=plan.scores,
        baseline=plan.baseline,
        no_skill=describe_no_skill(judge),
        reach=describe_reach(judge, levels),
        arms=results,
        searches={search.variant: describe_search(judge, search, differences) for search in plan.searches},
        may_be_best={score: keep_baseline(judge, score, differences) for score in judge.scores},
        explored=plan.explored,
    )


def judge_skills(judge: Judge, arms: Sequence[ArmKey]) -> Differences:
    """Arms against no skill. The question is whether they have any, so no difference is too small to matter there."""
    settings = judge.settings.model_copy(update={"equivalence": dict.fromkeys(judge.scores, 0.0)})
    return judge_all(judge.compare_all(dict.fromkeys(arms, NO_SKILL)), settings, seed=judge.plan.seed)


Levels = Sequence[tuple[Together[ComparisonKey], float]]  # what each question asks, and the level that it has


def judge_networks(judge: Judge, networks: Sequence[ArmKey]) -> tuple[Differences, Levels]:
    """Ask the questions of params.yaml; of what none asks there is the difference without a verdict."""
    family = judge.compare_all(pair_with_baselines(judge, networks)) | compare_searches(judge)
    levels, settings, alpha = share_questions(judge, family), judge.settings, 1 - judge.settings.confidence
    differences = {
        key: record_difference(one, one.interval(1 - alpha), one.p_value, "not_asked", alpha)
        for key, one in family.items()
    }
    for together, level in levels:
        differences |= {key: describe_difference(together, key, level, settings) for key in together.members}
    knobs = {key: one for key, one in family.items() if key.kind == AT_KNOB and is_tuned(judge, key.variant)}
    return differences | judge_all(knobs, settings, seed=judge.plan.seed, joint=False), levels


def is_tuned(judge: Judge, variant: str) -> bool:
    """Whether a variant has a path or a search, so that its knob is an arm beside the tuned one."""
    return ArmKey(variant, TUNED) in judge.arms


def find_best(judge: Judge, score: str) -> list[ArmKey]:
    """The arms that may be the best: those that no other is shown to beat (multiple comparisons with the best).

    Each arm is the control of a family of its own, so the best of all is left out with at most the chance alpha (Hsu
    1984). Each variant of the study's baseline counts once, tuned where it has a path; the baseline to the end, too.
    """
    names = [variant.name for variant in judge.plan.variants if variant.baseline == judge.plan.baseline]
    keys = [next(key for kind in (TUNED, AT_KNOB) if (key := ArmKey(name, kind)) in judge.arms) for name in names]
    keys += [key for key in (ArmKey(judge.plan.baseline, TO_END),) if key in judge.arms]
    alpha, best = 1 - judge.settings.confidence, []
    for key in keys:
        rivals = {other: judge.compare(score, other, key) for other in keys if other != key}
        together = verdicts.judge_together(rivals, seed=judge.plan.seed, one_sided=True, num_draws=NUM_BEST_DRAWS)
        sign = SCORES[score].sign
        if all(sign * rival.value <= together.half_width(other, alpha) for other, rival in rivals.items()):
            best.append(key)
    return best


def keep_baseline(judge: Judge, score: str, differences: Differences) -> list[ArmKey]:
    """The arms that may be the best; the baseline among them unless a question has shown that an arm is better.

    The set has a chance of its own, all of alpha, so it can leave the baseline out where no question finds anything.
    More arms in it do it no harm, and a reader is not told that nothing helps and that it beats no regulariser.
    """
    best, baseline = find_best(judge, score), ArmKey(judge.plan.baseline, AT_KNOB)
    better = {
        ArmKey(key.variant, key.kind)
        for key, one in differences.items()
        if (key.score, one.verdict) == (score, "better")
    }
    helps = any(key.kind != REFERENCE and find_baseline(judge, key) == baseline for key in better & judge.arms.keys())
    return best if helps or baseline in best else [baseline, *best]


def share_questions(judge: Judge, family: Family) -> Levels:
    """What each question of params.yaml asks, judged together, and at which level; without empty questions."""
    asked, shares, seed = [], [], judge.plan.seed
    for ask, by_score in judge.settings.questions.items():
        for by, share in by_score.items():
            about = {key: family[key] for key in family if is_asked(judge, key, ask, by)}
            asked.append(verdicts.judge_together(about, seed=seed))
            shares.append(share)
    levels = verdicts.share_levels(asked, shares, 1 - judge.settings.confidence)
    return [(together, level) for together, level in zip(asked, levels, strict=True) if together.members]


def is_asked(judge: Judge, key: ComparisonKey, ask: Subject, by: Question) -> bool:
    """Whether a question is about a comparison."""
    plan, arm = judge.plan, ArmKey(key.variant, key.kind)
    choices = {search.best_single for search in plan.searches} | {search.best_singles for search in plan.searches}
    is_used = key.kind == TUNED or (key.kind == AT_KNOB and not is_tuned(judge, key.variant))
    is_ensemble = ENSEMBLE in key.variant
    about = {
        "choice": key.kind == TUNED and key.variant in choices and find_baseline(judge, arm).variant == plan.baseline,
        "arms": is_used and key.variant not in choices and not is_ensemble,
        "ensembles": is_used and is_ensemble,
        "to_end": arm == ArmKey(plan.baseline, TO_END),
        "mixtures": key.kind == RIVALRIES[TUNED],
    }
    return key.score == plan.scores[by] and about[ask]


def find_baseline(judge: Judge, key: ArmKey) -> ArmKey:
    """What an arm is compared with: its variant's baseline at its knobs; the study's for a reference model."""
    return ArmKey(judge.baselines.get(key.variant, judge.plan.baseline), AT_KNOB)


def pair_with_baselines(judge: Judge, arms: Sequence[ArmKey]) -> dict[ArmKey, ArmKey]:
    """What each arm is compared with, without the baselines themselves."""
    return {key: other for key in arms if (other := find_baseline(judge, key)) != key}


def describe_arm(judge: Judge, key: ArmKey, differences: Differences, skills: Differences) -> ArmResult:
    """An arm with what the two families of comparisons say of it."""
    arm = judge.arms[key]
    groups = {variant.name: variant.group for variant in judge.plan.variants}
    scores = {name: float(judge.measure(name, key).mean()) for name in list_scores(judge.plan.outputs)}
    finite = {name: values[np.isfinite(values)] for name, values in arm.mechanisms.items()}
    mechanisms = {name: float(values.mean()) for name, values in finite.items() if len(values)}
    if mechanisms:  # of networks; a reference model may be meant to do so
        mechanisms["one_answer"] = float(gives_one_answer(squeeze(arm.test)).mean())
    optimism = {score: judge.gap(score, key, "validation") for score in judge.scores if key.kind in CHOSEN}
    return ArmResult(
        baseline=find_baseline(judge, key).variant,
        group=groups.get(key.variant, "model" if key.kind == REFERENCE else "regularizers"),
        judged={
            score: Judgement(
                value=round_number(judge.measure(score, key).mean()),
                replicates=[round_number(value) for value in judge.measure(score, key)],
                difference=differences.get(ComparisonKey(*key, score)),
                skill=skills[ComparisonKey(*key, score)],
            )
            for score in judge.scores
        },
        strengths={name: list_used(strengths) for name, strengths in arm.strengths.items()},
        scores=round_all(scores | {"gap": judge.gap(judge.scores[1], key, "training")}),
        mechanisms=round_all(mechanisms),
        optimism=round_all(optimism),
    )


def round_all(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round_number(value) for name, value in values.items()}


def list_used(strengths: np.ndarray) -> list[float]:
    """Each strength [replicate] once, in order; NaN is none."""
    return sorted({round_number(value) for value in strengths[~np.isnan(strengths)]})


def describe_no_skill(judge: Judge) -> dict[str, float]:
    """Score -> what a guess that knows the class shares of the held-out rows alone scores."""
    label, outputs = judge.labels.test, judge.plan.outputs
    guess = predict_no_skill(class_shares(label, outputs), judge.labels).test
    return round_all({name: measure_no_skill(name, label, guess).mean() for name in list_scores(outputs)} | {"gap": 0})


def describe_reach(judge: Judge, levels: Levels) -> dict[str, Reach]:
    """What the study can see by each score, for the arm with the median standard error; of the largest question."""
    alpha, seen = 1 - judge.settings.confidence, {}
    for together, level in sorted(levels, key=lambda one: len(one[0].members)):
        if all(estimate.by_row for estimate in together.members.values()):
            ranked = sorted(together.members.items(), key=lambda entry: entry[1].standard_error)
            key, typical = ranked[len(ranked) // 2]
            detectable = verdicts.detectable_difference(typical, together.half_width(key, level))
            numbers = detectable, verdicts.smallest_margin(typical, alpha=alpha), judge.settings.equivalence[key.score]
            seen[key.score] = Reach(*map(round_number, numbers))
    return seen


# Searches ------------------------------------------------------------------------------------------------------------


def compare_searches(judge: Judge) -> Family:
    """The best points of each search against the best single regulariser, tuned and averaged, by both scores."""
    return {
        ComparisonKey(search.variant, RIVALRIES[kind], score): judge.compare(score, *arms)
        for search in judge.plan.searches
        for kind, rival in ((TUNED, search.best_single), (AVERAGED, search.best_singles))
        if judge.arms.keys() >= set(arms := (ArmKey(search.variant, kind), ArmKey(rival, kind)))
        for score in judge.scores
    }


def describe_search(judge: Judge, search: ComparedSearch, differences: Differences) -> SearchResult:
    """What a search gave."""
    best = judge.arms[ArmKey(search.variant, TUNED)].strengths
    single = judge.arms[ArmKey(search.best_single, TUNED)].strengths if search.singles else {}
    off = {name: 0.0 for name in search.varied if name not in search.always_on}
    answers = {
        question: {key.score: value for key, value in differences.items() if key[:2] == (search.variant, question)}
        for question in RIVALRIES.values()
    }
    return SearchResult(
        num_points=search.num_points,
        uses=describe_uses({name: np.where(best[name] == off.get(name), np.nan, best[name]) for name in search.varied}),
        best_single=search.best_single if search.singles else "",
        singles=describe_uses(single),
        average=search.average,
        best_singles=search.best_singles if search.singles else "",
        **answers,
    )


def describe_uses(strengths: Mapping[str, np.ndarray]) -> dict[str, Use]:
    """Regulariser -> how it is used, from its strengths [replicate], NaN where it is not; without those never used."""
    used = {name: values[~np.isnan(values)] for name, values in strengths.items()}
    return {
        name: Use(*map(round_number, (len(values) / len(strengths[name]), values.min(), values.max())))
        for name, values in used.items()
        if len(values)
    }
