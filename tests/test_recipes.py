"""docs/extend.md followed to the letter, with the blocks that stand there, in copies of this project that DVC runs."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ruamel.yaml import YAML
from sklearn import metrics
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages import plan
from stages.lib.claims.judging import LAYOUT, Threshold
from stages.lib.data.samples import load_samples
from stages.lib.judge.comparison import Comparison, parse_comparison
from stages.lib.judge.predictions import load_labels, load_predictions, load_reference
from stages.lib.lanes.plan import RegularizerPlan
from stages.lib.lanes.run import load_run
from tests.conftest import ROOT, keep_studies, keep_variants, pick, shrink_params
from tests.project import Project, load_yaml, make_project, save_yaml

PAGE = (ROOT / "docs/extend.md").read_text()
MOST_INSTRUCTIONS, MOST_LINES_OF_A_TABLE = 9, 12
ELLIPSIS = "..."
CODE = ("A score", "A reference model", "A regulariser", "A loss", "A protocol", "A kind of data set", "A claim")
TABLE, STUDY, VARIANT, SEARCH = "A table of your own", "A study", "A variant", "A search"

# Another table and another study by the same recipes: what stands in their blocks, and what takes its place.
WINE = {
    "breast_cancer": "wine",
    ", positive: 0": "",
}
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


def read_sections() -> dict[str, str]:
    """Title -> text, of every recipe."""
    titles, texts = (re.split(r"^## (.*)\n", PAGE, flags=re.MULTILINE)[first::2] for first in (1, 2))
    return dict(zip(titles, texts, strict=True))


def read_blocks(title: str) -> list[Block]:
    blocks = []
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", read_sections()[title], re.DOTALL | re.MULTILINE):
        first, _, rest = text.partition("\n")
        named = tuple(first.removeprefix("# ").split(" and "))
        blocks.append(Block(language, (), text) if language == "sh" else Block(language, named, rest))
    return blocks


def follow(project: Project, title: str, changes: Mapping[str, str] | None = None) -> None:
    """Do what a recipe says, with some words of its blocks changed to others."""
    for block in read_blocks(title):
        text = block.text
        for old, new in (changes or {}).items():
            text = text.replace(old, new)
        if block.language == "sh":
            project.call("sh", "-c", text)
        for name in block.files:
            path = project.folder / name
            if block.language == "yaml":
                save_yaml(path, merge(load_yaml(path), load_text(text)))
            else:
                path.write_text(edit(path.read_text(), text) if has_ellipsis(text) else text.lstrip("\n"))


def load_text(text: str) -> dict:
    return YAML(typ="safe", pure=True).load(text)


def merge(values: dict, added: dict) -> dict:
    """Add keys below the keys that are there, and change values."""
    nested = {name: merge(values[name], entry) for name, entry in added.items() if is_nested(values.get(name), entry)}
    return values | added | nested


def is_nested(value: object, entry: object) -> bool:
    return isinstance(value, dict) and isinstance(entry, dict) and "kind" not in entry


def has_ellipsis(text: str) -> bool:
    return ELLIPSIS in (line.strip() for line in text.splitlines())


def edit(content: str, block: str) -> str:
    """Put a block's new lines into a file; the line before each `...`, and the last one, are there already."""
    lines, position = content.splitlines(), 0
    for *new, known in split_at_ellipsis(block):
        position = find_line(lines, known, start=position)
        lines[position : position + 1] = [*new, known]
        position += len(new) + 1
    return "\n".join([*lines, ""])


def split_at_ellipsis(block: str) -> Iterator[list[str]]:
    part: list[str] = []
    for line in block.splitlines():
        if line.strip() == ELLIPSIS:
            yield part
            part = []
        else:
            part.append(line)
    yield part


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
    listed = re.findall(r"^\| \[(.*?)\]\(#(.*?)\)", PAGE, re.MULTILINE)
    assert [f"A{text[1:]}" for text, _ in listed] == list(read_sections())
    assert [anchor for _, anchor in listed] == [title.lower().replace(" ", "-") for title in read_sections()]
    for title, text in read_sections().items():
        instructions = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        assert len([line for line in instructions.splitlines() if line]) <= MOST_INSTRUCTIONS, title


