"""docs/extend.md followed to the letter, with the blocks that stand there, in copies of this project that DVC runs."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_digits

from stages.lib.claims.claims import matters
from stages.lib.claims.judging import LAYOUT
from stages.lib.data.samples import load_samples
from stages.lib.judge.comparison import parse_comparison
from stages.lib.lanes.run import load_run
from tests.conftest import ROOT, keep_studies, keep_variants, pick, shrink_params
from tests.project import Project, load_yaml, make_project, save_yaml

PAGE = (ROOT / "docs/extend.md").read_text()
MOST_INSTRUCTIONS, MOST_LINES_OF_A_TABLE = 9, 12
ELLIPSIS = re.compile(r"^ *\.\.\.\n", re.MULTILINE)  # lines that a file has already
CODE = ("A score", "A reference model", "A regulariser", "A loss", "A protocol", "A kind of data set", "A claim")
TABLE, STUDY, VARIANT, SEARCH = "A table of your own", "A study", "A variant", "A search"

# Another table and another study by the same recipes: what stands in their blocks, and what takes its place.
WINE = {"breast_cancer": "wine", ", positive: 0": ""}
TWO_TABLES = {"data: thoracic_surgery": "data: two", "thoracic_fixed": "two_tables"}  # a collection
DIGITS = {
    "thoracic_surgery": "digits",
    "thoracic_fixed": "digits",
    "[unregularized, l2]": "[unregularized]",
    "    variants:\n      l2: {path: [0.003, 0.03]}\n": "",
}


# The page -----------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A block of code: its language, the files that its first line names, and what follows that line."""

    language: str
    files: tuple[str, ...]
    text: str


TITLES, TEXTS = (re.split(r"^## (.*)\n", PAGE, flags=re.MULTILINE)[first::2] for first in (1, 2))
SECTIONS = dict(zip(TITLES, TEXTS, strict=True))


def read_blocks(title: str) -> list[Block]:
    blocks = []
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", SECTIONS[title], re.DOTALL | re.MULTILINE):
        first, _, rest = text.partition("\n")
        named = tuple(first.removeprefix("# ").split(" and "))
        blocks.append(Block(language, (), text) if language == "sh" else Block(language, named, rest))
    return blocks


def follow(project: Project, title: str, changes: Mapping[str, str] = {}) -> None:
    """Do what a recipe says, with some words of its blocks changed to others."""
    for block in read_blocks(title):
        text = block.text
        for old, new in changes.items():
            text = text.replace(old, new)
        if block.language == "sh":
            project.call("sh", "-c", text)
        for name in block.files:
            path = project.folder / name
            if block.language == "yaml":
                save_yaml(path, merge(load_yaml(path), load_yaml(text)))
            else:
                path.write_text(edit(path.read_text(), text) if ELLIPSIS.search(text) else text.lstrip("\n"))


def merge(values: dict, added: dict) -> dict:
    """Add keys below the keys that are there, and change values."""
    nested = {name: merge(values[name], entry) for name, entry in added.items() if is_nested(values.get(name), entry)}
    return values | added | nested


def is_nested(value: object, entry: object) -> bool:
    return isinstance(value, dict) and isinstance(entry, dict) and "kind" not in entry


def edit(content: str, block: str) -> str:
    """Put a block's new lines into a file; the line before each `...`, and the last one, are there already."""
    lines, position = content.splitlines(), 0
    for part in ELLIPSIS.split(block):
        *new, known = part.splitlines()
        position = find_line(lines, known, start=position)
        lines[position : position + 1] = [*new, known]
        position += len(new) + 1
    return "\n".join([*lines, ""])


def find_line(lines: list[str], known: str, *, start: int) -> int:
    """The number of the line that is this one, or that assigns or imports what this one does."""
    numbers = [number for number in range(start, len(lines)) if name_line(lines[number]) == name_line(known)]
    assert numbers, f"docs/extend.md has this line, and the file has not: {known}"
    return numbers[0]


def name_line(line: str) -> str:
    """What stays the same of a line that takes the place of another: the assigned name, or the module."""
    match = re.match(r"(\w+)(?=(: .*)? = )|from [\w.]+ import ", line)
    return match[0] if match else line


def test_page_lists_its_recipes_and_each_is_short() -> None:
    listed = re.findall(r"^\| \[a(.*?)\]\(#", PAGE, re.MULTILINE)
    assert [f"A{text}" for text in listed] == TITLES
    for title, text in SECTIONS.items():
        instructions = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        assert len([line for line in instructions.splitlines() if line]) <= MOST_INSTRUCTIONS, title


def test_what_needs_no_code_is_an_entry_of_params_yaml_alone() -> None:
    for title in (VARIANT, SEARCH, STUDY, TABLE):
        assert [block.files for block in read_blocks(title) if block.language != "sh"] == [("params.yaml",)], title


# Every recipe followed ----------------------------------------------------------------------------------------------


