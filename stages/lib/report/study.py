"""One study in the report: its sentences, tables and figures, drawn from the records of its stages.

A study of several data sets has one part, of what is pooled over them, with a row for each data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pandas as pd

from stages.lib.core.records import split_task
from stages.lib.judge.arms import AT_KNOB, Arm, ArmKey, build_arms
from stages.lib.judge.comparison import ArmResult, Comparison, PathPoint, StudyResult
from stages.lib.judge.plans import StatisticsPlan, StudyPlan, load_statistics_plan, load_study_plan
from stages.lib.judge.pooling import Pooled
from stages.lib.judge.predictions import Labels, load_study_predictions
from stages.lib.judge.scores import SCORES
from stages.lib.lanes.plan import RunPlan, load_run_plan
from stages.lib.lanes.run import TrainedRun, load_run
from stages.lib.report import answers, figures
from stages.lib.report.answers import TO_THE_END
from stages.lib.report.charts import Chart, Figure, make_figure
from stages.lib.report.overview import DataColumn, is_variant, list_effects, tell_column
from stages.lib.report.page import Row, StudyPart
from stages.lib.report.styles import (
    CHOSEN,
    NO_SKILL,
    NOTES,
    VERDICTS,
    Effect,
    capitalize,
    describe_range,
    name_arm,
    name_found,
    name_verdict,
    say,
    show_change,
    show_interval,
    style_of,
)  # fmt: skip

NUM_SHOWN = 6  # arms of a short table


@dataclass(frozen=True)
class StudyRecords:
    """What the stages have left of one data set of a study.

    arms: those that matter. recipes, runs: variant -> plan of its run, and its networks. paths: the points of this
    task. Of one among several data sets there are no arms and the baseline's run alone.
    """

    plan: StudyPlan
    settings: StatisticsPlan
    labels: Labels
    arms: Mapping[ArmKey, Arm]
    recipes: Mapping[str, RunPlan]
    runs: Mapping[str, TrainedRun]
    paths: Sequence[PathPoint]


def load_study_records(result: StudyResult, task: str, paths: Sequence[PathPoint]) -> StudyRecords:
    """The records of a task, with the predictions of those arms alone that matter; paths: the points of all."""
    plan, keys = load_study_plan(task), [] if is_one_of_several(task) else answers.choose_arms(result)
    predicted = load_study_predictions(plan, [key.variant for key in keys])
    arms, names = build_arms(plan, predicted), [plan.baseline] if is_one_of_several(task) else plan.runs
    return StudyRecords(
        plan=plan,
        settings=load_statistics_plan(),
        labels=predicted.labels,
        arms={key: arms[key] for key in keys},
        recipes={name: load_run_plan(task, name) for name in names},
        runs={name: load_run(task, name) for name in names},
        paths=[point for point in paths if point.study == task],
    )


def is_one_of_several(task: str) -> bool:
    """Whether a task is a data set of a study of several: it has no figures of its own."""
    return bool(split_task(task)[1])


def draw_study(result: StudyResult, records: StudyRecords) -> StudyPart:
    """Everything that pages show of one task."""
    plan, settings = records.plan, records.settings
    rows = count_rows(result, records)
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
        data={plan.task: f"{plan.task} ({rows})" if plan.unit == "rows" else rows},
        about=f"{plan.title}; {recipe}. {protocol}.",
        answers=told,
        brief=answers.tell_brief(result, settings.confidence),
        table=tabulate_arms(result),
        summary=summarize_arms(result),
        mechanisms=list_mechanisms(result),
        figures=[] if is_one_of_several(plan.task) else draw_figures(result, records, learning),
        series={"forest": write_series(forest), "learning": write_series(learning)},
    )


def write_series(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.5g", lineterminator="\n")


def draw_figures(result: StudyResult, records: StudyRecords, learning: pd.DataFrame) -> list[Figure]:
    """The figures of a study that have something to show, in the order of the page."""
    plan, settings, drawn = records.plan, records.settings, dict[str, Chart | None]()
    note = say("forest", NOTES, confidence=settings.confidence)
    for score in (result.scores["probabilities"], result.scores["discrimination"]):
        rows, title = figures.name_rows(figures.list_differences(result, score)), f"Each arm, by {SCORES[score].label}"
        margin = settings.equivalence[score]
        drawn[f"forest-{score}"] = figures.draw_forest(rows, score, margin, title=title, note=note)
        drawn[f"paths-{score}"] = figures.draw_paths(result, score, records.paths)
    same_loss = len({recipe.loss for recipe in records.recipes.values()}) == 1
    drawn["learning"] = figures.draw_learning(learning, baseline=plan.baseline, same_loss=same_loss)
    predicted = {name_arm(*key): arm.test for key, arm in records.arms.items()}
    meant = f"“{(plan.class_names or '01')[1]}”" if plan.outputs == 1 else "the predicted class"
    drawn["reliability"] = figures.draw_reliability(predicted, records.labels.test, meant)
    return [make_figure(f"{name}-{plan.task}", chart) for name, chart in drawn.items() if chart]


# A study of several data sets -----------------------------------------------------------------------------------------


def draw_several(
    study: str, column: DataColumn, results: Comparison, parts: Mapping[str, StudyPart], settings: StatisticsPlan
) -> StudyPart:
    """What pages show of several data sets together; column: their pooled effects. parts: task -> its own part."""
    first, places = next(iter(results.values())), {task: split_task(task)[1] for task in results}
    score = first.scores["probabilities"]
    effects = dict(sorted(column.effects.items(), key=lambda entry: -SCORES[score].sign * entry[1].value))
    leading = next(filter(is_variant, effects), next(iter(effects)))
    own = {task: list_effects(result, score) for task, result in results.items()}
    of_leading = {places[task]: found[leading] for task, found in own.items() if leading in found}
    table = [tabulate_pooled(arm, effect, score) for arm, effect in effects.items() if isinstance(effect, Pooled)]
    pooled, spread = f"Each arm, mean over {column.title}", f"{leading}, on each data set"
    charts = {
        "forest": draw_effects(effects, pooled, "pooled", score, settings, number=len(results)),
        "spread": draw_effects(of_leading, spread, "spread", score, settings, arm=leading),
    }
    curves = [
        pd.read_csv(StringIO(part.series["learning"])).assign(variant=places[task]) for task, part in parts.items()
    ]
    series = {"score": score, "arm": "mean", "baseline": first.baseline}  # the columns of `list_differences`
    rows = [series | {"variant": arm, **describe_effect(effect)} for arm, effect in effects.items()]
    shown = (leading, CHOSEN, TO_THE_END)
    return StudyPart(
        name=study,
        title=f"{capitalize(study.replace('_', ' '))} ({len(results)} data sets)",
        data={task: name for part in parts.values() for task, name in part.data.items()},
        about=say("several", number=len(results), protocol=first.protocol.describe()),
        answers=[told := tell_column(column, SCORES[score].label)],
        brief=[told],
        table=table,
        summary=table[:NUM_SHOWN],
        mechanisms=[],
        figures=[make_figure(f"{name}-{study}", chart) for name, chart in charts.items() if chart],
        series={"forest": write_series(pd.DataFrame(rows)), "learning": write_series(pd.concat(curves))},
        tables=[tabulate_data_set(name, parts[task], results[task], own[task], shown) for task, name in places.items()],
    )


def tabulate_pooled(arm: str, effect: Pooled, score: str) -> Row:
    """An arm over all data sets: its mean, what to expect on a new one, and on how many it is shown to do what."""
    counts = {f"{VERDICTS[word].label} on": effect.counts.get(word, 0) for word in ("better", "worse")}
    new = show_interval(effect.new_low, effect.new_high, "+")
    row: Row = {"arm": arm, f"change of {SCORES[score].label}": show_change(effect)}
    row |= {"verdict": name_verdict(effect.verdict), "gains on": effect.gains} | counts
    return row | {"on a new data set": new}


def draw_effects(
    effects: Mapping[str, Effect], title: str, note: str, score: str, settings: StatisticsPlan, **told: Any
) -> Chart | None:
    """A forest plot of effects by their names."""
    rows = [{"arm": name, **describe_effect(effect)} for name, effect in effects.items()]
    table = pd.DataFrame(rows).assign(verdict=[name_verdict(row["verdict"]) for row in rows])
    words = say(note, NOTES, confidence=settings.confidence, **told)
    return figures.draw_forest(table, score, settings.equivalence[score], title=title, note=words)


def describe_effect(effect: Effect) -> Row:
    return {"difference": effect.value, "low": effect.low, "high": effect.high, "verdict": effect.verdict}


def tabulate_data_set(
    name: str, part: StudyPart, result: StudyResult, effects: Mapping[str, Effect], arms: Sequence[str]
) -> Row:
    """A data set among several: its baseline, and what these arms change, with the verdicts."""
    score = result.scores["probabilities"]
    baseline, reach = result.baseline_result.judged[score].value, result.reach.get(score)
    row: Row = {"data set": name, "rows": part.data[f"{part.name}"].rpartition(" (")[2].removesuffix(")")}
    row |= {f"{SCORES[score].label}: baseline": baseline, NO_SKILL: result.no_skill[score]}
    for arm in dict.fromkeys(arms):
        row[arm] = show_change(effects[arm], baseline) if arm in effects else ""
        row[f"{arm}: verdict"] = name_verdict(effects[arm].verdict) if arm in effects else ""
    return row | {"detectable": reach.detectable if reach else ""}


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
