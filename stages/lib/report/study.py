"""One study in the report: its sentences, tables and figures, drawn from the records of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from stages.lib.core.records import split_task
from stages.lib.judge.arms import AT_KNOB, Arm, ArmKey, build_arms
from stages.lib.judge.comparison import ArmResult, PathPoint, StudyResult
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plan
from stages.lib.judge.predictions import Labels, load_study_predictions
from stages.lib.judge.scores import SCORES
from stages.lib.lanes.plan import RunPlan, load_run_plan
from stages.lib.lanes.run import TrainedRun, load_run
from stages.lib.report import answers, figures
from stages.lib.report.charts import Figure, make_figure
from stages.lib.report.page import Row, StudyPart
from stages.lib.report.styles import (
    NO_SKILL,
    capitalize,
    describe_range,
    name_arm,
    name_found,
    show_change,
    show_interval,
    style_of,
)

NUM_SHOWN = 10  # arms of a short table


@dataclass(frozen=True)
class StudyRecords:
    """What the stages have left of one study.

    arms: those that matter. recipes, runs: variant -> plan of its run, and its networks. paths: the points of this
    study.
    """

    plan: StudyPlan
    settings: StatisticsPlan
    labels: Labels
    arms: Mapping[ArmKey, Arm]
    recipes: Mapping[str, RunPlan]
    runs: Mapping[str, TrainedRun]
    paths: Sequence[PathPoint]


def load_study_records(result: StudyResult, study: str, paths: Sequence[PathPoint]) -> StudyRecords:
    """The records of one study, with the predictions of those arms alone that matter; paths: the points of all."""
    plan, keys = load_study_plan(study), answers.choose_arms(result)
    predicted = load_study_predictions(plan, [key.variant for key in keys])
    arms, names = build_arms(plan, predicted), [variant.name for variant in plan.variants]
    return StudyRecords(
        plan=plan,
        settings=load_statistics_plan(),
        labels=predicted.labels,
        arms={key: arms[key] for key in keys},
        recipes={name: load_run_plan(study, name) for name in names},
        runs={name: load_run(study, name) for name in names},
        paths=[point for point in paths if point.study == study],
    )


def draw_study(result: StudyResult, records: StudyRecords) -> StudyPart:
    """Everything that pages show of one task."""
    plan, settings = records.plan, records.settings
    rows, is_table = count_rows(result, records), plan.unit == "rows"
    name = plan.task.replace("/", ", ").replace("_", " ").capitalize()
    recipe = describe_recipe(records.recipes[plan.baseline], records.runs[plan.baseline])
    protocol = capitalize(result.protocol.describe())
    *told, following = answers.tell_study(result, settings.confidence)
    told = list(dict.fromkeys([*told, *answers.tell_more(result, settings.confidence), following]))
    learning = figures.tabulate_learning(records.runs)
    forest = pd.concat([figures.list_differences(result, score) for score in result.scores.values()])
    return StudyPart(
        name=plan.task,
        title=rows if plan.task == f"{plan.unit}_{rows.split()[0].replace(',', '')}" else f"{name} ({rows})",
        data=f"{plan.task} ({rows})" if is_table else rows,
        is_table=is_table,
        about=f"{plan.title}; {recipe}. {protocol}.",
        answers=told,
        brief=answers.tell_brief(result, settings.confidence),
        table=tabulate_arms(result),
        summary=summarize_arms(result),
        mechanisms=list_mechanisms(result),
        figures=draw_figures(result, records, learning),
        series={
            name: table.to_csv(index=False, float_format="%.5g", lineterminator="\n")
            for name, table in (("forest", forest), ("learning", learning))
        },
    )


def draw_figures(result: StudyResult, records: StudyRecords, learning: pd.DataFrame) -> list[Figure]:
    """The figures of a study that have something to show, in the order of the page.

    Of several data sets none has a figure of its own: a page with all of them would take ten megabytes.
    """
    plan, settings = records.plan, records.settings
    if split_task(plan.task)[1]:
        return []
    drawn = {}
    for score in (result.scores["probabilities"], result.scores["discrimination"]):
        drawn[f"forest-{score}"] = figures.draw_forest(result, score, settings.equivalence[score], settings.confidence)
        drawn[f"paths-{score}"] = figures.draw_paths(result, score, records.paths)
    same_loss = len({recipe.loss for recipe in records.recipes.values()}) == 1
    drawn["learning"] = figures.draw_learning(learning, baseline=plan.baseline, same_loss=same_loss)
    predicted = {name_arm(*key): arm.test for key, arm in records.arms.items()}
    meant = f"“{(plan.class_names or '01')[1]}”" if plan.outputs == 1 else "the predicted class"
    drawn["reliability"] = figures.draw_reliability(predicted, records.labels.test, meant)
    return [make_figure(f"{name}-{plan.task}", chart) for name, chart in drawn.items() if chart]


def count_rows(result: StudyResult, records: StudyRecords) -> str:
    """`450 rows of 150 groups`: all where each is held out once, else the training rows of one network."""
    labels = records.labels
    held_out = len(set(labels.test_numbers.ravel().tolist()))
    number = labels.training_numbers.shape[1] if result.protocol.fixed_test else held_out
    groups = f" of {len(set(labels.test_groups.ravel().tolist())):,} groups" if labels.test_groups.size else ""
    return f"{number:,} {records.plan.unit}{groups if not result.protocol.fixed_test else ''}"


def describe_recipe(plan: RunPlan, run: TrainedRun) -> str:
    """`network 22-30-30-1 (relu, 1,651 weights), 100 epochs in batches of 30, adam at 0.001, binary crossentropy`."""
    kernels = [weights for name, weights in run.weights.items() if name.startswith("kernel_")]  # [lane, in, out]
    sizes = "-".join(str(size) for size in (kernels[0].shape[1], *plan.network.hidden, plan.network.outputs))
    num_weights = sum((kernel.shape[1] + 1) * kernel.shape[2] for kernel in kernels)
    return (
        f"network {sizes} ({plan.network.activation}, {num_weights:,} weights), {plan.epochs} "
        f"epoch{'s' if plan.epochs > 1 else ''} in batches of {plan.batch_size}, {plan.optimizer.name} at "
        f"{plan.optimizer.learning_rate:g}, {plan.loss.replace('_', ' ')}"
    )


def tabulate_arms(result: StudyResult) -> list[Row]:
    """A row for every arm, the best first by verdict; and what a guess would score."""
    rows = [tabulate_arm(key, arm) for key, arm in answers.rank_arms(result)]
    return [*rows, dict.fromkeys(rows[0], "") | describe_guess(result)]


def describe_guess(result: StudyResult) -> Row:
    return {"arm": NO_SKILL} | {SCORES[score].label: result.no_skill[score] for score in result.scores.values()}


def tabulate_arm(key: ArmKey, arm: ArmResult) -> Row:
    row: Row = {"arm": name_arm(*key)}
    for score, judged in reversed(arm.judged.items()):
        label, difference = SCORES[score].label, judged.difference
        row |= {
            label: judged.value,
            f"{label}: difference": difference.value if difference else "",
            f"{label}: interval": show_interval(difference.low, difference.high, "+") if difference else "",
            f"{label}: verdict": name_found(difference),
        }
    compared = any(judged.difference for judged in arm.judged.values())
    strengths = [f"{style_of(name).label} {describe_range(values)}" for name, values in arm.strengths.items()]
    return row | {
        "compared with": style_of(arm.baseline).label if compared else "",
        "strengths": ", ".join(strengths),
        "train-test gap": arm.scores["gap"],
        "validation-test gap": next(iter(arm.optimism.values()), ""),
    }


def summarize_arms(result: StudyResult) -> list[Row]:
    """The arms as one would use them: the baseline, what is decided by the score of probabilities, the models; a guess.

    At most NUM_SHOWN, the best first.
    """
    *_, score = result.scores.values()
    ranked = answers.rank_arms(result, score)
    rows = [summarize_arm(result, key, arm) for key, arm in ranked if is_told(result, key, arm, score)]
    return [*rows[:NUM_SHOWN], dict.fromkeys(rows[0], "") | describe_guess(result)]


def is_told(result: StudyResult, key: ArmKey, arm: ArmResult, score: str) -> bool:
    """Whether an arm is in the short table."""
    asked = key.kind != AT_KNOB or answers.is_used(result, key)
    return arm.judged[score].verdict in ("baseline", "better", "worse", "equivalent") and asked


def summarize_arm(result: StudyResult, key: ArmKey, arm: ArmResult) -> Row:
    """Each score with its change, interval and verdict."""
    row: Row = {"arm": name_arm(*key)}
    for score, judged in reversed(arm.judged.items()):
        label, found = SCORES[score].label, judged.difference
        change = show_change(found, answers.find_share(result, arm, score)) if found else ""
        row |= {label: judged.value, f"change of {label}": change, f"by {label}": name_found(found)}
    return row


def list_mechanisms(result: StudyResult) -> list[str]:
    arms = [(name_arm(*key), answers.tell_mechanisms(arm.mechanisms)) for key, arm in answers.rank_arms(result)]
    return [f"{name}: {told}." for name, told in arms if told]