def test_what_needs_no_code_is_an_entry_of_params_yaml_alone(params_text: str) -> None:
    params = load_text(params_text)
    for title in (VARIANT, SEARCH, STUDY, TABLE):
        (block,) = [block for block in read_blocks(title) if block.language != "sh"]
        assert block.files == ("params.yaml",), title
        params = merge(params, load_text(block.text))
    table = b"size,target\n" + b"1.5,0\n2.5,1\n" * 100
    plans, _ = plan.run(json.dumps(params), lambda path: (ROOT / path).read_bytes() if "thoracic" in path else table)
    studies = ("thoracic", "fashion", "breast_cancer")
    added = {f"{study}/{variant}" for study in studies for variant in ("strong_dropout", "penalty_and_dropout")}
    assert added | {"thoracic/small_network_l2"} <= set(plans)
    assert not {"fashion/small_network", "tutorial_thoracic/strong_dropout"} & set(plans)
    assert plans["thoracic_fixed/strong_dropout"] == {}, "not one of those that it names"
    assert entry_of(plans, "thoracic_fixed/l2").strengths == (params["l2"], 0.003, 0.03), "changed by the study"


def entry_of(plans: Mapping, name: str) -> RegularizerPlan:
    """The one regulariser of a run on one data set."""
    (run,) = plans[name].values()
    (entry,) = run.regularizers
    return entry


# Tables of one's own ------------------------------------------------------------------------------------------------


STUDIES = ("breast_cancer", "wine", "two_tables")
TASKS = ("breast_cancer", "wine", "two_tables/breast_cancer", "two_tables/thoracic_surgery")


def shrink(params: dict) -> dict:
    """Few replicates and epochs of a fast learner."""
    small = {"folds": 3, "repeats": 1, "seeds": 3, "draws": 3}
    for study in params["studies"].values():
        study["protocol"] |= {name: number for name, number in small.items() if name in study["protocol"]}
        study["training"] |= {"epochs": 12, "learning_rate": 0.01}
    for variant in params["own_variants"].values():
        variant.pop("epochs", None)
    return params


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, params_text: str) -> Project:
    """Two tables and three studies of them, added to a project whose own study then goes; run and committed."""
    params = keep_variants(keep_studies(shrink_params(params_text), "thoracic"), "unregularized", "l2")
    project = make_project(tmp_path_factory.mktemp("tables"), params)
    project.commit()
    follow(project, TABLE)
    follow(project, TABLE, WINE)
    follow(project, STUDY, TWO_TABLES)
    project.touched = project.call("git", "status", "--porcelain", "--untracked-files=all")
    params = load_yaml(project.folder / "params.yaml")
    params["datasets"]["two"] = pick(params["datasets"], ("breast_cancer", "thoracic_surgery"))
    save_yaml(project.folder / "params.yaml", shrink(keep_studies(params, *STUDIES)))
    project.make()
    project.commit()
    return project


def test_a_table_takes_few_lines_and_no_python(tables: Project) -> None:
    lines = [line for block in read_blocks(TABLE) if block.language == "yaml" for line in block.text.splitlines()]
    assert len(lines) <= MOST_LINES_OF_A_TABLE
    files = {line[3:] for line in tables.touched.splitlines()}
    assert files == {"params.yaml", "data/source/breast_cancer.csv", "data/source/wine.csv"}


def read_comparison(project: Project) -> Comparison:
    texts = [path.read_bytes() for path in (project.folder / "metrics/comparison").iterdir()]
    return {task: result for text in texts for task, result in parse_comparison(text).items()}


