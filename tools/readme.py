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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
import psutil
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


# The blocks of README.md ---------------------------------------------------------------------------------------------


def render_answers(answer: dict[str, Any]) -> str:
    """The answer over all data; the page and the terminal have a line for each study beside it."""
    first, *others = answer["sentences"][0].removesuffix(".").split(". ")
    return "\n".join([f"- **{first}.**", *(f"- {sentence}." for sentence in others)])


def render_cost(tour: Mapping[str, Any]) -> str:
    """What the first `make` takes, and `make test`."""
    machine, first, seconds = tour["machine"], tour["first"], tour["install"]["seconds"] + tour["first"]["seconds"]
    tests = f" `make test` took {tour['test']['seconds'] / 60:.0f} minutes." if "test" in tour else ""
    where, disk = f"On {machine['cores']} cores of {machine['processor']}", f"{tour['disk'] / 1e9:.1f} GB of disk"
    took = f"{seconds / 60:.0f} minutes, {disk} and\n{first['memory'] / 1e9:.1f} GB of memory"
    return f"{where} the first `make` took {took} (`make tour` at commit {tour['commit']}).{tests}"


def render_table(tour: Mapping[str, Any]) -> str:
    """What a table of one's own prints: what is seen and decided, and the answer, without the lines of stages.

    As wide as a block of GitHub's, which cuts off what is longer.
    """
    skipped = ("[", "Installing", "What was asked", "Figures", "AUC", "Accuracy")  # log loss is what decides
    kept = [line for line in tour["judge"]["printed"].splitlines() if line and not line.startswith(skipped)]
    lines = [part for line in kept for part in textwrap.wrap(line, WIDTH, subsequent_indent="    ")]
    minutes = tour["judge"]["seconds"] / 60
    return "\n".join(["```", f"$ {TABLE}", *lines, "```", f"It took {minutes:.1f} minutes on the same machine."])


def render_knob(tour: Mapping[str, Any]) -> str:
    """The end of `make` after a changed knob, the start of what DVC tells of it, and how long it takes by either."""
    name = tour["knob"].partition("=")[0]
    head, *lines = tour["diff"]["printed"].splitlines()
    changed = [line for line in lines if f".{name}." in line]
    shown = [re.sub(r"  +", "  ", line) for line in [head, *changed[:NUM_SHOWN]]]
    done = next(line for line in reversed(tour["again"]["printed"].splitlines()) if line.startswith("Everything"))
    block = ["```", f"$ make SET={tour['knob']}", done, "$ dvc metrics diff", *shown, "...", "```"]
    by_make, by_dvc = (f"{tour[step]['seconds'] / 60:.1f}" for step in ("again", "experiment"))
    alone = f"and `dvc exp run`, one stage at a time, {by_dvc} for `{OTHER_KNOB}`"
    return "\n".join([*block, f"There `make` took {by_make} minutes for `{KNOB}`, {alone}."])


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
    error = gained.std(ddof=1) / np.sqrt(len(gained))
    images = np.sqrt(half**2 - (t * error) ** 2) / 1.96
    mean, low, high = found.value, found.value - t * error, found.value + t * error
    lowest = sorted(asked, key=lambda name: asked[name].value)[:NUM_ARMS]
    share, own_share = (5 * one.p_value / one.p_adjusted for one in (found, asked[lowest[0]]))  # Bonferroni
    lines = [
        f"The differences of {len(gained)} seeds are {', '.join(f'{value:.3f}' for value in gained)}.",
        f"1. *Seeds.* Their mean is {mean:.4f}, its standard error {gained.std(ddof=1):.4f} / sqrt({len(gained)}) = "
        f"{error:.4f}. A t-test has {mean:.4f} ± {t:.2f} x {error:.4f}, so {low:.4f} to {high:.4f}.",
        f"2. *Images.* Others would move the mean, too, by a standard error of {images:.4f}. Both make "
        f"± sqrt(({t:.2f} x {error:.4f})² + (1.96 x {images:.4f})²), so {found.own_low:.4f} to {found.own_high:.4f}.",
        f"3. *The question* may miss with {share:.3g} %, not 5 %: {found.low:.4f} to {found.high:.4f}, "
        f"*{found.verdict}*.",
        f"4. *The arms* have {own_share * len(asked):.3g} % by now, and are {len(asked)}: {own_share:.2g} % for each.",
        f"5. *May be the best*: {', '.join(f'`{key.variant}`' for key in study.may_be_best['log_loss'])}.",
        "\n| the lowest arms | difference | alone, at 95 % | shown | verdict |\n|---|---|---|---|---|",
    ]
    for name, one in ((name, asked[name]) for name in lowest):
        own, shown = show_interval(one.own_low, one.own_high), show_interval(one.low, one.high)
        lines.append(f"| `{name}` | {one.value:.3f} | {own} | {shown} | {one.verdict} |")
    return "\n".join(lines)


def render_frontier(frontier: Mapping[str, Any]) -> str:
    """What each way of judging gives, on the risks that shaped constants and on what did not."""
    heads = ("measured on", "method", "width: AUC", "log loss", "worst arm", "false findings", "all right")
    rows: list[Iterable[str]] = [heads, ["---"] * len(heads)]
    for pool, methods in frontier.items():
        for method, counts in methods.items():
            widths = (f"{counts['width'].get(f'l2_tuned, {score}', np.nan):.2f}" for score in ("auc", "log_loss"))
            shares = (counts[name]["value"] for name in ("lowest_coverage", "family_wise_error", "all_intervals"))
            rows.append((f"`{pool}`", f"`{method}`", *widths, *(f"{100 * share:.1f} %" for share in shares)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("nan", "")


def render_blocks() -> dict[Path, dict[str, str]]:
    """Page -> block -> what stands there."""
    tour, answer = (json.loads(path.read_text(encoding="utf-8")) for path in (TOUR, ANSWER))
    blocks = {
        "answers": render_answers(answer),
        "reading": "- " + re.sub(" (?=[▲★])", "\n- ", answer["reading"]),
        "table": render_table(tour),
        "cost": render_cost(tour),
        "change": render_knob(tour),
        "review": f"> {tour['review']}",
    }
    frontier = json.loads(CALIBRATION.read_text(encoding="utf-8")).get("frontier", {})
    example = render_example(load_comparison(EXAMPLE)[EXAMPLE])
    return {README: blocks, STATISTICS: {"example": example, "frontier": render_frontier(frontier)}}


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
