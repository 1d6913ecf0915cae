"""The answer of a study in sentences, each of which follows from verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.lib.judge.arms import AT_KNOB, REFERENCE, TUNED, ArmKey
from stages.lib.judge.comparison import ArmResult, Comparison, Difference, StudyResult, Use
from stages.lib.judge.scores import SCORES
from stages.lib.report.styles import VERDICT_ORDER, VERDICTS, name_arm, style_of
from stages.lib.report.wording import describe_range

NUM_NAMED = 3  # variants that a sentence names; the others are counted
NOUNS = {"regularizers": "regulariser", "settings": "other setting"}
NUM_BOTH = 5  # that a headline names of those with an effect by both scores
NUM_MATTER = 5
MANY = 5  # regularisers that a survey compares at least


class Finding(NamedTuple):
    """An arm that was compared with a baseline, by one score."""

    key: ArmKey
    baseline: str
    value: float
    difference: Difference

    @property
    def verdict(self) -> str:
        return self.difference.verdict


def answer(study: StudyResult, confidence: float) -> list[str]:
    """What helps most, what else helps or hurts by each score, and how that compares with no skill.

    Each variant counts once: tuned where it has a path of strengths, else at its knob. confidence: of the intervals.
    """
    sentences = []
    for group in ("regularizers", "settings"):
        scores = [score for score in study.scores.values() if list_findings(study, score, group=group)]
        if scores:
            sentences += tell_best(study, scores[0], confidence, group=group)
            sentences += [tell_verdicts(study, score, group=group) for score in scores]
    return [*tell_failures(study), *sentences, *tell_searches(study), tell_skill(study)]


def tell_failures(study: StudyResult) -> list[str]:
    """Networks, all of whose lanes have failed, with which others are compared: a difference from them says little."""
    found = []
    for name in dict.fromkeys(arm.baseline for _, arm in study.list_arms()):
        mechanisms = study.arms[name]["at_knob"].mechanisms
        for mechanism, words in (
            ("diverged", "diverged in training"),
            ("one_answer", "puts all held-out rows into one class"),
        ):
            if mechanisms.get(mechanism, 0.0) == 1:
                found.append(
                    f"Beware: every network of the baseline, {style_of(name).label}, {words}, so a difference from "
                    "it does not say that a regulariser helps."
                )
    return found


def order_studies(comparison: Comparison) -> list[str]:
    """The studies that compare many regularisers first."""
    return sorted(comparison, key=lambda name: not is_survey(comparison[name]))


def is_survey(study: StudyResult) -> bool:
    """Whether a study compares many regularisers."""
    return len(list_findings(study, study.scores["discrimination"], group="regularizers")) >= MANY


def headline(study: StudyResult, confidence: float) -> str:
    """What helps most, with each baseline, what else helps or hurts, and what other models and a guess do."""
    score = study.scores["discrimination"]
    group = "regularizers" if list_findings(study, score, group="regularizers") else "settings"
    best = tell_best(study, score, confidence, group=group, brief=True) or ["One network alone."]
    return " ".join(
        [
            *tell_failures(study),
            *best,
            *tell_best_single(study, score, confidence),
            *tell_shown(study, "better", group=group),
            *tell_shown(study, "worse", group=group),
            *tell_reference(study, score),
            *tell_no_skill(study),
        ]
    )


def tell_shown(study: StudyResult, verdict: str, *, group: str) -> list[str]:
    """`Shown to help, of 17: by AUC 5, by log loss 15, by both 5 (...).`"""
    shown = {
        score: [found.key.variant for found in list_findings(study, score, group=group) if found.verdict == verdict]
        for score in study.scores.values()
    }
    both = [variant for variant in next(iter(shown.values())) if all(variant in names for names in shown.values())]
    tried = len(list_findings(study, study.scores["discrimination"], group=group))
    way = "help" if verdict == "better" else "hurt"
    if not any(shown.values()):
        return [f"None of {tried} is shown to {way}."] if tried else []
    counts = [f"by {SCORES[score].label} {len(names)}" for score, names in shown.items()]
    if both:
        order = both if verdict == "better" else both[::-1]  # the largest effect first
        names = name_first([style_of(variant).label for variant in order], most=NUM_BOTH)
        counts.append(f"by both {len(both)}{names}")
    return [f"Shown to {way}, of {tried}: {', '.join(counts)}."]


def tell_best_single(study: StudyResult, score: str, confidence: float) -> list[str]:
    """What the network gains whose regulariser is chosen on validation rows, and not by looking at this result."""
    names = [search.best_single for search in study.searches.values() if search.best_single]
    arms = [arm for arm in (study.find(ArmKey(name, TUNED)) for name in names) if arm.baseline == study.baseline]
    found = arms[0].judged[score].difference if arms else None
    if found is None:
        return []
    way, size = "falls" if found.value < 0 else "rises", tell_size(found, confidence)
    what = f"Where validation rows choose among the single regularisers, too, {SCORES[score].label} {way} by {size}"
    return [f"{what}: {VERDICTS[found.verdict].label}."]


def tell_reference(study: StudyResult, score: str) -> list[str]:
    """The best of the reference models, but for the one that knows the class shares alone."""
    found = {key.variant: arm.judged[score].value for key, arm in study.list_arms() if key.kind == REFERENCE}
    if not found:
        return []
    best = min(found, key=lambda name: sign_of(score) * found[name])
    label = SCORES[score].label
    return [f"For comparison, the best of the reference models, {style_of(best).label}, has {label} {found[best]:.3f}."]


def tell_no_skill(study: StudyResult) -> list[str]:
    """The scores by which no network is better than a guess."""
    networks = [arm for key, arm in study.list_arms() if key.kind != REFERENCE]
    labels = [
        SCORES[score].label
        for score in study.scores.values()
        if all(arm.judged[score].skill.verdict != "better" for arm in networks)
    ]
    said = "no network is shown to beat a guess that knows the class shares alone"
    return [f"By {' and by '.join(labels)}, {said}."] if labels else []


def capitalize(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def list_findings(study: StudyResult, score: str, *, group: str) -> list[Finding]:
    """The arm of each variant of a group that is compared, by one score, the best first."""
    found = [
        Finding(key, arm.baseline, judged.value, judged.difference)
        for key, arm in study.list_arms()
        if arm.group == group and is_used(study, key) and (judged := arm.judged[score]).difference
    ]
    return sorted(found, key=lambda finding: sign_of(score) * finding.difference.value)


def is_used(study: StudyResult, key: ArmKey) -> bool:
    """Whether this is the arm of its variant as one would use it: tuned where it has a path, else at its knob.

    The best single regulariser of a search is an arm of other variants.
    """
    if any(key.variant in (search.best_single, search.best_singles) for search in study.searches.values()):
        return False
    return key.kind == TUNED or (key.kind == AT_KNOB and TUNED not in study.arms[key.variant])


def sign_of(score: str) -> int:
    """-1 where greater is better: what makes the best value the smallest."""
    return -1 if SCORES[score].greater_is_better else 1


def tell_best(study: StudyResult, score: str, confidence: float, *, group: str, brief: bool = False) -> list[str]:
    """A sentence for each baseline, the study's own first. brief: not for others that no arm is better than."""
    findings = list_findings(study, score, group=group)
    by_baseline: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda found: (found.baseline != study.baseline, found.baseline)):
        by_baseline.setdefault(finding.baseline, []).append(finding)
    return [
        tell_best_of(study, score, confidence, found, group=group)
        for name, found in by_baseline.items()
        if not brief or name == next(iter(by_baseline)) or any(finding.verdict == "better" for finding in found)
    ]


