"""The report of made-up studies: what it holds, that it repeats, and that it needs nothing but itself."""

import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from stages import draw
from stages.lib.measured import draw_calibration
from stages.lib.report import styles
from stages.lib.report.charts import make_figure
from stages.lib.report.page import StudyPart
from stages.lib.report.study import draw_study
from stages.lib.report.styles import VERDICTS
from tests.conftest import ROOT
from tests.made import HOSTILE, STATISTICS, make_calibration, make_files, make_parts, make_studies, make_study
from tools.repro.__main__ import lay_out

METRICS = Path("metrics")
REPORT, TEXT, ANSWER = METRICS / "report.html", METRICS / "report.md", METRICS / "answer.txt"


@pytest.fixture(scope="module")
def parts() -> tuple[StudyPart, ...]:
    return make_parts()


@pytest.fixture(scope="module")
def files(parts: tuple[StudyPart, ...]) -> dict[Path, str]:
    return make_files(*parts)


def test_the_same_results_give_the_same_bytes(files: dict[Path, str]) -> None:
    assert make_files() == files


def test_every_sentence_and_every_arm_is_there(parts, files: dict[Path, str]) -> None:
    """All of them on the page, those that decide in Markdown."""
    for part in parts:
        both = (part.answers, part.table), (part.brief, part.summary)
        page, text = ([*told, *(row["arm"] for row in rows)] for told, rows in both)
        assert [told for told in page if str(escape(told)) not in files[REPORT].replace("\xa0", " ")] == []
        assert [told for told in text if styles.escape(told, most=9999) not in files[TEXT]] == []


def test_the_answer_for_a_terminal_is_a_line_for_each_study(parts, files: dict[Path, str]) -> None:
    first, *lines = files[ANSWER].splitlines()
    assert first.startswith(
        "Use early stopping: without it, the network without a regulariser is shown to do worse on "
    )
    assert "Shown to help: L2 penalty, on " in first
    assert [line.split(":")[0].split(",")[0] for line in lines] == [
        name for part in parts for name in part.data.values()
    ]
    assert all("without early stopping +" in line for line in lines)


def test_the_answer_of_the_last_run_fits_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert 1 < len(lay_out((ROOT / ANSWER).read_text()).splitlines()) <= 32, "a line for each study was shown before"


INTERVAL = r"([+-]?\d+\.\d+) to ([+-]?\d+\.\d+)\)?"
OPEN = ("inconclusive", "Inconclusive", "equivalent")
FOUND = ("shown to help", "shown to hurt", "better", "worse", "Yes", "helps", "hurts")
WORD = f"({'|'.join((*OPEN, *FOUND))})"
HOLDS_0 = {"inconclusive": True, "equivalent": True, "better": False, "worse": False}


def find_contradictions(text: str) -> list[str]:
    """Sentences and rows in which an interval does not agree with the verdict behind it, or with that before them."""
    text = re.sub(r"^\| [CDT]\d+ \|.*$", "", text.replace("\\", ""), flags=re.M)  # claims have other thresholds than 0
    behind = re.findall(rf"({INTERVAL}[^.;()\d]{{0,40}}?{WORD})", text)
    before = re.findall(rf"({WORD}: [^()\n]{{0,80}}\([^()\n]*?{INTERVAL})", text)
    told = [*behind, *((whole, low, high, word) for whole, word, low, high in before)]
    return [whole for whole, low, high, word in told if (float(low) <= 0 <= float(high)) == (word in FOUND)]


def list_judged(node: object) -> Iterator[dict]:
    """All that has an interval and a verdict in a record."""
    if isinstance(node, dict):
        yield from [node] if node.keys() >= {"low", "high", "verdict"} else []
        yield from (found for value in node.values() for found in list_judged(value))


