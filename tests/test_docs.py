"""README and the pages of docs/: short, with links that lead somewhere and commands that exist."""

import re
import shlex
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from dvc.cli.parser import get_main_parser

from stages import plan
from stages.lib.judge.comparison import load_comparison
from tests.conftest import ROOT
from tools import readme

PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "models/README.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
WRITTEN_BY_A_RUN = ("metrics/",)


# Commands that `make tour` does not run -> the test that runs each, or one of its form; or the words of its page.
DVC, TOOLS = "tests/test_dvc.py", "tests/tools"
TESTED = {
    r"make (pipeline|review|tour|audit-deps|show STUDY=my)": f"{TOOLS}/test_repro.py::test_make_takes_the_folder",
    r"make (lock|coverage)": f"{TOOLS}/test_repro.py::test_make_lock_pins_each_file_of_requirements_and_make_coverage",
    r"make bench": f"{TOOLS}/test_bench.py::test_quick_run_has_the_documented_fields",
    r"make calibrate": f"{TOOLS}/test_calibrate.py::test_over_tables_intervals_hold_as_often_as_they_say",
    r"make processors": f"{TOOLS}/test_processors.py::test_what_differs_on_a_processor_is_named",
    r"make judge.*": f"{TOOLS}/test_judging_tables.py::test_a_table_is_judged_run_again_and_taken_out_by_one_command",
    r"python -m tools.judge --help": "tests/lib/core/test_cli.py::test_help_is_the_docstring",
    r"python -m tools.review": f"{TOOLS}/test_review.py::test_a_regression_ends_with_status_1",
    r"python -c .*": "tests/test_recipes.py::test_a_table_takes_few_lines_and_no_python",
    r"ssh .*|make CLUSTER=.*": f"{TOOLS}/test_cluster.py::test_two_machines_by_ssh_run_a_stage",
    r"make SET=.*|git restore .*|dvc dag .*": f"{DVC}::test_a_changed_knob_retrains_just_the_runs_that_use_it",
    r"dvc (exp|params|queue) (?!run -S).+": f"{DVC}::test_a_changed_knob_retrains_just_the_runs_that_use_it",
    r"dvc exp run( -S .*)?": f"{DVC}::test_a_new_variant_trains_alone_is_plotted_and_leaves_no_trace",
    r"dvc repro( train.*)?": f"{DVC}::test_forced_runs_repeat_every_byte",
    r"dvc plots diff": f"{DVC}::test_plots_of_two_revisions_open_offline",
    r"dvc (push|pull|remote|unprotect)( .*)?|git (add|clone|commit).*": f"{DVC}::test_a_colleague_pulls_and_has",
    r"\.venv/bin/pip .*": "docs/experiments.md::This was not tried",
}


def list_commands(page: Path) -> list[str]:
    """The commands of a page, in blocks and in sentences, without their comments."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"\s+#.*|^\$ ", "", line).strip() for block in blocks for line in block.splitlines()]
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", sentences)]
    parts = [part.strip() for line in lines for part in ([line] if line.startswith("ssh") else line.split(" && "))]
    return [part for part in dict.fromkeys(parts) if re.match(r"make( |$)|(dvc|python|git|ssh|\.venv/bin/pip) ", part)]


def run_make(*words: str) -> str:
    return subprocess.run(["make", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_readme_is_short_and_has_its_places() -> None:
    text = readme.README.read_text()
    assert len(text.splitlines()) <= 120
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert max(len(line) for block in blocks for line in block.splitlines()) <= readme.WIDTH  # GitHub cuts off the rest
    for section in ("answers", "reading", "table", "cost", "change", "review"):
        assert text.count(readme.START.format(section)) == text.count(readme.END.format(section)) == 1


def test_the_numbers_of_the_statistics_are_those_of_metrics() -> None:
    page, blocks = readme.STATISTICS.read_text(), readme.render_blocks()[readme.STATISTICS]
    for name, content in blocks.items():
        assert f"{readme.START.format(name)}{content}\n{readme.END.format(name)}" in page
    chosen = load_comparison(readme.EXAMPLE)[readme.EXAMPLE].arms["best_single"]["tuned"].judged["log_loss"].difference
    assert f"Their mean is {chosen.value:.4f}" in page and f"{chosen.own_low:.4f} to {chosen.own_high:.4f}" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"", page.read_text()):
        path, _, anchor = (target[0] or target[1]).partition("#")
        if path.startswith(("http", *WRITTEN_BY_A_RUN)):
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), path
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    """DVC's own parser takes each of its commands; `make help` lists each target, and can say what it runs."""
    listed = re.findall(r"^  make (\S+)", run_make("help"), re.MULTILINE)
    for command in list_commands(page):
        words = shlex.split(re.sub(r"<[^>]*>", "placeholder", command))
        if words[0] == "dvc":
            get_main_parser().parse_args(words[1:])
        elif words[0] == "make":
            named = {word for word in words[1:] if not word.startswith("-") and "=" not in word}
            assert named <= {*listed}, command
            run_make("--dry-run", *words[1:])
        elif words[:2] == ["python", "-m"]:
            place = ROOT / words[2].replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), command


