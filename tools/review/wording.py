"""A review in words: Markdown for people, JSON for machines."""

import json
from collections.abc import Sequence, Sized
from dataclasses import asdict

from stages.lib.wording import ARMS
from tools.review.changes import ORDER, Change, NewArm, Review
from tools.review.record import Key

SHOWN = 3  # parameters that the first line names
CONCLUSIONS = {
    "worse": "**Worse**: {worse} of {all} changed arms lost more than noise explains{others}.",
    "better": "**Better**: {better} of {all} changed arms gained more than noise explains, no loss is shown{others}.",
    "undecided": "**Undecided**: of {all} changed arms none is shown to have gained or lost{others}.",
    "equivalent": "**Equivalent**: none of {all} changed arms moved by as much as matters.",
    "not_comparable": "**Not comparable**: {incomparable} with another primary score now.",
    "unchanged": "No arm whose inputs changed has other held-out scores.",
}


def conclude(found: Review, *, base: str) -> str:
    """What a reviewer should take with him, in one line."""
    if found.is_of_nothing:
        return conclude_nothing(found, base=base)
    text = conclude_arms(found)
    if not found.stale:
        return text
    more = f"; {len(found.stale) - SHOWN} more" if len(found.stale) > SHOWN else ""
    reasons = "; ".join(found.stale[:SHOWN]) + more
    return f"**Out of date** ({reasons}): run make. As the results stand: {text}"


def conclude_nothing(found: Review, *, base: str) -> str:
    """Of a change that shapes no result."""
    if not found.recomputed:
        return f"Nothing has changed since {base}: neither a parameter nor a held-out score."
    text = f"Nothing that shapes a result has changed since {base}. {tell_recomputed(found.recomputed)}"
    return f"{text} Other verdicts within a study: {len(found.verdicts)}." if found.verdicts else text


def conclude_arms(found: Review) -> str:
    """Of the arms, and of those that cannot be judged."""
    counts, verdict = found.counts, found.verdict
    others = ", ".join(f"{count} {name}" for name, count in counts.items() if name != verdict)
    facts = counts | {"all": sum(counts.values()), "incomparable": count_arms(len(found.incomparable))}
    text = CONCLUSIONS[verdict].format_map(facts | {"others": f" ({others})" if others else ""})
    besides: dict[str, Sized] = {
        "new": found.added,
        "removed": found.removed,
        "not comparable": found.incomparable if verdict in ORDER else [],
        "with another verdict within their study": found.verdicts,
    }
    told = ", ".join(f"{count_arms(len(part))} {name}" for name, part in besides.items() if part)
    return f"{text} Besides: {told}." if told else text


def tell_recomputed(changes: Sequence[Change]) -> str:
    most = max(abs(change.difference) for change in changes)
    return (
        f"Computed anew with nothing changed that DVC tracks (another machine or library version): "
        f"{count_arms(len(changes))}. The means moved by {most:.4f} at most, none by more than noise."
    )


def count_arms(number: int) -> str:
    return f"{number} arm" if number == 1 else f"{number} arms"


def render(found: Review, *, base: str, remedy: str = "") -> str:
    """The review as Markdown. remedy: the command that compares with where the head left a base that has gone on."""
    if found.is_of_nothing:
        return conclude(found, base=base)
    quiet = [change for change in found.recomputed if change not in found.judged]
    parts = [
        conclude(found, base=base),
        render_table(found, base=base),
        tell_recomputed(quiet) if quiet else "",
        f"{base} has gone on since the head left it; what came there counts as undone. `{remedy}` leaves it out."
        if remedy
        else "",
        f"The results of {base} are themselves out of date ({'; '.join(found.base_stale[:SHOWN])})."
        if found.base_stale
        else "",
        render_list("Changed parameters", found.params),
        render_list("New arms", [render_new(arm) for arm in found.added]),
        render_list("Removed arms", [name_arm(key) for key in found.removed]),
        render_list(
            "Other verdicts against the baseline of the study",
            [f"{name_arm(key)}: {before} -> {after}" for key, (before, after) in found.verdicts.items()],
        ),
        render_list(
            "Not comparable, as the primary score is another one", [name_arm(key) for key in found.incomparable]
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def render_table(found: Review, *, base: str) -> str:
    """The arms to look at, and what their numbers stand for."""
    if not found.judged:
        return ""
    notes = ["An interval is its arm's own; adjusted p and verdict take all changed arms together (Holm)."]
    if not all(change.paired for change in found.judged):
        notes.append("\\* Protocol or seed differ, so replicates are compared unpaired.")
    if any(change.fixed_test for change in found.judged):
        notes.append("† One fixed test set: the interval is for other seeds, on the same test rows.")
    if found.judged != found.changes:
        notes.append(
            "‡ Computed anew with nothing changed that DVC tracks (another machine or library version): a family apart."
        )
    level = f"{100 * found.confidence:g} % interval"
    rows = [
        f"| study | variant | arm | score | at {base} | now | difference | {level} | adjusted p | verdict |",
        "|---|---|---|---|--:|--:|--:|:-:|--:|---|",
        *(render_change(change, recomputed=change in found.recomputed) for change in found.judged),
    ]
    return "\n\n".join(["\n".join(rows), *notes])


def render_change(change: Change, *, recomputed: bool) -> str:
    marks = [
        mark for mark, stands in (("†", change.fixed_test), ("\\*", not change.paired), ("‡", recomputed)) if stands
    ]
    cells = (
        change.study,
        change.variant,
        ARMS[change.arm],
        change.metric,
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
    score = f"{name_arm((arm.study, arm.variant, arm.arm))}: {arm.metric} {arm.value:.4f}"
    if arm.difference is None:
        return score
    return f"{score}, {arm.difference:+.4f} from the baseline of its study: {arm.verdict}"


def name_arm(key: Key) -> str:
    study, variant, kind = key
    return f"{study} {variant} {ARMS[kind]}"


def to_json(found: Review, *, base: str, head: str) -> str:
    told = asdict(found) | {
        "verdicts": [
            {"study": study, "variant": variant, "arm": arm, "base": before, "head": after}
            for (study, variant, arm), (before, after) in found.verdicts.items()
        ]
    }
    conclusion = conclude(found, base=base).replace("**", "")
    return json.dumps({"base": base, "head": head, "verdict": found.verdict, "conclusion": conclusion} | told, indent=2)
