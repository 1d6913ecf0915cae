"""What the templates of the report say: studies in words and tables, and what was measured beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from stages.lib.judge.arms import ArmKey
from stages.lib.judge.comparison import ArmResult, StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report import measured
from stages.lib.report.answers import answer, capitalize, choose_arms, headline, order_studies, rank_arms
from stages.lib.report.figure import Figure, Panel, list_records
from stages.lib.report.sections import Results, draw_study
from stages.lib.report.series import RecipeFacts, StudyFacts
from stages.lib.report.styles import SHAPES, VERDICTS, name_arm, style_of
from stages.lib.report.wording import describe_range, name_strengths, sign_number

LONG_TEXT = 40  # characters of a cell that wraps
NO_SKILL_ROW = "a guess that knows the class shares alone"


@dataclass(frozen=True)
class Study:
    """One study, ready for a template. table: every arm; mechanisms: what regularisers did inside the networks."""

    name: str
    title: str
    rows: str
    facts: StudyFacts
    result: StudyResult
    headline: str
    answers: list[str]
    recipe: str
    protocol: str
    table: pd.DataFrame
    mechanisms: list[str]
    figures: list[Figure]
    is_image: bool

    @property
    def matter(self) -> list[ArmKey]:
        return choose_arms(self.result)

    @property
    def skill(self) -> str:
        return self.answers[-1]


@dataclass(frozen=True)
class Part:
    """Something measured beside the studies: a heading, what to know, tables by their captions, and figures."""

    key: str
    title: str
    note: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


def describe_studies(found: Results) -> list[Study]:
    return [describe_study(found, name) for name in order_studies(found.comparison)]


def describe_study(found: Results, name: str) -> Study:
    result, facts = found.comparison[name], found.facts.studies[name]
    return Study(
        name=name,
        title=name.replace("_", " ").capitalize(),
        rows=facts.describe(result.protocol.fixed_test),
        facts=facts,
        result=result,
        headline=headline(result, found.facts.confidence),
        answers=answer(result, found.facts.confidence),
        recipe=describe_recipe(facts.recipes[result.baseline]),
        protocol=capitalize(result.protocol.describe()),
        table=tabulate_arms(result, facts),
        mechanisms=list_mechanisms(result),
        figures=draw_study(found, name),
        is_image=any(picture.study == name for picture in found.pictures),
    )


def describe_recipe(recipe: RecipeFacts) -> str:
    """`network 22-30-30-1 (relu, 1,651 weights), 100 epochs in batches of 30, adam at 0.001, binary crossentropy`."""
    sizes = "-".join(str(size) for size in (recipe.inputs, *recipe.hidden, recipe.outputs))
    return (
        f"network {sizes} ({recipe.activation}, {recipe.num_weights:,} weights), {recipe.epochs} "
        f"epoch{'s' if recipe.epochs > 1 else ''} in batches of {recipe.batch_size}, {recipe.optimizer} at "
        f"{recipe.learning_rate:g}, {recipe.loss.replace('_', ' ')}"
    )


def tabulate_arms(result: StudyResult, facts: StudyFacts) -> pd.DataFrame:
    """A row for every arm, the best first by verdict; and what a guess would score."""
    rows = [tabulate_arm(result, facts, key, arm) for key, arm in rank_arms(result)]
    guess = {"arm": NO_SKILL_ROW} | {SCORES[score].label: result.no_skill[score] for score in result.scores.values()}
    return measured.fill_gaps(pd.DataFrame([*rows, guess]))


def tabulate_arm(result: StudyResult, facts: StudyFacts, key: ArmKey, arm: ArmResult) -> dict[str, Any]:
    recipe = facts.recipes.get(key.variant)
    row: dict[str, Any] = {"arm": name_arm(*key)}
    for score, judged in arm.judged.items():
        label, found = SCORES[score].label, judged.difference
        row |= {
            label: judged.value,
            f"{label}: difference": found.value if found else "",
            f"{label}: interval": f"{found.ci_low:+.3f} to {found.ci_high:+.3f}" if found else "",
            f"{label}: verdict": VERDICTS[found.verdict].label if found else "baseline",
        }
    guesses = {
        f"{SCORES[score].label} against a guess": VERDICTS[judged.skill.verdict].label
        for score, judged in arm.judged.items()
    }
    compared = any(judged.difference for judged in arm.judged.values())
    return row | {
        "compared with": style_of(arm.baseline).label if compared else "",
        "strengths": name_strengths(arm.strengths),
        "hidden layers": "-".join(map(str, recipe.hidden)) or "none" if recipe else "",
        "epochs": recipe.epochs if recipe else "",
        "training less held-out": arm.scores["gap"],
        "validation less held-out": next(iter(arm.optimism.values()), ""),
        **guesses,
    }


def list_mechanisms(result: StudyResult) -> list[str]:
    return [f"{name_arm(*key)}: {said}." for key, arm in rank_arms(result) if (said := tell_mechanisms(arm.mechanisms))]


def tell_mechanisms(found: dict[str, float]) -> str:
    """What the regulariser did inside the network, where it did something."""
    if not found:
        return ""
    said = []
    if found.get("zero_share", 0.0) >= 0.005:
        said.append(f"{found['zero_share']:.0%} of the weights are exactly zero")
    if found.get("bound_share", 0.0) >= 0.005:
        said.append(f"{found['bound_share']:.0%} of the units that it bounds are at their bound")
    if found.get("stopped_early", 0.0) > 0:
        said.append(
            f"{found['stopped_early']:.0%} of the networks stopped early; {found['epochs_run']:.1f} epochs on average"
        )
    if found.get("diverged", 0.0) > 0:
        said.append(f"{found['diverged']:.0%} of the networks diverged")
    if found.get("one_answer", 0.0) == 1:
        said.append("every network puts all held-out rows into one class")
    return "; ".join(said)


def list_measured(found: Results) -> list[Part]:
    """The parts whose data are there."""
    parts = []
    if found.searches:
        note = "Mixtures of regularisers, spread over the ranges of their strengths and trained beside each other."
        parts.append(Part("searches", "Mixtures of regularisers", note, figures=measured.draw_searches(found.searches)))
    if found.audit:
        note = (
            "Claims of the tutorial, and its defects, each measured by an experiment of this pipeline. Where the test "
            "set is fixed, intervals of gaps, norms and training losses cover other seeds, not other rows. A claim is "
            "supported, or refuted, where all quantities that decide say so; it depends where one supports and another "
            "refutes it, and is undecided else."
        )
        parts.append(Part("audit", "The tutorial's claims", note, measured.tabulate_audit(found.audit)))
    figure = measured.draw_calibration(found.calibration)
    if figure:
        note = (
            "Intervals are not believed because their formula is published; they are counted where the truth is known."
        )
        tables = {"errors and power": measured.tabulate_errors(found.calibration)}
        parts.append(Part("calibration", "Are the intervals right?", note, tables, [figure]))
    return parts


def tabulate_run(found: Results) -> Part:
    """Versions, seeds and protocols; the machine and durations as of the benchmark's own run."""
    versions = pd.DataFrame(found.facts.versions.items(), columns=["library", "version"])
    studies = pd.DataFrame(
        [
            {"study": name, "rows": found.facts.studies[name].describe(study.protocol.fixed_test), "seed": study.seed,
             "protocol": study.protocol.describe(), "baseline": style_of(study.baseline).label,
             "recipe": describe_recipe(found.facts.studies[name].recipes[study.baseline])}
            for name, study in found.comparison.items()
        ]
    )  # fmt: skip
    machine = found.bench["machine"]
    tables = {"studies": studies, "versions": versions, "what one network costs": tabulate_bench(found.bench)}
    note = (
        f"Summarized on {found.facts.machine}. The same inputs give the same bytes on any x86-64 machine. Durations "
        f"were measured on {machine['cores']} cores of {machine['processor']} (make bench)."
    )
    return Part("run", "What ran", note, tables)


