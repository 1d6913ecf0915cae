"""What follows from a study's result: whether there is anything to cure, what it could have shown, what to use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.lib.data.checks import Check
from stages.lib.judge.arms import AT_KNOB, REFERENCE, TUNED, ArmKey
from stages.lib.judge.comparison import ArmResult, Difference, Judgement, StudyResult, Verdict
from stages.lib.judge.designs import resampled_mean
from stages.lib.judge.judge import Judge
from stages.lib.judge.scores import SCORES

OVERFITS = 0.5  # training loss at the end, as a share of that on held-out rows, under which a network has overfitted
FAILURES = ("diverged", "one_answer")  # mechanisms: how all networks of a variant can fail


def check_result(judge: Judge, result: StudyResult) -> Iterator[Check]:
    """Findings in a study's result."""
    score = result.scores["probabilities"]
    at_end = result.arms[result.baseline].get("to_end")
    if at_end and (loss := at_end.judged[score].value) > 0:
        share = 1 + at_end.scores["gap"] / loss
        if share > OVERFITS:
            yield Check("no_overfitting", (), share)
    networks = [arm for key, arm in result.list_arms() if key.kind != REFERENCE]
    if not any(judged.skill.verdict == "better" for arm in networks for judged in arm.judged.values()):
        yield Check("no_skill")
    if same := tuple(dict.fromkeys(find_without_spread(result))):
        yield Check("no_spread", same)
    if is_thinned(judge):
        yield Check("thinned", (), judge.plan.protocol.training or 0)
    if score in result.reach:
        reach = result.reach[score]
        yield Check("reach", (score,), reach.detectable)
        if reach.margin > reach.wanted:
            yield Check("margin", (score,), reach.margin)


def find_without_spread(result: StudyResult) -> Iterator[str]:
    """Variants that are inconclusive since they differ from their baseline by the same in every row, mostly by 0."""
    for key, arm in result.list_arms():
        for found in (judged.difference for judged in arm.judged.values()):
            if found and found.verdict == "inconclusive" and found.own_low == found.own_high:
                yield key.variant


def is_thinned(judge: Judge) -> bool:
    """Whether cross-validation trains on fewer rows than the table has."""
    protocol, num_held_out = judge.plan.protocol, judge.labels.test.shape[1]
    training = getattr(protocol, "training", None)  # a protocol of one's own may know no such number
    if protocol.fixed_test or not training:
        return False
    return training < (1 - protocol.validation) * num_held_out / protocol.test_train_ratio - 1


# What arms say -------------------------------------------------------------------------------------------------------


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


# What to use ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recommendation:
    """What to use, by the verdicts of a study.

    obstacle: why its result is no advice yet: `groups`, `no_skill` or `failed`; empty where there is none.
    network: the arm of networks to use. model: the best reference model, or empty. against: the second less the first.
    """

    obstacle: str
    network: ArmKey
    model: str = ""
    against: Difference | None = None


def recommend(study: StudyResult) -> Recommendation:
    """The best network that is shown to beat what it is compared with, and how the best reference model stands to it.

    A model that beats this network has to beat the best of all networks, too: that is what a user would have. Where it
    does not, that network is recommended.
    """
    score, checks = study.scores["probabilities"], {check.name for check in study.checks}
    failed = {
        "groups": "groups" in checks,
        "no_skill": "no_skill" in checks,
        "failed": is_failure(study, study.baseline),
    }
    networks = {key: arm for key, arm in study.list_arms() if key.kind != REFERENCE}

    def find_best(keys: Iterator[ArmKey]) -> ArmKey:
        return max(keys, key=lambda key: SCORES[score].sign * study.find(key).judged[score].value)

    proven, leader = (
        find_best(key for key, arm in networks.items() if is_proven(study, arm, score)),
        find_best(iter(networks)),
    )
    obstacle = next((name for name, found in failed.items() if found), "")
    if not (models := list_models(study, score)):
        return Recommendation(obstacle, proven)
    model = find_best(ArmKey(name, REFERENCE) for name in models).variant
    against = {key: compare_model(study, score, model, key) for key in (proven, leader)}
    network = leader if against[proven].verdict == "better" != against[leader].verdict else proven
    return Recommendation(obstacle, network, model, against[network])


def is_proven(study: StudyResult, arm: ArmResult, score: str) -> bool:
    """Whether an arm is shown to be better than its baseline, and so is that, down to the baseline of the study."""
    if arm is study.baseline_result:
        return True
    return arm.judged[score].verdict == "better" and is_proven(study, study.arms[arm.baseline]["at_knob"], score)


def compare_model(study: StudyResult, score: str, model: str, network: ArmKey) -> Difference:
    """A reference model against a network: the study's verdict for its baseline, else from the scores of replicates."""
    one, other = study.arms[model]["reference"].judged[score], study.find(network).judged[score]
    if study.find(network) is study.baseline_result and (found := one.difference):
        return found
    paired = np.subtract(one.replicates, other.replicates)
    estimate = resampled_mean(paired, test_train_ratio=study.protocol.test_train_ratio)
    low, high = estimate.interval()
    is_good = SCORES[score].sign * estimate.value > 0
    verdict: Verdict = "inconclusive" if low <= 0 <= high else "better" if is_good else "worse"
    return Difference(estimate.value, low, high, verdict=verdict)