def test_no_interval_contradicts_its_verdict(parts, files: dict[Path, str]) -> None:
    """In every sentence and table, in the figures' data and in the records."""
    texts = [text for path, text in files.items() if path.suffix in (".md", ".txt", ".html", ".json")]
    assert sum(len(re.findall(INTERVAL, text)) for text in texts) > 50
    assert [wrong for text in texts for wrong in find_contradictions(text)] == []
    for part in parts:
        table = pd.read_csv(io.StringIO(part.series["forest"]), keep_default_na=False)
        holds = (table["low"] <= 0) & (table["high"] >= 0)
        for verdict, expected in HOLDS_0.items():
            assert (holds[table["verdict"] == verdict] == expected).all(), verdict
        for score, margin in (("auc", 0.01), ("accuracy", 0.002), ("log_loss", 0.01)):
            rows = table[(table["verdict"] == "equivalent") & (table["score"] == score)]
            assert (rows["low"] > -margin).all() and (rows["high"] < margin).all()
    for wrong in ("0.031 to 0.154: inconclusive", "-0.1 to 0.2, shown to help", "Inconclusive: by 0.2 (0.1 to 0.3)"):
        assert find_contradictions(wrong)


def test_the_committed_intervals_agree_with_their_verdicts() -> None:
    """As they are printed, and in the records that figures are drawn of."""
    for name in ("README.md", "metrics/report.md", "metrics/answer.txt"):
        assert find_contradictions((ROOT / name).read_text()) == [], name
    records = [*(ROOT / "metrics/comparison").glob("*.json"), ROOT / "metrics/answer.json"]
    judged = [one for path in records for one in list_judged(json.loads(path.read_text())) if one["verdict"] in HOLDS_0]
    assert len(judged) > 1000
    assert [one for one in judged if (one["low"] <= 0 <= one["high"]) != HOLDS_0[one["verdict"]]] == []


def test_an_end_of_an_interval_is_not_rounded_to_0() -> None:
    assert styles.show_interval(0.00002, 0.094, "+") == "+0.00002 to +0.094"
    assert styles.show_interval(-0.094, -0.0004) == "-0.094 to -0.0004"
    assert styles.show_interval(-0.0001, 0.1) == "-0.0001 to 0.100"


def test_charts_follow_the_schema_of_vega_lite(parts) -> None:
    """The stage does without this check, which takes longer than all else."""
    figures = [
        *(figure for part in parts for figure in part.figures),
        make_figure("c", draw_calibration(make_calibration())),
    ]
    for figure in figures:
        assert figure.title and figure.note and figure.spec["datasets"]["rows"]
        alt.Chart.from_dict(figure.spec, validate=True)
    with pytest.raises(alt.utils.schemapi.SchemaValidationError):  # else nothing would be checked
        alt.Chart().mark_point(size="large").to_dict()


def list_figures(task: str, first: str) -> list[str]:
    """The figures of a study whose networks learn; first: the score of discrimination."""
    by_score = [f"{name}-{score}" for score in ("log_loss", first) for name in ("forest", "paths")]
    return [f"{name}-{task}" for name in (*by_score, "learning", "reliability")]


def test_a_study_has_the_figures_that_it_can_have(parts) -> None:
    pictures, table = list_figures("pictures", "accuracy"), list_figures("table", "auc")
    assert [[figure.key for figure in part.figures] for part in parts] == [table, pictures]
    diverged = dict.fromkeys(("loss", "val_loss"), np.inf)
    result, records = make_studies()[0]
    runs = {
        name: dataclasses.replace(run, history=run.history.assign(**diverged)) for name, run in records.runs.items()
    }
    nameless = dataclasses.replace(records.plan, class_names=())
    drawn = draw_study(result, dataclasses.replace(records, runs=runs, plan=nameless)).figures
    assert [figure.key for figure in drawn] == [key for key in table if key != "learning-table"]
    assert "probability of “1”" in drawn[-1].svg


def test_files_are_written_for_every_study(parts, files: dict[Path, str]) -> None:
    written = {str(path.relative_to(METRICS)) for path in files}
    expected = {"figures/answer-light.svg", "figures/answer-dark.svg", "figures/calibration.svg", "answer.json"}
    for part in parts:
        expected |= {f"figures/{figure.key}.svg" for figure in part.figures[:1]}
        expected |= {f"series/{name}/{part.name}.csv" for name in ("forest", "learning")}
    assert written == expected | {"report.html", "report.md", "answer.txt"}


