"""`make judge`: what it reads, refuses, sees, decides and writes."""

import re
import shlex
import shutil
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import numpy as np
import psutil
import pytest

from stages.lib.core.cli import UserError
from stages.lib.data.dataset import DataError
from stages.lib.lock import find_object
from tests.conftest import ROOT, keep_studies, keep_variants
from tests.project import Project, load_yaml, make_project
from tests.tools.test_repro import has_ended, wait_until
from tools.judge import __main__ as judge
from tools.judge.design import BATCH, MIN_EPOCHS, MIN_STEPS, NUM_POINTS, Wishes, choose_design, look_at
from tools.judge.entries import RATE, RATES, undo
from tools.judge.sheet import read_sheet
from tools.repro.engine import FOLDER

Files = dict[str, bytes]


@pytest.fixture
def folder(inside: Path) -> Path:
    """A project with the real params.yaml and tables."""
    shutil.copy(ROOT / "params.yaml", inside)
    shutil.copytree(ROOT / "data/source", inside / "data/source")
    return inside


def read_all(folder: Path) -> Files:
    """What git may see."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".dvc" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def make_rows(num_rows: int = 60) -> list[list[str]]:
    """A header and rows: a number, a category, a class."""
    generator = np.random.default_rng(0)
    rows = [[f"{generator.normal():.3f}", "ab"[i % 2], ["no", "yes"][i % 3 == 0]] for i in range(num_rows)]
    return [["age", "ward", "died"], *rows]


def to_text(rows: list[list[str]], separator: str = ",") -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def change(*, row: int, column: int, cell: str) -> str:
    rows = make_rows()
    rows[row][column] = cell
    return to_text(rows)


GOOD = to_text(make_rows())
BAD: dict[str, tuple[str | bytes, str]] = {  # file -> content, part of what is said
    "binary": (b"\x89PNG\r\n\x1a\n\x00\x00", "is no text in line"),
    "excel": (b"PK\x03\x04rest", "a zip archive, such as an Excel file"),
    "utf_16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16 text"),
    "empty": ("", "is empty, expected a header line"),
    "header_alone": ("age,died\n", "no row below its header line"),
    "one_class": (GOOD.replace("yes", "no"), "one class alone, 'no'"),
    "one_row_a_class": ("age,died\n" + "".join(f"{i}.5,class{i}\n" for i in range(40)), "too few rows, such as"),
    "target_absent": (GOOD.replace("died", "dead"), "column 'died' is not in the file, expected one such as dead"),
    "name_twice": (GOOD.replace("ward", "age"), "expected each name once; found 'age' 2 times"),
    "name_missing": (GOOD.replace("age", ""), "found none for column 1"),
    "many_columns": (to_text([[f"c{i}" for i in range(10_000)], ["1"] * 10_000]), "has 10,000 columns"),
    "one_column": ("died\n" + "yes\nno\n" * 30, "has 1 columns"),
    "ragged": (GOOD + "1,a\n", "expected 3 cells, as in the header; found 2 in line 62"),
    "open_quote": (GOOD + '1,"a,no\n', "is not CSV"),
    "huge_number": (change(row=3, column=0, cell="1e300"), "expected numbers between"),
    "infinity": (change(row=3, column=0, cell="inf"), "expected numbers between"),
    "text_among_numbers": (change(row=3, column=0, cell="unknown"), "numbers but for 'unknown' in line 4"),
    "no_class_in_a_row": (change(row=3, column=2, cell="NA"), "no value in 1 rows, first in line 4"),
    "regression": ("a,died\n" + "".join(f"{i % 7},{i * 1.7:.2f}\n" for i in range(60)), "regression is not judged"),
    "nothing_to_learn": (to_text([["a", "died"], *(["1", "yn"[i % 2]] for i in range(60))]), "no column is left"),
    "few_rows": (to_text(make_rows(12)), "expected 10 of each"),
}


WISHES = {  # what is asked for -> part of what is said
    "MINUTES=soon": "MINUTES is 'soon', expected a number of minutes",
    "POSITIVE=perhaps": "positive is 'perhaps', expected a class of 'died': choose no or yes",
    "DROP=died": "named twice among TARGET, GROUP and DROP",
    "DROP=wards": "column 'wards' is not in the file, expected one such as ward",
    "GROUP=nobody": "column 'nobody' is not in the file",
    "NAME=My table": "NAME is 'My table', expected small letters",
    "NAME=tables": "params.yaml has the name tables already",
    "NAME=german": "data/source/german.csv is there already with other content",
}


@pytest.mark.parametrize("name", [*BAD, *WISHES])
def test_a_bad_file_or_wish_is_refused_in_one_sentence_and_nothing_is_written(folder: Path, name: str) -> None:
    content, said = BAD.get(name) or (GOOD, WISHES[name])
    write(folder / "my.csv", content)
    before, (key, _, value) = read_all(folder), name.partition("=")
    with pytest.raises(DataError) as refused:
        judge.judge_file({"DATA": "my.csv", "TARGET": "died"} | ({key: value} if value else {}))
    assert said in str(refused.value)
    assert read_all(folder) == before


def test_what_is_no_file_of_the_users_is_refused(folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    for name, said in (
        ("folder", "is a folder"),
        ("link", "is a link out of the project"),
        ("nothing", r"cannot be read \(No such file or directory\)"),
    ):
        with pytest.raises(DataError, match=said):
            read_sheet(Path(name))


def test_the_command_line_says_what_is_wrong_with_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["judge", "DATA=absent.csv", "TARGET=died"])
    assert judge.main() == 2
    assert capsys.readouterr().err.startswith("error: absent.csv cannot be read")
    for text in ("- a", "datasets: 3", "variants: [a]\nstudies: {my: 1}", "["):
        for given in (["DATA=my.csv", "TARGET=died"], ["STUDY=my"], ["UNDO=my"]):
            (folder / "params.yaml").write_text(text)
            monkeypatch.setattr(sys, "argv", ["judge", *given])
            assert judge.main() == 2
            assert capsys.readouterr().err.startswith("error: params.yaml")
            assert (folder / "params.yaml").read_text() == text


READ = {  # file -> content, what is assumed
    "semicolons": (
        to_text([[cell.replace(".", ",") for cell in row] for row in make_rows()], ";"),
        "decimal commas in age",
    ),
    "tabs": (to_text(make_rows(), "\t"), "separated by tabs"),
    "bars": (to_text(make_rows(), "|"), "separated by '|'"),
    "latin_1": (GOOD.replace(",a,", ",Köln,").encode("latin-1"), "read as Latin-1"),
    "byte_order_mark": (GOOD.encode("utf-8-sig"), ""),
    "windows_lines": (GOOD.replace("\n", "\r\n"), ""),
    "quotes_across_lines": (GOOD.replace(",a,", ',"a\nb",'), ""),
    "question_marks": (GOOD.replace(",a,", ",?,", 3), "'?' in 1 column is taken as missing"),
    "index": (
        to_text([["", *make_rows()[0]], *([str(i), *row] for i, row in enumerate(make_rows()[1:]))]),
        "taken as an index",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_as_pandas_would_and_says_what_was_assumed(folder: Path, name: str) -> None:
    content, assumed = READ[name]
    write(folder / "my.csv", content)
    sheet = read_sheet(Path("my.csv"))
    assert list(sheet.columns) == ["age", "ward", "died"]
    assert sheet.columns["age"] == [row[0] for row in make_rows()[1:]]
    assert assumed in "; ".join(sheet.remarks) if assumed else not sheet.remarks
    (folder / "my.csv").write_bytes(sheet.to_csv())
    assert read_sheet(Path("my.csv")) == sheet._replace(remarks=[], lines=read_sheet(Path("my.csv")).lines)


def test_columns_are_sorted_into_kinds_and_the_useless_are_left_out(folder: Path) -> None:
    rows = [["nr", "name", "day", "same", "age", "ward", "died"]]
    for i, row in enumerate(make_rows(100)[1:]):
        rows.append([str(i + 1), f"name {i}", f"2024-01-{i % 28 + 1:02}", "1", row[0] if i % 9 else "", *row[1:]])
    (folder / "my.csv").write_text(to_text(rows))
    columns = look_at(read_sheet(Path("my.csv")), Wishes("died"))
    assert (columns.numeric, columns.categorical, columns.missing) == (["age"], {"ward": 2}, ["age"])
    assert columns.left_out == {
        "count the rows": ["nr"],
        "text with too many different values": ["name"],
        "dates or times": ["day"],
        "constant": ["same"],
    }


@pytest.mark.parametrize("as_text", [False, True])
def test_coin_flips_with_groups_wait_for_the_group_to_be_named(folder: Path, *, as_text: bool) -> None:
    write_coin_flips(folder / "my.csv", as_text=as_text)
    sheet = read_sheet(Path("my.csv"))
    with pytest.raises(DataError, match=r"GROUP=patient .*, or GROUP=none"):
        look_at(sheet, Wishes("died"))
    for group in ("patient", "none"):
        columns = look_at(sheet, Wishes("died", group))
        assert ("patient" in columns.numeric) == (group == "none" and not as_text)


def write_coin_flips(path: Path, *, as_text: bool = False) -> None:
    """150 patients with three rows each, and an outcome by the toss of a coin for each."""
    generator = np.random.default_rng(0)
    rows = [["patient", "a", "b", "c", "died"]]
    for number in generator.permutation(150) + 1000:
        values, died = generator.normal(size=3), generator.integers(2)
        for _ in range(3):
            measured = [f"{value:.3f}" for value in values + generator.normal(size=3) / 10]
            rows.append([f"p{number}" if as_text else str(number), *measured, str(died)])
    path.write_text(to_text(rows))


ASKED = {  # column -> whether it may name what rows belong to; labels agree in nearly all rows of a value, or do not
    "patient id": True,
    "PatientID": True,
    "dropped_id": True,
    "patient_age": False,
    "dose": False,
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("agree", [0.97, 0.5])
def test_a_column_that_is_called_an_id_and_repeats_is_asked_about(folder: Path, name: str, *, agree: float) -> None:
    generator = np.random.default_rng(0)
    values, labels = np.repeat(generator.permutation(150), 4), np.repeat(generator.integers(0, 2, 150), 4)
    labels = np.where(generator.random(600) < agree, labels, 1 - labels)
    cells = zip(
        map(str, values), (f"{value:.4f}" for value in generator.normal(size=600)), map(str, labels), strict=True
    )
    (folder / "my.csv").write_text(to_text([[name, "noise", "died"], *map(list, cells)]))
    wishes = Wishes("died", drop=(name,) * (name == "dropped_id"))
    if ASKED[name]:
        with pytest.raises(DataError, match="is called an id, and its values repeat") as asked:
            look_at(read_sheet(Path("my.csv")), wishes)
        assert shlex.split(re.search(r"write (.*) to keep", str(asked.value))[1]) == [f"GROUP={name}"]
    else:
        assert look_at(read_sheet(Path("my.csv")), wishes).numeric == [name, "noise"]


def test_advice_and_commands_may_be_pasted_and_say_what_is_assumed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"DATA": "my table.csv", "TARGET": "died at home"}
    (folder / "my table.csv").write_text(GOOD.replace("died", "died at home").replace("age", "age in years"))
    judge.judge_file(given)
    assert "Assumed: each row is a case of its own" in capsys.readouterr().out
    (command,) = re.findall(r"# (make judge .*)", (folder / "params.yaml").read_text())
    assert shlex.split(command) == ["make", "judge", *(f"{key}={value}" for key, value in given.items())]
    text = change(row=3, column=0, cell="unknown").replace("age", "age in years")
    (folder / "my table.csv").write_text(text)
    with pytest.raises(DataError, match="leave it out by 'DROP=age in years'"):
        look_at(read_sheet(Path("my table.csv")), Wishes("died"))


def test_networks_train_for_at_least_30_epochs_on_tables_of_any_size() -> None:
    designs = [choose_design(num_rows, 20, 2, minutes) for num_rows in range(100, 9000, 67) for minutes in (1, 5)]
    assert min(design.epochs for design in designs) == MIN_EPOCHS


DESIGNS = {  # rows, inputs, classes, minutes -> repeats, most training rows, units, epochs
    (178, 13, 3, 5): (10, None, 64, 75),
    (1000, 61, 2, 5): (5, None, 64, 30),
    (40_000, 24, 2, 5): (5, 2000, 128, 30),
}


@pytest.mark.parametrize("table", DESIGNS)
def test_the_design_follows_from_rows_inputs_classes_and_minutes(table: tuple[int, int, int, float]) -> None:
    design = choose_design(*table)
    assert (design.repeats, design.training, design.units, design.epochs) == DESIGNS[table]


def test_the_recipe_is_that_of_the_study_of_public_tables() -> None:
    study = load_yaml(ROOT / "params.yaml")["studies"]["tables"]
    training = {"learning_rate": RATE, "batch_size": BATCH, "steps": MIN_STEPS}
    assert study["training"].items() >= training.items()
    assert study["variants"].items() >= {variant: {"learning_rate": rate} for variant, rate in RATES.items()}.items()
    networks = 0
    for entry in load_yaml(ROOT / "params.yaml")["variants"].values():
        searched = entry["search"]["points"] + 1 if "search" in entry else 1  # its own strengths beside them
        networks += max(1, len(entry.get("path", []))) * max([1, *entry.get("members", [])]) * searched
    assert networks == NUM_POINTS


def test_entries_are_added_without_another_change_and_taken_out_again(folder: Path) -> None:
    text = GOOD.replace("age", '"Age, in years"').replace("\n1.", "\n?").replace("?", "NA", 2)
    (folder / "my table.csv").write_text(text)
    before = read_all(folder)
    given = {"DATA": "my table.csv", "TARGET": "died", "POSITIVE": "yes"}
    assert judge.judge_file(given) == "my_table"
    added = (folder / "params.yaml").read_text().splitlines()
    kept = before["params.yaml"].decode().splitlines()
    assert [line for line in added if line not in kept] and len(added) - len(kept) <= 20
    with pytest.raises(DataError, match="make judge STUDY=my_table"):
        judge.judge_file(given)
    for other in ("table", "my_tabl.", "tables", "../my_table"):
        with pytest.raises(UserError, match="that `make judge` wrote, expected its name"):
            undo(other)
    undo("my_table")
    assert read_all(folder) == before


@pytest.mark.parametrize("file", ["../victim.csv", "data/source/german.csv", "params.yaml"])
def test_no_file_is_taken_out_but_the_copy_of_the_table(folder: Path, file: str) -> None:
    """Whatever has become of its entry since."""
    (folder / "my.csv").write_text(GOOD)
    (folder.parent / "victim.csv").touch()
    judge.judge_file({"DATA": "my.csv", "TARGET": "died"})
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace('"file": "data/source/my.csv"', f'"file": "{file}"'))
    before = read_all(folder)
    undo("my")
    assert before.keys() - read_all(folder).keys() == {"data/source/my.csv"}
    assert (folder.parent / "victim.csv").exists()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A real pipeline with few variants, and a table beside it that is separable by one column."""
    params = load_yaml(ROOT / "params.yaml")
    params = keep_variants(keep_studies(params, "thoracic"), "unregularized", "l2", "cocktail")
    params["variants"]["cocktail"]["search"] |= {"points": 2, "average": 2}
    params |= {"tutorial": {}, "own_variants": {}, "experiments": {}}
    params["references"] |= {"logistic_regression": [1], "random_forest": [10]}
    project = make_project(tmp_path / "project", params)
    rows = [["a", "b", "died"], *([str(i * i), str(i * 7 % 5), "ny"[i >= 60]] for i in range(120))]
    (project.folder / "my.csv").write_text(to_text(rows))
    project.make("plan")
    project.commit()
    return project


