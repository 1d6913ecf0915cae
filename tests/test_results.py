"""The committed results: they are those of params.yaml, and what it says of them is true."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stages import plan
from stages.lib.judge.comparison import Difference, StudyResult, parse_comparison
from stages.lib.lanes.plan import Grid, find_run
from stages.lib.report.answers import TO_THE_END, is_survey
from stages.lib.report.overview import Overview, join_columns, survey, tell_overview
from stages.lib.report.styles import CHOSEN, name_found, name_variant, style_of
from stages.lib.settings.schema import Params, ResolvedStudy, read_statistics
from tests.conftest import ROOT
from tests.project import find_users, load_yaml

METRICS = ROOT / "metrics"
MOST_LINES = 40
MOST = 0.6  # share of the epochs, within which the baseline overfits
LEAST = 0.88  # accuracy of the baseline that learns from all images
FEW = 0.15  # share of many tables
LAST = {"batch_norm": 0, "mixup": 100}  # beyond it no strength acts otherwise: 100 mixes all rows by halves
NO_EFFECT = 0.003  # nats of validation log loss, a third of the margin: strengths that change it by less act like none


@pytest.fixture(scope="module")
def params() -> Params:
    return plan.check((ROOT / "params.yaml").read_text(), None)[0]


@pytest.fixture(scope="module")
def results() -> dict[str, StudyResult]:
    texts = [path.read_bytes() for path in METRICS.glob("comparison/*.json")]
    return {task: result for text in texts for task, result in parse_comparison(text).items()}


def test_every_study_is_there_with_all_that_it_compares(params: Params, results: dict[str, StudyResult]) -> None:
    tasks = {task: study for study in params.studies.values() for task in study.tasks}
    assert results.keys() == tasks.keys()
    for task, study in tasks.items():
        assert results[task].arms.keys() >= {*study.variants, *study.settings.references}, task


def test_a_changed_dropout_is_read_in_a_few_lines() -> None:
    """`dvc metrics diff` has a line for each score of a variant at its knob, and one for the verdict on it."""
    scored = json.loads((METRICS / "metrics.json").read_text())
    users = find_users(load_yaml(ROOT / "params.yaml"), "dropout")
    changed = [score for study, variant in users for score in scored[study][variant]["at_knob"]]
    assert 0 < len(changed) <= MOST_LINES


def read_baseline(task: str, baseline: str) -> pd.DataFrame:
    """The learning curves of a task's baseline; those of several data sets stand in one file, by its name."""
    study, _, dataset = task.partition("/")
    table = pd.read_csv(METRICS / f"series/learning/{study}.csv")
    return table[table["variant"] == (dataset or baseline)]


def test_every_baseline_has_more_epochs_than_it_needs(params: Params) -> None:
    """Its mean loss on validation rows is least within the first 60 % of them, of many tables on nearly all."""
    for name in params.sections["studies"]:
        study, late = params.studies[name], []
        for task in study.tasks:
            table = read_baseline(task, study.settings.baseline)
            curve = table[table["part"] == "validation"]
            late += [task] if curve["epoch"][curve["mean"].idxmin()] / curve["epoch"].max() > MOST else []
        assert len(late) <= FEW * (len(study.tasks) - 1), late


def test_the_network_learns_most_tables_by_heart(params: Params) -> None:
    """To the end its training loss is less than half of that on validation rows: there is something to cure."""
    slow = []
    for task in params.studies["tables"].tasks:
        table = read_baseline(task, "unregularized")
        last = table[table["epoch"] == table["epoch"].max()]
        loss = last.set_index("part")["mean"]
        slow += [task] if loss["training"] >= loss["validation"] / 2 else []
    assert len(slow) < len(params.studies["tables"].tasks) / 2


def test_strengths_that_validation_rows_choose_most_often_lie_within_their_paths(params: Params) -> None:
    """Or at a bound: an end that acts like no regulariser, or beyond which there is no strength.

    It looks at the networks that have been trained here, and finds nothing where there are none.
    """
    at_an_end = []
    for name in params.sections["studies"]:
        study = params.studies[name]
        for variant, declared in study.variants.items():
            tasks = [task for task in study.tasks if (find_run(task, variant) / "lanes.npz").is_file()]
            if declared.path and len(tasks) == len(study.tasks):
                at_an_end += find_chosen_end(study, variant)
    assert at_an_end == []


