"""The table of claims (C), defects (D) and printed figures (T): what is said, and the quantities that decide on it.

A new claim is a row here, a function in quantities.py where none there computes what decides on it, and a rule for each
of its quantities in params.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from stages.lib.claims import quantities as of
from stages.lib.claims.evidence import Records
from stages.lib.claims.intervals import Interval, average


class Quantity:
    """A number with its interval, which decides on a claim.

    rule: its name among the rules of params.yaml. label: what it is, in words, with its unit.
    sources: the studies, or the experiment, that it is computed from; of several studies it is the mean.
    function: (records, source, **options) -> what it is in one of them.
    """

    def __init__(
        self, rule: str, label: str, sources: Sequence[str], function: Callable[..., Interval], **options: object
    ):
        self.rule, self.label, self.sources = rule, label, tuple(sources)
        self.measure: Callable[[Records, str], Interval] = partial(function, **options)

    def over_sources(self, records: Records) -> Interval:
        """MissingEvidenceError where one of the sources lacks what it needs."""
        return average([self.measure(records, source) for source in self.sources])


class Claim:
    """A claim, a defect or a printed figure of the tutorial: a sentence that is true or false, and what decides."""

    def __init__(self, text: str, *quantities: Quantity):
        self.text, self.quantities = text, quantities


STUDIES = ("thoracic", "fashion_small", "fashion")  # that have a line for every regulariser
WITH_PATHS = STUDIES[:2]  # that try several strengths
PATIENTS, IMAGES = ["tutorial_thoracic"], ["tutorial_fashion"]
LAMBDAS = ("l1", "l2", "l1_proximal", "weight_decay", "activity_l1")  # strengths that are called lambda
DECAYS = ("l2", "weight_decay")
PENALTIES = ("dropout", "l1", "l2", "activity_l1")  # the tutorial's, dropout among them
L1_FORMS = ("l1", "l1_proximal")
RECIPES = tuple(of.PRINTED)[1:]  # those with penalties
SQUARED, ABSOLUTE = of.SQUARED, of.ABSOLUTE

# fmt: off
CLAIMS: dict[str, Claim] = {
    "C1": Claim(
        "When the loss has not fallen for several epochs the network is overfitting, and stopping there helps.",
        Quantity("log_loss", "nats of held-out log loss saved by early stopping",
                 STUDIES, of.loss_saved, variants=["early_stopping"]),
        Quantity("overfitting", "share of stopped networks that do worse on held-out rows when trained on",
                 WITH_PATHS, of.share_worse_at_the_end),
    ),
    "C2": Claim(
        "Weight decay keeps weights from growing large.",
        Quantity("norm", "share of the weights' norm taken off by L2 and by decoupled decay",
                 STUDIES, of.taken_off, quantity="kernel_norm", variants=DECAYS, tuned=True, relative=True),
    ),
    "C3": Claim(
        "A weight constraint limits the size of the weights, and it does better than plain decay.",
        Quantity("over_bound", "share of bounded units that are over their bound",
                 WITH_PATHS, of.units_over_bound),
        Quantity("accuracy", "held-out accuracy gained by the constraint over plain decay",
                 IMAGES, of.accuracy_of_constraint),
    ),
    "C4": Claim(
        "Dropout trains many thinned networks in one, and all units together act like an ensemble of them.",
        Quantity("log_loss", "nats of log loss that all units save over the mean of 100 thinned networks",
                 ["thinned_fashion"], of.loss_difference, case="passes", level=100, less="all_units"),
        Quantity("one_pass", "nats of log loss that all units save over one thinned network",
                 ["thinned_fashion"], of.loss_difference, case="passes", level=1, less="all_units"),
    ),
    "C5": Claim(
        "Dropout and the penalties reduce overfitting.",
        Quantity("gap", "nats taken off the gap between held-out and training log loss",
                 STUDIES, of.taken_off, quantity="gap", variants=PENALTIES, tuned=True),
        Quantity("log_loss", "nats of held-out log loss saved",
                 STUDIES, of.loss_saved, variants=PENALTIES, tuned=True),
    ),
    "C6": Claim(
        "Batch normalisation helps learning.",
        Quantity("training_loss", "share of the training loss, mean over all epochs, taken off by batch normalisation",
                 STUDIES, of.taken_off, quantity="learning_loss", variants=["batch_norm"], relative=True),
        Quantity("log_loss", "nats of held-out log loss saved by batch normalisation",
                 STUDIES, of.loss_saved, variants=["batch_norm"]),
    ),
    "C7": Claim(
        "A squared loss is moved more by outliers than an absolute loss.",
        Quantity("error", "litres of FEV1 that outliers add to the error on clean rows, squared less absolute loss",
                 ["outliers"], of.error_added),
    ),
    "C8": Claim(
        "Where outliers may be ignored the absolute loss is the better one, where they matter the squared loss.",
        Quantity("clean", "litres of error that the absolute loss saves on clean rows",
                 ["outliers"], of.error_saved, by=ABSOLUTE, over=SQUARED, quantity="clean_error"),
        Quantity("with_outliers", "litres of error that the squared loss saves on rows with as many outliers",
                 ["outliers"], of.error_saved, by=SQUARED, over=ABSOLUTE, quantity="all_error"),
    ),
    "C9": Claim(
        "L1 drives the weights of useless features to zero, so it selects features; L2 does not.",
        Quantity("l1_selects", "share of columns of noise that L1 drops, less that of real columns",
                 ["noise_columns"], of.noise_selected, variants=L1_FORMS),
        Quantity("l2_found", "share of columns of noise that L2 drops",
                 ["noise_columns"], of.noise_found, variant="l2"),
    ),
    "C10": Claim(
        "The closer lambda is to 0, the weaker is the effect of regularisation.",
        Quantity("in_order", "share of pairs of strengths whose gaps from training to held-out log loss are in order",
                 WITH_PATHS, of.pairs_in_order, quantity="gap", variants=LAMBDAS),
    ),
    "C11": Claim(
        "The L1 penalty is not differentiable at 0, so gradient methods need care with it.",
        Quantity("exact_zeros", "share of weights that are 0 by a proximal step, less that by the penalty's gradient",
                 STUDIES, of.zeros_by_care),
    ),
    "C12": Claim(
        "L2 regularisation is weight decay.",
        Quantity("sgd", "distance of weights by L2 from those by decoupled decay, share of their norm, plain descent",
                 ["decay"], of.case_mean, case="sgd", quantity="distance"),
        Quantity("adam", "distance of weights by L2 from those by decoupled decay, share of their norm, Adam",
                 ["decay"], of.case_mean, case="adam", quantity="distance"),
    ),
    "D1": Claim(
        "Accuracy on the training rows flatters: it is higher than on unseen patients.",
        Quantity("accuracy", "training less held-out accuracy of the tutorial's network",
                 PATIENTS, of.accuracy_flattered),
    ),
    "D2": Claim(
        "Accuracy says little here: the network does no better than the answer that nobody dies.",
        Quantity("accuracy", "held-out accuracy of the tutorial's network less that of the majority answer",
                 PATIENTS, of.accuracy_over_majority),
    ),
    "D3": Claim(
        "The patient id, fed unscaled beside flags, harms the network.",
        Quantity("log_loss", "nats of log loss saved without the id",
                 ["patients"], of.loss_difference, case="as_it_is", less="without_id"),
    ),
    "D4": Claim(
        "The label marks who died within a year, not who survived.",
        Quantity("risk", "share of label 1 among the largest tumours less that among the smallest",
                 ["patients"], of.risk_difference),
    ),
    "D5": Claim(
        "The fourteen FEV1 values in another unit harm the network.",
        Quantity("log_loss", "nats of log loss saved with these values mended",
                 ["patients"], of.loss_difference, case="as_it_is", less="mended"),
    ),
    "D6": Claim(
        "Test images that serve as validation data flatter the result on them.",
        Quantity("accuracy", "accuracy on the rows that chose the epoch, less that at an epoch chosen on other rows",
                 ["stopping_softmax"], of.case_mean, case="stopping", quantity="flattery"),
    ),
    "D7": Claim(
        "One run of each recipe cannot rank the recipes.",
        Quantity("other_ranking", "share of runs that rank the four recipes otherwise than the tutorial",
                 IMAGES, of.runs_of_other_ranking),
        Quantity("sampling_error", "half-width of the interval of one run's accuracy",
                 IMAGES, of.sampling_error_of_a_run),
    ),
    "D8": Claim(
        "After one epoch there is nothing to overfit yet, so penalties can only slow learning down.",
        Quantity("gap", "nats of held-out less training log loss after one epoch, no penalty",
                 IMAGES, of.measured_mean, variant="unregularized", quantity="gap"),
        Quantity("log_loss", "nats of held-out log loss added by the penalties",
                 IMAGES, of.loss_added, variants=RECIPES),
    ),
    "D9": Claim(
        "MaxNorm 2 hardly ever binds.",
        Quantity("at_bound", "share of units at the bound after the epoch",
                 IMAGES, of.units_at_bound),
        Quantity("start_norm", "largest norm of a unit's weights at the start",
                 IMAGES, of.measured_mean, variant=of.CONSTRAINT, quantity="start_norm"),
    ),
    "T1": Claim(
        "The network for patients gives the accuracy that is printed for it.",
        Quantity("accuracy", "training accuracy of one run less the printed one",
                 ["patients"], of.accuracy_of_a_run_apart),
    ),
    "T2": Claim(
        "The four recipes for images have the numbers of weights that are printed for them.",
        Quantity("parameters", "largest difference from a printed number of weights",
                 IMAGES, of.weights_apart),
    ),
    "T3": Claim(
        "The four recipes for images give the accuracy that is printed for them.",
        Quantity("accuracy", "largest difference from a printed accuracy in one run of all four",
                 IMAGES, of.accuracy_apart),
    ),
}
# fmt: on
