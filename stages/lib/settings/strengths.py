"""The rule that every strength in params.yaml keeps to."""

from __future__ import annotations

from stages.lib.lanes.regularizers import CATALOGUE, INFINITY


def check_strength(field: str, name: str, strength: float) -> str:
    """A strength keeps to the bounds of its regulariser."""
    rule = CATALOGUE[name]
    if rule.minimum <= strength < rule.below and (not rule.whole_number or strength == int(strength)):
        return ""
    kind = "a whole number" if rule.whole_number else "a number"
    upper = "" if rule.below == INFINITY else f" and less than {rule.below:g}"
    return f"{field} holds {strength!r}, expected {kind} of at least {rule.minimum:g}{upper} for {name}: change it"
