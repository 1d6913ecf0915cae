"""dvc.yaml against the code: its deps are the modules that each stage really imports, its stages are stages/."""

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from stages.lib import versions
from stages.lib.versions import USED

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]  # with merge keys resolved
GRAPH = {name: stage | stage.get("do", {}) for name, stage in STAGES.items()}


def find_verb(stage: dict) -> str:
    """`train` of `python -m stages.train ...`."""
    program, flag, module = shlex.split(stage["cmd"])[:3]
    assert (program, flag) == ("python", "-m")
    return module.removeprefix("stages.")


@cache
def list_imported(path: Path) -> set[str]:
    """What a file imports, anywhere in it; of `from a import b` both a and a.b, since b may be a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def find_imports(path: Path) -> set[Path]:
    """The project's own modules that a file imports."""
    places = [Path(*name.split(".")) for name in list_imported(path) if name.startswith("stages")]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return {file for file in files if file.is_file()}


def walk_imports(path: Path) -> set[Path]:
    """A file, the package that is imported before it, and all that they import, and what that imports."""
    reached, waiting = set(), {path, Path("stages/__init__.py")}
    while waiting:
        file = waiting.pop()
        reached.add(file)
        waiting |= find_imports(file) - reached
    return {file for file in reached if file.name != "__init__.py"}


def expand(dependency: str) -> set[Path]:
    path = Path(dependency)
    return {file for file in path.rglob("*.py") if file.name != "__init__.py"} if path.is_dir() else {path}


TRAIN = [stage for stage in GRAPH.values() if find_verb(stage) == "train"]


@pytest.mark.parametrize("name", GRAPH)
def test_deps_are_the_modules_that_are_imported(name: str) -> None:
    listed = [dependency for dependency in GRAPH[name]["deps"] if dependency.startswith("stages/")]
    listed_files = set().union(*map(expand, listed))
    imported = walk_imports(Path("stages", f"{find_verb(GRAPH[name])}.py"))
    assert imported - listed_files == set(), "imported, not among the deps of dvc.yaml"
    whole_folders = set().union(*(expand(dependency) for dependency in listed if Path(dependency).is_dir()))
    assert listed_files - imported - whole_folders == set(), "among the deps of dvc.yaml, not imported"


@pytest.mark.parametrize("stage", ["fetch", "train"])
def test_a_folder_among_the_deps_of_a_long_stage_is_imported_whole(stage: str) -> None:
    """Else an edit would rerun a stage that it cannot change, and all that follow."""
    folders = [dependency for dependency in GRAPH[stage]["deps"] if dependency.startswith("stages/lib/")]
    imported = walk_imports(Path("stages", f"{find_verb(GRAPH[stage])}.py"))
    for folder in folders:
        assert expand(folder) <= imported, folder


def test_what_is_said_or_computed_of_predictions_retrains_nothing_nor_do_held_out_rows() -> None:
    development, code = "data/development/${item.study}", ("core", "data/samples.py", "lanes")
    for block in TRAIN:
        others = [dependency for dependency in block["deps"] if not dependency.startswith("data/plan/")]
        assert others == [development, "stages/train.py", *(f"stages/lib/{name}" for name in code)]


def test_the_map_fits_a_page_and_no_dep_list_is_written_in_it_twice() -> None:
    text = Path("dvc.yaml").read_text()
    assert len(text.splitlines()) <= 170
    written = re.findall(r"(?m)^ +deps:( &\w+)?(?: \[.*)?$", text)  # an alias is none
    assert len(written) == len({tuple(map(str, stage["deps"])) for stage in GRAPH.values()})


def test_every_stage_of_the_graph_is_a_file_and_every_file_a_stage() -> None:
    files = {path.stem for path in Path("stages").glob("*.py")} - {"__init__"}
    assert {find_verb(stage) for stage in GRAPH.values()} == files
    assert all(stage.get("desc") for stage in GRAPH.values()), "each says what it does"