def test_every_command_runs_in_the_tour_or_in_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[list[str]] = []

    def follow(command: str, folder: Path, **options: object) -> readme.CommandRun:
        followed.append(shlex.split(command))
        return readme.CommandRun("told", 1, 1)

    monkeypatch.setattr(readme, "measure_command", follow)
    monkeypatch.setattr(readme, "TOUR", tmp_path / "tour.json")
    readme.follow_readme()
    told = {command for page in PAGES for command in list_commands(page)}
    told |= {*re.findall(r"^  (make \S+)", run_make("help"), re.MULTILINE)}
    rest = {command for command in told if shlex.split(command) not in followed}
    assert {command for command in rest if not any(re.fullmatch(form, command) for form in TESTED)} == set()
    for form, (path, words) in ((form, place.split("::")) for form, place in TESTED.items()):
        assert any(re.fullmatch(form, command) for command in rest), f"{form} stands on no page"
        assert words in (ROOT / path).read_text(), words


def test_the_readme_names_every_stage() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    text = readme.README.read_text()
    assert {verb for name in stages if f"`{(verb := name.partition('_')[0])}`" not in text} == set()


def test_the_map_of_the_code_is_short_and_names_what_is_there() -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    places, words = (lines[lines.index(head) + 2 :] for head in ("| place | what stands there |", "| word | meaning |"))
    rows, entries = (list(takewhile(lambda line: line.startswith("|"), table)) for table in (places, words))
    assert len(lines) <= 90
    assert (len(rows), len(entries)) <= (25, 25)
    for row in rows:
        folder = ROOT
        for name in re.findall("`(.*?)`", row.split("|")[1]):
            path = folder / name if "/" not in name else ROOT / name.replace("lib/", "stages/lib/", 1)
            assert path.exists(), f"{name}: {row}"
            folder = path.parent


def test_the_citation_is_complete() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()


def test_dvc_sets_a_knob_by_changing_one_line_and_keeps_every_comment(inside: Path) -> None:
    """`dvc exp run -S` lays the file out anew: params.yaml stands in the form that it leaves alone."""
    from dvc.utils.hydra import apply_overrides

    before = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(before)
    for knob, value in (("dropout", 0.3), ("studies.thoracic.training.epochs", 90), ("l2", 0.02)):
        text = Path("params.yaml").read_text().splitlines()
        apply_overrides("params.yaml", [f"{knob}={value}"])
        lines = Path("params.yaml").read_text().splitlines()
        assert sum(old != new for old, new in zip(text, lines, strict=True)) == 1, knob
    after = Path("params.yaml").read_text()
    assert re.findall("#.*", after) == re.findall("#.*", before)
    shown = [shlex.split(command) for command in list_commands(ROOT / "docs/experiments.md") if "exp run -S" in command]
    values = [value for words in shown for value in get_main_parser().parse_args(words[1:]).set_param]
    apply_overrides("params.yaml", values)
    assert "mine" in plan.check(Path("params.yaml").read_text(), None)[0].studies["tutorial_fashion"].variants
