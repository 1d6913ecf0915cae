"""What the command lines of stages and tools share: arguments, errors in one line, progress."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Self

from tqdm import tqdm


class UserError(Exception):
    """Something that the user can mend; the message says what is wrong, what was expected and how to mend it."""


def make_parser(module: str | None, doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring, its first paragraph the summary; module: as `python -m` names it."""
    summary, _, details = (doc or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m {module}" if module else None,
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse_arguments(doc: str | None, *names: str) -> tuple[str, ...]:
    """The positional arguments of a stage, as text; its module docstring is the help."""
    parser = make_parser(None, doc)
    for name in names:
        parser.add_argument(name, help=f"a {name} of params.yaml")
    options = parser.parse_args()
    return tuple(getattr(options, name) for name in names)


def run_main(main: Callable[[], None]) -> None:
    """Run a stage; a UserError ends it with its message and status 1, any other exception with its traceback."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")


class Progress:
    """Progress of counted work: a bar on a terminal, elsewhere a line for every tenth of it."""

    def __init__(self, total: int, *, label: str, unit: str):
        """unit: of what is counted, in the plural."""
        self.total, self.label, self.unit, self.told = total, label, unit, 0
        self.bar = tqdm(total=total, desc=label, unit=f" {unit}", leave=False, dynamic_ncols=True, disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def report(self, done: int) -> None:
        """`done` of the total is done."""
        if not self.bar.disable:
            self.bar.update(done - self.bar.n)
        elif (tenth := 10 * done // self.total) > self.told:
            print(f"{self.label}: {done:,} of {self.total:,} {self.unit}", flush=True)
            self.told = tenth
