"""Say what a change does to the held-out scores, and which of it is more than noise.

Reads metrics/comparison.json and params.yaml as they stand in a git revision (the base) and in the working tree or
another revision (the head), pairs the replicates of every arm that both have, and prints Markdown. Needs no data.

Of a study with one fixed test set an interval stands for other seeds on the same test rows, not for other rows.

exit status:
  0    nothing is worse; that results are out of date is told, not judged
  1    an arm is worse than at the base
  2    the command line, or one of the two sides, needs mending
"""

import argparse
import json
import os
import sys
from dataclasses import asdict

from stages.lib.commands import UserError
from tools.review.changes import Review, render, review
from tools.review.sides import Side, compare_params


def parse_arguments() -> argparse.Namespace:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tools.review",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", nargs="?", default="main", help="a git revision (default: %(default)s)")
    parser.add_argument("--head", help="another git revision (default: the working tree)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of Markdown")
    return parser.parse_args()


def compare_revisions(base: Side, head: Side) -> Review:
    before, after = base.load_arms(), head.load_arms()
    params = compare_params(base.load_params(), head.load_params())
    return review(before, after, settings=head.load_settings(), params=params, stale=head.find_stale())


def main() -> int:
    options = parse_arguments()
    try:
        found = compare_revisions(Side(options.base), Side(options.head))
    except (UserError, UnicodeDecodeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        print(to_json(found) if options.json else render(found, base=options.base), flush=True)
    except BrokenPipeError:  # whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(any(change.verdict == "worse" for change in found.changes))


def to_json(found: Review) -> str:
    return json.dumps({"conclusion": found.conclusion} | asdict(found), indent=2)


if __name__ == "__main__":
    sys.exit(main())