def find_chosen_end(study: ResolvedStudy, variant: str) -> list[str]:
    """The study, the variant and its most often chosen strength over all tables, where that is an end and no bound."""
    (regularizer,) = study.variants[variant].regularizers
    chosen, effects = [], []
    for task in study.tasks:
        strengths, losses = load_losses(task, variant, regularizer)
        _, baseline = load_losses(task, study.baseline_of(variant), None)
        chosen += strengths[losses.argmin(axis=0)].tolist()
        effects.append(losses.mean(axis=1) - baseline.mean())
    most_often = max(strengths, key=chosen.count)
    effect = abs(np.mean(effects, axis=0)[strengths == most_often][0])
    is_bound = effect < NO_EFFECT or most_often == LAST.get(regularizer)
    at_end = most_often in (strengths.min(), strengths.max())
    return [f"{study.name}, {variant}: {most_often:g}"] if at_end and not is_bound else []


def load_losses(task: str, variant: str, regularizer: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Strengths [point], and the least log loss on validation rows of each first member, [point, replicate]."""
    folder = find_run(task, variant)
    history = pd.read_csv(folder / "history.csv", usecols=["lane", "val_log_loss"])
    losses = history.groupby("lane")["val_log_loss"].min().to_numpy()
    with np.load(folder / "lanes.npz") as lanes:
        grid = Grid.of_lanes(len(losses), int(lanes["replicate"].max()) + 1, int(lanes["member"].max(initial=0)) + 1)
        strengths = lanes[f"strength_{regularizer}"] if regularizer else np.zeros(len(losses))
    return grid.by_point(strengths)[:, 0], Grid(grid.num_points, grid.num_replicates).by_point(
        grid.average_members(losses, 1)
    )


def test_the_stopped_baseline_is_as_good_as_dense_networks_are(results: dict[str, StudyResult]) -> None:
    assert results["images_57000"].baseline_result.judged["accuracy"].value >= LEAST


# What is said of them ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overview(results: dict[str, StudyResult]) -> Overview:
    answered = {task: result for task, result in results.items() if is_survey(result)}
    return survey(answered, {task: task for task in answered}, read_statistics((ROOT / "params.yaml").read_text()))


def test_every_sentence_of_the_answer_is_true_of_the_records(overview: Overview) -> None:
    """Read back, part by part: what is said of a column is what its effects say, and no column is left out."""
    _, *lines = tell_overview(overview)
    for line, column in zip(lines, overview.columns, strict=True):
        told = line.removeprefix(f"{column.title}: ").removesuffix(".").split("; ")
        for arm in (CHOSEN, TO_THE_END):
            said = [part for part in ";".join(told).split("), ") if f"{arm} " in part]
            assert bool(said) == (arm in column.effects), line
            assert not said or f"{arm} {column.effects[arm].value:+z.3f} (" in said[0]
        better, also = (
            [arm for arm in column.tried if arm in effects and effects[arm].verdict == "better"]
            for effects in (column.effects, column.other)
        )
        (counted,) = [
            part for part in told if " shown to help" in part and part[:4].strip("0123456789 ") in ("none", "of")
        ]
        assert counted.startswith(f"{len(better) or 'none'} of {len(column.tried)} shown to help")
        assert (f", by {column.by} {len(also)} (" in counted) == bool(also), line


def test_no_sentence_is_true_of_one_column_and_said_of_all(overview: Overview) -> None:
    """The first answer names each column with what was tried there, by both scores; its counts are the records'."""
    answer, columns = tell_overview(overview)[0], [column for column in overview.columns if column.learns]
    for column in columns:
        barren = not column.list_helping()
        assert (f"{column.title} ({len(column.tried)} tried)" in answer) == barren
        helping = column.list_helping(column.other)
        assert (f"{len(helping)} of {len(column.tried)} on {column.title} (" in answer) == bool(helping)
    sentences = answer.split(". ")
    (stopping,) = [line for line in sentences if line.startswith("Use early stopping")]
    assert "the network without a regulariser" in stopping, "it is not said of arms with one"
    hurt = [one for one in columns if one.effects.get(TO_THE_END) and one.effects[TO_THE_END].verdict == "worse"]
    assert join_columns([column.title for column in hurt]) in stopping


def test_a_row_of_the_picture_is_one_recipe(overview: Overview, results: dict[str, StudyResult]) -> None:
    """Tuned in each column where it stands, or at fixed strengths in each."""
    tuned, fixed = style_of("cocktail").label, name_variant("cocktail", "at_knob")
    for column in overview.columns:
        tasks = [result for task, result in results.items() if is_survey(result) and column.title == task]
        for result in tasks:
            has_search = "tuned" in result.arms.get("cocktail", {})
            assert (tuned in column.effects, fixed in column.effects) == (has_search, not has_search), column.title


def test_what_is_the_same_in_every_row_is_called_identical_and_not_open() -> None:
    same = Difference(0, 0, 0, 0, 0, 1, 1, "inconclusive")
    assert name_found(same) == "identical" != name_found(replace(same, own_high=0.1))
