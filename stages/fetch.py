"""Fetch one data set, or those of a collection, from the first source that has it.

Reads   data/plan/_datasets/<entry>.json, and data/source/, a folder, a public mirror or the package manager
Writes  data/raw/<entry>/, the same bytes whatever the source: the SHA-256 of each file is checked

The files of a fashion_mnist data set are taken from the folder in FASHION_MNIST_DIR alone, plain or .gz, where that is
set.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from stages.lib.core.cli import UserError, parse_arguments, run_main
from stages.lib.core.records import load_plan
from stages.lib.data.dataset import FetchPlan
from stages.lib.data.download import Unavailable, collect_files
from stages.lib.data.kinds import KINDS

RAW = Path("data/raw")


def run(plan: FetchPlan, folder: Path) -> None:
    """Fill the folder of a data set."""
    kind = KINDS[plan.kind]
    with TemporaryDirectory(prefix="fetch-", ignore_cleanup_errors=True) as scratch:
        try:
            collect_files(kind.pins(plan), kind.sources(plan, Path(scratch)), folder)
        except Unavailable as error:
            raise UserError(f"{error}\n{kind.how_to_mend}") from error


def main() -> None:
    (entry,) = parse_arguments(__doc__, "entry")
    for dataset, plan in load_plan(dict[str, FetchPlan], f"_datasets/{entry}").items():
        run(plan, RAW / dataset)


if __name__ == "__main__":
    run_main(main)
