"""Whether params.yaml and the blocks of dvc.yaml make sense together, asked before any work starts."""

import hashlib
from pathlib import Path

PATHS = (Path("params.yaml"), Path("dvc.yaml"))
SCHEMA = Path("stages/lib")  # the rules stand in several of its modules
CHECKED = Path(".dvc/tmp/repro/checked")  # digest of the files in which no mistake was found


def check_params() -> None:
    """ParamsError, with one line per mistake. Does nothing in a project without the schema, or where it found none."""
    if not all(path.is_file() for path in (*PATHS, SCHEMA / "settings/params.py")):
        return
    files = [*PATHS, *sorted(SCHEMA.rglob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    if CHECKED.is_file() and CHECKED.read_text() == digest:
        return
    # Here, because pydantic takes a fifth of a second.
    from stages.lib.settings.blocks import check_blocks
    from stages.lib.settings.mistakes import ParamsError
    from stages.lib.settings.params import parse_params

    texts = []
    for path in PATHS:
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ParamsError(f"{path} is not UTF-8 text ({error}), expected UTF-8: save it as such") from None
    check_blocks(texts[1], parse_params(texts[0]).studies)
    CHECKED.write_text(digest)