def test_params_name_all_runs_so_that_a_new_study_or_variant_needs_no_edit_of_the_graph() -> None:
    """The tutorial's studies, and variants of one study alone, have blocks of their own."""
    assert GRAPH["train"]["matrix"] == {"study": "${studies}", "variant": "${variants}"}
    assert GRAPH["train_own"]["foreach"] == "${own_variants}"
    for name in ("preprocess", "evaluate", "reference", "compare", "draw"):
        assert (source_of(GRAPH[name]), source_of(GRAPH[f"{name}_tutorial"])) == ("${studies}", "${tutorial}")


def source_of(stage: dict) -> str:
    """What of params.yaml a block repeats itself for."""
    (source,) = [stage["foreach"]] if "foreach" in stage else stage["matrix"].values()
    return source


def test_packages_hold_no_code_of_their_own() -> None:
    """At most they hand on names of their modules, so that an __init__ need not be among the deps of dvc.yaml."""
    for path in Path("stages").rglob("__init__.py"):
        kinds = {type(node) for node in ast.parse(path.read_text()).body}
        assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}, path


NUMERIC = {name: name for name in ("keras", "numpy", "pandas", "scipy", "tensorflow")} | {"sklearn": "scikit-learn"}


NOT_CALLED = {"evaluate": {"scikit-learn"}}  # it reads protocols, and leaves splitting to preprocess
CALLED_WITHIN = {"reference": {"scipy"}}  # by scikit-learn, to minimise


def find_libraries(stage: str) -> set[str]:
    """The numeric libraries that a stage's modules import, anywhere in them."""
    files = walk_imports(Path("stages", f"{stage}.py"))
    imported = {name.partition(".")[0] for file in files for name in list_imported(file)}
    return {NUMERIC[name] for name in imported & NUMERIC.keys()}


@pytest.mark.parametrize("stage", USED)
def test_versions_are_an_input_of_the_stages_that_use_them(stage: str) -> None:
    assert set(USED[stage]) == find_libraries(stage) - NOT_CALLED.get(stage, set()) | CALLED_WITHIN.get(stage, set())
    users = [name for name, entry in GRAPH.items() if find_verb(entry) == stage]
    assert users
    for name in users:
        assert f"data/plan/_versions/{stage}.json" in GRAPH[name]["deps"]
    assert "requirements/base.txt" in GRAPH["plan"]["deps"]


def test_what_does_not_train_does_not_import_tensorflow() -> None:
    """Each after the one before it, in one process."""
    verbs = ("plan", "fetch", "preprocess", "reference", "compare", "audit", "draw", "report")
    modules = [*(f"stages.{verb}" for verb in verbs), "tools.review.__main__", "tools.judge.__main__"]
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    code += "    assert 'tensorflow' not in sys.modules, name"
    subprocess.run([sys.executable, "-c", code, *modules], check=True)


@pytest.mark.parametrize(
    ("upgraded", "stale"),
    [
        ("tensorflow", {"train", "evaluate", "experiment"}),
        ("scikit-learn", {"preprocess", "audit", "compare", "experiment", "reference"}),
        ("scipy", {"audit", "compare", "reference"}),
        ("dvc", set()),
    ],
)
def test_an_upgrade_reruns_what_uses_it(upgraded: str, stale: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before, find_version = versions.plan_versions(), versions.find_version
    monkeypatch.setattr(versions, "find_version", lambda name: "9.9" if name == upgraded else find_version(name))
    after = versions.plan_versions()
    assert {name.removeprefix("_versions/") for name in before if before[name] != after[name]} == stale


def test_an_environment_that_is_not_the_pinned_one_is_told() -> None:
    text = Path("requirements/base.txt").read_text()
    assert not list(versions.find_other_versions(text))
    (told,) = versions.find_other_versions(re.sub(r"^keras==\S+", "keras==1.0", text, flags=re.MULTILINE))
    assert told.endswith("expected 1.0 of requirements/base.txt: `make setup` installs it, `make lock` pins another")


def test_every_python_has_the_same_versions() -> None:
    """So that it writes the same bytes."""
    lines = Path("requirements/base.txt").read_text().splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if "==" in line]
    key = "python_full_version"
    installed = [
        {pin.name: pin.specifier for pin in pins if not pin.marker or pin.marker.evaluate({key: python})}
        for python in ("3.11.2", "3.11.7", "3.12.1", "3.13.0")
    ]
    assert len(installed[0]) > 100
    assert all(one == installed[0] for one in installed)
