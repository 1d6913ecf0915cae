"""A review in words: Markdown for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence, Sized
from dataclasses import asdict

from stages.lib.scores import SCORES
from stages.lib.wording import ARMS
from tools.review.changes import ORDER, Change, NewArm, Review
from tools.review.record import Key

NUM_REASONS = 3  # reasons why results are out of date that the first line names
CONCLUSIONS = {
    "worse": "**Worse**: {worse} of {all} changed arms are worse by more than noise{others}.",
    "better": "**Better**: {better} of {all} changed arms are better by more than noise, and none is worse{others}.",
    "undecided": "**Undecided**: {undecided} of {all} changed arms cannot be distinguished from the base{others}.",
    "equivalent": "**Equivalent**: {equivalent} of {all} changed arms moved by less than the margin that matters.",
    "not_comparable": "**Not comparable**: {incomparable} with a different primary score.",
    "unchanged": "No arm whose inputs changed has different held-out scores.",
}
RECOMPUTED = "Recomputed although no input that DVC tracks changed (another machine or library version)"


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
    return "; ".join([*reasons[:NUM_REASONS], *more])


def conclude_empty(found: Review, *, base: str) -> str:
    """The one line where nothing that affects a result changed."""
    if not found.recomputed:
        return f"Nothing has changed since {base}: no parameter and no held-out score."
    text = f"Nothing that affects a result has changed since {base}. {describe_recomputed(found.recomputed)}"
    return f"{text} Changed verdicts within a study: {len(found.verdicts)}." if found.verdicts else text


def conclude_arms(found: Review) -> str:
    """The verdict, and the number of arms that it does not cover."""
    counts, verdict = found.counts, found.verdict
    others = ", ".join(f"{count} {name}" for name, count in counts.items() if name != verdict)
    facts = counts | {"all": sum(counts.values()), "incomparable": count_arms(len(found.incomparable))}
    text = CONCLUSIONS[verdict].format_map(facts | {"others": f" ({others})" if others else ""})
    not_covered: dict[str, Sized] = {
        "new": found.added,
        "removed": found.removed,
        "not comparable": found.incomparable if verdict in ORDER else [],
        "with a changed verdict within their study": found.verdicts,
    }
    listed = ", ".join(f"{count_arms(len(part))} {name}" for name, part in not_covered.items() if part)
    return f"{text} Also: {listed}." if listed else text


def describe_recomputed(changes: Sequence[Change]) -> str:
    most = max(abs(change.difference) for change in changes)
    return f"{RECOMPUTED}: {count_arms(len(changes))}. The means moved by at most {most:.4f}, none by more than noise."


def count_arms(number: int) -> str:
    return f"{number} arm" if number == 1 else f"{number} arms"


def render(found: Review, *, base: str, remedy: str = "") -> str:
    """The review as Markdown. remedy: the command that compares with the commit at which the head branched off."""
    if found.is_empty:
        return conclude(found, base=base)
    quiet = [change for change in found.recomputed if change not in found.judged]
    parts = [
        conclude(found, base=base),
        render_table(found, base=base),
        describe_recomputed(quiet) if quiet else "",
        f"{base} has changed since the head branched off, and its changes appear here as undone. `{remedy}` leaves "
        "them out."
        if remedy
        else "",
        f"The results of {base} are out of date as well ({name_reasons(found.base_stale)})."
        if found.base_stale
        else "",
        render_list("Changed parameters", found.params),
        render_list("New arms", [render_new(arm) for arm in found.added]),
        render_list("Removed arms", [name_arm(key) for key in found.removed]),
        render_list(
            "Changed verdicts against the baseline of the study",
            [f"{name_arm(key)}: {before} -> {after}" for key, (before, after) in found.verdicts.items()],
        ),
        render_list("Not comparable, since the primary score differs", [name_arm(key) for key in found.incomparable]),
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
    return "\n\n".join(["\n".join(rows), *explain_numbers(found)])


def explain_numbers(found: Review) -> list[str]:
    """Notes below the table, each where it applies."""
    notes = ["Each interval is for its arm alone; adjusted p and verdict account for all changed arms (Holm)."]
    if not all(change.fixed_test for change in found.judged):
        notes.append(
            "Replicates of cross-validation are folds times repeats and share rows; intervals are corrected for that."
        )
    if not all(change.paired for change in found.judged):
        notes.append("\\* Protocol, data or seed differ, so replicates are compared unpaired.")
    if any(change.fixed_test for change in found.judged):
        notes.append("† One fixed test set: the interval covers other seeds on the same test rows, not other rows.")
    if found.judged != found.changes:
        notes.append(f"‡ {RECOMPUTED}: adjusted as a separate family.")
    return notes


def render_change(change: Change, *, recomputed: bool) -> str:
    marks = [
        mark for mark, applies in (("†", change.fixed_test), ("\\*", not change.paired), ("‡", recomputed)) if applies
    ]
    cells = (
        change.study,
        change.variant,
        ARMS[change.kind],
        SCORES[change.primary].label,
        f"{change.base:.4f}",
        f"{change.head:.4f}",
        f"{change.difference:+.4f}",
        " ".join([f"{change.ci_low:+.4f} to {change.ci_high:+.4f}", *marks]),
        f"{change.p_adjusted:.4f}",
        change.verdict,
    )
    return f"| {' | '.join(cells)} |"


def render_list(title: str, entries: Sequence[str]) -> str:
    return "\n".join([f"{title}:", "", *(f"- {entry}" for entry in entries)]) if entries else ""


def render_new(arm: NewArm) -> str:
    score = f"{name_arm(Key(arm.study, arm.variant, arm.kind))}: {SCORES[arm.primary].label} {arm.value:.4f}"
    if arm.difference is None:
        return score
    return f"{score}, {arm.difference:+.4f} from the baseline of its study: {arm.verdict}"


def name_arm(key: Key) -> str:
    return f"{key.study} {key.variant} {ARMS[key.kind]}"


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
