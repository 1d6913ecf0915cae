"""dvc.yaml against the code: its deps are the modules that each stage really imports, its stages are stages/."""

import ast
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

GRAPH = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text())["stages"]
PARAMS = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())


def body(stage: dict) -> dict:
    """A stage's own entry, out of the foreach that may stand around it."""
    return stage.get("do", stage)


def find_verb(stage: dict) -> str:
    """`train` of `python -m stages.train ...`."""
    program, flag, module = shlex.split(body(stage)["cmd"])[:3]
    assert (program, flag) == ("python", "-m")
    return module.removeprefix("stages.")


def find_imports(path: Path) -> set[Path]:
    """The project's own modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("stages")]
        else:
            continue
        found |= {file for name in names if (file := Path(*name.split(".")).with_suffix(".py")).is_file()}
    return found


def walk_imports(path: Path) -> set[Path]:
    """A file and all that it imports, and what that imports."""
    reached, waiting = set(), {path}
    while waiting:
        file = waiting.pop()
        reached.add(file)
        waiting |= find_imports(file) - reached
    return reached


def expand(dependency: str) -> set[Path]:
    path = Path(dependency)
    return set(path.glob("*.py")) - {path / "__init__.py"} if path.is_dir() else {path}


@pytest.mark.parametrize("name", GRAPH)
def test_deps_are_the_modules_that_are_imported(name: str) -> None:
    listed = [dependency for dependency in body(GRAPH[name])["deps"] if dependency.startswith("stages/")]
    listed_files = set().union(*map(expand, listed))
    imported = walk_imports(Path("stages", f"{find_verb(GRAPH[name])}.py"))
    assert imported - listed_files == set(), "imported, not among the deps of dvc.yaml"
    whole_folders = set().union(*(expand(dependency) for dependency in listed if Path(dependency).is_dir()))
    assert listed_files - imported - whole_folders == set(), "among the deps of dvc.yaml, not imported"


def test_a_folder_among_the_deps_of_train_is_imported_whole() -> None:
    imported = walk_imports(Path("stages/train.py"))
    assert expand("stages/lib/lanes") <= imported


def test_every_stage_of_the_graph_is_a_file_and_every_file_a_stage() -> None:
    files = {path.stem for path in Path("stages").glob("*.py")} - {"__init__"}
    assert {find_verb(stage) for stage in GRAPH.values()} == files


def test_every_stage_says_what_it_does() -> None:
    assert all(body(stage).get("desc") for stage in GRAPH.values())


def test_every_study_has_a_train_block_that_depends_on_no_held_out_row() -> None:
    for study in PARAMS["studies"]:
        block = GRAPH[f"train_{study}"]
        assert block["matrix"] == {"variant": f"${{studies.{study}.variants}}"}
        assert not any("held_out" in dependency or "raw" in dependency for dependency in block["deps"])


def test_packages_hold_no_code_of_their_own() -> None:
    """So that an __init__ need not be among the deps of dvc.yaml."""
    for path in Path("stages").rglob("__init__.py"):
        assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body), path


def test_scores_and_statistics_do_not_need_tensorflow() -> None:
    for verb in ("plan", "preprocess", "compare"):
        for path in walk_imports(Path("stages", f"{verb}.py")):
            assert "tensorflow" not in path.read_text(), f"{verb} imports {path}"
