"""Fetch one data set, or those of a collection, from the first source that has it.

Reads   data/plan/_datasets/<entry>.json, and data/source/, a folder, a public mirror or the package manager
Writes  data/raw/<entry>/, the same bytes whatever the source: the SHA-256 of each file is checked
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.data.dataset import FetchPlan, load_fetch_plans
from stages.lib.data.download import Unavailable, collect_files
from stages.lib.data.fashion_mnist import FOLDER_VARIABLE, PACKAGE, SYSTEM_FOLDER
from stages.lib.data.kinds import KINDS
from stages.lib.data.thoracic_surgery import SOURCES

RAW = Path("data/raw")


class FetchError(UserError):
    """A raw file could not be fetched or written."""


def run(plan: FetchPlan, options: Mapping[str, str | None], folder: Path) -> None:
    """Fill the folder of a data set; options: those of the command line that choose a source, None where not given."""
    kind = KINDS[plan.kind]
    for name, value in options.items():
        if value is not None and name != kind.fetch_option:
            raise FetchError(f"--{name} is given, expected no such option for a {plan.kind} data set: leave it out")
    with TemporaryDirectory(prefix="fetch-", ignore_cleanup_errors=True) as scratch:
        chain = kind.sources(plan, options.get(kind.fetch_option), Path(scratch))
        try:
            collect_files(kind.pins(plan), chain, folder)
        except Unavailable as error:
            raise FetchError(f"{error}\n{kind.how_to_mend}") from error
        except OSError as error:
            raise FetchError(f"cannot write: {error}") from error


def parse_options() -> argparse.Namespace:
    parser = make_parser("stages.fetch", __doc__)
    parser.add_argument("entry", help="an entry of `datasets` in params.yaml, after the stage `plan` has run")
    parser.add_argument(
        "--source",
        choices=SOURCES,
        help="thoracic_surgery: the copy in data/source (the default), the tutorial's CSV, or UCI's ARFF",
    )
    parser.add_argument(
        "--folder",
        metavar="DIR",
        help="fashion_mnist: take the four files, plain or .gz, from this folder and from nowhere else (default: "
        f"${FOLDER_VARIABLE}); without one {SYSTEM_FOLDER}, two public mirrors and the package {PACKAGE} are asked in "
        "order",
    )
    return parser.parse_args()


def main() -> None:
    options = vars(parse_options())
    for dataset, plan in load_fetch_plans(options.pop("entry")).items():
        run(plan, options, RAW / dataset)


if __name__ == "__main__":
    run_main(main)
