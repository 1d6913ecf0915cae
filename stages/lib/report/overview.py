"""All data at one glance: what each regulariser does to the score of probabilities, in one figure, in few sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from stages.lib.core.records import split_task
from stages.lib.judge.arms import AT_KNOB, DEFAULT, TO_END, TUNED, ArmKey
from stages.lib.judge.comparison import Comparison, CostPoint, Difference, StudyResult
from stages.lib.judge.findings import is_failure, is_used
from stages.lib.judge.plans import StatisticsPlan
from stages.lib.judge.pooling import find_unbeaten, pool
from stages.lib.judge.scores import SCORES
from stages.lib.report import answers
from stages.lib.report.answers import BASELINE, IN_WORDS, TO_THE_END, is_survey
from stages.lib.report.charts import INK, MUTED, ROWS, Chart, finish_chart, scale_colours
from stages.lib.report.styles import (
    ARMS,
    CHOSEN,
    NOTES,
    VERDICTS,
    Effect,
    find_per_cent,
    first_of,
    join_words,
    name_arm,
    name_variant,
    say,
    show_change,
    style_of,
)

SIGNS, STAR = {"better": "▲", "worse": "▼", "equivalent": "=", "inconclusive": " ", "not_asked": " "}, "★"
CELL, ROW, LABELS = 61, 21, 132  # pixels of a column, of a row and of their names: letters stay legible on a phone
NUM_NAMED = 3  # arms that a sentence names


@dataclass(frozen=True)
class DataColumn:
    """What arms do on one data set, or on several as their mean. effects: by the arm.

    baseline: its score. may_be_best: the arms that no other is shown to beat, the baseline among them. learns: whether
    networks of the baseline do; else no effect has a verdict, since it does not say that a regulariser helps. other:
    the effects by the score of discrimination, whose label is by; on one data set alone. ensembles: arms that are some.
    costs: what so many networks are worth.
    """

    title: str
    effects: Mapping[str, Effect]
    baseline: float
    may_be_best: set[str]
    learns: bool = True
    other: Mapping[str, Effect] = field(default_factory=dict)
    by: str = ""
    ensembles: Collection[str] = ()
    costs: Sequence[CostPoint] = ()

    @property
    def tried(self) -> list[str]:
        """The variants of one network each."""
        return [arm for arm in self.effects if is_variant(arm) and arm not in self.ensembles]

    def list_helping(self, effects: Mapping[str, Effect] | None = None) -> list[str]:
        """The variants that are shown to help, the largest effect first; effects: by another score."""
        found = self.effects if effects is None else effects
        helping = [arm for arm in self.tried if arm in found and found[arm].verdict == "better"]
        return sorted(helping, key=lambda arm: -abs(found[arm].value))


@dataclass(frozen=True)
class Overview:
    """score: its label. margin: the least difference of it that matters. groups: arm -> its group, as in words.yaml."""

    score: str
    margin: float
    columns: list[DataColumn]
    groups: Mapping[str, str]

    @property
    def settings(self) -> set[str]:
        """Arms that are no regularisers."""
        return {arm for arm, group in self.groups.items() if group != "regularizers"}

    @property
    def rows(self) -> dict[str, dict[str, Effect]]:
        """Arm -> column -> effect. The choice of validation rows, no regulariser to the end, those on most data."""
        arms = dict.fromkeys(arm for column in self.columns for arm in column.effects if not is_default(arm))
        rows = {
            arm: {column.title: column.effects[arm] for column in self.columns if arm in column.effects} for arm in arms
        }
        return dict(sorted(rows.items(), key=self.rank_row))

    def rank_row(self, row: tuple[str, Mapping[str, Effect]]) -> tuple[bool, int, bool, int, float]:
        """Early stopping, then group by group; of those on as much data, the best first."""
        arm, effects = row
        mean = sum(effect.value for effect in effects.values()) / len(effects)
        group = list(answers.GROUPS).index(self.groups.get(arm, "regularizers"))
        return arm != TO_THE_END, group, arm != CHOSEN, -len(effects), mean


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
            new = [study for study in tasks.values() if not study.explored]
            if 1 < len(new) < len(tasks):
                title = f"{len(new)} new tables"
                columns[title] = tell_several(title, new, score, settings)
        else:
            columns[title] = tell_one(title, tasks[first], score)
    arms = [(key, arm) for task in chosen for key, arm in comparison[task].list_arms()]
    groups = {style_of(key.variant).label: arm.group for key, arm in arms if arm.group != "model"}
    return Overview(SCORES[score].label, settings.equivalence[score], list(columns.values()), groups)


def tell_one(title: str, study: StudyResult, score: str) -> DataColumn:
    """The effects on one data set, as it was judged."""
    names = {ArmKey(study.baseline, TO_END): TO_THE_END, ArmKey(study.baseline, AT_KNOB): BASELINE}
    best = {names.get(key) or name_variant(*key) for key in study.may_be_best.get(score, [])}
    other = study.scores["discrimination"]
    effects, baseline = list_effects(study, score), study.baseline_result.judged[score].value
    by, also = SCORES[other].label, list_effects(study, other)
    column = DataColumn(
        title, effects, baseline, best, other=also, by=by, ensembles=list_ensembles(study), costs=study.equal_cost
    )
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
    ensembles, costs = list_ensembles(studies[0]), pool_costs(studies, sign=sign, margin=margin, settings=settings)
    column = DataColumn(title, pooled, float(np.mean(baselines)), best, ensembles=ensembles, costs=costs)
    return without_verdicts(column) if any(is_failure(study, study.baseline) for study in studies) else column


def pool_costs(
    studies: Sequence[StudyResult], *, sign: int, margin: float, settings: StatisticsPlan
) -> list[CostPoint]:
    """What so many networks are worth on average over data sets."""
    every = [{(point.way, point.networks): point for point in study.equal_cost} for study in studies]
    common = [key for key in every[0] if all(key in one for one in every)]
    asked = {
        str(networks): [one[way, networks].difference for one in every]
        for way, networks in common
        if every[0][way, networks].difference
    }
    known = {name: [one for one in found if one] for name, found in asked.items()}
    judged = pool(known, sign=sign, margin=margin, confidence=settings.confidence) if known else {}
    differences = {
        networks: Difference(one.value, one.low, one.high, verdict=one.verdict) for networks, one in judged.items()
    }
    return [
        CostPoint(
            way,
            networks,
            float(np.mean([one[way, networks].change for one in every])),
            differences.get(str(networks)) if way == "choose" else None,
        )
        for way, networks in common
    ]


def list_effects(study: StudyResult, score: str) -> dict[str, Difference]:
    """Each variant once, as one would use it; the choice of validation rows among them; the baseline to the end."""
    choices = {search.best_single for search in study.searches.values()}
    effects: dict[str, Difference] = {}
    for key, arm in study.list_arms():
        difference = arm.judged[score].difference
        others = arm.baseline != study.baseline and arm.group != "ensembles"
        if not difference or arm.group == "model" or others:
            continue
        if key.kind == TUNED and key.variant in choices:
            effects[CHOSEN] = difference
        elif key == ArmKey(study.baseline, TO_END):
            effects[TO_THE_END] = difference
        elif key.kind == DEFAULT:
            effects[name_arm(*key)] = difference
        elif is_used(study, key):
            effects[name_variant(*key)] = difference
    return effects


def read_overview(overview: Overview) -> str:
    """How the picture is read."""
    words: dict[str, Any] = {"signs": SIGNS, "verdicts": VERDICTS, "star": STAR, "stopped": TO_THE_END in overview.rows}
    return say("overview", NOTES, score=overview.score, margin=overview.margin, **words)


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
    opacity = alt.condition(alt.datum.verdict != VERDICTS["inconclusive"].label, alt.value(0.5), alt.value(0.2))
    tooltip = ["arm:N", "column:N", "verdict:N", "value:Q", "low:Q", "high:Q"]
    chart = alt.layer(
        ROWS.mark_rect(stroke=MUTED, strokeWidth=0.3).encode(x=x, y=y, color=colour, opacity=opacity, tooltip=tooltip),
        ROWS.mark_text(color=INK, fontSize=11).encode(x=x, y=y, text="_text:N"),
    ).properties(width=alt.Step(CELL), height=alt.Step(ROW))
    tried = set(filter(is_variant, overview.rows))
    group = answers.GROUPS["settings" if tried and tried <= overview.settings else "regularizers"]
    title = f"What each {group[0]} does, on data that the network has not seen"
    return finish_chart(chart, rows, title=title, note=read_overview(overview))


def tell_overview(overview: Overview) -> list[str]:
    """The answer over all columns, and a sentence for each, from its verdicts."""
    return [" ".join(tell_all(overview)), *(tell_column(column, overview.score) for column in overview.columns)]


def tell_all(overview: Overview) -> Iterator[str]:
    """The answer over all columns in a few sentences, from verdicts alone."""
    learning, score = [column for column in overview.columns if column.learns], overview.score
    hurt = [one for one in learning if TO_THE_END in one.effects and one.effects[TO_THE_END].verdict == "worse"]
    if hurt:
        yield say("stop", score=score, where=join_titles(hurt), change=tell_range(TO_THE_END, hurt))
    averaged: dict[str, list[DataColumn]] = {}
    for column in learning:
        for arm in (arm for arm in column.ensembles if arm in column.effects):
            averaged.setdefault(arm, []).extend([column] if column.effects[arm].verdict == "better" else [])
    if any(averaged.values()):
        arm = max(averaged, key=lambda arm: len(averaged[arm]))
        where, change = join_titles(averaged[arm]), tell_range(arm, averaged[arm])
        yield say("averages", arm=arm, score=score, where=where, change=change)
    if barren := [column for column in learning if column.tried and not column.list_helping()]:
        where = join_words([f"{column.title} ({len(column.tried)} tried)" for column in barren])
        yield say("none_helps", first=not hurt, score=score, where=where)
    helped: dict[str, list[DataColumn]] = {}
    for column in learning:
        for arm in column.list_helping():
            helped.setdefault(arm, []).append(column)
    if helped:
        most, *others = sorted(helped, key=lambda arm: -len(helped[arm]))
        shown = {"where": join_titles(helped[most]), "change": tell_range(most, helped[most])}
        also = join_words(first_of(others, NUM_NAMED)) if others else ""
        yield say("helps", arm=most, score=score, others=also, **shown)
    yield from tell_others(learning)
    if failed := [column for column in overview.columns if not column.learns]:
        yield say("cannot_tell", where=join_titles(failed))


def tell_others(columns: Sequence[DataColumn]) -> Iterator[str]:
    """What helps by the scores of discrimination: a sentence for each of them."""
    asked = [one for one in columns if any(effect.verdict != "not_asked" for effect in one.other.values())]
    for by in dict.fromkeys(column.by for column in asked):
        helped, barren = [], []
        for column in asked:
            if column.by == by and (arms := column.list_helping(column.other)):
                sizes = sorted(column.other[arm].value for arm in arms)
                ends = " to ".join(dict.fromkeys(f"{size:+z.3f}" for size in (sizes[0], sizes[-1])))
                helped.append({"number": len(arms), "tried": len(column.tried), "where": column.title, "change": ends})
            elif column.by == by:
                barren.append(column)
        yield say("also", score=by, helped=helped, barren=join_titles(barren))


def tell_range(arm: str, columns: Sequence[DataColumn]) -> str:
    """`-0.024 to -0.044, -5.3 to -9.8 %`: the smallest change and the largest, and those by their shares."""
    changes = sorted((column.effects[arm].value for column in columns), key=abs)
    found = [find_per_cent(column.effects[arm], column.baseline) for column in columns]
    shares = sorted((share for share in found if share is not None), key=abs)
    told = (
        " to ".join(dict.fromkeys(f"{number:+z.{places}f}" for number in (numbers[0], numbers[-1])))
        for numbers, places in ((changes, 3), (shares, 1))
        if numbers
    )
    return ", ".join(told) + " %" * bool(shares)


def join_titles(columns: Sequence[DataColumn]) -> str:
    return join_columns([column.title for column in columns])


def join_columns(columns: Iterable[str]) -> str:
    """`470 patients, 500 and 2,000 images and wine (178 rows)`: what is counted stands once, behind its numbers."""
    counted: dict[str, list[str]] = {}
    for column in columns:
        number, _, noun = column.rpartition(" ") if column[:1].isdigit() else ("", "", column)
        counted.setdefault(noun, []).append(number)
    return join_words([f"{join_words(numbers)} {noun}".strip() for noun, numbers in counted.items()])


def tell_column(column: DataColumn, score: str) -> str:
    """What the validation-selected regulariser and training without early stopping do, and how many help."""
    if not column.learns:
        return say("column", title=column.title, parts=[say("barren")])
    parts = [
        say("effect", subject=arm, change=show_change(effect, column.baseline), verdict=IN_WORDS[effect.verdict])
        for arm in (CHOSEN, TO_THE_END)
        if (effect := column.effects.get(arm))
    ]
    by_score = {"": column.list_helping()}
    by_score |= {column.by: column.list_helping(column.other)} if column.by else {}
    counts = [(by, len(helping), helping) for by, helping in by_score.items() if helping or not by]
    parts.append(say("helping", tried=len(column.tried), counts=counts))
    best = [say("best", arms=[*column.may_be_best], tried=0, plain=())] if len(column.may_be_best) == 1 else []
    return say("column", title=column.title, parts=[*parts, *best])


def is_variant(arm: str) -> bool:
    """Whether a row is a variant of its own."""
    return arm not in (CHOSEN, TO_THE_END) and not is_default(arm)


def is_default(arm: str) -> bool:
    """Whether it is a variant at the strength that other data sets choose, beside the tuned one."""
    return arm.endswith(f"({ARMS[DEFAULT]})")


def list_ensembles(study: StudyResult) -> list[str]:
    return [name_variant(*key) for key, arm in study.list_arms() if arm.group == "ensembles"]
