"""Put the results of metrics/ into README.md and docs/statistics.md, between their markers, so that none is typed.

--check writes nothing and says whether these pages are in step. --measure follows README.md in a clone of its own, and
records in metrics/tour.json what that prints and takes: a table of one's own, judged and taken out again; the first
`make`, from nothing; a changed knob, its `make`, `dvc metrics diff` and `make review`; the way back; `make test`.
What is not committed is left out. It takes as long as the whole pipeline does; nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
import psutil
from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy import stats

from stages.lib.core.cli import UserError, make_parser, run_main
from stages.lib.core.files import write_json
from stages.lib.judge.arms import AT_KNOB, TUNED
from stages.lib.judge.comparison import StudyResult, load_comparison
from stages.lib.judge.plans import BEST_SINGLE
from stages.lib.report.styles import show_interval
from tools.bench.__main__ import describe_machine

README, STATISTICS = Path("README.md"), Path("docs/statistics.md")
EXAMPLE = "images_2000"  # the study that is worked through in STATISTICS
ANSWER, TOUR, CALIBRATION = (Path(f"metrics/{name}.json") for name in ("answer", "tour", "calibration"))
START, END = "<!-- {} -->\n", "<!-- end of {} -->\n"
NUM_ARMS = 6  # of the example
WIDTH = 96  # characters of a line
NUM_SHOWN = 3  # lines of what a command printed
KNOB, OTHER_KNOB = "dropout=0.3", "dropout=0.4"  # what is changed by `make`, and then by DVC
TABLE = "make judge DATA=data/source/german.csv TARGET=class POSITIVE=bad NAME=credit"
UNDO = "make judge UNDO=credit"
REVIEW = "make review BASE=HEAD"
OTHERS = ("make help", "make show", REVIEW, "dvc metrics diff --md main")
BACK = ("git restore .", "make", "make check", "make quick")
TICK = 2.0  # seconds between two looks at the memory


# The blocks of README.md and docs/statistics.md, whose words are in readme.md.jinja -----------------------------------


def write_block(name: str, **shown: Any) -> str:
    """The block that a macro of the template writes."""
    environment = Environment(loader=PackageLoader("tools", "."), undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.globals["interval"] = show_interval
    environment.filters["share"] = lambda counted: f"{100 * counted['value']:.1f} %"
    return str(getattr(environment.get_template("readme.md.jinja").module, name)(**shown)).strip()


def render_answers(answer: Mapping[str, Any]) -> str:
    """The answer over all data; the page and the terminal have a line for each study beside it."""
    first, *others = answer["sentences"][0].removesuffix(".").split(". ")
    return write_block("answers", first=first, others=others)


def render_table(tour: Mapping[str, Any]) -> str:
    """What a table of one's own prints: what is seen and decided, and the answer, without the lines of stages.

    As wide as a block of GitHub's, which cuts off what is longer.
    """
    skipped = ("[", "Installing", "What was asked", "Figures", "AUC", "Accuracy")  # log loss is what decides
    kept = [line for line in tour["judge"]["printed"].splitlines() if line and not line.startswith(skipped)]
    lines = [part for line in kept for part in textwrap.wrap(line, WIDTH, subsequent_indent="    ")]
    return write_block("table", command=TABLE, lines=lines, seconds=tour["judge"]["seconds"])


def render_knob(tour: Mapping[str, Any]) -> str:
    """The end of `make` after a changed knob, the start of what DVC tells of it, and how long it takes by either."""
    name = tour["knob"].partition("=")[0]
    head, *lines = tour["diff"]["printed"].splitlines()
    changed = [line for line in lines if f".{name}." in line]
    shown = [re.sub(r"  +", "  ", line) for line in [head, *changed[:NUM_SHOWN]]]
    end = next(line for line in reversed(tour["again"]["printed"].splitlines()) if line.startswith("Everything"))
    return write_block("change", tour=tour, end=end, lines=shown, other=OTHER_KNOB)


def render_example(study: StudyResult) -> str:
    """From the log losses of a study's seeds to its verdicts: of the choice of validation rows, then of the arms."""
    asked = {
        key.variant: difference
        for key, arm in study.list_arms()
        if key.kind in (TUNED, AT_KNOB) and (difference := arm.judged["log_loss"].difference)
        if difference.verdict != "not_asked"
    }
    chosen, plain = study.arms[BEST_SINGLE]["tuned"].judged["log_loss"], study.baseline_result.judged["log_loss"]
    gained, found = np.subtract(chosen.replicates, plain.replicates), asked.pop(BEST_SINGLE)
    t, half = stats.t.isf(0.025, len(gained) - 1), (found.own_high - found.own_low) / 2
    deviation, lowest = gained.std(ddof=1), sorted(asked, key=lambda name: asked[name].value)[:NUM_ARMS]
    error = deviation / np.sqrt(len(gained))
    share, arm_share = (5 * one.p_value / one.p_adjusted for one in (found, asked[lowest[0]]))  # Bonferroni
    numbers = {"t": t, "deviation": deviation, "error": error, "images": np.sqrt(half**2 - (t * error) ** 2) / 1.96}
    numbers |= {"share": share, "num_arms": len(asked), "arm_share": arm_share}
    best = [key.variant for key in study.may_be_best["log_loss"]]
    arms = {name: asked[name] for name in lowest}
    return write_block("example", gained=gained.tolist(), found=found, best=best, lowest=arms, **numbers)


