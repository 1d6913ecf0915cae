"""The table of claims (C), defects (D) and printed figures (T): what is said, and the quantities that decide on it.

A new claim is a row here, and a function in quantities.py where none there computes what decides on it. Each quantity
has its threshold beside it; all of them were set before the studies that they judge had results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

from stages.lib.claims import quantities as of
from stages.lib.claims.quantities import Interval, MissingEvidenceError, Records, average, mean


class Group(NamedTuple):
    """Studies of one kind of data. sampled: whether their tasks are a sample of many."""

    studies: tuple[str, ...]
    sampled: bool = False

    def combine(self, intervals: Sequence[Interval], confidence: float) -> Interval:
        """The mean over tasks; of a sample with Student's interval of the spread between them.

        So it holds the mean of all tasks of the kind, and no task's own interval is needed: the spread has its error.
        """
        return mean([one.value for one in intervals], 0, confidence) if self.sampled else average(intervals)


Verdict = Literal["supported", "refuted", "inconclusive"]


class Threshold(NamedTuple):
    """How the interval (low, high) of a quantity decides on a claim; `inconclusive` is the rest.

    matters: an effect in the direction of the claim. Supported above 0, unless surely below this size; refuted if so.
    more_than: supported wholly above, refuted wholly below.
    less_than: supported wholly below, refuted wholly above.
    within: supported wholly between minus and plus this size, refuted wholly outside.
    """

    kind: Literal["matters", "more_than", "less_than", "within"]
    size: float

    def judge(self, low: float, high: float) -> Verdict:
        """What an interval says of the claim."""
        size = self.size
        supported, refuted = {
            "matters": (low > 0 and high >= size, high < size),
            "more_than": (low > size, high < size),
            "less_than": (high < size, low > size),
            "within": (-size < low and high < size, high < -size or low > size),
        }[self.kind]
        return "supported" if supported else "refuted" if refuted else "inconclusive"


matters, more_than, less_than, within = (
    partial(Threshold, kind) for kind in ("matters", "more_than", "less_than", "within")
)


class Quantity:
    """A number with its interval, which decides on a claim.

    name: among those of its claim. threshold: what decides. label: what it is, in words, with its unit.
    sources: the experiments or studies that it is computed from, or groups of studies; of several it is the mean.
    function: (records, source, **options) -> what it is in one experiment, or in one task of a study.
    where: what it says of the claim, in words that end the sentence `It holds ...`; of claims with two quantities.
    """

    def __init__(
        self,
        name: str,
        threshold: Threshold,
        label: str,
        sources: Sequence[str | Group],
        function: Callable[..., Interval],
        *,
        where: str = "",
        **options: object,
    ):
        self.name, self.threshold, self.label, self.where = name, threshold, label, where
        self.groups = [Group((source,)) if isinstance(source, str) else source for source in sources]
        self.sources = tuple(study for group in self.groups for study in group.studies)
        self.measure: Callable[[Records, str], Interval] = partial(function, **options)

    def over_sources(self, records: Records) -> Interval:
        """MissingEvidenceError where one of the sources lacks what it needs."""
        means = []
        for group in self.groups:
            tasks = [task for study in group.studies for task in records.tasks(study)]
            means.append(group.combine([self.in_task(records, task) for task in tasks], records.confidence))
        return average(means)

    def in_task(self, records: Records, task: str) -> Interval:
        """What it is in one experiment, or in one task of a study; whatever is missing there is told with its place."""
        try:
            return self.measure(records, task)
        except KeyError as missing:
            raise MissingEvidenceError(f"{missing.args[0]} in {task}") from None


class Claim:
    """A claim, a defect or a printed figure of the tutorial: a sentence that is true or false, and what decides."""

    def __init__(self, text: str, *quantities: Quantity):
        self.text, self.quantities = text, quantities


TABLES = Group(("thoracic", "tables"), sampled=True)  # a dozen: another table may differ as they do
SIZES = Group(("images_500", "images_2000", "images_8000", "images_57000"))  # chosen, no sample
SIZES_OF_ALL = Group(SIZES.studies[:2])  # larger ones have few variants


def on_both(
    threshold: Threshold,
    label: str,
    function: Callable[..., Interval],
    *,
    images: Group = SIZES_OF_ALL,
    **options: object,
) -> tuple[Quantity, Quantity]:
    """The same quantity on tables and on images, which decide by themselves."""
    return (
        Quantity("tables", threshold, f"{label}, on tables", [TABLES], function, where="on tables", **options),
        Quantity("images", threshold, f"{label}, on images", [images], function, where="on images", **options),
    )


PATIENTS, IMAGES = ["tutorial_thoracic"], ["tutorial_fashion"]
LAMBDAS = ("l1", "l2", "l1_proximal", "weight_decay", "activity_l1")  # strengths that are called lambda
PENALTIES = ("dropout", "l1", "l2", "activity_l1")  # the tutorial's, dropout among them
RECIPES = tuple(of.PRINTED)[1:]  # those with penalties

# fmt: off
CLAIMS: dict[str, Claim] = {
    "C1": Claim("When the loss has not fallen for several epochs the network is overfitting, and stopping there helps.",
        # Nats that stopping saves on held-out rows; the margin of the studies.
        *on_both(matters(0.01), "nats saved by the epoch of least validation loss",
                 of.loss_added, images=SIZES, kind="to_end"),
    ),
    "C2": Claim("Weight decay keeps weights from growing large.",
        # Share of the norm of all kernels that is taken off: less is not seen in use.
        Quantity("norm", matters(0.1), "share of the weights' norm that L2 and decoupled decay take off",
                 [TABLES, SIZES_OF_ALL._replace(sampled=True)], of.norm_taken_off, variants=["l2", "weight_decay"]),
    ),
    "C3": Claim("A weight constraint limits the size of the weights, and it does better than plain decay.",
        # Share of units over it among those at it or over it; a limit has none.
        Quantity("over_bound", less_than(0.01), "share of units at their bound or over it that are over it",
                 [TABLES._replace(sampled=False)], of.units_over_bound, where="as a limit on the weights"),
        # Nats that it saves over decay on held-out rows; the margin of the studies.
        Quantity("log_loss", matters(0.01), "nats saved by max norm over L2, both tuned",
                 [TABLES, SIZES_OF_ALL], of.taken_off, quantity="log_loss", by=["max_norm"], over="l2", kind="tuned",
                 where="as to what it saves over decay on unseen rows"),
    ),
    "C4": Claim("Dropout trains many thinned networks in one, and all units together act like an ensemble of them.",
        # Nats between all units and the geometric mean: in theory 0 with one hidden layer.
        Quantity("geometric", within(0.01), "nats, geometric mean of thinned networks less all units",
                 ["thinned_images"], of.taken_off, quantity="log_loss", by=["all_units"], over="geometric",
                 where="for an ensemble by the geometric mean of probabilities"),
        # Nats between all units and the arithmetic mean, of which theory says nothing.
        Quantity("arithmetic", within(0.01), "nats, arithmetic mean of thinned networks less all units",
                 ["thinned_images"], of.taken_off, quantity="log_loss", by=["all_units"], over="arithmetic",
                 where="for an ensemble by their arithmetic mean"),
    ),
    "C5": Claim("Dropout and the penalties reduce overfitting.",
        # Nats saved on held-out rows where all networks train on until they overfit.
        Quantity("to_end", matters(0.01), "nats saved, all networks trained to the last epoch",
                 [TABLES, SIZES_OF_ALL], of.taken_off, quantity="log_loss", by=PENALTIES, kind="to_end",
                 where="where training goes on to the last epoch"),
        # Nats saved where all stop in time: is there anything left to reduce?.
        Quantity("stopped", matters(0.01), "nats saved, all networks stopped in time",
                 [TABLES, SIZES_OF_ALL], of.loss_saved, variants=PENALTIES, kind="tuned",
                 where="where training is stopped in time"),
    ),
    "C6": Claim("Batch normalisation helps learning.",
        # Share taken off its mean over epochs at a high learning rate, its main claim.
        Quantity("training_loss", matters(0.05), "share of the mean training loss taken off at a high rate",
                 ["images_2000"], of.taken_off, quantity="learning_loss", by=["batch_norm_high"],
                 over="learning_rate_high", relative=True, where="for how fast a high learning rate learns"),
        # Nats that it saves on held-out rows at the usual rate.
        Quantity("log_loss", matters(0.01), "nats saved by batch normalisation, tuned",
                 [TABLES, SIZES_OF_ALL], of.loss_saved, variants=["batch_norm"], kind="tuned",
                 where="for unseen rows at the usual learning rate"),
    ),
    "C7": Claim("A squared loss is moved more by outliers than an absolute loss.",
        # Litres: two good measurements of one patient differ by 0.15 (ATS and ERS 2019).
        Quantity("error", matters(0.15), "litres of error that outliers add, squared less absolute loss",
                 ["outliers"], of.error_added),
    ),
    "C8": Claim(
        "Where outliers may be ignored the absolute loss is the better one, where they matter the squared loss.",
        # Litres of root mean squared error saved by the absolute loss on clean rows.
        Quantity("clean", matters(0.15), "litres of error that the absolute loss saves on clean rows",
                 ["outliers"], of.error_saved, by=of.ABSOLUTE, over=of.SQUARED, quantity="clean_error",
                 where="where outliers may be ignored"),
        # Litres saved by the squared loss on rows with as many outliers as in training.
        Quantity("with_outliers", matters(0.15), "litres of error that the squared loss saves on rows with outliers",
                 ["outliers"], of.error_saved, by=of.SQUARED, over=of.ABSOLUTE, quantity="all_error",
                 where="where outliers matter"),
    ),
    "C9": Claim("L1 drives the weights of useless features to zero, so it selects features; L2 does not.",
        # Share of columns dropped, useless less real, L1 less L2: one column in twenty.
        Quantity("gradient", matters(0.05), "share of useless less real columns at 0, L1 by gradient less L2",
                 ["useless_columns"], of.columns_selected, variant="l1",
                 where="for L1 as the gradient of a penalty, as Keras has it"),
        # The same by a proximal step; mean over strengths, for none is chosen to select.
        Quantity("proximal", matters(0.05), "share of useless less real columns at 0, proximal L1 less L2",
                 ["useless_columns"], of.columns_selected, variant="l1_proximal",
                 where="for L1 as a proximal step"),
    ),
    "C10": Claim("The closer lambda is to 0, the weaker is the effect of regularisation.",
        # Share of pairs of strengths with their gaps in order: halfway from chance to.
        *on_both(more_than(0.75), "share of pairs of strengths in order of overfitting",
                 of.pairs_in_order, quantity="gap", variants=LAMBDAS),
    ),
    "C11": Claim("The L1 penalty is not differentiable at 0, so gradient methods need care with it.",
        # Share of weights made 0 by a step that takes care: a tenth is worth the care.
        *on_both(matters(0.1), "share of weights at 0, proximal step less gradient",
                 of.taken_off, quantity="zero_share", by=["l1"], over="l1_proximal", kind="tuned"),
    ),
    "C12": Claim("L2 regularisation is weight decay.",
        # Distance, share of their norm: a thousand steps take a few of sixteen digits.
        Quantity("sgd", within(0.000001), "relative distance of weights by L2 and by decay, plain descent",
                 ["decay"], of.mean_of, quantity="distance", of="sgd", where="under plain gradient descent"),
        # The same under Adam.
        Quantity("adam", within(0.000001), "relative distance of weights by L2 and by decay, Adam",
                 ["decay"], of.mean_of, quantity="distance", of="adam", where="under Adam"),
    ),
    "D1": Claim(
        "Scores on training rows flatter: they are better than on unseen rows, even where training stops in time.",
        # By which training rows flatter: one row in a hundred.
        Quantity("accuracy", matters(0.01), "training less held-out accuracy, no regulariser",
                 [TABLES, SIZES], of.accuracy_flattered, where="by accuracy"),
        # Nats by which they flatter; the margin of the studies.
        Quantity("log_loss", matters(0.01), "nats, held-out less training log loss, no regulariser",
                 [TABLES, SIZES], of.mean_of, quantity="gap", where="by log loss"),
    ),
    "D2": Claim("Accuracy says little here: the network does no better than the answer that nobody dies.",
        # Gained over that answer on held-out patients: one in a hundred.
        Quantity("accuracy", less_than(0.01), "accuracy of the tutorial's network less that of the majority answer",
                 PATIENTS, of.accuracy_over_majority),
    ),
    "D3": Claim("The patient id, fed unscaled beside flags, harms the network.",
        # Nats saved by leaving it out, in a network trained by cross-entropy.
        Quantity("log_loss", matters(0.01), "nats saved without the id",
                 ["patients"], of.taken_off, quantity="log_loss", by=["without_id"], over="as_it_is"),
    ),
    "D4": Claim("The label marks who died within a year, not who survived.",
        # One patient in twenty: deaths rise with the size of the tumour, survival would fall.
        Quantity("risk", matters(0.05), "share of label 1 among the largest tumours less the smallest",
                 ["patients"], of.risk_difference),
    ),
    "D5": Claim("The fourteen FEV1 values in another unit harm the network.",
        # Nats saved by mending them, in the same network.
        Quantity("log_loss", matters(0.01), "nats saved with these values mended",
                 ["patients"], of.taken_off, quantity="log_loss", by=["mended"], over="as_it_is"),
    ),
    "D6": Claim("Test images that serve as validation data flatter the result on them.",
        # Of an epoch chosen on the very rows, less that chosen on others.
        Quantity("accuracy", matters(0.002), "accuracy that rows gain by choosing the epoch themselves",
                 ["stopping_softmax"], of.mean_of, quantity="flattery", of="stopping"),
    ),
    "D7": Claim("One run of each recipe cannot rank the recipes.",
        # Share of runs that rank them otherwise: more often than one in twenty.
        Quantity("other_ranking", more_than(0.05),
                 "share of runs that rank the four recipes otherwise than the tutorial",
                 IMAGES, of.runs_of_other_ranking, where="for the order of all four"),
        # Of one run's interval for a difference; 0.0075 was read as an effect.
        Quantity("half_width", more_than(0.0075), "half-width of one run's interval for what the constraint adds",
                 IMAGES, of.half_width_of_a_run, where="for what the constraint adds to decay"),
    ),
    "D8": Claim("After one epoch there is nothing to overfit yet, so penalties can only slow learning down.",
        # Nats between held-out and training loss without penalty.
        Quantity("gap", less_than(0.01), "nats, held-out less training loss after one epoch, no penalty",
                 IMAGES, of.mean_of, quantity="gap", where="in that there is nothing to overfit"),
        # Nats that the penalties cost on held-out rows after that epoch.
        Quantity("log_loss", matters(0.01), "nats added by the penalties",
                 IMAGES, of.loss_added, variants=RECIPES, where="in that penalties slow learning down"),
    ),
    "D9": Claim("MaxNorm 2 hardly ever binds.",
        # Share of units at the bound after training: one in twenty.
        Quantity("at_bound", less_than(0.05), "share of units at the bound after the epoch",
                 IMAGES, of.units_at_bound, where="at the end of training"),
        # Largest norm of a unit's weights at the start: the bound.
        Quantity("start_norm", less_than(2), "largest norm of a unit's weights at the start",
                 IMAGES, of.mean_of, quantity="start_norm", of=of.CONSTRAINT, where="at the start"),
    ),
    "T1": Claim("The network for patients gives the accuracy that is printed for it.",
        # Ours less the printed one: as far as single runs of 470 rows lie apart.
        Quantity("accuracy", within(0.02), "training accuracy of one run less the printed one",
                 ["patients"], of.accuracy_of_a_run_apart),
    ),
    "T2": Claim("The four recipes for images have the numbers of weights that are printed for them.",
        # Largest difference from a printed count: right or wrong.
        Quantity("parameters", within(0.5), "largest difference from a printed number of weights",
                 IMAGES, of.weights_apart),
    ),
    "T3": Claim("The four recipes for images give the accuracy that is printed for them.",
        # Largest difference in one run of ours: the four printed ones span 0.017.
        Quantity("accuracy", within(0.02), "largest difference of one run from a printed accuracy",
                 IMAGES, of.accuracy_apart),
    ),
}
# fmt: on
