"""The rule that every strength in params.yaml keeps to."""

from __future__ import annotations

from stages.lib.lanes.regularizers import CATALOGUE, INFINITY
from stages.lib.settings.fields import LARGEST, MOST_ROUNDS, shorten


def check_strength(field: str, name: str, strength: float) -> str:
    """A strength keeps to the bounds of its regulariser."""
    rule = CATALOGUE[name]
    most = MOST_ROUNDS if rule.whole_number else LARGEST
    within = rule.minimum <= strength < rule.below and strength <= most
    if within and (not rule.whole_number or strength == int(strength)):
        return ""
    kind = "a whole number" if rule.whole_number else "a number"
    upper = f"at most {most:,.0f}" if rule.below == INFINITY else f"less than {rule.below:g}"
    return (
        f"{field} holds {shorten(strength)}, expected {kind} of at least {rule.minimum:g} and {upper} for {name}: "
        "change it"
    )
