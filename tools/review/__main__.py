"""Say what a change does to the held-out scores, and which of it is more than noise.

Reads metrics/comparison.json, params.yaml and dvc.lock as they stand in a git revision (the base) and in the working
tree or another revision (the head), pairs the replicates of every arm that both have, and prints Markdown. The results
are those of the last run, so `make` comes first. Needs no data; `make check` says whether code has changed since.

Of a study with one fixed test set an interval stands for other seeds on the same test rows, not for other rows. Arms
with other scores though nothing changed that DVC tracks of them (another machine, another library) are told apart.

exit status:
  0    nothing is worse, as the results stand; that they are out of date is told, not judged
  1    an arm is worse than at the base
  2    the command line, or one of the two sides, needs mending
"""

import argparse
import os
import sys
import traceback

from stages.lib.commands import UserError
from tools.arguments import make_parser
from tools.review.changes import Review, review
from tools.review.sides import Side, find_fork
from tools.review.wording import render, to_json


def parse_arguments() -> argparse.Namespace:
    parser = make_parser("tools.review", __doc__)
    parser.add_argument(
        "base", nargs="?", type=parse_revision, default="main", help="a git revision (default: %(default)s)"
    )
    parser.add_argument("--head", type=parse_revision, help="another git revision (default: the working tree)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of Markdown")
    return parser.parse_args()


def parse_revision(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty text given, expected a git revision")
    return text


def describe(found: Review, base: Side, head: Side, *, as_json: bool) -> str:
    if as_json:
        return to_json(found, base=base.name, head=head.name)
    fork = find_fork(base, head)
    remedy = f"python -m tools.review {fork} --head {head.revision}" if head.revision else f"make review BASE={fork}"
    return render(found, base=base.name, remedy=remedy if fork else "")


def drop_output() -> None:
    """What could not be written Python would try to write again at its end, and fail with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    options = parse_arguments()
    base, head = Side(options.base), Side(options.head)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that lacks † shows a ?
    try:
        found = review(base, head)
        print(describe(found, base, head, as_json=options.json), flush=True)
    except BrokenPipeError:  # whoever read has read enough
        drop_output()
    except (UserError, UnicodeDecodeError, OSError) as error:
        drop_output()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception:  # else it would end with 1, which means worse
        traceback.print_exc()
        return 2
    return int(found.verdict == "worse")


if __name__ == "__main__":
    sys.exit(main())
