"""How things are named and drawn wherever a person meets them: regularisers, verdicts, arms, findings; and text
of others.

Colours are told apart by colour-blind readers and have a contrast of at least 3 to 1 with white and with the dark page.
Regularisers of one kind share a hue and differ in shape.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from math import ceil, log10
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from stages.lib.data.checks import Check
from stages.lib.judge.comparison import Difference, Reach
from stages.lib.judge.plans import BEST_SINGLE, ENSEMBLE
from stages.lib.judge.pooling import Pooled
from stages.lib.judge.references import REFERENCES
from stages.lib.judge.scores import SCORES

Effect = Difference | Pooled  # of an arm, on one data set or on several


class Style(NamedTuple):
    """label: for people. colour: of marks. shape: Vega's name of the point."""

    label: str
    colour: str
    shape: str


BLUE, GREEN, GREY, RED = "#2f7ed8", "#159a73", "#80868f", "#d1492e"
COLOURS = {"blue": BLUE, "green": GREEN, "orange": "#c9690c", "purple": "#9065d0", "pink": "#cf5590"}
COLOURS |= {"grey": GREY, "red": RED}
WORDS = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
# Variants by their names; other names are shown as they are, grey.
VARIANTS = {name: Style(label, COLOURS[colour], shape) for name, (label, colour, shape) in WORDS["variants"].items()}

CHOSEN = "validation-selected"  # the best single regulariser of a study
NO_SKILL = "class-prior baseline"  # scikit-learn's DummyClassifier(strategy="prior")
# Losses and reference models whose names are no words.
OTHERS = {"r_squared": "R squared"} | {name: model.label for name, model in REFERENCES.items()}

# The word and the mark of a verdict in tables and pictures; from the best to the worst.
VERDICTS = {name: Style(label, COLOURS[colour], shape) for name, (label, colour, shape) in WORDS["verdicts"].items()}

ARMS: dict[str, str] = WORDS["arms"]
SHORT_ARMS = ARMS | {"at_knob": "knob", "reference": "reference"}


def style_of(variant: str) -> Style:
    variant, _, members = variant.partition(ENSEMBLE)
    if members:
        style, words = style_of(variant), WORDS["ensembles"]
        return style._replace(label=words.get(variant, words["others"]).format(label=style.label, members=members))
    words = re.sub(rf"^{BEST_SINGLE}(s_\d+)?", CHOSEN, variant).replace("_", " ")
    return VARIANTS.get(variant) or Style(OTHERS.get(variant, words), GREY, "circle")


def name_arm(variant: str, kind: str) -> str:
    """`L2 penalty (tuned)`."""
    return f"{name_variant(variant, kind)} ({SHORT_ARMS[kind]})"


def name_variant(variant: str, kind: str) -> str:
    """Its label; of a search that is left out, as at its knobs, another one."""
    return str(WORDS["fixed"].get(variant if kind == "at_knob" else "") or style_of(variant).label)


def name_verdict(verdict: str) -> str:
    """A verdict in words; a baseline has none."""
    return VERDICTS[verdict].label if verdict in VERDICTS else verdict


def name_found(found: Difference | None) -> str:
    """The verdict on a difference in words: `identical` where it is 0 in every row."""
    if found and found.value == found.own_low == found.own_high == 0:
        return str(WORDS["identical"])
    return name_verdict(found.verdict if found else "baseline")


def first_of(entries: Sequence[str], most: int) -> list[str]:
    """The first entries, and how many more there are."""
    return [*entries[:most], *([f"{len(entries) - most:,} more"] if len(entries) > most else [])]


