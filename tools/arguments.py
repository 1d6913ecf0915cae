"""The command lines of the tools: a module's docstring is its help."""

import argparse


def make_parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m <module>`; doc: the module's docstring, its first paragraph the summary."""
    summary, _, details = (doc or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
