"""The workflows of GitHub Actions: valid, least permissions, every action pinned by its commit."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import load_yaml

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent


def list_steps(path: Path) -> list[dict]:
    return [step for job in load_yaml(path)["jobs"].values() for step in job["steps"]]


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


@pytest.mark.parametrize(
    ("name", "called"),
    [("audit.yml", {"make audit-deps"}), ("check.yml", {"make check", "make test"}), ("review.yml", {"make"})],
)
def test_what_runs_is_a_command_of_the_makefile(name: str, called: set[str]) -> None:
    scripts = [step.get("run", "") for step in list_steps(ROOT / ".github/workflows" / name)]
    assert {command.strip() for command in re.findall(r"\bmake\b(?: [\w-]+)?", "\n".join(scripts))} == called
    targets = set(re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command.removeprefix("make").strip() or "pipeline" for command in called} <= targets


def test_dependencies_are_audited_every_week_and_where_the_lock_changes() -> None:
    started_by = load_yaml(ROOT / ".github/workflows/audit.yml")["on"]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", started_by["schedule"][0]["cron"])
    assert started_by["push"]["paths"] == started_by["pull_request"]["paths"] == ["requirements/**"]


def test_scripts_are_sound_shell() -> None:
    scripts = [step["run"] for path in WORKFLOWS for step in list_steps(path) if "run" in step]
    scripts += [(ROOT / path).read_text() for path in (".ci/run", "tools/lock.sh")]
    for script in scripts:
        command = [TOOLS / "shellcheck", "--shell", "bash", "-"]
        done = subprocess.run(command, input=script, text=True, capture_output=True)
        assert done.returncode == 0, script + done.stdout
