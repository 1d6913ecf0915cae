"""The claims about losses and outliers: C7 and C8. Each function collects the figures of one claim."""

from __future__ import annotations

from stages.lib.claims.figures import Draft
from stages.lib.claims.inputs import Records

OUTLIERS, FLIPS = "outliers", "flips"
SQUARED, ABSOLUTE = "mean_squared_error", "mean_absolute_error"
IN_FILE = "_as_in_the_file"  # fitted with the outliers that the file has


def squared_loss_is_moved_more(records: Records) -> list[Draft]:
    """C7."""
    drafts = []
    clean = {loss: records.case(OUTLIERS, loss, "clean_error") for loss in (SQUARED, ABSOLUTE)}
    for level in [level for level in records.levels(OUTLIERS, SQUARED) if level]:
        added = {loss: records.case(OUTLIERS, loss, "clean_error", level) - clean[loss] for loss in clean}
        label = f"error of FEV1 that {level:.0%} outliers add, squared less absolute loss"
        drafts.append(
            records.mean_in(OUTLIERS, added[SQUARED] - added[ABSOLUTE], label, quantity="error", unit="litres")
        )
    found = {loss: records.case(OUTLIERS, f"{loss}{IN_FILE}", "clean_error") - clean[loss] for loss in clean}
    label = "error of FEV1 that the outliers of the file add, squared less absolute loss"
    drafts.append(records.mean_in(OUTLIERS, found[SQUARED] - found[ABSOLUTE], label, quantity="error", unit="litres"))
    plain = {loss: records.case(FLIPS, loss, "accuracy") for loss in (SQUARED, ABSOLUTE)}
    for level in [level for level in records.levels(FLIPS, SQUARED) if level]:
        lost = {loss: plain[loss] - records.case(FLIPS, loss, "accuracy", level) for loss in plain}
        label = f"accuracy lost to {level:.0%} flipped labels, squared less absolute loss"
        drafts.append(records.mean_in(FLIPS, lost[SQUARED] - lost[ABSOLUTE], label, quantity="accuracy"))
    return [*drafts, *tell_levels(records)]


def each_loss_has_its_place(records: Records) -> list[Draft]:
    """C8."""
    drafts = []
    for rows, quantity, words in (
        ("clean", "clean", "saved by the absolute loss on clean rows"),
        ("all", "with_outliers", "saved by the squared loss on rows with as many outliers"),
    ):
        for level in [level for level in records.levels(OUTLIERS, SQUARED) if level]:
            errors = [records.case(OUTLIERS, loss, f"{rows}_error", level) for loss in (SQUARED, ABSOLUTE)]
            saved = errors[0] - errors[1] if quantity == "clean" else errors[1] - errors[0]
            label = f"error of FEV1 {words}, {level:.0%} outliers"
            drafts.append(records.mean_in(OUTLIERS, saved, label, quantity=quantity, unit="litres"))
    for level in [level for level in records.levels(FLIPS, SQUARED) if level]:
        gained = records.case(FLIPS, ABSOLUTE, "accuracy", level) - records.case(FLIPS, SQUARED, "accuracy", level)
        label = f"accuracy gained by the absolute loss, {level:.0%} flipped labels"
        drafts.append(records.mean_in(FLIPS, gained, label, quantity="accuracy"))
    return [*drafts, *tell_levels(records)]


def tell_levels(records: Records) -> list[Draft]:
    """All that the two experiments have measured, for information."""
    drafts = []
    for case in records.experiment(FLIPS).cases:
        values = records.case(FLIPS, case.name, "accuracy", case.level)
        label = f"accuracy with {case.level:.0%} flipped labels, {case.name}"
        drafts.append(records.mean_in(FLIPS, values, label, variant=case.name))
    for case in records.experiment(OUTLIERS).cases:
        for rows in ("clean", "all"):
            if f"{rows}_error" in case.values:
                values = records.case(OUTLIERS, case.name, f"{rows}_error", case.level)
                label = f"error of FEV1 on {rows} rows with {case.level:.0%} outliers, {case.name}"
                drafts.append(records.mean_in(OUTLIERS, values, label, variant=case.name, unit="litres"))
    return drafts