def tell_best_of(study: StudyResult, score: str, confidence: float, findings: Sequence[Finding], *, group: str) -> str:
    """The best arm that is better; where none is, the one that came closest."""
    label, better = SCORES[score].label, [finding for finding in findings if finding.verdict == "better"]
    best = (better or findings)[0]
    value, found, name = best.difference.value, best.difference, name_arm(*best.key)
    size = tell_size(found, confidence)
    other = tell_baseline(study, best)
    if better:
        most, way = " most" if len(findings) > 1 else "", "rises" if value > 0 else "falls"
        subject = f"Compared with its own baseline{other}, {name}" if other else capitalize(name)
        return f"{subject} helps{most}: {label} {way} by {size}, from {best.value - value:.3f} to {best.value:.3f}."
    moves = f"from {best.value - value:.3f}{other} to {best.value:.3f}"
    lead = f"No {NOUNS[group]} is shown to help by {label}{other}"
    if best.verdict == "equivalent":
        low, high = found.ci_low + 0.0, found.ci_high + 0.0  # no -0.000
        interval = f"{100 * confidence:g} % interval {low:+.3f} to {high:+.3f}"
        return f"{lead} by as much as matters: {name} came closest, by {value + 0.0:+.3f} ({interval})."
    if sign_of(score) * value < 0:
        return f"{lead}: {name} came closest, better by {size}, which can be luck."
    return f"{lead}: even the best, {name}, takes it {moves}."


