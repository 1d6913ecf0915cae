"""The table of experiments: what params.yaml calls a kind, and the function that it is.

A function takes the plan of an experiment and the development rows of its replicates, and gives what it has measured.
It says what `levels` and `members` are, and scores networks on rows that they have not seen.
"""

from __future__ import annotations

from collections.abc import Callable

from stages.lib.claims.evidence import Case, Count
from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.claims.outliers import flip_labels, regress
from stages.lib.claims.patients import repair_columns, train_on_all
from stages.lib.claims.penalties import add_noise_columns, compare_decays, vary_epochs
from stages.lib.claims.stopping import follow_stopping
from stages.lib.claims.thinned import compare_thinned
from stages.lib.data.samples import Development

Experiment = Callable[[ExperimentPlan, Development], tuple[list[Case], list[Count]]]

EXPERIMENTS: dict[str, Experiment] = {
    "stopping": follow_stopping,
    "thinned": compare_thinned,
    "outliers": regress,
    "flips": flip_labels,
    "noise_columns": add_noise_columns,
    "decay": compare_decays,
    "epochs": vary_epochs,
    "columns": repair_columns,
    "whole_table": train_on_all,
}
