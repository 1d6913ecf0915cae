"""Fetch one data set from the first source that has it.

Reads   data/source/thoracic_surgery.csv, or a folder, a public mirror, the package manager
Writes  data/raw/<dataset>/, the same bytes whatever the source: SHA-256 is checked
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.lib import debian, sources

THORACIC_SOURCES: dict[str, Callable[[], sources.Source]] = {
    "committed": sources.from_project,
    "tutorial": sources.from_tutorial,
    "uci": sources.from_uci,
}
FOLDER_VARIABLE = "FASHION_MNIST_DIR"

HOW_TO_MEND = {
    "thoracic_surgery": """\
To mend it, run this again with another --source (committed, tutorial, uci), or restore the committed file:
  git checkout -- data/source/thoracic_surgery.csv""",
    "fashion_mnist": f"""\
To mend it, do one of these and run this again:
  - put the four files, plain or .gz, into a folder and name it: {FOLDER_VARIABLE}=DIR, or --folder DIR
    (a named folder is the only source asked; name none to have the public ones tried);
  - make one of the web addresses above reachable; a proxy is taken from HTTPS_PROXY;
  - on Debian or Ubuntu, install the package: apt-get install {debian.PACKAGE}""",
}


def choose_sources(options: argparse.Namespace, scratch: Path) -> list[sources.Source]:
    """The chain of sources to ask, in order. A source that the user names is the only one."""
    if options.dataset == "thoracic_surgery":
        return [THORACIC_SOURCES[options.source]()]
    if options.folder:
        return [sources.from_folder(Path(options.folder).expanduser())]
    return [
        sources.from_folder(sources.SYSTEM_FOLDER),
        sources.from_mirror(sources.ZALANDO_URL),
        sources.from_mirror(sources.KERAS_URL),
        debian.from_debian_package(scratch),
    ]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.fetch",
        description="Fill data/raw/<dataset>/ from the first source that has the data set, and check every byte.",
        epilog="`python -m stages.fetch <dataset> --help` tells the sources of each.",
    )
    datasets = parser.add_subparsers(dest="dataset", required=True, metavar="dataset")
    text = "470 patients; the project carries a copy"
    thoracic = datasets.add_parser("thoracic_surgery", help=text, description=text)
    text = "where to take it from: the copy in data/source (the default), the tutorial's CSV, or UCI's ARFF"
    thoracic.add_argument("--source", choices=THORACIC_SOURCES, default="committed", help=text)
    text = (
        f"70,000 images; asks {sources.SYSTEM_FOLDER}, two public mirrors, and the package {debian.PACKAGE}, in order"
    )
    fashion = datasets.add_parser("fashion_mnist", help=text, description=text)
    text = f"take the four files, plain or .gz, from this folder and from nowhere else (default: ${FOLDER_VARIABLE})"
    fashion.add_argument("--folder", metavar="DIR", default=os.environ.get(FOLDER_VARIABLE), help=text)
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    with TemporaryDirectory(prefix="fetch-", ignore_cleanup_errors=True) as scratch:
        chain = choose_sources(options, Path(scratch))
        try:
            sources.collect(sources.PINS[options.dataset], chain, Path("data/raw", options.dataset))
        except sources.Unavailable as error:
            sys.exit(f"error: {error}\n{HOW_TO_MEND[options.dataset]}")
        except OSError as error:
            sys.exit(f"error: cannot write: {error}")


if __name__ == "__main__":
    main()
