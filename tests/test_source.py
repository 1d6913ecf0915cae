"""What the source never does: unpickle, let Keras run code of a file, or give text to a shell."""

import ast
from pathlib import Path

SOURCES = sorted([*Path("stages").rglob("*.py"), *Path("tools").rglob("*.py")])
REFUSED = {"allow_pickle": True, "safe_mode": False, "shell": True, "unsafe_load": None, "UnsafeLoader": None}
FUNCTIONS = {"eval", "exec", "unsafe_load", "full_load", "read_pickle", "system", "popen"}
MODULES = {"pickle", "marshal", "shelve", "joblib", "dill"}


def find_faults(text: str) -> list[str]:
    """Each call or import that could run what a file or params.yaml holds."""
    faults = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            faults += [name for name in names if name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            faults += [name] if name in FUNCTIONS else []
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg in REFUSED and value == REFUSED[keyword.arg]:
                    faults.append(f"{keyword.arg}={value}")
    return faults


# The commands of dvc.yaml, as DVC runs them; of params.yaml they hold names alone: small letters, digits and _.
MEANT = {"tools/repro/engine.py": ["shell=True"]}


def test_no_source_runs_what_it_reads() -> None:
    found = {str(path): faults for path in SOURCES if (faults := find_faults(path.read_text()))}
    assert found == MEANT


def test_each_fault_would_be_found() -> None:
    for text in ("import pickle", "np.load(a, allow_pickle=True)", "run(a, shell=True)", "eval(a)", "os.system(a)"):
        assert find_faults(text), text
    assert not find_faults("np.load(a, allow_pickle=False)\nrun([a], shell=False)")
