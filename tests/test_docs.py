"""README and the pages of docs/: short, with links that lead somewhere and commands that exist."""

import re
import shlex
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from dvc.cli.parser import get_main_parser

from stages.lib.judge.comparison import load_comparison
from tests.conftest import ROOT
from tools import readme

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN_BY_A_RUN = ("metrics/",)


def list_commands(page: Path) -> list[str]:
    """The commands of DVC, make and this project's modules in the blocks of a page, without their comments."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split(" && ")]
    return [part for part in parts if re.match(r"(dvc|make|python -m)\b", part)]


def run_make(*words: str) -> str:
    return subprocess.run(["make", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_readme_is_short_and_has_its_places() -> None:
    text = readme.README.read_text()
    assert len(text.splitlines()) <= 120
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


def test_dvc_sets_a_knob_by_changing_one_line_and_keeps_every_comment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run -S` lays the file out anew: params.yaml stands in the form that it leaves alone."""
    from dvc.utils.hydra import apply_overrides

    monkeypatch.chdir(tmp_path)
    before = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(before)
    for knob, value in (("dropout", 0.3), ("studies.thoracic.training.epochs", 90), ("l2", 0.02)):
        text = Path("params.yaml").read_text().splitlines()
        apply_overrides("params.yaml", [f"{knob}={value}"])
        changed = [
            pair for pair in zip(text, Path("params.yaml").read_text().splitlines(), strict=True) if len({*pair}) > 1
        ]
        assert len(changed) == 1, knob
    after = Path("params.yaml").read_text()
    assert re.findall("#.*", after) == re.findall("#.*", before)