def tabulate_bench(bench: dict[str, Any]) -> pd.DataFrame:
    """Seconds for one network in lanes, and how many times as long others take."""
    rows = []
    for name, workload in bench["workloads"].items():
        found = workload["contenders"]
        row = {"work": name, "what": workload["description"], "seconds in lanes": found["lanes"]["seconds"]["median"]}
        for other, label in (("stock", "Keras fit"), ("sklearn", "scikit-learn"), ("jax", "JAX")):
            if other in found:
                row[f"{label}: times as long"] = found[other]["times_lanes"]["median"]
        rows.append(row)
    return measured.fill_gaps(pd.DataFrame(rows))


# Filters of the templates --------------------------------------------------------------------------------------------


def show_cell(value: Any) -> str:
    """Numbers with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw_icon(shape: str, colour: str) -> Markup:
    """A mark of a legend."""
    return Markup(
        f'<svg class="icon" viewBox="-8 -8 16 16" aria-hidden="true"><path d="{SHAPES[shape]}" fill="{colour}" '
        f'stroke="{colour}"/></svg>'
    )


def draw_panel(panel: Panel) -> Markup:
    """The SVG of a panel, named by its title for those who cannot see it."""
    return Markup(panel.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(panel.title)}" ', 1))


def show_exactly(value: Any) -> str:
    """As a chart's own data hold it."""
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def name_class(value: Any) -> Markup:
    """The class of a cell."""
    return Markup(' class="text"' if isinstance(value, str) and len(value) > LONG_TEXT else "")


def share_specs(specs: Sequence[Any]) -> list[Any]:
    """The first specification, and what the others change in it: [path, value] for each change.

    Small panels differ in a colour and a title, and a page holds hundreds.
    """
    return [specs[0], *(list(list_changes(specs[0], spec, [])) for spec in specs[1:])]


def list_changes(old: Any, new: Any, path: list[Any]) -> Iterator[list[Any]]:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in new:
            yield from list_changes(old[key], new[key], [*path, key])
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from list_changes(before, after, [*path, place])
    elif old != new:
        yield [path, new]


def to_json(value: Any) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"))


FILTERS = {
    "cell": show_cell,
    "icon": draw_icon,
    "svg": draw_panel,
    "specs": lambda panels: to_json(share_specs([panel.spec for panel in panels])),
    "numeric": lambda figure, field: any(
        is_number(row.get(field)) for p in figure.panels for row in list_records(p.rows[:1])
    ),
    "json": to_json,
    "exact": show_exactly,
    "cell_class": name_class,
    "arm": lambda key: name_arm(*key),
    "thousands": lambda number: f"{number:,}",
    "records": list_records,
    "signed": sign_number,
    "range": describe_range,
    "variant": lambda name: style_of(name).label,
    "verdict": lambda name: VERDICTS[name],
    "label": lambda score: SCORES[score].label,
}