def test_every_arm_of_a_table_is_judged(tables: Project) -> None:
    comparison = read_comparison(tables)  # which allows finite numbers alone
    arms = {(task, *key): arm for task, result in comparison.items() for key, arm in result.list_arms()}
    kinds = [("l2", "tuned"), *((name, kind) for name in ("unregularized", "l2") for kind in ("at_knob", "to_end"))]
    referred = {(task, "logistic_regression", "reference") for task in TASKS[:2]}
    assert set(arms) == {(task, *kind) for task in TASKS for kind in kinds} | referred
    for (task, variant, kind), arm in arms.items():
        is_baseline = (variant, kind) == (comparison[task].baseline, "at_knob")
        for judged in arm.judged.values():
            assert (judged.difference is None) == is_baseline
            unasked = variant == "l2" and kind != "tuned"
            verdicts = ["not_asked"] if unasked else ["better", "worse", "equivalent", "undecided"]
            assert judged.verdict in (["baseline"] if is_baseline else verdicts)
    scored = json.loads(tables.read("metrics/metrics.json"))
    values = [value for task in scored.values() for row in task.values() for value in row.values()]
    assert all(np.isfinite(value) for value in values if not isinstance(value, str))
    headings = [line for line in tables.read("metrics/report.md").decode().splitlines() if line.startswith("## ")]
    told = [heading.partition(": ")[0].removeprefix("## ") for heading in headings]
    assert set(told) >= {task.replace("_", " ").capitalize() for task in TASKS}