TABLES = ("breast_cancer", "two_tables")  # studies
TASKS = ("breast_cancer", "two_tables/breast_cancer", "two_tables/wine")


def shrink(params: dict) -> dict:
    """Few replicates and epochs of a fast learner, few variants of tables, one of which is in a collection alone."""
    params["datasets"]["two"] = pick(params["datasets"], ("breast_cancer", "wine"))
    del params["studies"]["wine"], params["datasets"]["wine"]
    for study in TABLES:
        params["studies"][study]["only"] = ["unregularized", "l2"]
    small = {"folds": 3, "repeats": 1, "seeds": 3, "draws": 3}
    for study in params["studies"].values():
        study["protocol"] |= pick(small, study["protocol"])
        study["training"] |= {"epochs": 12, "learning_rate": 0.01}
    for variant in params["own_variants"].values():
        variant.pop("epochs", None)
    return params


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, params_text: str) -> Project:
    """A table, a collection of two, and one study that uses all that is added to the code; run and committed."""
    params = keep_variants(keep_studies(shrink_params(params_text), "thoracic"), "unregularized", "l2", "dropout")
    params["experiments"] = {}
    project = make_project(tmp_path_factory.mktemp("extended"), params, more=("tests", "pyproject.toml"))
    project.commit()
    follow(project, TABLE)
    follow(project, TABLE, WINE)
    follow(project, STUDY, TWO_TABLES)
    project.touched = project.call("git", "status", "--porcelain", "--untracked-files=all")
    for title in (VARIANT, SEARCH, *CODE):
        follow(project, title)
    save_yaml(project.folder / "params.yaml", shrink(load_yaml(project.folder / "params.yaml")))
    project.make()
    project.commit()
    return project