def join_words(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def show_interval(low: float, high: float, sign: str = "", places: int = 3) -> str:
    """`0.014 to 0.176`; sign: `+` for that of a difference. Where it leaves 0 out, neither end is shown as 0."""
    most, least = 9 if low * high > 0 else places + 1, 0.5 * 10**-places
    shown = [ceil(-log10(abs(end))) if 10**-most <= abs(end) < least else places for end in (low, high)]
    return f"{low:{sign}z.{shown[0]}f} to {high:{sign}z.{shown[1]}f}"  # a 0 has no minus


def show_number(value: float) -> str:
    """Three significant digits, at most six decimals, no exponent."""
    return np.format_float_positional(round(value, 6) + 0.0, precision=3, fractional=False, trim="-")


def describe_range(strengths: Sequence[float]) -> str:
    """`0.1`, or `0.1 to 0.5`, of three digits."""
    return " to ".join(dict.fromkeys(f"{float(f'{strengths[end]:.3g}'):g}" for end in (0, -1)))


def show_change(
    effect: Effect, share_of: float | None = None, confidence: float | None = None, *, interval: bool = True
) -> str:
    """`-0.050 (-10.0 %; 95 % interval -0.060 to -0.040)`, or `-0.050 (-10.0 %)`.

    share_of: the score of which it is so many per cent. confidence: of the interval, if it is told.
    """
    per_cent = find_per_cent(effect, share_of)
    told = [] if per_cent is None else [f"{per_cent:+z.1f} %"]
    if interval:
        called = f"{100 * confidence:g} % interval " if confidence else ""
        told.append(called + show_interval(effect.low, effect.high, "+"))
    return f"{effect.value:+z.3f}" + (f" ({'; '.join(told)})" if told else "")


def find_per_cent(effect: Effect, share_of: float | None) -> float | None:
    """A change in per cent of a score; that of several data sets is a geometric mean over them."""
    if isinstance(effect, Pooled):
        return effect.per_cent
    return 100 * effect.value / share_of if share_of else None


def capitalize(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


# Sentences ------------------------------------------------------------------------------------------------------------


NOTES = "study/notes.jinja"  # how each figure is read


@cache
def load_macros(template: str) -> Any:
    """Its macros, without the spaces that blocks leave."""
    environment = Environment(loader=PackageLoader("stages"), undefined=StrictUndefined)
    environment.filters["named"] = lambda names, most=NUM_NAMED: ", ".join(first_of(names, most))
    return environment.get_template(template).module


def say(name: str, template: str = "study/sentences.jinja", /, **shown: Any) -> str:
    """A sentence, or a note: a macro of a template with named values; its lines become one."""
    return " ".join(getattr(load_macros(template), name)(**shown).split())


# Findings in a table or in a result as sentences, each with what to do about it ---------------------------------------

NUM_NAMED = 3  # columns that a sentence names
WARNINGS = ("groups", "gives_away", "no_skill", "no_overfitting")  # they change what the answer means


def tell_check(check: Check, reach: Reach | None = None, *, thinned: bool = False) -> str:
    """columns of a check are columns of the table, or variants, or a score; reach: of the study, by that score.

    thinned: the study trains on fewer rows than there are.
    """
    labels = {"no_spread": lambda name: style_of(name).label}
    labels |= dict.fromkeys(("reach", "margin"), lambda name: SCORES[name].label)
    columns = first_of([labels.get(check.name, str)(name) for name in check.columns], NUM_NAMED)
    numbers = {"value": check.value, "percent": 100 * check.value, "reach": reach}
    numbers["mend"] = WORDS["mends"][thinned]
    return str(WORDS["checks"][check.name]).format(columns=", ".join(columns), **numbers)


# Text of others in Markdown: what was committed is shown as it is written, and does nothing else ----------------------

MOST = 160  # characters of one text, if the caller sets no other limit
SPECIAL = re.compile(r"[`|*~$\\]|!(?=\[)|(?<=\])\(|(?<![^\W_])_|_(?![^\W_])")
STARTS = re.compile(r"^(\d*)([#+.)-]|\[(?=[ xX]\]))(?=#* |#*$|[ xX]\])")  # what begins a heading, a list, a box to tick
# What GitHub makes a link or a picture of.
LINKED = re.compile(r"@|:(?=//)|:(?=[\w+-]+:)|(?<![^\W_])www(?=\.)|#(?=\d)|\bGH-(?=\d)", re.IGNORECASE)
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories, also of what turns lines around


def escape(text: object, *, most: int = MOST) -> str:
    """One line of at most `most` characters, of which nothing is a table, a tag, a link, a mention or emphasis.

    `<` and `>` become entities, but the arrow of a change stays readable on a terminal.
    """
    letters = ["\0" if unicodedata.category(letter) in HIDDEN else letter for letter in str(text)[: 2 * most]]
    shown = re.sub("\0+", " ", "".join(letters)).strip()
    shown = shown if len(shown) <= most else f"{shown[: most - 3]}..."
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = SPECIAL.sub(lambda found: "".join(f"\\{letter}" for letter in found[0]), shown)
    shown = LINKED.sub("\\g<0>\u200b", STARTS.sub(r"\1\\\2", shown))
    return shown.replace(" -&gt; ", " -> ")
