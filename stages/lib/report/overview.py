"""All data at one glance: what each regulariser does to the score of probabilities, in one figure, in few sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from stages.lib.core.records import split_task
from stages.lib.judge.arms import AT_KNOB, TO_END, TUNED, ArmKey
from stages.lib.judge.comparison import Comparison, Difference, StudyResult
from stages.lib.judge.plans import StatisticsPlan
from stages.lib.judge.pooling import find_unbeaten, pool
from stages.lib.judge.scores import SCORES
from stages.lib.report import answers
from stages.lib.report.answers import IN_WORDS, Effect, is_failure, is_survey, is_used, name_first, tell_change
from stages.lib.report.charts import INK, MUTED, ROWS, Chart, finish_chart, read_note, scale_colours
from stages.lib.report.styles import CHOSEN, VERDICTS, first_of, style_of

SIGNS, STAR = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": " ", "not_asked": " "}, "★"
CELL, ROW, LABELS = 61, 21, 132  # pixels of a column, of a row and of their names: letters stay legible on a phone
NUM_NAMED = 5  # arms that a sentence names
BASELINE, TO_THE_END = "no regulariser", answers.TO_THE_END


@dataclass(frozen=True)
class DataColumn:
    """What arms do on one data set, or on several as their mean. effects: by the arm.

    baseline: its score. may_be_best: the arms that no other is shown to beat, the baseline among them. learns: whether
    networks of the baseline do; else no effect has a verdict, since it does not say that a regulariser helps.
    """

    title: str
    effects: Mapping[str, Effect]
    baseline: float
    may_be_best: set[str]
    learns: bool = True


@dataclass(frozen=True)
class Overview:
    """score: its label. margin: the least difference of it that matters. settings: arms that are no regularisers."""

    score: str
    margin: float
    columns: list[DataColumn]
    settings: set[str]

    @property
    def rows(self) -> dict[str, dict[str, Effect]]:
        """Arm -> column -> effect. The choice of validation rows, no regulariser to the end, those on most data."""
        arms = dict.fromkeys(arm for column in self.columns for arm in column.effects)
        rows = {
            arm: {column.title: column.effects[arm] for column in self.columns if arm in column.effects} for arm in arms
        }
        return dict(sorted(rows.items(), key=rank_row))


def rank_row(row: tuple[str, Mapping[str, Effect]]) -> tuple[bool, bool, int, float]:
    """Of those on as much data, the best first."""
    arm, effects = row
    mean = sum(effect.value for effect in effects.values()) / len(effects)
    return arm != CHOSEN, arm != TO_THE_END, -len(effects), mean


def survey(comparison: Comparison, names: Mapping[str, str], settings: StatisticsPlan) -> Overview:
    """The studies that compare many regularisers, or all where none does; names: task -> what its data are called."""
    chosen = [task for task, study in comparison.items() if is_survey(study)] or list(comparison)
    score = comparison[chosen[0]].scores["probabilities"]
    studies: dict[str, Comparison] = {}
    for task in chosen:
        if comparison[task].scores["probabilities"] == score:
            studies.setdefault(split_task(task)[0], {})[task] = comparison[task]
    columns: dict[str, DataColumn] = {}
    for every in studies.values():
        tasks = {task: study for task, study in every.items() if not is_failure(study, study.baseline)} or every
        first, *others = tasks
        number = f"{len(tasks)} of {len(every)}" if len(tasks) < len(every) else len(tasks)
        title = f"{number} tables" if others else names[first]
        title = title if title not in columns else f"{title}, {first}"
        if others:
            columns[title] = tell_several(title, list(tasks.values()), score, settings)
        else:
            columns[title] = tell_one(title, tasks[first], score)
    arms = [(key, arm) for task in chosen for key, arm in comparison[task].list_arms()]
    no_regularizers = {style_of(key.variant).label for key, arm in arms if arm.group == "settings"}
    return Overview(SCORES[score].label, settings.equivalence[score], list(columns.values()), no_regularizers)


def tell_one(title: str, study: StudyResult, score: str) -> DataColumn:
    """The effects on one data set, as it was judged."""
    names = {ArmKey(study.baseline, TO_END): TO_THE_END, ArmKey(study.baseline, AT_KNOB): BASELINE}
    best = {names.get(key) or style_of(key.variant).label for key in study.may_be_best.get(score, [])}
    column = DataColumn(title, list_effects(study, score), study.baseline_result.judged[score].value, best)
    return without_verdicts(column) if is_failure(study, study.baseline) else column


def without_verdicts(column: DataColumn) -> DataColumn:
    """What is left where no network of the baseline learns."""
    effects: dict[str, Effect] = {arm: replace(one, verdict="not_asked") for arm, one in column.effects.items()}
    return replace(column, effects=effects, may_be_best=set(), learns=False)


def tell_several(title: str, studies: Sequence[StudyResult], score: str, settings: StatisticsPlan) -> DataColumn:
    """The effects of the arms that several data sets have in common, pooled."""
    first, *others = effects = [list_effects(study, score) for study in studies]
    common = {arm: [one[arm] for one in effects] for arm in first if all(arm in one for one in others)}
    margin, sign = settings.equivalence[score], SCORES[score].sign
    baselines = [study.baseline_result.judged[score].value for study in studies]
    pooled = pool(common, sign=sign, margin=margin, confidence=settings.confidence, baselines=baselines)
    values = {arm: np.array([one.value for one in found]) for arm, found in common.items() if arm != CHOSEN}
    values[BASELINE] = np.zeros(len(studies))
    best = find_unbeaten(values, sign=sign, confidence=settings.confidence)
    best -= {arm for arm, one in pooled.items() if one.verdict == "worse"} | {BASELINE}
    if all(one.verdict != "better" for one in pooled.values()):
        best |= {BASELINE}  # as for one data set: `judge.keep_baseline`
    column = DataColumn(title, pooled, float(np.mean(baselines)), best)
    return without_verdicts(column) if any(is_failure(study, study.baseline) for study in studies) else column


def list_effects(study: StudyResult, score: str) -> dict[str, Difference]:
    """Each variant once, as one would use it; the choice of validation rows among them; the baseline to the end."""
    choices = {search.best_single for search in study.searches.values()}
    effects: dict[str, Difference] = {}
    for key, arm in study.list_arms():
        difference = arm.judged[score].difference
        if not difference or arm.group == "model" or arm.baseline != study.baseline:
            continue
        if key.kind == TUNED and key.variant in choices:
            effects[CHOSEN] = difference
        elif key == ArmKey(study.baseline, TO_END):
            effects[TO_THE_END] = difference
        elif is_used(study, key):
            effects[style_of(key.variant).label] = difference
    return effects


def read_overview(overview: Overview) -> str:
    """How the picture is read."""
    words: dict[str, Any] = {"signs": SIGNS, "verdicts": VERDICTS, "star": STAR, "stopped": TO_THE_END in overview.rows}
    return read_note("overview", score=overview.score, margin=overview.margin, **words)


def draw_overview(overview: Overview) -> Chart:
    """A row for each regulariser, a column for each study; a cell says how much log loss changes, and the verdict."""
    heads = {one.title: f"{re.sub('[()]', '', one.title)}|{one.baseline:.3f}" for one in overview.columns}
    best = {one.title: one.may_be_best for one in overview.columns if 2 * len(one.may_be_best) <= len(one.effects)}
    records = [
        {
            "arm": arm,
            "column": title,
            "_head": heads[title],
            "value": effect.value,
            "low": effect.low,
            "high": effect.high,
            "verdict": VERDICTS[effect.verdict].label,
            "_text": f"{SIGNS[effect.verdict]} {effect.value:+z.3f}{STAR * (arm in best.get(title, ()))}".strip(),
        }
        for arm, effects in overview.rows.items()
        for title, effect in effects.items()
    ]
    rows = pd.DataFrame(records, columns=["arm", "column", "_head", "value", "low", "high", "verdict", "_text"])
    seen = {effect.verdict for column in overview.columns for effect in column.effects.values()}
    shown = scale_colours(style for verdict, style in VERDICTS.items() if verdict in seen)
    lines = "split(replace(datum.label, ' ', '|'), '|')"  # the number, the noun, the score
    axis = alt.Axis(orient="top", labelAngle=0, labelColor=INK, labelPadding=31, labelLimit=CELL, labelExpr=lines)
    x = alt.X("_head:N", sort=list(heads.values()), title=None, axis=axis)
    y = alt.Y(
        "arm:N", sort=list(overview.rows), title=None, axis=alt.Axis(labelLimit=240, labelColor=INK, minExtent=LABELS)
    )
    legend = alt.Legend(symbolOpacity=0.5, columnPadding=48, columns=2 if overview.columns[1:] else 1)
    colour = alt.Color("verdict:N", scale=shown, legend=legend)
    opacity = alt.condition(alt.datum.verdict != VERDICTS["undecided"].label, alt.value(0.5), alt.value(0.2))
    tooltip = ["arm:N", "column:N", "verdict:N", "value:Q", "low:Q", "high:Q"]
    chart = alt.layer(
        ROWS.mark_rect(stroke=MUTED, strokeWidth=0.3).encode(x=x, y=y, color=colour, opacity=opacity, tooltip=tooltip),
        ROWS.mark_text(color=INK, fontSize=11).encode(x=x, y=y, text="_text:N"),
    ).properties(width=alt.Step(CELL), height=alt.Step(ROW))
    tried = set(filter(is_regularizer, overview.rows))
    group = answers.GROUPS["settings" if tried and tried <= overview.settings else "regularizers"]
    title = f"What each {group[0]} does, on data that the network has not seen"
    return finish_chart(chart, rows, title=title, note=read_overview(overview))


def tell_all(overview: Overview) -> str:
    """The answer over all columns in a few sentences, from verdicts alone."""
    shown = {
        arm: {
            title: abs(effect.value)
            for title, effect in effects.items()
            if effect.verdict == ("worse" if arm == TO_THE_END else "better")
        }
        for arm, effects in overview.rows.items()
    }
    arms = sorted(filter(is_regularizer, shown), key=lambda arm: -len(shown[arm]))
    helping = [arm for arm in arms if shown[arm]]
    reached = {title for arm in helping for title in shown[arm]}
    told = []
    if shown.get(TO_THE_END):
        hurts = f"going on is shown to hurt {tell_where(shown[TO_THE_END])}"
        told.append(f"Stop training where validation loss is lowest: {hurts}.")
    barren = [column for column in overview.columns if column.learns and column.title not in reached]
    if tried := {arm for column in barren for arm in column.effects if is_regularizer(arm)}:
        none = f"{'On top of that, none' if told else 'None'} of {count_tried(tried, overview.settings)}"
        told.append(f"{none} is shown to lower {overview.score} on {join_titles(barren)}.")
    if helping:
        most, *others = helping
        falls = f"{overview.score} falls by {tell_range(shown[most].values())}"
        also = f"; in places also {answers.join_words(first_of(others, NUM_NAMED))}" if others else ""
        told.append(f"Shown to help: {most}, {tell_where(shown[most])} ({falls}){also}.")
    if failed := [column for column in overview.columns if not column.learns]:
        told.append(f"What helps cannot be told on {join_titles(failed)}: no network of the baseline learns there.")
    return " ".join(told)


def count_tried(arms: set[str], settings: set[str]) -> str:
    """`20 (17 regularisers and 3 settings of training)`."""
    numbers = {"regularizers": len(arms - settings), "settings": len(arms & settings)}
    counted = [f"{number} {answers.GROUPS[group][number != 1]}" for group, number in numbers.items() if number]
    return f"{len(arms)} ({answers.join_words(counted)})" if counted[1:] else counted[0]


def tell_where(columns: Collection[str]) -> str:
    """`on 500 and 2,000 images`."""
    return f"on {join_columns(columns)}" if columns else "nowhere"


def join_titles(columns: Sequence[DataColumn]) -> str:
    return join_columns([column.title for column in columns])


def tell_range(sizes: Collection[float]) -> str:
    """From the least to the most."""
    least, most = f"{min(sizes):.3f}", f"{max(sizes):.3f}"
    return least if least == most else f"{least} to {most}"


def join_columns(columns: Iterable[str]) -> str:
    """`470 patients, 500 and 2,000 images and wine (178 rows)`: what is counted stands once, behind its numbers."""
    counted: dict[str, list[str]] = {}
    for column in columns:
        number, _, noun = column.rpartition(" ") if column[:1].isdigit() else ("", "", column)
        counted.setdefault(noun, []).append(number)
    return answers.join_words([f"{answers.join_words(numbers)} {noun}".strip() for noun, numbers in counted.items()])


def tell_overview(overview: Overview) -> list[str]:
    """The answer over all columns, and a sentence for each, from its verdicts."""
    told = (f"{column.title}: {tell_column(column, overview.score)}." for column in overview.columns)
    return [tell_all(overview), *told]


def tell_column(column: DataColumn, score: str) -> str:
    """What stopping in time does, what validation rows choose, and how many are shown to help."""
    if not column.learns:
        return "what helps cannot be told: no network of the baseline learns"
    effects = column.effects
    subjects = {CHOSEN: "the regulariser that validation rows choose", TO_THE_END: "going on"}
    words = IN_WORDS | {"undecided": VERDICTS["undecided"].label}
    parts = [
        f"{subject} {tell_change(effects[arm], score)}: {words[effects[arm].verdict]}"
        for arm, subject in subjects.items()
        if arm in effects
    ]
    rivals = answers.tell_best(sorted(column.may_be_best), (BASELINE, TO_THE_END))
    return "; ".join([*parts, tell_helping(effects), rivals])


def tell_helping(effects: Mapping[str, Effect]) -> str:
    """`3 of 19 are shown to help (dropout, ...)`."""
    tried = [arm for arm in effects if is_regularizer(arm)]
    helping = sorted((arm for arm in tried if effects[arm].verdict == "better"), key=lambda arm: effects[arm].value)
    names = name_first(helping) if helping else ""
    return f"{len(helping) or 'none'} of {len(tried)} {'is' if len(helping) < 2 else 'are'} shown to help{names}"


def is_regularizer(arm: str) -> bool:
    """Whether a row is a variant of its own."""
    return arm not in (CHOSEN, TO_THE_END)