def tell_size(found: Difference, confidence: float) -> str:
    """`0.112 (95 % interval 0.065 to 0.160)`; that of a fall is positive, too."""
    low, high = (found.ci_low, found.ci_high) if found.value >= 0 else (-found.ci_high, -found.ci_low)
    return f"{abs(found.value):.3f} ({100 * confidence:g} % interval {low:.3f} to {high:.3f})"


def tell_baseline(study: StudyResult, finding: Finding) -> str:
    """A baseline of its own is named."""
    return f" ({style_of(finding.baseline).label})" if finding.baseline != study.baseline else ""


def tell_verdicts(study: StudyResult, score: str, *, group: str) -> str:
    """`By AUC 4 of 16 are better (...), 1 worse (...), 2 without a difference that matters, 9 undecided.`"""
    findings = list_findings(study, score, group=group)
    parts, left = [], sum(finding.verdict == "undecided" for finding in findings)
    for verdict, words in (("better", "better"), ("worse", "worse"), ("equivalent", "not different enough to matter")):
        order = findings[::-1] if verdict == "worse" else findings
        chosen = [finding.key.variant for finding in order if finding.verdict == verdict]
        parts.append(f"{len(chosen)} {words}{name_variants(study, chosen)}" if chosen else f"none {words}")
    text = f"By {SCORES[score].label}, of {len(findings)} tried: {', '.join(parts)}"
    return f"{text}, {left} undecided{tell_reach(study, score)}." if left else f"{text}."


def name_variants(study: StudyResult, variants: Sequence[str]) -> str:
    """As `name_first`; a baseline of its own is named."""
    named = []
    for variant in variants[:NUM_NAMED]:
        baseline = next(iter(study.arms[variant].values())).baseline
        other = f" than {style_of(baseline).label}" if baseline != study.baseline else ""
        named.append(f"{style_of(variant).label}{other}")
    return name_first([*named, *variants[NUM_NAMED:]])


def name_first(names: Sequence[str], most: int = NUM_NAMED) -> str:
    """The first names in brackets, and the number of the others."""
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return f" ({', '.join([*names[:most], *more])})"


def tell_reach(study: StudyResult, score: str) -> str:
    """How large a difference has to be to be found, for an arm whose networks vary as much as those of most."""
    if score not in study.reach:
        return ""
    from stages.lib.judge.verdicts import POWER  # here, since `make` tells headlines without SciPy

    found = f"{study.reach[score].detectable:.3f}"
    return f" (a typical arm needs a true difference of about {found} to be found in {POWER:.0%} of such studies)"