def test_the_series_are_tables_with_the_names_of_the_records(files: dict[Path, str]) -> None:
    (result, records), _ = make_studies()
    forest = pd.read_csv(io.StringIO(files[METRICS / "series/forest/table.csv"]))
    compared = [
        (*key, score) for key, arm in result.list_arms() for score, found in arm.judged.items() if found.difference
    ]
    assert sorted(zip(forest["variant"], forest["arm"], forest["score"], strict=True)) == sorted(compared)
    assert set(forest["verdict"]) <= set(VERDICTS)
    learning = pd.read_csv(io.StringIO(files[METRICS / "series/learning/table.csv"]))
    assert set(learning["variant"]) == set(records.runs)
    assert set(learning["part"]) == {"training", "validation"}


def test_names_do_nothing_but_show(files: dict[Path, str]) -> None:
    page = re.sub(r"<script.*?</script>", "", files[REPORT], flags=re.DOTALL)
    shown = {REPORT: page} | {path: text for path, text in files.items() if path.suffix in (".md", ".svg")}
    for path, text in shown.items():
        assert "<img src=x" not in text, path
        assert "<early>" not in text, path
    assert str(escape(HOSTILE)) in page
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', files[REPORT], flags=re.DOTALL)
    assert scripts and not any("<" in script for script in scripts)


def test_the_word_of_a_verdict_stands_in_words_yaml_alone() -> None:
    """A key is no word; `better` and `worse` are words of every day, too."""
    words = "|".join(style.label for verdict, style in VERDICTS.items() if verdict not in ("better", "worse"))
    places = [*(ROOT / "stages/lib/report").glob("*.py"), *(ROOT / "stages/templates/study").glob("*.jinja")]
    found = {path.name: re.findall(rf"(?<![.\"])\b(?:{words})\b(?!\")", path.read_text()) for path in places}
    assert {name: said for name, said in found.items() if said} == {}


def test_escaping_leaves_the_page_in_markdown_its_form(files: dict[Path, str]) -> None:
    text = files[TEXT]
    assert "±0.01 in AUC, ±0.002 in accuracy, ±0.01 in log loss." in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    widths = [{len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()} for table in tables]
    assert len(tables) == 4 and all(len(width) == 1 for width in widths), "every row has as many cells as the head"


def test_a_page_and_a_picture_need_nothing_but_themselves(files: dict[Path, str]) -> None:
    page = re.sub(r"<script>.*?</script>", "", files[REPORT], flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|@import', page) == []
    assert "redistributions in binary form" in page.lower()
    for path, text in files.items():
        if path.suffix == ".svg":
            assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):#", text)), path
            assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_claims_that_were_not_judged_are_left_out(parts, files: dict[Path, str]) -> None:
    assert 'id="part-audit"' in files[REPORT]
    assert 'id="part-audit"' not in make_files(*parts, audit=[])[REPORT]


# Several data sets ---------------------------------------------------------------------------------------------------


def make_several() -> tuple[StudyPart, dict[Path, str]]:
    """A study of two tables, as `draw` writes it."""
    made = {f"both/{name}": make_study("table", 1, task=f"both/{name}") for name in ("first", "second")}
    parts = {task: draw_study(result, records) for task, (result, records) in made.items()}
    return draw.run("both", {task: result for task, (result, _) in made.items()}, parts, STATISTICS)


def test_several_data_sets_are_drawn_once_with_a_row_for_each() -> None:
    """Pooled effects, and those of the leading arm on each data set; their own tables are on the study's page alone."""
    part, files = make_several()
    assert [figure.key for figure in part.figures] == ["forest-both", "spread-both"]
    leading = part.figures[1].title.removesuffix(", on each data set")
    assert leading == "L2 penalty" and part.table[0]["arm"] == leading
    assert [row["data set"] for row in part.tables] == ["first", "second"] and all(row[leading] for row in part.tables)
    learning = pd.read_csv(io.StringIO(part.series["learning"]))
    assert set(learning["variant"]) == {"first", "second"}
    page = files[METRICS / "studies/both/page.html"]
    assert page.count("<figure ") == 1 + len(part.figures) and 'id="study-both/second"' in page
