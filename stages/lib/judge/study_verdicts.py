"""Families of comparisons: every arm against its baseline and against no skill, by both scores of its study.

The comparisons of a family are adjusted together, over its arms and over both scores. A study has four families: its
networks against their baselines, its reference models against the study's baseline, and each of these against no skill.
The first holds as well what each search is asked: its best points against the best single regulariser.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.lib.core.values import round_number
from stages.lib.judge import statistics
from stages.lib.judge.arms import AT_KNOB, AVERAGED, REFERENCE, TUNED, ArmKey
from stages.lib.judge.comparison import ArmResult, Difference, Judgement, Reach, StudyResult, round_all
from stages.lib.judge.judge import NO_SKILL, Compared, Judge
from stages.lib.judge.scores import SCORES, list_scores, no_skill
from stages.lib.judge.searches import compare_searches, describe_search

Key = tuple[str, str, str]  # variant, kind of arm, score
CHOSEN = (TUNED, AVERAGED)  # kinds of arms whose points are chosen on validation rows


def judge_study(judge: Judge) -> StudyResult:
    """Judge every arm of a study."""
    plan = judge.plan
    arms = [key for key in judge.arms if key != NO_SKILL]
    against_baseline = {key: other for key in arms if (other := find_baseline(judge, key)) != key}
    networks = compare_all(judge, against_baseline, references=False) | compare_searches(judge)
    differences = judge_family(judge, networks)
    differences |= judge_family(judge, compare_all(judge, against_baseline, references=True))
    against_no_skill = dict.fromkeys(arms, NO_SKILL)
    skills: dict[Key, Difference] = {}
    for references in (False, True):
        skills |= judge_family(judge, compare_all(judge, against_no_skill, references=references))
    found: dict[str, dict] = {plan.baseline: {}}  # the baseline comes first
    for key in arms:
        judged = {score: describe_judgement(judge, key, score, differences, skills) for score in judge.scores}
        found.setdefault(key.variant, {})[key.kind] = describe_arm(judge, key, judged)
    return StudyResult(
        dataset=plan.dataset,
        features=plan.features,
        protocol=plan.protocol,
        seed=plan.seed,
        scores=plan.scores,
        baseline=plan.baseline,
        no_skill=describe_no_skill(judge),
        reach=find_reach(judge, networks),
        arms=found,
        searches={search.variant: describe_search(judge, search, differences) for search in plan.searches},
    )


def find_baseline(judge: Judge, key: ArmKey) -> ArmKey:
    """What an arm is compared with: its variant's baseline at its knobs; the study's for a reference model."""
    baselines = {variant.name: variant.baseline for variant in judge.plan.variants}
    for search in judge.plan.searches:
        baselines |= dict.fromkeys((search.best_single, search.best_singles), baselines[search.variant])
    return ArmKey(baselines.get(key.variant, judge.plan.baseline), AT_KNOB)


def compare_all(judge: Judge, pairs: Mapping[ArmKey, ArmKey], *, references: bool) -> dict[Key, Compared]:
    """All comparisons of the networks or of the reference models among the pairs, by both scores."""
    members = {key: other for key, other in pairs.items() if (key.kind == REFERENCE) == references}
    return {(*key, score): judge.compare(score, key, other) for key, other in members.items() for score in judge.scores}


def judge_family(judge: Judge, found: Mapping[Key, Compared]) -> dict[Key, Difference]:
    """Comparisons with verdicts, adjusted together."""
    adjusted = adjust_family(found, seed=judge.plan.seed)
    return {
        key: describe_difference(judge, key[2], comparison, adjusted[key]) for key, (comparison, _) in found.items()
    }


def adjust_family(found: Mapping[Key, Compared], *, seed: int) -> dict[Key, float]:
    """Adjusted p-values: by the joint distribution where the rows of all are known, else Holm's."""
    evidence = {key: known for key, (_, known) in found.items() if known is not None}
    if len(evidence) == len(found):
        return statistics.adjust(evidence, seed=seed)
    return dict(zip(found, statistics.holm([comparison.p_value for comparison, _ in found.values()]), strict=True))


