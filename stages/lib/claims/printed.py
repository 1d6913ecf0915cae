"""The numbers that the tutorial prints, and T1 and T2: whether its recipes give them."""

from __future__ import annotations

from typing import NamedTuple

from stages.lib.claims import measurements
from stages.lib.claims.figures import Draft, Source, exact, one_more
from stages.lib.claims.inputs import Records
from stages.lib.judge.arms import AT_KNOB
from stages.lib.judge.comparison import COMPARISON


class Printed(NamedTuple):
    """Of a recipe of T2: its number of weights, its accuracy on the test images, and its loss there."""

    parameters: int
    accuracy: float
    loss: float


STUDY = "tutorial_fashion"
PRINTED = {
    "softmax": Printed(7_850, 0.8221, 0.5107),
    "l2_activity_l1": Printed(50_890, 0.8060, 0.8033),
    "l2_activity_l1_max_norm": Printed(50_890, 0.8135, 0.7866),
    "l2_activity_l1_dropout": Printed(50_890, 0.8052, 0.8783),
}
RECIPES = tuple(PRINTED)
RUN_ROWS = 10_000  # test images that each of these accuracies is of
T1 = "mean_squared_logarithmic_error"  # the variant that is the tutorial's network T1
T1_ACCURACY = 0.8865  # on its own training rows, in the last epoch


def find_source(variant: str) -> Source:
    return Source(str(measurements.find_path(STUDY)), STUDY, variant, AT_KNOB)


def network_gives_its_accuracy(records: Records) -> list[Draft]:
    """T1."""
    name = "whole_table"
    accuracy = records.case(name, T1, "accuracy")
    source = records.mean_in(name, accuracy, "").source
    return [
        Draft(
            "training accuracy of one run less the printed one", source, one_more(accuracy - T1_ACCURACY), "accuracy"
        ),
        records.mean_in(name, accuracy, "training accuracy, all patients", variant=T1),
        Draft("training accuracy that is printed", source, exact(T1_ACCURACY)),
    ]


def recipes_have_their_weights(records: Records) -> list[Draft]:
    """T2."""
    drafts = []
    for name, printed in PRINTED.items():
        number = records.measured(STUDY, name).num_weights
        label = f"weights of {name} less the printed number"
        drafts.append(Draft(label, find_source(name), exact(number - printed.parameters), "parameters"))
    for name in PRINTED:
        number = records.measured(STUDY, name).num_weights
        drafts.append(Draft(f"weights of {name}", find_source(name), exact(number)))
    return drafts


def recipes_give_their_accuracy(records: Records) -> list[Draft]:
    """T3."""
    drafts, told = [], []
    for name, printed in PRINTED.items():
        source = Source(str(COMPARISON), STUDY, name, AT_KNOB)
        ours = records.arm(STUDY, name, AT_KNOB).judged["accuracy"].replicates
        label = f"accuracy of one run of {name} less the printed one"
        drafts.append(Draft(label, source, one_more([value - printed.accuracy for value in ours]), "accuracy"))
        told.append(Draft(f"accuracy of {name} that is printed", source, exact(printed.accuracy)))
        told.append(Draft(f"accuracy of one run of {name}", source, one_more(ours)))
    return [*drafts, *told]
