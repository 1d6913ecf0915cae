"""A review in words: Markdown for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence, Sized
from dataclasses import asdict

from stages.lib.judge.scores import SCORES
from stages.lib.report.markdown import escape
from stages.lib.report.styles import ARMS
from tools.review.changes import ORDER, NewArm, NewScore, Review
from tools.review.judging import Change
from tools.review.record import Key, ScoredKey

NUM_ENTRIES = 200  # of a list; what is more has changed altogether
NUM_REASONS = 3  # reasons why results are out of date that the first line names
CONCLUSIONS = {
    "worse": "**Worse**: {worse} of {all} changed arms are worse by more than noise, by at least one score{others}.",
    "better": "**Better**: {better} of {all} changed arms are better by more than noise, by at least one score, and "
    "none is worse by any{others}.",
    "undecided": "**Undecided**: {undecided} of {all} changed arms cannot be distinguished from the base{others}.",
    "equivalent": "**Equivalent**: {equivalent} of {all} changed arms moved by less than the margin that matters.",
    "not_comparable": "**Not comparable**: {incomparable} with a score that one side alone judges by.",
    "unchanged": "No arm whose inputs changed has different held-out scores.",
}
REASONS = {
    "unrecorded": "dvc.lock of {side} does not name its predictions",
    "missing": "the predictions of {side} are not in DVC's cache; for more power, run `dvc fetch` or `make` there",
    "damaged": "the predictions of {side} in DVC's cache are damaged",
    "other_results": "the predictions that dvc.lock of {side} names are not those of its metrics/comparison.json",
    "unpaired": "protocol, data or seed differ",
    "other_rows": "the same protocol and seed drew other rows",
    "few_repeats": "the protocol does not hold out every row in enough repeats to know its influence",
}
RECOMPUTED = "Recomputed although no input that DVC tracks changed ({cause})"


def conclude(found: Review, *, base: str) -> str:
    """The result of the review in one line."""
    if found.is_empty:
        return conclude_empty(found, base=base)
    text = conclude_arms(found)
    if not found.stale:
        return text
    return f"**Out of date** ({name_reasons(found.stale)}): run make. By the present results: {text}"


def name_reasons(reasons: Sequence[str]) -> str:
    more = [f"{len(reasons) - NUM_REASONS} more"] if len(reasons) > NUM_REASONS else []
    return "; ".join([*map(escape, reasons[:NUM_REASONS]), *more])


def conclude_empty(found: Review, *, base: str) -> str:
    """The one line where nothing that affects a result changed."""
    if not found.recomputed:
        return f"Nothing has changed since {base}: no parameter and no held-out score."
    text = f"Nothing that affects a result has changed since {base}. {describe_recomputed(found, found.recomputed)}"
    return f"{text} Changed verdicts within a study: {len(found.verdicts)}." if found.verdicts else text


def conclude_arms(found: Review) -> str:
    """The verdict, and the number of arms that it does not cover."""
    counts, verdict = found.counts, found.verdict
    others = ", ".join(f"{count} {name}" for name, count in counts.items() if name != verdict)
    incomparable = {key.arm for key in found.incomparable}
    facts = counts | {"all": sum(counts.values()), "incomparable": count_arms(len(incomparable))}
    text = CONCLUSIONS[verdict].format_map(facts | {"others": f" ({others})" if others else ""})
    not_covered: dict[str, Sized] = {
        "new": found.added,
        "removed": found.removed,
        "with a score that cannot be compared": incomparable if verdict in ORDER else [],
        "with a changed verdict within their study": {key.arm for key in found.verdicts},
    }
    listed = ", ".join(f"{count_arms(len(part))} {name}" for name, part in not_covered.items() if part)
    return f"{text} Also: {listed}." if listed else text


def explain_recomputed(found: Review) -> str:
    """Why scores may differ though no input does."""
    base, head = map(escape, found.machines)
    if not base or not head:
        cause = "another machine"
    elif base != head:
        cause = f"the base on {base}, now on {head}"
    else:
        cause = f"both on {base}: no machine fact that is recorded differs"
    return RECOMPUTED.format(cause=cause)


def describe_recomputed(found: Review, changes: Sequence[Change]) -> str:
    """How many arms, and how far they moved; none by more than noise."""
    most = {score: 0.0 for score in SCORES if any(change.score == score for change in changes)}
    for change in changes:
        most[change.score] = max(most[change.score], abs(change.difference))
    moved = ", ".join(f"{value:.4f} ({SCORES[score].label})" for score, value in most.items())
    number = count_arms(len({change.arm for change in changes}))
    return f"{explain_recomputed(found)}: {number}. The means moved by at most {moved}, none by more than noise."


def count_arms(number: int) -> str:
    return f"{number} arm" if number == 1 else f"{number} arms"


def render(found: Review, *, base: str, remedy: str = "") -> str:
    """The review as Markdown. remedy: the command that compares with the commit at which the head branched off."""
    base = escape(base)
    if found.is_empty:
        return conclude(found, base=base)
    quiet = [change for change in found.recomputed if change not in found.judged]
    parts = [
        conclude(found, base=base),
        render_table(found, base=base),
        describe_recomputed(found, quiet) if quiet else "",
        f"{base} has changed since the head branched off, and its changes appear here as undone. `{remedy}` leaves "
        "them out."
        if remedy
        else "",
        f"The results of {base} are out of date as well ({name_reasons(found.base_stale)})."
        if found.base_stale
        else "",
        render_list("Changed parameters", [escape(change) for change in found.params]),
        render_list("New arms", [render_new(arm) for arm in found.added]),
        render_list("Removed arms", [name_arm(key) for key in found.removed]),
        render_list(
            "Changed verdicts against the baseline of the arm",
            [f"{name_score(key)}: {before} -> {after}" for key, (before, after) in found.verdicts.items()],
        ),
        render_list(
            "Not comparable, since one side alone judges by the score", [name_score(key) for key in found.incomparable]
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def render_table(found: Review, *, base: str) -> str:
    """The judged arms, and what their numbers mean."""
    if not found.judged:
        return ""
    level = f"{100 * found.confidence:g} % interval"
    rows = [
        f"| study | variant | arm | score | at {base} | now | difference | {level} | adjusted p | verdict |",
        "|---|---|---|---|--:|--:|--:|:-:|--:|---|",
        *(render_change(change, recomputed=change in found.recomputed) for change in found.judged),
    ]
    studies = [change.study for change in found.judged]
    basis = render_list("Judged", [describe_basis(found, study) for study in dict.fromkeys(studies)])
    return "\n\n".join(["\n".join(rows), *explain_numbers(found), basis])


def explain_numbers(found: Review) -> list[str]:
    """Notes below the table, each where it applies."""
    resampled = [change.by_row for change in found.judged if not change.fixed_test]
    fixed = [change.by_row for change in found.judged if change.fixed_test]
    notes = (
        (
            "Each interval is for its arm and score alone. Adjusted p and verdict account for all changed arms and "
            "both scores of a study, and for the number of studies: the chance of a false better or worse among them "
            f"is at most {100 * (1 - found.confidence):.3g} %.",
            True,
        ),
        (
            "Cross-validation by row: the interval covers other rows, held out and trained on, and other splits.",
            any(resampled),
        ),
        (
            "Cross-validation by replicate: folds times repeats share rows; intervals are corrected for that.",
            not all(resampled),
        ),
        (
            "\\* Protocol, data or seed differ, so replicates are compared unpaired.",
            not all(change.paired for change in found.judged),
        ),
        ("One fixed test set, by row: the interval covers other seeds and other test rows.", any(fixed)),
        (
            "† One fixed test set: the interval covers other seeds on the same test rows, not other rows.",
            not all(fixed),
        ),
        (
            f"‡ {explain_recomputed(found)}: adjusted as a separate family, with a chance of its own.",
            found.judged != found.changes,
        ),
    )
    return [note for note, applies in notes if applies]


def describe_basis(found: Review, study: str) -> str:
    """On what the differences of a study are judged."""
    basis = found.basis[study]
    if basis.reason:
        return f"{escape(study)} by replicate: {REASONS[basis.reason].format(side=escape(basis.side))}"
    coarse = [change.score for change in found.judged if change.study == study and not change.by_row]
    labels = ", ".join(SCORES[score].label for score in dict.fromkeys(coarse))
    return f"{escape(study)} by row, from DVC's cache" + (f" ({labels} by replicate)" if labels else "")


def render_change(change: Change, *, recomputed: bool) -> str:
    applicable = (("†", change.fixed_test and not change.by_row), ("\\*", not change.paired), ("‡", recomputed))
    marks = [mark for mark, applies in applicable if applies]
    cells = (
        escape(change.study),
        escape(change.variant),
        ARMS[change.kind],
        SCORES[change.score].label,
        f"{change.base:.4f}",
        f"{change.head:.4f}",
        f"{change.difference:+.4f}",
        " ".join([f"{change.ci_low:+.4f} to {change.ci_high:+.4f}", *marks]),
        f"{change.p_adjusted:.4f}",
        change.verdict,
    )
    return f"| {' | '.join(cells)} |"


def render_list(title: str, entries: Sequence[str]) -> str:
    shown = [*entries[:NUM_ENTRIES], *([f"{len(entries) - NUM_ENTRIES:,} more"] if len(entries) > NUM_ENTRIES else [])]
    return "\n".join([f"{title}:", "", *(f"- {entry}" for entry in shown)]) if entries else ""


def render_new(arm: NewArm) -> str:
    scores = [render_new_score(name, score, baseline=arm.baseline) for name, score in arm.scores.items()]
    return f"{name_arm(Key(arm.study, arm.variant, arm.kind))}: {', '.join(scores)}"


def render_new_score(name: str, score: NewScore, *, baseline: str) -> str:
    value = f"{SCORES[name].label} {score.value:.4f}"
    if score.difference is None:
        return value
    return f"{value} ({score.difference:+.4f} from {escape(baseline)}: {escape(score.verdict)})"


def name_score(key: ScoredKey) -> str:
    return f"{name_arm(key.arm)}, {SCORES[key.score].label}"


def name_arm(key: Key) -> str:
    return f"{escape(key.study)} {escape(key.variant)} {ARMS[key.kind]}"


def to_json(found: Review, *, base: str, head: str) -> str:
    content = asdict(found) | {
        "removed": [key._asdict() for key in found.removed],
        "incomparable": [key._asdict() for key in found.incomparable],
        "verdicts": [
            key._asdict() | {"base": before, "head": after} for key, (before, after) in found.verdicts.items()
        ],
    }
    conclusion = conclude(found, base=base).replace("**", "")
    summary = {"base": base, "head": head, "verdict": found.verdict, "conclusion": conclusion}
    return json.dumps(summary | content, indent=2)
