"""A clone of this project in a folder of its own, for tests that run the real pipeline through DVC itself."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from stages import plan
from tests.conftest import ROOT
from tests.forked import run_module

CARRIED = (
    "stages",
    "data/source",
    "requirements/base.txt",
    "metrics/bench.json",
    "metrics/calibration.json",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/plots",
    ".dvc/plots_page.html",
    ".dvcignore",
    ".gitignore",
    ".gitattributes",
)


class Project:
    """DVC and git in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "GIT_AUTHOR_NAME": "a", "GIT_COMMITTER_NAME": "a"}
        self.environment |= {"GIT_AUTHOR_EMAIL": "a@localhost", "GIT_COMMITTER_EMAIL": "a@localhost"}

    def call(self, program: str, *arguments: str) -> str:
        if program == "dvc":
            done = run_module("dvc", *arguments, folder=self.folder, environment=self.environment)
        else:
            command, options = [program, *arguments], {"cwd": self.folder, "env": self.environment}
            done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def call_tool(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A module of tools/, which a clone does not carry."""
        command = [sys.executable, "-m", f"tools.{name}", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.tools_environment, text=True, capture_output=True)

    @property
    def tools_environment(self) -> dict[str, str]:
        return self.environment | {"PYTHONPATH": str(ROOT)}

    def make(self, *options: str) -> set[str]:
        """Bring the pipeline up to date as `make` does, quicker than `dvc repro`; the stages that it has run."""
        done = self.call_tool("repro", "--jobs", "2", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"^\[.*?\] (\S+)  \d+:\d\d:\d\d\b", done.stdout, flags=re.MULTILINE))

    def stages_run(self, *command: str) -> set[str]:
        """The stages that a dvc command executed, not restored."""
        return set(re.findall(r"Running stage '([^']*)'", self.call("dvc", *command)))

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def commit(self) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--allow-empty", "--message", "state")


def make_project(folder: Path, params: dict, *, more: Sequence[str] = ()) -> Project:
    """A git repository with these parameters; nothing is run or committed.

    more: files and folders of this project that it carries beside those that the pipeline needs.
    """
    project = Project(folder)
    for name in (*CARRIED, *more):
        source, target = ROOT / name, project.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    save_yaml(project.folder / "params.yaml", params)
    project.call("git", "init", "--quiet", "--initial-branch", "main")
    return project


def put_scripts(folder: Path, **scripts: str) -> None:
    """Name -> what the shell does where a command of this name is called."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def load_yaml(source: Path | str) -> dict:
    """A file, or text."""
    return YAML(typ="safe", pure=True).load(source)


def save_yaml(path: Path, content: dict) -> None:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    with path.open("w") as file:
        yaml.dump(content, file)


def find_users(params: dict, knob: str) -> set[tuple[str, str]]:
    """Study and variant of the runs whose variant names the regulariser and has no strength of its own for it."""
    return {
        (study, name)
        for study, settings in plan.check(json.dumps(params), None)[0].studies.items()
        for name, variant in settings.variants.items()
        if knob in variant.regularizers and knob not in {**settings.settings.strengths, **variant.strengths}
    }
