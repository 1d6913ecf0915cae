"""The answer of a study in sentences, each of which follows from verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.lib.arms import REFERENCE, ArmKey
from stages.lib.comparison import ArmResult, StudyResult, Use
from stages.lib.scores import SCORES
from stages.lib.wording import ARMS, QUESTIONS, describe_range, sign_number

NUM_NAMED = 4  # arms that a sentence names; the others are counted


class Finding(NamedTuple):
    """An arm that was compared with a baseline, by one score."""

    key: ArmKey
    baseline: str
    difference: float
    verdict: str


def answer(study: StudyResult) -> list[str]:
    """Per question what is better, worse, without a difference that matters, and open; then the same of no skill.

    Variants that differ from their baseline in other settings than regularisers have sentences of their own.
    """
    sentences = []
    for group, lead in (("regularizers", ""), ("settings", "Other settings, the same regularisers. ")):
        for question, score in study.scores.items():
            findings = list_findings(study, score, group=group)
            if findings:
                words = f"{lead}{QUESTIONS[question]} ({SCORES[score].label})"
                sentences.append(f"{words}: {tell_verdicts(study, score, findings)}")
    return [*sentences, *tell_searches(study), tell_skill(study)]


def list_findings(study: StudyResult, score: str, *, group: str) -> list[Finding]:
    """The compared arms of a group by one score, the best first."""
    found = [
        Finding(key, arm.baseline, judged.difference.value, judged.verdict)
        for key, arm in study.list_arms()
        if arm.group == group and (judged := arm.judged[score]).difference
    ]
    sign = -1 if SCORES[score].greater_is_better else 1
    return sorted(found, key=lambda finding: sign * finding.difference)


def tell_verdicts(study: StudyResult, score: str, findings: Sequence[Finding]) -> str:
    """`better than the baseline: ...; worse: ...; no difference that matters: ...; open: ...`."""
    parts = []
    for verdict, words in (
        ("better", "better than the baseline: "),
        ("worse", "worse: "),
        ("equivalent", "no difference that matters: "),
    ):
        chosen = [finding for finding in findings if finding.verdict == verdict]
        chosen = chosen[::-1] if verdict == "worse" else chosen
        parts.append(words + (name_findings(study, chosen) if chosen else "none"))
    undecided = [finding for finding in findings if finding.verdict == "undecided"]
    parts.append(tell_open(study, score, undecided))
    return "; ".join(part for part in parts if part) + "."


def name_findings(study: StudyResult, findings: Sequence[Finding]) -> str:
    """The first arms with their differences, and the number of the others; a baseline of its own is named."""
    named = []
    for finding in findings[:NUM_NAMED]:
        other = f" (from {finding.baseline})" if finding.baseline != study.baseline else ""
        named.append(f"{finding.key.variant} {ARMS[finding.key.kind]} {sign_number(finding.difference)}{other}")
    more = [f"{len(findings) - NUM_NAMED} more"] if len(findings) > NUM_NAMED else []
    return ", ".join([*named, *more])


def tell_open(study: StudyResult, score: str, undecided: Sequence[Finding]) -> str:
    """What remains open, and what it would take to close it."""
    if not undecided:
        return "nothing remains open"
    text = f"open: {len(undecided)} of the arms"
    if score not in study.reach:
        return text
    reach, largest = study.reach[score], max(abs(finding.difference) for finding in undecided)
    text += (
        f", as this study sees differences from about {reach.detectable:.3f} on and can call arms equal within "
        f"{reach.margin:.3f}"
    )
    times = (reach.detectable / largest) ** 2 if largest else 1.0
    if times <= 1:
        return text
    unit = "seeds and test rows" if study.protocol.fixed_test else "rows"
    return f"{text}; the largest open difference, {largest:.3f}, would need about {times:.1f} times the {unit}"


CLAIMS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "does not differ by what matters from",
    "undecided": "cannot be distinguished from",
}


def tell_searches(study: StudyResult) -> list[str]:
    """Whether a set of regularisers, tuned together, beats the best single one, tuned too; what each consists of."""
    sentences = []
    for variant, search in study.searches.items():
        verdicts = [
            f"by {SCORES[score].label} it {CLAIMS[found.verdict]} the best single regulariser, "
            f"{sign_number(found.value)} ({sign_number(found.ci_low)} to {sign_number(found.ci_high)})"
            for score, found in search.against_best_single.items()
        ]
        if verdicts:
            sentences.append(
                f"Does a set of regularisers, tuned together, beat the best single one, tuned too? {variant}, "
                f"{search.num_points} points: {'; '.join(verdicts)}."
            )
        for subject, uses in (
            (f"the best point of {variant} uses", search.uses),
            ("the best single regulariser is", search.singles),
        ):
            if uses:
                sentences.append(f"By share of replicates, {subject}: {tell_uses(uses)}.")
    return sentences


def tell_uses(uses: Mapping[str, Use]) -> str:
    """`l2 0.01 to 0.1 in 90%, dropout 0.5 in 40%`: the most used first."""
    ranked = sorted(uses.items(), key=lambda entry: -entry[1].share)
    return ", ".join(f"{name} {describe_range([use.low, use.high])} in {use.share:.0%}" for name, use in ranked)


def tell_skill(study: StudyResult) -> str:
    """How many networks are better or worse than predictions that know the class shares alone."""
    told = []
    for score in study.scores.values():
        verdicts = [arm.judged[score].skill.verdict for key, arm in study.list_arms() if key.kind != REFERENCE]
        told.append(
            f"by {SCORES[score].label} {verdicts.count('better')} of {len(verdicts)} networks are better and "
            f"{verdicts.count('worse')} worse"
        )
    return f"Compared with no skill (the class shares alone): {'; '.join(told)}."


def rank_arms(study: StudyResult) -> list[tuple[ArmKey, ArmResult]]:
    """All arms, the best by the study's score of discrimination first."""
    score = next(iter(study.scores.values()))
    sign = -1 if SCORES[score].greater_is_better else 1
    return sorted(study.list_arms(), key=lambda entry: sign * entry[1].judged[score].value)
