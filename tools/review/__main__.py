"""Show how a change affects the held-out scores, and which differences are more than noise.

Compares a git revision (the base) with the working tree or another revision (the head). Reads metrics/comparison/,
params.yaml and dvc.lock of each, and prints Markdown. The results are those of the last run, so run `make` first.
Whether code has changed since that run is checked by `make check`.

Of each changed arm it asks one question: does it score otherwise than at the base, by one of the two scores of its
study? Its row in the table has the score that decides. Where DVC's cache still holds the predictions of both, they
are paired row by row and judged with the statistics of `compare`; else replicates are paired by their scores alone,
which sees less. The review says for each study which of the two it is.

Arms whose scores differ although no input that DVC tracks changed are reported apart.

exit status:
  0    no arm is worse by the present results, which may be out of date: the first line says so
  1    an arm is worse than at the base, by at least one score
  2    the command line, the base or the head cannot be used, or the picture cannot be written
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from stages.lib.core.cli import UserError, make_parser
from stages.lib.core.files import write_bytes
from stages.lib.judge.scores import SCORES
from stages.lib.report.styles import ARMS, escape, first_of
from tools.review.judging import ORDER, Change, Review, review
from tools.review.snapshot import Key, Snapshot, find_fork

MOST_NAMED, MOST_LISTED = 3, 100  # of what is named in a sentence, of the rows of a table or list
CONCLUSIONS = {
    "worse": "**Worse**: {worse} of {all} changed results are worse by more than noise, by at least one score{others}; "
    "hence exit status 1.",
    "better": "**Better**: {better} of {all} changed results are better by more than noise, by at least one score, and "
    "none is worse by any{others}.",
    "undecided": "**Undecided**: {undecided} of {all} changed results cannot be distinguished from the base{others}.",
    "equivalent": "**Equivalent**: {equivalent} of {all} changed results moved by less than the margin that matters.",
    "not_comparable": "**Not comparable**: no arm can be compared by all of its scores.",
    "unchanged": "No arm whose inputs changed has different held-out scores.",
}


def conclude(result: Review) -> str:
    """The result of the review in one line: whether it is out of date, the cause, the verdict."""
    verdicts, stale = [change.verdict for change in result.arms.values()], result.head.find_stale()
    counts = {verdict: verdicts.count(verdict) for verdict in ORDER if verdict in verdicts}
    others = ", ".join(f"{count} {name}" for name, count in counts.items() if name != result.verdict)
    quiet = {change.key for change in result.changes} - result.arms.keys()
    also = {
        "new": result.added,
        "removed": result.removed,
        "with a score that only one of the two judges by": result.incomparable,
        "recomputed although no input that DVC tracks changed, none by more than noise": quiet,
    }
    listed = ", ".join(f"{len(arms):,} arm{'s'[: len(arms) != 1]} {name}" for name, arms in also.items() if arms)
    if not (stale or counts or listed or result.params):
        return f"Nothing has changed since {escape(result.base.name)}: no parameter and no held-out score."
    sentences = [
        f"**Out of date** ({list_some(stale)}): run make. By the present results:" if stale else "",
        f"{list_some(result.params)}." if result.params else "",
        CONCLUSIONS[result.verdict].format(**counts, all=len(verdicts), others=others and f" ({others})"),
        f"Also: {listed}." if listed else "",
    ]
    return " ".join(filter(None, sentences))


def list_some(texts: Sequence[str]) -> str:
    return "; ".join(first_of([*map(escape, texts)], MOST_NAMED))


def render_list(title: str, entries: Sequence[str]) -> str:
    return "\n".join([f"{title}:", "", *(f"- {entry}" for entry in first_of(entries, MOST_LISTED))]) if entries else ""


def spell_key(key: Key) -> str:
    return f"{key.study} {key.variant} {ARMS[key.kind]}"


def render(result: Review) -> str:
    """The review as Markdown."""
    base, head, stale, conclusion = result.base, result.head, result.base.find_stale(), conclude(result)
    if conclusion.startswith("Nothing") and not stale:
        return conclusion
    studies = [describe_new_study(study, result) for study in head.comparison if study not in base.comparison]
    arms = [describe_new_arm(key, result) for key in result.added if key.study in base.comparison]
    parts = [
        conclusion,
        *render_changes(result),
        explain_fork(result),
        f"The results of {escape(base.name)} are out of date as well ({list_some(stale)})." if stale else "",
        render_list("Changed parameters", [*map(escape, result.params)] if result.params[MOST_NAMED:] else []),
        render_list("New", [*studies, *arms]),
        f"Removed: {list_some([*map(spell_key, result.removed)])}." if result.removed else "",
    ]
    return "\n\n".join(filter(None, parts))


def explain_fork(result: Review) -> str:
    """How to leave out what the base has gained since the head branched off."""
    fork, head = find_fork(result.base, result.head), result.head.revision
    command = f"python -m tools.review {fork} --head {head}" if head else f"make review BASE={fork}"
    told = f"{escape(result.base.name)} has changed since the head branched off, and its changes appear here as undone."
    return f"{told} `{command}` leaves them out." if fork else ""


def render_changes(result: Review) -> list[str]:
    """The changed arms, what is decided first; what is not shown, what the numbers mean, how each study was judged."""
    shown = [change for change in result.arms.values() if change.verdict != "equivalent"]
    if not result.arms:
        return []
    same = len(result.shared) - len({change.key for change in result.changes})
    more = f"{len(shown) - MOST_LISTED:,} more rows. " if len(shown) > MOST_LISTED else ""
    silent = f"{more}Not shown: {len(result.arms) - len(shown)} equivalent, {same:,} with the same scores."
    if not shown:
        return [silent]
    level = f"{100 * result.confidence:g} % interval"
    names = ("study", "variant", "arm", "score", f"at {escape(result.base.name)}", "now", "difference", level)
    rows = [
        (*names, "adjusted p", "from its baseline", "verdict"),
        ["---"] * 4 + ["--:"] * 5 + ["---"] * 2,
        *(list_cells(change, result) for change in shown[:MOST_LISTED]),
    ]
    note = (
        "A row has the score that decides on its arm. Intervals, adjusted p and verdicts hold together for all changed "
        "arms and both scores of a study, and for the number of studies. Recomputed arms are families of their own."
    )
    studies = dict.fromkeys(change.key.study for change in shown)
    basis = render_list("Judged", [describe_basis(study, result) for study in studies])
    return ["\n".join(f"| {' | '.join(row)} |" for row in rows), silent, note, basis]


def list_cells(change: Change, result: Review) -> Sequence[str]:
    numbers, recomputed = change.difference, " (recomputed)" if change.recomputed else ""
    was, now = (side.arms[change.key].judged[change.score].verdict for side in (result.base, result.head))
    return (
        *(escape(change.key.study), escape(change.key.variant)),
        ARMS[change.key.kind] + recomputed,
        SCORES[change.score].label,
        *(f"{change.base:.4f}", f"{change.head:.4f}", f"{numbers.value:+.4f}"),
        f"{numbers.low:+.4f} to {numbers.high:+.4f}",
        f"{numbers.p_adjusted:.4f}",
        (f"{was}, now {now}" if was != now else now).replace("_", " "),
        change.verdict,
    )


def describe_basis(study: str, result: Review) -> str:
    """On what the differences of a study are judged, and what its intervals do not cover."""
    changes = [change for change in result.judged if change.key.study == study]
    coarse = dict.fromkeys(SCORES[change.score].label for change in changes if not change.by_row)
    reason = result.basis[study]
    if not reason:
        return f"{escape(study)} by row, from DVC's cache" + (f" ({', '.join(coarse)} by replicate)" if coarse else "")
    fixed = result.head.comparison[study].protocol.fixed_test
    covered = "; other seeds on the same test rows, not other rows" if fixed else ""
    return f"{escape(study)} by replicate ({escape(reason)}{covered})"


def describe_new_study(study: str, result: Review) -> str:
    """What a new study has found by its score of probabilities: what is better or worse than its baseline."""
    found = result.head.comparison[study]
    score = found.scores["probabilities"]
    told = [f"{escape(study)}: {sum(1 for _ in found.list_arms())} arms"]
    told.append(f"{SCORES[score].label} {found.baseline_result.judged[score].value:.4f} of {escape(found.baseline)}")
    arms = {spell_key(Key("", *key)).strip(): arm.judged[score].verdict for key, arm in found.list_arms()}
    for verdict in ("better", "worse"):
        names = [name for name, each in arms.items() if each == verdict]
        told.append(f"{verdict}: {list_some(names) if names else 'none'}")
    return "; ".join(told)


def describe_new_arm(key: Key, result: Review) -> str:
    """What a new arm does by each score, and how it differs from its baseline."""
    arm, told = result.head.arms[key], []
    for score, judged in arm.judged.items():
        difference = judged.difference
        more = f" ({difference.value:+.4f} from {escape(arm.baseline)}: {judged.verdict})" if difference else ""
        told.append(f"{SCORES[score].label} {judged.value:.4f}{more}")
    return f"{escape(spell_key(key))}: {', '.join(told)}"


def render_json(result: Review) -> str:
    """A review for other programs: its conclusion, its cause, and what a row of its table holds."""
    changes = [
        {**change.key._asdict(), "score": change.score, "base": change.base, "head": change.head}
        | {**asdict(change.difference), "difference": change.difference.value, "recomputed": change.recomputed}
        for change in result.changes
    ]
    content = {"conclusion": conclude(result), "params": list(result.params), "stale": list(result.head.find_stale())}
    return json.dumps(content | {"changes": changes}, indent=2)


def parse_revision(text: str) -> str:
    if not text or text.startswith("-") or not text.isprintable() or len(text) > 300:
        raise argparse.ArgumentTypeError("is no git revision, expected a branch, a tag or a commit: name one")
    return text


def drop_output() -> None:
    """Discard unwritten output, which Python would else try to write again on exit, and fail with another status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    parser = make_parser("tools.review", __doc__)
    told = "a git revision (default: %(default)s)"
    parser.add_argument("base", nargs="?", type=parse_revision, default="main", help=told)
    parser.add_argument("--head", type=parse_revision, help="another git revision (default: the working tree)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the changed results, before and now, as SVG")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that lacks a letter shows a ?
    try:
        result = review(Snapshot(options.base), Snapshot(options.head))
        print(render_json(result) if options.json else render(result), flush=True)
        if options.picture and result.arms:
            from tools.review.picture import draw_picture  # Altair takes half a second

            write_bytes(options.picture, draw_picture(result).encode())
    except BrokenPipeError:  # the reader has closed the pipe
        drop_output()
    except (UserError, UnicodeDecodeError, OSError) as error:
        drop_output()
        print(f"error: {escape(error, most=600)}", file=sys.stderr)
        return 2
    except Exception:  # else Python would end with status 1, which means worse
        traceback.print_exc()
        return 2
    return int(result.verdict == "worse")


if __name__ == "__main__":
    sys.exit(main())