def describe_difference(judge: Judge, score: str, comparison: statistics.Comparison, p_adjusted: float) -> Difference:
    """A comparison with its verdict, rounded as it is kept."""
    verdict = statistics.verdict(
        comparison,
        p_adjusted,
        margin=judge.settings.equivalence[score],
        greater_is_better=SCORES[score].greater_is_better,
        alpha=judge.alpha,
    )
    numbers = {
        "value": comparison.difference,
        "ci_low": comparison.ci_low,
        "ci_high": comparison.ci_high,
        "equivalence_low": comparison.equivalence_low,
        "equivalence_high": comparison.equivalence_high,
        "p_value": comparison.p_value,
        "p_adjusted": p_adjusted,
    }
    return Difference(**round_all(numbers), verdict=verdict)


def describe_judgement(
    judge: Judge, key: ArmKey, score: str, differences: Mapping[Key, Difference], skills: Mapping[Key, Difference]
) -> Judgement:
    """An arm by one score."""
    replicates = judge.measure(score, key)
    return Judgement(
        value=round_number(replicates.mean()),
        replicates=[round_number(value) for value in replicates],
        difference=differences.get((*key, score)),
        skill=skills[*key, score],
    )


def describe_arm(judge: Judge, key: ArmKey, judged: dict[str, Judgement]) -> ArmResult:
    """An arm with its judgements."""
    arm = judge.arms[key]
    groups = {variant.name: variant.group for variant in judge.plan.variants}
    scores = {name: float(judge.measure(name, key).mean()) for name in list_scores(judge.plan.outputs)}
    mechanisms = {name: finite_mean(values) for name, values in arm.mechanisms.items() if np.isfinite(values).any()}
    if mechanisms:  # of networks; a reference model may be meant to do so
        mechanisms["one_answer"] = float(give_one_answer(arm.test).mean())
    return ArmResult(
        baseline=find_baseline(judge, key).variant,
        group=groups.get(key.variant, "model" if key.kind == REFERENCE else "regularizers"),
        judged=judged,
        strengths={name: list_used(found) for name, found in arm.strengths.items()},
        scores=round_all(scores | {"gap": judge.gap(judge.scores[0], key)}),
        mechanisms=round_all(mechanisms),
        optimism=round_all({score: judge.optimism(score, key) for score in judge.scores} if key.kind in CHOSEN else {}),
    )


def give_one_answer(probability: np.ndarray) -> np.ndarray:
    """Whether all rows of a replicate are put into the same class; [replicate, row, output] to [replicate]."""
    chosen = probability[..., 0] > 0.5 if probability.shape[-1] == 1 else probability.argmax(axis=-1)
    return (chosen == chosen[:, :1]).all(axis=1)


def list_used(strengths: np.ndarray) -> list[float]:
    """Each strength [replicate] once, in order; NaN is none."""
    return sorted({round_number(value) for value in strengths[~np.isnan(strengths)]})


def describe_no_skill(judge: Judge) -> dict[str, float]:
    """Score -> what predictions that know the class shares alone would score."""
    outputs = judge.plan.outputs
    found = {name: float(no_skill(name, judge.labels.test, outputs=outputs).mean()) for name in list_scores(outputs)}
    return round_all(found | {"gap": 0.0})


def find_reach(judge: Judge, networks: Mapping[Key, Compared]) -> dict[str, Reach]:
    """What the study can see by each score, for the network with the median standard error."""
    evidence = {key: known for key, (_, known) in networks.items() if known is not None}
    if not evidence or len(evidence) < len(networks):
        return {}
    critical = statistics.critical_value(evidence, seed=judge.plan.seed, alpha=judge.alpha)
    reach = {}
    for score in judge.scores:
        estimates = [found.estimate for key, found in evidence.items() if key[2] == score and key[:2] in judge.arms]
        typical = sorted(estimates, key=lambda estimate: estimate.standard_error)[len(estimates) // 2]
        numbers = {
            "detectable": statistics.detectable_difference(typical, critical),
            "margin": statistics.smallest_margin(typical, alpha=judge.alpha),
        }
        reach[score] = Reach(**round_all(numbers))
    return reach


def finite_mean(values: np.ndarray) -> float:
    """The mean of the finite values, of which there is one at least."""
    return float(values[np.isfinite(values)].mean())
