"""Write the report: all studies, claims and measurements on one page that opens offline, the same in Markdown, in text.

Reads   data/plan/{_tasks,_statistics}.json, data/points/<study>/,
        metrics/studies/<study>/, metrics/audit.json; metrics/calibration.json, which `make calibrate` has measured
Writes  metrics/metrics.json      study -> variant -> arm -> its two scores, means over replicates, and verdicts
        metrics/searches.csv; metrics/paths.csv, metrics/series/{forest,learning}/<study>.csv, for `dvc plots`
        metrics/{report.html,report.md,answer.txt,answer.json}, metrics/figures/<figure>.svg

Nothing of a single study is judged or drawn here.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.lib.claims.judging import ClaimResult, load_audit
from stages.lib.core.cli import parse_arguments, run_main
from stages.lib.core.files import write_bytes, write_json
from stages.lib.core.records import split_task
from stages.lib.judge.arms import AT_KNOB, DEFAULT, NO_SKILL, REFERENCE, TUNED, ArmKey
from stages.lib.judge.comparison import (
    METRICS,
    POINTS,
    ArmResult,
    Comparison,
    Difference,
    StudyResult,
    join_points,
    load_comparison,
)
from stages.lib.judge.plans import StatisticsPlan, load_statistics_plan, load_studies
from stages.lib.judge.pooling import Pooled, pool
from stages.lib.judge.scores import SCORES
from stages.lib.lock import prune_outputs
from stages.lib.measured import list_measured
from stages.lib.report.answers import is_survey
from stages.lib.report.charts import THEMES, make_figure, paint, stand_alone
from stages.lib.report.costs import list_costs
from stages.lib.report.overview import Overview, draw_overview, read_overview, survey, tell_all, tell_overview
from stages.lib.report.page import STUDIES, Part, StudyPart, render_page
from stages.lib.report.styles import VERDICTS, Effect
from stages.lib.versions import find_versions

FIGURES = METRICS / "figures"


def run(
    comparison: Comparison,
    parts: Mapping[str, StudyPart],
    audit: Sequence[ClaimResult],
    calibration: Mapping[str, Any],
    settings: StatisticsPlan,
) -> dict[Path, str]:
    """All texts and pictures, by their paths; comparison: of all tasks. parts: study -> what `draw` has left of it."""
    names = {task: name for part in parts.values() for task, name in part.data.items()}
    studies = sorted(parts.values(), key=lambda part: not any(is_survey(comparison[task]) for task in part.data))
    overview = survey(comparison, names, settings)
    effects, sentences = make_figure("answer", draw_overview(overview)), tell_overview(overview)
    measured = [*list_costs(overview), *list_measured(audit, calibration)]
    context = {"name": "", "answer": effects, "lead": [*tell_all(overview)], "sentences": sentences[1:]}
    context |= {"parts": studies, "measured": measured}
    files = {
        METRICS / "report.html": render_page("study/page.html.jinja", settings, **context),
        METRICS / "report.md": render_page("report.md.jinja", settings, **context),
        METRICS / "answer.txt": "\n".join(sentences) + "\n",
        METRICS / "answer.json": tell_answer(sentences, overview, list_defaults(comparison)),
    }
    files |= {FIGURES / f"answer-{theme}.svg": paint(effects.svg, theme) for theme in THEMES}
    shown: list[StudyPart | Part] = [*studies, *measured]
    in_markdown = [figure for part in shown for figure in part.figures[:1]]
    files |= {FIGURES / f"{figure.key}.svg": stand_alone(figure.svg) for figure in in_markdown}
    for study, part in parts.items():
        files |= {METRICS / "series" / name / f"{study}.csv": table for name, table in part.series.items()}
    return files


def list_defaults(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Variant -> the strengths that most data sets have by default, those that the others choose."""
    chosen: dict[str, Counter[tuple[tuple[str, float], ...]]] = {}
    for result in comparison.values():
        for key, arm in result.list_arms():
            if key.kind == DEFAULT and arm.group == "regularizers":
                strengths = tuple((name, values[0]) for name, values in arm.strengths.items())
                chosen.setdefault(key.variant, Counter())[strengths] += 1
    return {variant: dict(counts.most_common(1)[0][0]) for variant, counts in chosen.items()}


def tell_answer(sentences: Sequence[str], overview: Overview, defaults: Mapping[str, Mapping[str, float]]) -> str:
    """The answer for other programs, and where it was drawn. defaults: by `list_defaults`."""
    over_tables = {
        column.title: pooled
        for column in overview.columns
        if (pooled := {arm: asdict(one) for arm, one in column.effects.items() if isinstance(one, Pooled)})
    }
    content: dict[str, Any] = {"machine": platform.machine(), "versions": find_versions(), "sentences": sentences}
    content |= {"reading": read_overview(overview), "over_tables": over_tables, "defaults": defaults}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


Metrics = dict[str, dict[str, dict[str, float | str]]]  # variant or model -> arm -> score, or the verdict on it


