"""The report of made-up studies: what it holds, that it repeats, and that it needs nothing but itself."""

import dataclasses
import re
from pathlib import Path

import altair as alt
import pytest
import yaml
from markupsafe import escape

from stages import report
from stages.lib.report.answers import answer, choose_arms, headline
from stages.lib.report.sections import Results, draw_answer, draw_study
from stages.lib.report.styles import name_arm
from tests.made import SKILL, make_results

REPORT, TEXT = Path("metrics/report.html"), Path("metrics/report.md")
ANSWER = Path("metrics/answer.txt")


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="module")
def files(results: Results) -> dict[Path, str]:
    return {path: content.decode() for path, content in report.run(results).items()}


def test_the_same_results_give_the_same_bytes(results: Results, files: dict[Path, str]) -> None:
    assert {path: content.decode() for path, content in report.run(make_results()).items()} == files


@pytest.mark.parametrize("path", [REPORT, TEXT])
def test_every_answer_and_every_arm_is_there(results: Results, files: dict[Path, str], path: Path) -> None:
    shown = (lambda text: str(escape(text))) if path == REPORT else str
    for study in results.comparison.values():
        for sentence in answer(study, 0.95):
            assert shown(sentence) in files[path]
        for key, _ in study.list_arms():
            assert shown(name_arm(*key)) in files[path]


def test_the_answer_for_a_terminal_has_each_study_and_the_arms_that_matter(
    results: Results, files: dict[Path, str]
) -> None:
    told = files[ANSWER].split("\n\n")
    for name, study in results.comparison.items():
        (block,) = [block for block in told if block.strip().startswith(f"{name}, ")]
        first, *lines = block.strip().splitlines()
        assert headline(study, 0.95) in first
        assert len(lines) == len(choose_arms(study))
        assert len({line.index(" log loss ") for line in lines}) == 1


def test_charts_follow_the_schema_of_vega_lite(results: Results) -> None:
    """The stage does without this check, which takes longer than all else."""
    figures = [draw_answer(results), *(figure for name in results.comparison for figure in draw_study(results, name))]
    assert len({figure.key for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.title
        assert figure.note
        for panel in figure.panels:
            assert isinstance(panel.chart.to_dict(), dict)
            assert panel.title
        assert not figure.panels or set(figure.columns) <= set(figure.table.columns)


def test_figures_and_cards_are_written_for_every_study(results: Results, files: dict[Path, str]) -> None:
    names = {path.stem for path in files if path.suffix == ".svg"}
    assert {"answer-light", "answer-dark", "forest-table", "curves-table", "mistakes-pictures", "calibration"} <= names
    assert "first-layer-table" not in names
    for name in results.comparison:
        _, head, _ = files[Path(f"metrics/cards/{name}.md")].split("---\n", maxsplit=2)
        card = yaml.safe_load(head)
        assert (card["library_name"], card["metrics"]) == ("keras", list(results.comparison[name].scores.values()))
        (index,) = card["model-index"]
        assert [entry["task"]["name"] for entry in index["results"]] == [
            name_arm(*key) for key in choose_arms(results.comparison[name]) if key.kind != "reference"
        ]


def test_a_picture_stands_alone(files: dict[Path, str]) -> None:
    for path, text in files.items():
        if path.suffix == ".svg":
            assert text.count("<svg") >= 1
            used = set(re.findall(r"var\((--\w+)\)", text))
            declared = set(re.findall(r"(--\w+):#", text))
            assert used <= declared, path
            assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_page_asks_nobody_for_anything(files: dict[Path, str]) -> None:
    page = re.sub(r"<script>.*?</script>", "", files[REPORT], flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) == []
    assert "@import" not in page
    assert "redistributions in binary form" in page.lower()


def test_names_are_escaped(files: dict[Path, str]) -> None:
    page = re.sub(r"<script.*?</script>", "", files[REPORT], flags=re.DOTALL)
    assert "a<b" not in page
    assert '<b>"' not in page
    assert "<early>" not in page
    assert any("a&lt;b" in page for _ in SKILL)


def test_what_was_not_measured_is_left_out(results: Results, files: dict[Path, str]) -> None:
    bare = dataclasses.replace(results, calibration={"seed": 1, "confidence": 0.95}, audit=())
    page = report.run(bare)[REPORT].decode()
    for key in ("calibration", "audit"):
        assert f'id="part-{key}"' in files[REPORT]
        assert f'id="part-{key}"' not in page
    assert 'id="part-run"' in page


def test_charts_are_validated_by_default() -> None:
    """Else the test above would not check anything."""
    with pytest.raises(alt.utils.schemapi.SchemaValidationError):
        alt.Chart().mark_point(size="large").to_dict()
