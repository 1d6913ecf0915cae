"""`python -m MODULE` as a fork of a process that has imported what it needs: that saves up to a second each time."""

import gc
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

SERVER = multiprocessing.get_context("forkserver")
REVIEW = ["tools.review.judging", "stages.lib.report.styles"]
REPRO = ["tools.repro.pipeline", "tools.repro.run", "dvc.cli.parser", "dvc.repo.reproduce"]
SERVER.set_forkserver_preload([*REVIEW, *REPRO, "stages.plan"])


def run_module(module: str, *arguments: str, folder: Path, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """The status and what was printed, as `subprocess.run` returns them."""
    with TemporaryDirectory() as scratch:
        outputs = [Path(scratch, name) for name in ("stdout", "stderr")]
        child = SERVER.Process(target=become, args=(module, arguments, folder, dict(environment), outputs))
        child.start()
        child.join()
        printed = [output.read_text() for output in outputs]
    return CompletedProcess([module, *arguments], child.exitcode, *printed)


def become(
    module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], outputs: Sequence[Path]
) -> None:
    """Be what `python -m MODULE ARGUMENTS` would be; runs in the fork."""
    gc.disable()  # it ends soon, and to look for garbage takes a tenth of its time
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), number)
    sys.argv[1:] = arguments
    sys.path.insert(0, str(folder))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