@pytest.fixture
def extended(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """In its folder."""
    monkeypatch.chdir(project.folder)
    return project


# Tables of one's own ------------------------------------------------------------------------------------------------


def test_a_table_takes_few_lines_and_no_python(extended: Project) -> None:
    lines = [line for block in read_blocks(TABLE) if block.language == "yaml" for line in block.text.splitlines()]
    assert len(lines) <= MOST_LINES_OF_A_TABLE
    files = {line[3:] for line in extended.touched.splitlines()}
    assert files == {"params.yaml", "data/source/breast_cancer.csv", "data/source/wine.csv"}


def test_every_arm_of_a_table_is_judged(extended: Project) -> None:
    """Of those of other studies the protocol that is added is not known here."""
    texts = [extended.read(f"metrics/comparison/{study}.json") for study in TABLES]
    comparison = {task: result for text in texts for task, result in parse_comparison(text).items()}  # finite alone
    arms = {(task, *key): arm for task, result in comparison.items() for key, arm in result.list_arms()}
    kinds = [("l2", "tuned"), *((name, kind) for name in ("unregularized", "l2") for kind in ("at_knob", "to_end"))]
    referred = {(task, "logistic_regression", "reference") for task in TASKS[:1]}
    defaults = {(task, "l2", "default") for task in TASKS if "/" in task}  # which other data sets choose
    assert set(arms) == {(task, *kind) for task in TASKS for kind in kinds} | referred | defaults
    for (task, variant, kind), arm in arms.items():
        is_baseline = (variant, kind) == (comparison[task].baseline, "at_knob")
        for judged in arm.judged.values():
            assert (judged.difference is None) == is_baseline
            verdicts = (
                ["not_asked"]
                if kind in ("to_end", "default") and variant == "l2"
                else ["better", "worse", "equivalent", "inconclusive"]
            )
            assert judged.verdict in (["baseline"] if is_baseline else verdicts)
    for result in comparison.values():
        easy = result.scores["discrimination"]
        assert result.no_skill[easy] <= 0.5 < 0.9 < result.baseline_result.judged[easy].value
    scored = json.loads(extended.read("metrics/metrics.json"))
    values = [
        value for task in scored.values() for arms in task.values() for row in arms.values() for value in row.values()
    ]
    assert all(np.isfinite(value) for value in values if not isinstance(value, str))
    headings = [line for line in extended.read("metrics/report.md").decode().splitlines() if line.startswith("## ")]
    assert {heading.partition(" (")[0].removeprefix("## ") for heading in headings} >= {"Breast cancer", "Two tables"}


# Additions to the code ----------------------------------------------------------------------------------------------


def read_study(project: Project) -> dict:
    return json.loads(project.read("metrics/comparison/thoracic.json"))["thoracic"]


def test_added_code_keeps_to_the_style_of_the_house(extended: Project) -> None:
    files = {name for title in CODE for block in read_blocks(title) for name in block.files if name.endswith(".py")}
    extended.call("ruff", "check", *files)
    extended.call("ruff", "format", "--check", *files)


def test_tests_that_the_recipes_add_pass(extended: Project) -> None:
    """Stock Keras and scikit-learn are the oracles in them."""
    files = {name for title in CODE for block in read_blocks(title) for name in block.files if "/test_" in name}
    words = ("matthews", "nearest_neighbors", "infinity_norm", "huber", "partitions", "digits", "E1-gap")
    told = extended.call(
        *("python", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--verbosity", "1"),
        *sorted(files),
        *("-k", " or ".join([*words, "has_a_case"])),
    )
    passed = [line for line in told.splitlines() if " PASSED" in line]
    for word in words:
        assert any(word in line for line in passed), f"no test of {word} ran: {told}"


def test_all_that_was_added_is_trained_and_judged(extended: Project) -> None:
    small, path, bounded = (load_run("thoracic", name) for name in ("small_network", "strong_dropout", "infinity_norm"))
    assert small.weights["kernel_1"].shape[2] == 8
    assert sorted(set(path.strengths["dropout"])) == [0.5, 0.6, 0.7, 0.8]
    largest = np.abs(bounded.weights["kernel_1"]).max(axis=(1, 2))
    np.testing.assert_allclose(largest, np.repeat([0.03, 0.3, 0.1], 3), rtol=1e-6)
    assert (np.abs(bounded.weights["kernel_3"]).max(axis=(1, 2)) > 0.03).any(), "the output layer is not clipped"
    arms = read_study(extended)["arms"]
    assert set(arms["strong_dropout"]) == set(arms["infinity_norm"]) == {"at_knob", "tuned", "to_end"}
    assert set(arms["nearest_neighbors"]) == {"reference"}
    assert arms["small_network_l2"]["at_knob"]["baseline"] == "small_network"
    judged = [arm["judged"]["matthews"]["difference"] for kinds in arms.values() for arm in kinds.values()]
    assert judged.count(None) == 1, "all but the baseline, by the score that was added"


def test_a_search_is_trained_and_judged_against_the_best_single_regularizer(extended: Project) -> None:
    strengths = load_run("thoracic", "penalty_and_dropout").strengths
    l2, dropout = (strengths[name].reshape(17, 3)[:, 0] for name in ("l2", "dropout"))
    assert (l2[-1], dropout[-1], set(strengths["batch_norm"])) == (0.01, 0.5, {0.99}), "the knobs come last"
    assert len(set(zip(l2, dropout, strict=True))) >= 14, "but for points without either"
    assert l2.min() == 0 < l2.max() <= 0.1 and dropout.min() == 0 < 0.1 <= dropout[dropout > 0].min()
    study = read_study(extended)
    search, both = study["searches"]["penalty_and_dropout"], {"matthews", "log_loss"}
    assert (search["num_points"], search["best_single"], search["average"]) == (16, "best_single", 4)
    assert set(search["against_best_single"]) == set(search["averaged_against_best_single"]) == both
    assert set(study["arms"]["penalty_and_dropout"]) == {"at_knob", "tuned", "averaged", "to_end"}
    assert set(study["arms"]["best_single"]["tuned"]["strengths"]) <= {"l2", "dropout", "infinity_norm"}
    rows = extended.read("metrics/searches.csv").decode().splitlines()
    assert len(rows) == 1 + 17 * 2 * 2
    assert "Penalty and dropout, " in extended.read("metrics/report.html").decode()


def test_a_protocol_splits_and_tells_the_statistics(extended: Project) -> None:
    _, held_out = load_samples("thoracic")
    assert held_out.test.shape == (3, 94)
    assert held_out.labels[held_out.test].sum(axis=1).tolist() == [14, 14, 14]
    assert len({rows.tobytes() for rows in held_out.identifiers[held_out.test]}) == 3
    assert "3 draws of 0.2 of the rows" in extended.read("metrics/report.md").decode()


def test_a_kind_of_data_set_is_fetched_and_split(extended: Project) -> None:
    follow(extended, STUDY, DIGITS)
    assert {"plan", "preprocess@digits"} <= extended.stages_run("repro", "preprocess@digits")
    (development, held_out), digits = load_samples("digits"), load_digits()
    assert (development.image, development.scale) == ((8, 8), 1 / 16)
    for rows in (development, held_out):
        np.testing.assert_array_equal(rows.inputs, digits.data[rows.identifiers])
        np.testing.assert_array_equal(rows.labels, digits.target[rows.identifiers])
    assert len(development.labels) + len(held_out.labels) == 1797


def test_a_claim_is_judged_by_its_rule(extended: Project) -> None:
    claims = {claim.id: claim for claim in LAYOUT.validate_json(extended.read("metrics/audit.json"))}
    (gap,) = claims["E1"].quantities
    assert claims["E1"].verdict == matters(0.01).judge(gap.low, gap.high)
    row = f"| E1 | {claims['E1'].verdict} | Dropout keeps a network from learning patients by heart. "
    assert row in extended.read("metrics/report.md").decode()