def test_networks_are_well_above_no_skill_on_easy_tables(tables: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """By scores that scikit-learn computes from the predictions that are kept."""
    monkeypatch.chdir(tables.folder)
    oracles = {
        "breast_cancer": ("auc", metrics.roc_auc_score, 0.97),
        "two_tables/breast_cancer": ("auc", metrics.roc_auc_score, 0.97),
        "wine": ("accuracy", lambda label, probability: metrics.accuracy_score(label, probability.argmax(axis=1)), 0.9),
    }
    comparison = read_comparison(tables)
    for task, (name, oracle, least) in oracles.items():
        label, predicted = load_labels(task).test, load_predictions(task, "unregularized").test
        expected = [oracle(*case) for case in zip(label, predicted.squeeze(), strict=True)]
        assert comparison[task].scores["discrimination"] == name
        np.testing.assert_allclose(comparison[task].baseline_result.judged[name].replicates, expected, rtol=1e-6)
        assert comparison[task].no_skill[name] <= 0.5 < least < np.mean(expected), task


def test_protocol_decides_whether_replicates_share_their_test_rows(
    tables: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables.folder)
    folds, fixed = (load_labels(task).test_numbers for task in TASKS[0::2])
    assert folds.shape == (3, 569 // 3)
    assert len(np.unique(folds)) == folds.size
    assert fixed.shape == (3, 114)
    assert (fixed == fixed[0]).all()


def test_review_knows_the_arms_of_a_table(tables: Project) -> None:
    assert tables.call_tool("review", "HEAD").stdout.startswith("Nothing has changed since HEAD")
    changed = "studies.two_tables.variants.l2.strengths"
    ran = tables.stages_run("exp", "run", "-S", f"+{changed}={{l2: 0.1}}", "report")
    follow = {f"{verb}@two_tables" for verb in ("evaluate", "compare", "draw")}
    assert ran == {"plan", "train@two_tables-l2", *follow, "audit", "report"}
    review = json.loads(tables.call_tool("review", "HEAD", "--json").stdout)
    arms = {(change["study"], change["variant"]) for change in review["changes"]}
    assert arms == {(task, "l2") for task in TASKS[2:]}
    assert not review["stale"] and not any(change["recomputed"] for change in review["changes"])
    (told,) = review["params"]
    assert told.startswith(changed)


# Additions to the code ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, params_text: str) -> Project:
    """A project with one study that uses everything that the recipes add, run by DVC."""
    params = keep_variants(keep_studies(shrink_params(params_text), "thoracic"), "unregularized", "dropout")
    project = make_project(tmp_path_factory.mktemp("extended"), params, more=("tests", "pyproject.toml"))
    for title in (VARIANT, SEARCH, *CODE):
        follow(project, title)
    save_yaml(project.folder / "params.yaml", shrink(load_yaml(project.folder / "params.yaml")))
    project.make()
    return project


def read_arms(project: Project) -> dict:
    return json.loads(project.read("metrics/comparison/thoracic.json"))["thoracic"]["arms"]


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


def test_a_variant_trains_with_its_own_settings(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(extended.folder)
    small, path = (load_run("thoracic", name) for name in ("small_network", "strong_dropout"))
    assert small.weights["kernel_1"].shape[2] == 8
    assert sorted(set(path.strengths["dropout"])) == [0.5, 0.6, 0.7, 0.8]
    assert set(read_arms(extended)["strong_dropout"]) == {"at_knob", "tuned", "to_end"}
    assert read_arms(extended)["small_network_l2"]["at_knob"]["baseline"] == "small_network"


def test_a_search_is_trained_and_judged_against_the_best_single_regularizer(
    extended: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(extended.folder)
    strengths = load_run("thoracic", "penalty_and_dropout").strengths
    l2, dropout = (strengths[name].reshape(16, 3)[:, 0] for name in ("l2", "dropout"))
    assert (l2[0], dropout[0], set(strengths["batch_norm"])) == (0.01, 0.5, {0.99}), (
        "the first point is that of the knobs"
    )
    assert len(set(zip(l2, dropout, strict=True))) >= 14, "but for points without either"
    assert l2.min() == 0 < l2.max() <= 0.1 and dropout.min() == 0 < 0.1 <= dropout[dropout > 0].min()
    study = json.loads(extended.read("metrics/comparison/thoracic.json"))["thoracic"]
    search, both = study["searches"]["penalty_and_dropout"], {"matthews", "log_loss"}
    assert (search["num_points"], search["best_single"], search["average"]) == (16, "best_single", 4)
    assert set(search["against_best_single"]) == set(search["averaged_against_best_single"]) == both
    assert set(study["arms"]["penalty_and_dropout"]) == {"at_knob", "tuned", "averaged", "to_end"}
    assert set(study["arms"]["best_single"]["tuned"]["strengths"]) <= {"dropout", "infinity_norm"}
    rows = extended.read("metrics/searches.csv").decode().splitlines()
    assert len(rows) == 1 + 16 * 2 * 2
    assert "Penalty and dropout, " in extended.read("metrics/report.md").decode()


def test_a_score_judges_a_study(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(extended.folder)
    label, values = load_labels("thoracic").test, set()
    for variant in ("unregularized", "infinity_norm", "huber"):
        probability = load_predictions("thoracic", variant).test[:3, :, 0]
        expected = [metrics.matthews_corrcoef(*case) for case in zip(label, probability > 0.5, strict=True)]
        arm = read_arms(extended)[variant]["at_knob"]
        np.testing.assert_allclose(arm["judged"]["matthews"]["replicates"], expected, rtol=1e-6, atol=1e-12)
        assert arm["scores"]["matthews"] == pytest.approx(np.mean(expected), rel=1e-6)
        values.update(expected)
    assert len(values) > 1, "else nothing would have been compared"
    arms = [arm for kinds in read_arms(extended).values() for arm in kinds.values()]
    assert len([arm for arm in arms if arm["judged"]["matthews"]["difference"]]) == len(arms) - 1


def test_a_reference_model_is_tuned_and_judged(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(extended.folder)
    development, held_out = load_samples("thoracic")
    predicted = load_reference("thoracic", "nearest_neighbors")
    for replicate, (training, validation) in enumerate(zip(development.training, development.validation, strict=True)):
        losses = {}
        for strength in (50, 20, 10, 5):
            model = make_pipeline(StandardScaler(), KNeighborsClassifier(strength))
            model.fit(development.inputs[training], development.labels[training])
            probability = model.predict_proba(development.inputs[validation]).astype(np.float32)
            losses[strength] = metrics.log_loss(development.labels[validation], probability)
            if strength == predicted.strength[replicate]:
                expected = model.predict_proba(held_out.inputs[held_out.test[replicate]])[:, 1]
        assert predicted.strength[replicate] == min(losses, key=losses.__getitem__)
        np.testing.assert_allclose(predicted.test[replicate, :, 0], expected, rtol=1e-6)
    assert read_arms(extended)["nearest_neighbors"]["reference"]["judged"]["matthews"]["difference"]["verdict"]


def test_a_regularizer_holds_in_every_lane(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(extended.folder)
    run = load_run("thoracic", "infinity_norm")
    strengths = run.strengths["infinity_norm"]
    assert sorted(set(strengths)) == [0.03, 0.1, 0.3]
    np.testing.assert_allclose(np.abs(run.weights["kernel_1"]).max(axis=(1, 2)), strengths, rtol=1e-6)
    assert (np.abs(run.weights["kernel_3"]).max(axis=(1, 2)) > 0.03).any(), "the output layer is not clipped"
    assert set(read_arms(extended)["infinity_norm"]) == {"at_knob", "tuned", "to_end"}


def test_a_loss_is_what_training_reports(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last epoch's validation loss is Huber's formula on the predictions of the validation rows."""
    monkeypatch.chdir(extended.folder)
    predicted = load_predictions("thoracic", "huber", at_end=True).validation[..., 0]
    error = np.abs(load_labels("thoracic").validation - predicted.astype(float))
    expected = np.where(error < 0.25, error**2 / 2, (error - 0.125) / 4).mean(axis=1)
    history = load_run("thoracic", "huber").history
    last = history[history["epoch"] == history["epoch"].max()].sort_values("lane")
    np.testing.assert_allclose(last["val_loss"], expected, rtol=1e-5)


def test_a_protocol_splits_and_tells_the_statistics(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(extended.folder)
    labels = load_labels("thoracic")
    assert labels.test.shape == (3, 94)
    assert labels.test.sum(axis=1).tolist() == [14, 14, 14]
    assert len({rows.tobytes() for rows in labels.test_numbers}) == 3
    assert "3 draws of 0.2 of the rows" in extended.read("metrics/report.md").decode()


def test_a_kind_of_data_set_is_fetched_and_split(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(extended, STUDY, DIGITS)
    assert {"plan", "preprocess@digits"} <= extended.stages_run("repro", "preprocess@digits")
    monkeypatch.chdir(extended.folder)
    (development, held_out), digits = load_samples("digits"), load_digits()
    assert (development.image, development.scale) == ((8, 8), 1 / 16)
    for rows in (development, held_out):
        np.testing.assert_array_equal(rows.inputs, digits.data[rows.identifiers])
        np.testing.assert_array_equal(rows.labels, digits.target[rows.identifiers])
    assert len(development.labels) + len(held_out.labels) == 1797


def test_a_claim_is_judged_by_its_rule(extended: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(extended.folder)
    claims = {claim.id: claim for claim in LAYOUT.validate_json(extended.read("metrics/audit.json"))}
    (gap,) = claims["E1"].quantities
    losses = []
    for variant in ("unregularized", "dropout"):
        labels, predicted = load_labels("thoracic"), load_predictions("thoracic", variant)
        knobs = predicted.grid.lanes_at(0)
        for label, probability in ((labels.test, predicted.test), (labels.training, predicted.training)):
            cases = zip(label, probability[knobs, :, 0].astype(float), strict=True)
            losses.append(np.mean([metrics.log_loss(*case) for case in cases]))
    assert gap.value == pytest.approx(losses[0] - losses[1] - losses[2] + losses[3], rel=1e-4)
    assert claims["E1"].verdict == Threshold(matters=0.01).judge(gap.low, gap.high)
    assert (
        "| E1 | Dropout keeps a network from learning patients by heart. |"
        in extended.read("metrics/report.md").decode()
    )


def test_a_line_that_the_code_no_longer_has_is_named() -> None:
    with pytest.raises(AssertionError, match=r"docs/extend\.md has this line, and the file has not: TABLE = \{"):
        edit("OTHER = {\n}\n", "TABLE = {\n    ...\n    1: 2,\n}\n")
    assert edit("import a\nT: int = {\n    0: 1,\n}\nU\n", "V\n\nT = {\n    ...\n    1: 2,\n}\n") == (
        "import a\nV\n\nT = {\n    0: 1,\n    1: 2,\n}\nU\n"
    )


def test_paths_of_the_page_exist() -> None:
    for name in re.findall(r"\]\(\.\./([^)#]+)\)", PAGE):
        assert (ROOT / name).exists()
    existing = [name for title in read_sections() for block in read_blocks(title) for name in block.files]
    assert {Path(name).suffix for name in existing} == {".py", ".yaml"}