def tabulate_comparison(comparison: Comparison, settings: StatisticsPlan) -> dict[str, Metrics]:
    """What `dvc metrics diff` shows: study -> variant -> arm -> score."""
    studies: dict[str, list[StudyResult]] = {}
    for task, result in comparison.items():
        studies.setdefault(split_task(task)[0], []).append(result)
    return {
        study: tabulate_several(results, settings) if len(results) > 1 else tabulate_metrics(results[0])
        for study, results in studies.items()
    }


def tabulate_metrics(result: StudyResult) -> Metrics:
    """Every arm by both scores, each with its verdict and the interval that it follows from; and no skill."""
    shown: Metrics = {}
    for key, arm in result.list_arms():
        values = {score: judged.value for score, judged in arm.judged.items()}
        effects = {score: judged.difference for score, judged in arm.judged.items() if judged.difference}
        shown.setdefault(key.variant, {})[key.kind] = tabulate_arm(values, effects)
    guess = {score: result.no_skill[score] for score in result.scores.values()}
    return shown | {NO_SKILL.variant: {"guess": tabulate_arm(guess, {})}}


def tabulate_several(results: Sequence[StudyResult], settings: StatisticsPlan) -> Metrics:
    """The same as means over data sets, which are judged as their sample."""
    scores = [score for score in results[0].scores.values() if all(score in one.scores.values() for one in results)]
    every = [dict(result.list_arms()) for result in results]
    common, shown = [key for key in every[0] if all(key in one for one in every)], Metrics()
    arms = [{key: one[key] for key in common} for one in every]
    pooled = {score: pool_arms(arms, score, settings) for score in scores}
    for key in common:
        values = {score: fmean(one[key].judged[score].value for one in arms) for score in scores}
        effects = {score: pooled[score][key] for score in scores if key in pooled[score]}
        shown.setdefault(key.variant, {})[key.kind] = tabulate_arm(values, effects)
    guess = {score: fmean(result.no_skill[score] for result in results) for score in scores}
    return shown | {NO_SKILL.variant: {"guess": tabulate_arm(guess, {})}}


def pool_arms(arms: Sequence[Mapping[ArmKey, ArmResult]], score: str, settings: StatisticsPlan) -> dict[ArmKey, Pooled]:
    """What arms do on several data sets. Knobs beside a tuned arm, and reference models, are families of their own."""
    families: dict[str, dict[ArmKey, list[Difference]]] = {}
    for key in arms[0]:
        differences = [one[key].judged[score].difference for one in arms]
        is_knob = key.kind == AT_KNOB and ArmKey(key.variant, TUNED) in arms[0]
        family = key.kind if is_knob or key.kind == REFERENCE else ""
        if known := [one for one in differences if one]:
            families.setdefault(family, {})[key] = known
    sign, margin = SCORES[score].sign, settings.equivalence[score]
    pooled: dict[ArmKey, Pooled] = {}
    for family, members in families.items():
        named = {"/".join(key): known for key, known in members.items()}
        if family == AT_KNOB:  # each by itself, by Bonferroni: another knob changes nothing of it
            level = 1 - (1 - settings.confidence) / len(members)
            found = {
                name: pool({name: one}, sign=sign, margin=margin, confidence=level)[name] for name, one in named.items()
            }
        else:
            found = pool(named, sign=sign, margin=margin, confidence=settings.confidence)
        pooled |= {key: found["/".join(key)] for key in members}
    return pooled


def tabulate_arm(values: Mapping[str, float], effects: Mapping[str, Effect]) -> dict[str, float | str]:
    """Each score of an arm, and beside it the verdict on its difference from the baseline."""
    row: dict[str, float | str] = {}
    for score, value in round_as_shown(values).items():
        row |= {score: value} | ({f"{score}_verdict": tell_verdict(effects[score])} if score in effects else {})
    return row


def tell_verdict(effect: Effect) -> str:
    """`better, -0.0290 (-0.0410 to -0.0171)`: it changes wherever a score does, also where the word stays the same."""
    word = VERDICTS[effect.verdict].label
    return f"{word}, {effect.value:+z.4f} ({effect.low:z.4f} to {effect.high:z.4f})"


def round_as_shown(values: Mapping[str, float]) -> dict[str, float]:
    """Round to the five decimals that `dvc metrics diff` shows: what looks the same there is the same."""
    return {name: round(value, 5) + 0.0 for name, value in values.items()}  # + 0.0: no negative zero


def main() -> None:
    parse_arguments(__doc__)
    names = load_studies()
    for folder in (POINTS, STUDIES):
        prune_outputs(folder, names)
    comparison = load_comparison(*names, whole=True)
    write_json(METRICS / "metrics.json", tabulate_comparison(comparison, load_statistics_plan()))
    parts = {name: StudyPart.load(name) for name in names}
    alone = [name for name, part in parts.items() if not part.tables]  # points of many data sets would be megabytes
    join_points(alone or names[:1])
    calibration = json.loads((METRICS / "calibration.json").read_bytes())
    files = run(comparison, parts, load_audit(), calibration, load_statistics_plan())
    for path, content in files.items():
        write_bytes(path, content.encode())


if __name__ == "__main__":
    run_main(main)
