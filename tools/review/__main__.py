"""Show how a change affects the held-out scores, and which differences are more than noise.

Compares two sides: a git revision (the base), and the working tree or another revision (the head). Reads
metrics/comparison.json, params.yaml and dvc.lock of each, and prints Markdown. The results are those of the last run,
so run `make` first. Whether code has changed since that run is checked by `make check`.

Every arm is compared by both scores of its study. Where DVC's cache still holds the predictions of both sides, they are
paired row by row and judged with the statistics of `compare`; else replicates are paired by their scores alone, which
sees less. The review says for each study which of the two it is.

By replicate on one fixed test set, an interval covers other seeds on the same test rows, not other rows. Arms whose
scores differ although no input that DVC tracks changed are reported apart, with the machines of both sides.

exit status:
  0    no arm is worse by the present results, which may be out of date: the first line says so
  1    an arm is worse than at the base, by at least one score
  2    the command line, or one of the two sides, cannot be used
"""

import argparse
import os
import sys
import traceback

from stages.lib.core.cli import UserError, make_parser
from tools.review.changes import Review, review
from tools.review.sides import Side, find_fork
from tools.review.wording import render, to_json


def parse_arguments() -> argparse.Namespace:
    parser = make_parser("tools.review", __doc__)
    parser.add_argument(
        "base", nargs="?", type=parse_revision, default="main", help="a git revision (default: %(default)s)"
    )
    parser.add_argument("--head", type=parse_revision, help="another git revision (default: the working tree)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    return parser.parse_args()


def parse_revision(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("is empty, expected a git revision: name one")
    if text.startswith("-") or not text.isprintable() or len(text) > 300:
        raise argparse.ArgumentTypeError("is no git revision, expected a branch, a tag or a commit: name one")
    return text


def describe(found: Review, base: Side, head: Side, *, as_json: bool) -> str:
    if as_json:
        return to_json(found, base=base.name, head=head.name)
    fork = find_fork(base, head)
    remedy = f"python -m tools.review {fork} --head {head.revision}" if head.revision else f"make review BASE={fork}"
    return render(found, base=base.name, remedy=remedy if fork else "")


def drop_output() -> None:
    """Discard unwritten output, which Python would else try to write again on exit, and fail with another status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    options = parse_arguments()
    base, head = Side(options.base), Side(options.head)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that lacks † shows a ?
    try:
        found = review(base, head)
        print(describe(found, base, head, as_json=options.json), flush=True)
    except BrokenPipeError:  # the reader has closed the pipe
        drop_output()
    except (UserError, UnicodeDecodeError, OSError) as error:
        drop_output()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except Exception:  # else Python would end with status 1, which means worse
        traceback.print_exc()
        return 2
    return int(found.verdict == "worse")


if __name__ == "__main__":
    sys.exit(main())
