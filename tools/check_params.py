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
    from stages.lib.settings.params import examine

    from stages.lib.settings import blocks
    from stages.lib.settings.mistakes import PARAMS, raise_all
    from stages.plan import read_text

    text, graph = (read_text(str(path)) for path in PATHS)
    params, mistakes, root = examine(text)
    wrong_blocks, graph_root = blocks.examine_graph(graph, getattr(params, "studies", {}))
    raise_all([*mistakes, *wrong_blocks], {PARAMS: root, blocks.GRAPH: graph_root})
    CHECKED.write_text(digest)
