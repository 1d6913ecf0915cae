"""Fetch one data set from the first source that has it.

Reads   data/plan/_datasets/<dataset>.json, and data/source/, a folder, a public mirror or the package manager
Writes  data/raw/<dataset>/, the same bytes whatever the source: the SHA-256 of each file is checked
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.lib.core.cli import UserError, run_main
from stages.lib.data import debian
from stages.lib.data import thoracic_source as thoracic_surgery
from stages.lib.data.fashion_source import FOLDER_VARIABLE
from stages.lib.data.fetch_kinds import KINDS, Options
from stages.lib.data.fetch_plan import FetchPlan, load_fetch_plan
from stages.lib.data.pins import Unavailable, collect

RAW = Path("data/raw")


class FetchError(UserError):
    """A raw file could not be fetched or written."""


def run(plan: FetchPlan, options: Options, folder: Path) -> None:
    """Fill the folder of a data set."""
    kind = KINDS[plan.kind]
    for name in ("source", "folder"):
        if getattr(options, name) is not None and name not in kind.options:
            raise FetchError(f"--{name} is given, expected no such option for a {plan.kind} data set: leave it out")
    try:
        collect(kind.pins(plan), kind.chain(plan, options), folder)
    except Unavailable as error:
        raise FetchError(f"{error}\n{kind.how_to_mend}") from error
    except OSError as error:
        raise FetchError(f"cannot write: {error}") from error


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.fetch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a data set of params.yaml, after the stage `plan` has run")
    parser.add_argument(
        "--source",
        choices=thoracic_surgery.CHOICES,
        help="thoracic_surgery: the copy in data/source (the default), the tutorial's CSV, or UCI's ARFF",
    )
    parser.add_argument(
        "--folder",
        metavar="DIR",
        help="fashion_mnist: take the four files, plain or .gz, from this folder and from nowhere else (default: "
        f"${FOLDER_VARIABLE}); without one {debian.SYSTEM_FOLDER}, two public mirrors and the package {debian.PACKAGE} "
        "are asked in order",
    )
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    plan = load_fetch_plan(options.dataset)
    with TemporaryDirectory(prefix="fetch-", ignore_cleanup_errors=True) as scratch:
        run(plan, Options(options.source, options.folder, Path(scratch)), RAW / plan.dataset)


if __name__ == "__main__":
    run_main(main)
