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
  2    the command line, the base or the head cannot be used
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stages.lib.core.cli import UserError, make_parser
from stages.lib.judge.scores import SCORES
from stages.lib.report.answers import tell_chosen, tell_effects
from stages.lib.report.styles import ARMS, escape, first_of, show_interval
from tools.review.judging import Change, Review, ScoreKey, review
from tools.review.snapshot import Key, Snapshot, find_base

MOST_NAMED, MOST_LISTED = 3, 100  # of what is named in a sentence, of the rows of a table or list
LONGEST = 600  # letters of an entry of a list, and of an error
WIDTH = 25  # letters of a drawn change


def render(result: Review) -> str:
    """The review as Markdown."""
    environment = Environment(loader=PackageLoader("tools.review", "."), undefined=StrictUndefined, finalize=protect)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {
        "some": lambda texts: Markup("; ".join(first_of([*map(escape, texts)], MOST_NAMED))),
        "first_listed": lambda entries: first_of(entries, MOST_LISTED),
        "long": lambda entry: Markup(escape(entry, most=LONGEST)),
    }
    text = environment.get_template("review.md.jinja").render(describe(result))
    return re.sub("\n{3,}", "\n\n", text).strip()


def protect(value: object) -> str:
    return str(value) if isinstance(value, Markup) else escape(value)


def describe(result: Review) -> dict[str, Any]:
    """What the template tells beside the review itself."""
    arms = result.arms.values()
    shown = [change for change in arms if change.verdict != "equivalent"]
    told = [*(change.key for change in shown), *result.unjudged]
    return {
        "review": result,
        "counts": Counter(change.verdict for change in arms),
        "also": count_others(result),
        "shown": shown,
        "rows": [list_cells(change, result, shown) for change in shown[:MOST_LISTED]],
        "num_same": len(result.base.arms.keys() & result.head.arms) - len({key.arm for key in list_changed(result)}),
        "judged": [describe_basis(study, result) for study in dict.fromkeys(key.arm.study for key in told)],
        "new": list_new(result),
        "removed": [spell_arm(key) for key in result.removed],
    }


def count_others(result: Review) -> dict[str, int]:
    """In words -> how many arms came or went, or cannot be compared, or have changed by noise alone."""
    base, head = result.base.arms, result.head.arms
    by_noise = {change.key.arm for change in result.changes} - result.arms.keys()
    rescored = [key for key in base.keys() & head if base[key].judged.keys() != head[key].judged.keys()]
    also = {
        "new": result.added,
        "removed": result.removed,
        "with a score that only one of the two judges by": rescored,
        "recomputed although no input that DVC tracks changed, none by more than noise": by_noise,
        "with other scores, which cannot be judged here": {key.arm for key in result.unjudged},
    }
    return {words: len(arms) for words, arms in also.items() if arms}


def list_changed(result: Review) -> list[ScoreKey]:
    return [*(change.key for change in result.changes), *result.unjudged]


def spell_arm(key: Key) -> str:
    return f"{key.study} {key.variant} {ARMS[key.kind]}"


def list_cells(change: Change, result: Review, shown: Sequence[Change]) -> dict[str, str]:
    """A row of the table, by the names of its columns."""
    numbers, base = change.difference, result.base.name
    return {
        "study": change.key.arm.study,
        "variant": change.key.arm.variant,
        "arm": ARMS[change.key.arm.kind] + (" (recomputed)" if change.recomputed else ""),
        "score": SCORES[change.key.score].label,
        f"over its baseline at {base}, now": " → ".join(
            side.arms[change.key.arm].judged[change.key.score].verdict for side in (result.base, result.head)
        ),
        f"at {base}": f"{change.base:.4f}",
        "now": f"{change.head:.4f}",
        "difference": f"{numbers.value:+.4f}",
        f"{100 * result.confidence:g} % interval": show_interval(numbers.low, numbers.high, "+", places=4),
        "adjusted p": f"{numbers.p_adjusted:.4f}",
        f"○ at {base}, ● now": Markup(f"`{draw_change(change, shown)}`"),
        "verdict": change.verdict,
    }


def draw_change(change: Change, shown: Sequence[Change]) -> str:
    """A ring where an arm was, a disc where it is, on the interval; to scale with those of its study and score."""
    alike = [each for each in shown if (each.key.arm.study, each.key.score) == (change.key.arm.study, change.key.score)]
    scale = min(min(list_places(each)) for each in alike), max(max(list_places(each)) for each in alike)
    base, head, low, high = np.interp(list_places(change), scale, (0, WIDTH - 1)).round().astype(int)
    letters = ["─" if low <= place <= high else "·" for place in range(WIDTH)]
    letters[base], letters[head] = "○", "●"
    return "".join(letters)


def list_places(change: Change) -> tuple[float, ...]:
    return (change.base, change.head, change.base + change.difference.low, change.base + change.difference.high)


def describe_basis(study: str, result: Review) -> str:
    """On what the differences of a study are judged, and what its intervals do not cover."""
    compared = result.head.comparison[study]
    if not compared.dataset:
        return f"{study} by the means of its {compared.protocol.num_replicates} data sets"
    if study in {key.arm.study for key in result.unjudged}:
        return f"{study} not at all ({result.basis[study]}; git keeps no replicates of several data sets)"
    if reason := result.basis[study]:
        covered = "; other seeds on the same test rows, not other rows" if compared.protocol.fixed_test else ""
        return f"{study} by replicate ({reason}{covered})"
    coarse = [SCORES[score].label for score in compared.scores.values() if not SCORES[score].by_row]
    return f"{study} by row, from DVC's cache" + (f" ({', '.join(coarse)} by replicate)" if coarse else "")


def list_new(result: Review) -> list[str]:
    """What new studies have found, and what new arms of other studies score."""
    head, known, told = result.head, result.base.comparison, []
    for study in [study for study in head.comparison if study not in known]:
        found = head.comparison[study]
        score = found.scores["probabilities"]
        sentences = [tell_chosen(found, score, result.confidence), *tell_effects(found, score)]
        told.append(f"{study}: {' '.join(filter(None, sentences))}")
    for key in [key for key in result.added if key.study in known]:
        arm = head.arms[key]
        scores = [f"{SCORES[score].label} {each.value:.4f} ({each.verdict})" for score, each in arm.judged.items()]
        told.append(f"{spell_arm(key)}, compared with {arm.baseline}: {', '.join(scores)}")
    return told


def main() -> int:
    parser = make_parser("tools.review", __doc__)
    parser.add_argument("base", nargs="?", help="a git revision (default: main, where HEAD branched off)")
    parser.add_argument("--head", help="another git revision (default: the working tree)")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that lacks a letter shows a ?
    try:
        result = review(Snapshot(options.base or find_base()), Snapshot(options.head))
        print(render(result), flush=True)
    except BrokenPipeError:  # the reader has closed the pipe
        drop_output()
    except Exception as error:  # for which Python would end with status 1, which means worse
        drop_output()
        kind = "" if isinstance(error, (UserError, OSError)) else f"{type(error).__name__}: "
        print(f"error: {kind}{escape(error, most=LONGEST)}", file=sys.stderr)
        return 2
    return int(result.verdict == "worse")


def drop_output() -> None:
    """Discard unwritten output, which Python would else try to write again on exit, and fail with another status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
