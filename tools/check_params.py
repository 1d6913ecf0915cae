"""Whether params.yaml and the blocks of dvc.yaml make sense together, asked before any work starts."""

import hashlib
from pathlib import Path

PATHS = (Path("params.yaml"), Path("dvc.yaml"), Path("stages/lib/settings/params.py"))
CHECKED = Path(".dvc/tmp/repro/checked")  # digest of the files in which no mistake was found


def check_params() -> None:
    """ParamsError, with one line per mistake. Does nothing in a project without the schema, or where it found none."""
    if not all(path.is_file() for path in PATHS):
        return
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in PATHS)).hexdigest()
    if CHECKED.is_file() and CHECKED.read_text() == digest:
        return
    # Here, because pydantic takes a fifth of a second.
    from stages.lib.settings.blocks import check_blocks
    from stages.lib.settings.mistakes import ParamsError
    from stages.lib.settings.params import parse_params

    try:
        params, graph = (path.read_text(encoding="utf-8") for path in PATHS[:2])
    except UnicodeDecodeError as error:
        raise ParamsError(f"params.yaml is no UTF-8 text ({error}), expected it to be: save it as UTF-8") from None
    check_blocks(graph, parse_params(params).studies)
    CHECKED.write_text(digest)
