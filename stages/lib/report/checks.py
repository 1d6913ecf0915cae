"""Findings in a table or in a result as sentences, each with what to do about it."""

from __future__ import annotations

from stages.lib.data.checks import Check
from stages.lib.judge.comparison import StudyResult
from stages.lib.judge.scores import SCORES
from stages.lib.report.styles import style_of

NUM_NAMED = 3  # columns that a sentence names
CHECKS = {  # name of a check -> what was found, and what to do about it
    "repeated_rows": "{value:.1%} of the rows repeat another one, and may stand on both sides of a split: if they are "
    "one case entered twice, remove them; if they belong together, name their group",
    "groups": "rows of one {columns} have one class: if they belong together, every score is too good: name the group",
    "constant": "{columns} never changes: drop it",
    "identifiers": "{columns} counts the rows: drop it, as it says nothing of a new row",
    "gives_away": "{columns} alone ranks the rows almost perfectly: if it is known only after the outcome, drop it",
    "few_rows": "the rarest class has {value:.0f} rows: with fewer than 50, scores vary much from fold to fold",
    "dates": "{columns} holds dates or times: if the model is for later cases, a random split is too kind: hold out "
    "the last ones",
    "no_overfitting": "at the end the unregularised network has on training rows still {value:.0%} of its held-out "
    "loss: it hardly overfits, so there is little to cure: try more steps or units",
    "path_ends": "mostly the strongest or weakest value tried is best for {columns}: widen `path` to see whether more "
    "helps",
    "no_skill": "no network is shown to beat a guess that knows the class shares alone, so no regulariser can "
    "be judged: look for columns that say more of the target",
    "thinned": "networks and models learn from {value:,.0f} rows each, fewer than there are, and regularisers help "
    "more there: raise `training` of the protocol, or MINUTES",
    "reach": "a true difference in {columns} below {value:.3f} would often not be found: only more rows help there",
}
WARNINGS = ("groups", "gives_away", "no_skill", "no_overfitting")  # they change what the answer means


def tell_checks(study: StudyResult) -> list[str]:
    return [f"Check: {tell_check(check)}." for check in study.checks]


def tell_check(check: Check) -> str:
    """columns of a check are columns of the table, or variants, or a score."""
    labels = {"path_ends": lambda name: style_of(name).label, "reach": lambda name: SCORES[name].label}
    columns = [labels.get(check.name, str)(name) for name in check.columns]
    more = f" and {len(columns) - NUM_NAMED} more" if len(columns) > NUM_NAMED else ""
    return CHECKS[check.name].format(columns=", ".join(columns[:NUM_NAMED]) + more, value=check.value)
