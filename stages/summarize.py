"""Aggregate what the figures of a study show: learning curves, weights, predictions of the arms that matter, pictures.

Reads   metrics/comparison.json, data/plan/{<study>/,_statistics.json}, models/<study>/, data/predictions/<study>/,
        data/reference/<study>/, data/processed/<study>/development.npz (the names of the inputs alone)
Writes  metrics/series/<study>/{<table>.csv,pictures.json,facts.json}; see lib/summaries/series.py
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import distributions, version

import pandas as pd

from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.data.samples import Development, load_development
from stages.lib.judge.arms import Arm, ArmKey, build_arms
from stages.lib.judge.comparison import StudyResult, load_comparison
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plan
from stages.lib.judge.predictions import Labels, load_labels, load_mistakes, load_predictions, load_reference
from stages.lib.lanes.plan import RunPlan, load_run_plan
from stages.lib.lanes.run import TrainedRun, load_run
from stages.lib.report import summarize_predictions as prediction_quality
from stages.lib.report import summarize_training as training
from stages.lib.report.answers import choose_arms
from stages.lib.report.pictures import draw_first_layer, draw_mistakes
from stages.lib.report.series import TABLES, Facts, Picture, RecipeFacts, Series, StudyFacts, save_series

NUM_WITH_MISTAKES = 3  # of the arms that matter: the baseline, the best by each score
LIBRARIES = ("keras", "numpy", "scipy", "scikit-learn", "pandas")
TENSORFLOW = ("tensorflow-cpu", "tensorflow")  # one of them is installed
Named = Iterator[tuple[str, pd.DataFrame]]  # name of a table, some of its rows


def summarize_study(result: StudyResult, plan: StudyPlan) -> tuple[list[tuple[str, pd.DataFrame]], list[Picture]]:
    """The rows of every table, and the pictures, of one study."""
    development, names = load_development(plan.study), name_classes(plan)
    runs = {variant.name: load_run(plan.study, variant.name) for variant in plan.variants}
    tables = [("forest", list_differences(result)), *summarize_training(runs, plan.baseline, development)]
    matter = choose_arms(result)
    for key, arm in load_arms(plan, matter).items():
        found = summarize_arm(arm, load_labels(plan.study), names)
        tables += [(name, table.assign(variant=key.variant, arm=key.kind)) for name, table in found]
    pictures: list[Picture] = []
    if development.image:
        mistakes = load_mistakes(plan.study)
        for variant, run in runs.items():
            pictures += draw_first_layer(plan.study, variant, run, development.image)
        for variant in dict.fromkeys(key.variant for key in matter[:NUM_WITH_MISTAKES] if key.variant in runs):
            pictures += draw_mistakes(plan.study, variant, mistakes, development.image, names)
    return [(name, table.assign(study=plan.study)) for name, table in tables], pictures


def list_differences(result: StudyResult) -> pd.DataFrame:
    """Every compared arm by both scores, as a flat table."""
    rows = [
        (score, *key, arm.baseline, found.value, found.ci_low, found.ci_high, found.verdict)
        for key, arm in result.list_arms()
        for score, judged in arm.judged.items()
        if (found := judged.difference)
    ]
    return pd.DataFrame(rows, columns=[name for name in TABLES["forest"] if name != "study"])


def summarize_training(runs: dict[str, TrainedRun], baseline: str, development: Development) -> Named:
    reach = training.find_reach(runs[baseline])
    for variant, run in runs.items():
        yield "learning", training.summarize_learning(run).assign(variant=variant)
        yield "weights", training.summarize_weights(run, reach=reach).assign(variant=variant)
        if not development.image:
            yield "inputs", training.summarize_inputs(run, development.features).assign(variant=variant)


def load_arms(plan: StudyPlan, wanted: list[ArmKey]) -> dict[ArmKey, Arm]:
    """The wanted arms with their predictions."""
    variants = [variant.name for variant in plan.variants if any(key.variant == variant.name for key in wanted)]
    predicted = {variant: load_predictions(plan.study, variant) for variant in variants}
    models = {name: load_reference(plan.study, name) for name in plan.references}
    arms = build_arms(predicted, models, load_labels(plan.study), select_by=plan.select_by)
    return {key: arms[key] for key in wanted}  # choose_arms names arms of variants and of reference models alone


def summarize_arm(arm: Arm, labels: Labels, names: tuple[str, ...]) -> Named:
    if arm.test.shape[-1] == 1:
        yield "curves", prediction_quality.summarize_curves(labels.test, arm.test)
    yield "reliability", prediction_quality.summarize_reliability(labels.test, arm.test)
    yield "confusion", prediction_quality.summarize_confusion(labels.test, arm.test, names)


def name_classes(plan: StudyPlan) -> tuple[str, ...]:
    """Classes without names go by their numbers."""
    return plan.class_names or tuple(str(number) for number in range(max(2, plan.outputs)))


def describe_study(plan: StudyPlan) -> StudyFacts:
    labels = load_labels(plan.study)
    rows = {name: getattr(labels, name).shape[1] for name in ("validation", "test")}
    return StudyFacts(
        title=plan.title,
        unit=plan.unit,
        class_names=name_classes(plan),
        rows={"training": labels.training_numbers.shape[1], **rows},
        held_out_rows=len(set(labels.test_numbers.ravel().tolist())),
        recipes={variant.name: describe_recipe(load_run_plan(plan.study, variant.name)) for variant in plan.variants},
    )


def describe_recipe(plan: RunPlan) -> RecipeFacts:
    kernels = list(training.list_kernels(load_run(plan.study, plan.variant)))
    return RecipeFacts(
        inputs=kernels[0].shape[1],
        hidden=plan.network.hidden,
        outputs=plan.network.outputs,
        activation=plan.network.activation,
        loss=plan.loss,
        optimizer=plan.optimizer.name,
        learning_rate=plan.optimizer.learning_rate,
        batch_size=plan.batch_size,
        epochs=plan.epochs,
        regularizers={entry.name: entry.strengths for entry in plan.regularizers},
        num_weights=sum((kernel.shape[1] + 1) * kernel.shape[2] for kernel in kernels),
    )


def run(result: StudyResult, plan: StudyPlan, settings: StatisticsPlan) -> Series:
    """The tables, pictures and facts of a study."""
    tables, pictures = summarize_study(result, plan)
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for name, table in tables:
        rows[name].append(table)
    return Series(
        tables={name: concatenate(found, TABLES[name]) for name, found in rows.items()},
        pictures=pictures,
        facts=Facts(
            settings.confidence,
            settings.equivalence,
            find_versions(),
            platform.machine(),
            {plan.study: describe_study(plan)},
        ),
    )


def concatenate(tables: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    """One long table, empty where a study has none of its kind."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))


def find_versions() -> dict[str, str]:
    """Of what the results depend on; a package's metadata are read, and no package imported."""
    installed = {distribution.name.replace("_", "-") for distribution in distributions()}
    names = [next(name for name in TENSORFLOW if name in installed), *LIBRARIES]
    return {name: version(name) for name in names}


def main() -> None:
    (study,) = parse_arguments(__doc__, "study")
    result, plan = load_comparison()[study], load_study_plan(study)
    save_series(study, run(result, plan, load_statistics_plan()))


if __name__ == "__main__":
    run_main(main)