def render_blocks() -> dict[Path, dict[str, str]]:
    """Page -> block -> what stands there."""
    tour, answer = (json.loads(path.read_text(encoding="utf-8")) for path in (TOUR, ANSWER))
    blocks = {
        "answers": render_answers(answer),
        "reading": "- " + re.sub(" (?=[▲★])", "\n- ", answer["reading"]),
        "table": render_table(tour),
        "cost": write_block("cost", tour=tour),
        "change": render_knob(tour),
        "review": f"> {tour['review']}",
    }
    frontier = json.loads(CALIBRATION.read_text(encoding="utf-8")).get("frontier", {})
    example = render_example(load_comparison(EXAMPLE)[EXAMPLE])
    return {README: blocks, STATISTICS: {"example": example, "frontier": write_block("frontier", pools=frontier)}}


def fill_block(page: str, block: str, content: str) -> str:
    start, end = START.format(block), END.format(block)
    if page.count(start) != 1 or page.count(end) != 1:
        expected = f"expected one {start.strip()} and one {end.strip()}"
        raise UserError(f"a page has lost its markers, {expected}: restore them")
    before, rest = page.split(start)
    _, after = rest.split(end)
    return f"{before}{start}{content}\n{end}{after}"


# What its commands print and take ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommandRun:
    """What a command has printed and what it took: seconds, and bytes of memory at the peak."""

    printed: str
    seconds: float
    memory: int


def measure_command(command: str, folder: Path, *, ends_with: tuple[int, ...] = (0,)) -> CommandRun:
    """Run a command as a user would. UserError where it ends with another status than `ends_with`."""
    print(f"$ {command}", flush=True)
    # Not the activated environment of this project: the clone has its own.
    own = ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    environment |= {"PATH": f"{folder}/.venv/bin:{os.environ['PATH']}"}
    start, peak = time.monotonic(), 0
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(shlex.split(command), cwd=folder, stdout=output, env=environment)
        while process.returncode is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(TICK)
            peak = max(peak, measure_memory(process.pid))
        seconds = time.monotonic() - start
        output.seek(0)
        printed = output.read()
    if process.returncode not in ends_with:
        raise UserError(f"`{command}` ended with status {process.returncode}, expected a project that runs: see above")
    return CommandRun(printed, seconds, peak)


def measure_memory(pid: int) -> int:
    """Bytes that a process and all those below it hold; what they share is counted once."""
    total = 0
    with suppress(psutil.Error):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.Error):
                held = process.memory_full_info()
                total += getattr(held, "pss", held.uss)
    return total


def measure_disk(folder: Path) -> int:
    """Bytes that a folder's files take, each counted once however many links it has."""
    files = {(status.st_dev, status.st_ino): status for status in map(Path.lstat, folder.rglob("*"))}
    return sum(status.st_blocks * 512 for status in files.values())


def follow_readme() -> None:
    """Follow README.md in a clone, and write metrics/tour.json."""
    with TemporaryDirectory() as scratch:
        clone = Path(scratch, "clone")
        measure_command(f"git clone --quiet {shlex.quote(str(Path.cwd()))} {clone}", Path(scratch))
        measure_command("git checkout --quiet -B main", clone)
        commit = measure_command("git rev-parse --short HEAD", clone).printed.strip()
        steps = {"install": measure_command("make setup", clone), "judge": measure_command(TABLE, clone)}
        measure_command(UNDO, clone)
        measure_command("git diff --exit-code", clone)  # nothing is left of it
        steps["first"] = measure_command("make", clone)
        disk = measure_disk(clone)
        measure_command("git commit --quiet --allow-empty --all --message Results", clone)
        steps["again"] = measure_command(f"make SET={KNOB}", clone)
        steps["diff"] = measure_command("dvc metrics diff", clone)
        review = measure_command("python -m tools.review main", clone, ends_with=(0, 1)).printed.splitlines()[0]
        steps["experiment"] = measure_command(f"dvc exp run -S {OTHER_KNOB}", clone)
        for command in (*OTHERS, *BACK):
            measure_command(command, clone, ends_with=(0, 2) if command == REVIEW else (0,))  # 2: something is worse
        steps["test"] = measure_command("make test", clone)
    tour = {"machine": describe_machine(), "commit": commit, "disk": disk, "knob": KNOB}
    tour |= {name: asdict(step) for name, step in steps.items()} | {"review": review}
    write_json(TOUR, tour)


def main() -> None:
    parser = make_parser("tools.readme", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where README.md is out of step")
    parser.add_argument("--measure", action="store_true", help="measure what README.md tells, then write it")
    options = parser.parse_args()
    if options.measure:
        follow_readme()
    try:
        for page, blocks in render_blocks().items():
            found = wanted = page.read_text(encoding="utf-8")
            for block, content in blocks.items():
                wanted = fill_block(wanted, block, content)
            if wanted != found and options.check:
                raise UserError(f"{page} does not show what metrics/ holds: run python -m tools.readme")
            if wanted != found:
                page.write_text(wanted, encoding="utf-8")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing, expected it beside the results: git checkout {error.filename}")


if __name__ == "__main__":
    run_main(main)
