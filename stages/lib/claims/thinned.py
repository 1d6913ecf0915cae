"""Dropout's thinned networks one by one, their mean, all units at once, and thinned networks trained separately."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stages.lib.claims.evidence import Case, Count, make_case
from stages.lib.claims.experiment_plan import ExperimentPlan
from stages.lib.claims.networks import at_knobs, generator_of, predict, repeat_replicates, train
from stages.lib.data.samples import Development
from stages.lib.judge.scores import measure
from stages.lib.lanes.plan import RunPlan
from stages.lib.lanes.run import Weights

SCORES = ("log_loss", "accuracy", "calibration_error")


def compare_thinned(plan: ExperimentPlan, development: Development) -> tuple[list[Case], list[Count]]:
    """levels: numbers of passes; members: separately trained networks, each with the units that dropout keeps."""
    run, rows = at_knobs(plan.run), development.validation
    labels, weights = development.labels[rows], train(run, development).weights
    cases = [make_case("all_units", score_all(labels, predict(run, weights, development, rows)))]
    passes = predict_thinned(run, weights, development, generator=generator_of(plan), number=int(max(plan.levels)))
    cases += [make_case("passes", score_all(labels, passes[: int(t)].mean(axis=0)), level=t) for t in plan.levels]
    separate = predict_separate(run, development, members=plan.members or 1)
    for number in sorted({1, len(separate)}):
        cases.append(make_case("separate", score_all(labels, separate[:number].mean(axis=0)), level=float(number)))
    return cases, []


def score_all(labels: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    return {name: measure(name, labels, probability.astype(np.float32)) for name in SCORES}


def predict_thinned(
    run: RunPlan, weights: Weights, development: Development, *, generator: np.random.Generator, number: int
) -> np.ndarray:
    """Probabilities [pass, replicate, row, output]; a pass draws one set of units for all rows: a thinned network.

    The first layer's outputs are the same in all passes, so they are computed once.
    """
    from stages.lib.lanes.network import Network, apply_dense
    from stages.lib.lanes.runtime import tf

    network = Network(run.network)
    tensors = {name: tf.constant(value, tf.float32) for name, value in weights.items()}
    inputs = tf.constant(development.inputs[development.validation].astype(np.float32) * np.float32(development.scale))
    first = network.activation(apply_dense(tensors, 1, inputs))
    rate = next(entry.strengths[0] for entry in run.regularizers if entry.name == "dropout")
    answers = []
    for _ in range(number):
        hidden = first
        for layer, units in enumerate(run.network.hidden, start=1):
            kept = generator.random((len(run.replicates), 1, units)) >= rate
            hidden = hidden if layer == 1 else network.activation(hidden)
            hidden = apply_dense(tensors, layer + 1, hidden * tf.constant(kept / (1 - rate), tf.float32))
        answers.append(network.output(hidden).numpy())
    return np.stack(answers)


def predict_separate(run: RunPlan, development: Development, *, members: int) -> np.ndarray:
    """Probabilities [member, replicate, row, output] of networks with as many units as dropout keeps on average."""
    rate = next(entry.strengths[0] for entry in run.regularizers if entry.name == "dropout")
    hidden = tuple(max(1, round(units * (1 - rate))) for units in run.network.hidden)
    alone = replace(at_knobs(run, without=["dropout"]), network=replace(run.network, hidden=hidden))
    alone, repeated = repeat_replicates(alone, development, members)
    probability = predict(alone, train(alone, repeated).weights, repeated, repeated.validation)
    return probability.reshape(members, len(run.replicates), *probability.shape[1:])
