"""The workflows of GitHub Actions: valid, least permissions, every action pinned by its commit."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent


def test_there_are_two() -> None:
    assert [path.name for path in WORKFLOWS] == ["check.yml", "review.yml"]


@pytest.mark.parametrize(
    "command",
    [
        [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        [TOOLS / "zizmor", "--offline", "--no-progress", "--quiet", "--pedantic"],
    ],
    ids=["schema", "permissions and pins"],
)
def test_linters_find_nothing(command: list[str]) -> None:
    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_runs_is_a_command_of_the_makefile(path: Path) -> None:
    called = set(re.findall(r"\bmake(?: --silent)?(?: (\w+))?", path.read_text())) - {""}
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert called <= targets