def expect_taken_out(project: Project) -> str:
    """Take the table out; neither git nor DVC has anything of it then. What is printed."""
    undone = project.call_tool("judge", "UNDO=my")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert not project.call("git", "status", "--porcelain", "--untracked-files=all")
    left = [path for path in project.folder.rglob("*") if re.search(r"(^|@)my\b", path.name)]
    table, cache = project.folder / "my.csv", project.folder / ".dvc/cache"
    assert left == [table]
    assert not find_object(cache / "files/md5", md5(table.read_bytes()).hexdigest()).exists()
    named = {found for path in (cache / "runs").glob("*/*/*") for found in re.findall(r"^cmd: .*", path.read_text())}
    assert named == {"cmd: python -m stages.plan"}
    return undone.stdout


def test_a_table_is_judged_run_again_and_taken_out_by_one_command_each(project: Project) -> None:
    judged = project.call_tool("judge", "DATA=my.csv", "TARGET=died", "MINUTES=0.5")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "Beware: a alone ranks the rows almost perfectly" in judged.stdout
    assert "Does a regulariser help? " in judged.stdout
    assert judged.stdout.endswith("Network: models/my.keras, trained on all rows; how to use it: models/my.txt\n")
    assert (project.folder / "models/my.keras").exists()
    assert "train@thoracic" not in judged.stdout
    status = project.call("git", "status", "--porcelain", "--untracked-files=all").splitlines()
    changed = {line.split()[-1] for line in status} - {".dvc/.gitignore"}
    own = {"params.yaml", "dvc.lock", "data/source/my.csv", "metrics/comparison/my.json"}
    assert {path for path in changed if not path.startswith("metrics/studies/my/")} == own
    assert project.call_tool("judge", "STUDY=my").returncode == 0
    assert "stays:" not in expect_taken_out(project)


def test_what_a_commit_names_stays_in_the_cache_and_is_told(project: Project) -> None:
    project.call_tool("judge", "DATA=my.csv", "TARGET=died", "MINUTES=0.5")
    project.commit()
    undone = project.call_tool("judge", "UNDO=my")
    assert re.search(r"^  stays: \d+ objects of DVC's cache, which .* in git name$", undone.stdout, re.MULTILINE)
    objects = project.folder / ".dvc/cache/files/md5"
    assert find_object(objects, md5((project.folder / "my.csv").read_bytes()).hexdigest()).exists()


def test_what_a_killed_judge_has_started_ends_and_nothing_of_it_is_left(project: Project) -> None:
    command = [sys.executable, "-m", "tools.judge", "DATA=my.csv", "TARGET=died", "MINUTES=0.5"]
    with subprocess.Popen(command, cwd=project.folder, env=project.tools_environment) as judging:
        wait_until(lambda: list((project.folder / FOLDER).glob("train@my-*.log")))
        started = psutil.Process(judging.pid).children(recursive=True)
        judging.kill()
    expect_taken_out(project)
    assert all(map(has_ended, started))