def tell_skill(study: StudyResult) -> str:
    """How many networks are better or worse than predictions that know the class shares alone."""
    told = []
    for score in study.scores.values():
        verdicts = [arm.judged[score].skill.verdict for key, arm in study.list_arms() if key.kind != REFERENCE]
        told.append(
            f"by {SCORES[score].label} {verdicts.count('better')} of {len(verdicts)} arms are better and "
            f"{verdicts.count('worse')} worse"
        )
    return f"Against a guess that knows the class shares alone: {'; '.join(told)}."


CLAIMS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "does not differ by what matters from",
    "undecided": "is not shown to differ from",
}


def tell_searches(study: StudyResult) -> list[str]:
    """Whether a set of regularisers, tuned together, beats the best single one, tuned too; what each consists of."""
    sentences = []
    for variant, search in study.searches.items():
        name = style_of(variant).label
        for how, found in (
            ("tuned together", search.against_best_single),
            (f"the {search.average} best averaged", search.averaged_against_best_single),
        ):
            if found:
                sentences.append(f"{capitalize(name)}, {search.num_points} mixtures, {how}: {tell_claim(found)}.")
        for subject, uses in (
            (f"the best mixture of {name} uses", search.uses),
            ("the best single is", search.singles),
        ):
            if uses:
                sentences.append(f"By share of replicates, {subject}: {tell_uses(uses)}.")
    return sentences


def tell_claim(against: Mapping[str, Difference]) -> str:
    """The verdict by each score, with its interval; the best single regulariser is chosen in the same way."""
    return "; ".join(
        f"by {SCORES[score].label} it {CLAIMS[found.verdict]} the best single regulariser, chosen in the same way, "
        f"{found.value:+.3f} ({found.ci_low:+.3f} to {found.ci_high:+.3f})"
        for score, found in against.items()
    )


def tell_uses(uses: Mapping[str, Use]) -> str:
    """`L2 penalty 0.01 to 0.1 in 90%, dropout 0.5 in 40%`: the most used first."""
    ranked = sorted(uses.items(), key=lambda entry: -entry[1].share)
    return ", ".join(
        f"{style_of(name).label} {describe_range([use.low, use.high])} in {use.share:.0%}" for name, use in ranked
    )


def rank_arms(study: StudyResult, score: str | None = None) -> list[tuple[ArmKey, ArmResult]]:
    """All arms: the baseline, then by verdict from better to worse, then by difference, the best first.

    score: the study's score of discrimination if none is given.
    """
    score = score or next(iter(study.scores.values()))

    def place(entry: tuple[ArmKey, ArmResult]) -> tuple[int, float]:
        judged = entry[1].judged[score]
        return VERDICT_ORDER.get(judged.verdict, -1), sign_of(score) * (
            judged.difference.value if judged.difference else judged.value
        )

    return sorted(study.list_arms(), key=place)


def choose_arms(study: StudyResult) -> list[ArmKey]:
    """The NUM_MATTER arms that matter.

    The baseline, the best by each score, the worst, the best reference model; then the next best.
    """

    def rank(score: str) -> list[ArmKey]:
        ranked = sorted(study.list_arms(), key=lambda entry: sign_of(score) * entry[1].judged[score].value)
        return [key for key, _ in ranked]

    def is_better(key: ArmKey, score: str) -> bool:
        return study.find(key).judged[score].verdict == "better"

    first = study.scores["discrimination"]
    networks = {score: [key for key in rank(score) if is_used(study, key)] for score in study.scores.values()}
    models = [key for key in rank(first) if key.kind == REFERENCE]
    best = [next((key for key in found if is_better(key, score)), found[0]) for score, found in networks.items()]
    chosen = [ArmKey(study.baseline, AT_KNOB), *best, networks[first][-1], *models[:1], *networks[first]]
    return list(dict.fromkeys(chosen))[:NUM_MATTER]
