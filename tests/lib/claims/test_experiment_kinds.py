"""Experiments against closed forms, the lanes' own forward pass and other libraries. All are judged on unseen rows."""

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.regression.quantile_regression import QuantReg

from stages import experiment
from stages.lib.claims import experiment_kinds as kinds
from stages.lib.data.samples import Development
from stages.lib.lanes.graph import build_regularizers
from stages.lib.lanes.network import Network
from stages.lib.lanes.plan import RegularizerPlan, RunPlan
from stages.lib.lanes.runtime import tf
from tests.lib.lanes import cases as lanes

REPLICATES, TRAINING, VALIDATION, FEATURES = 3, 40, 21, 4
DROPOUT = RegularizerPlan("dropout", (0.5,), (1, 2))


def make_development(*, pooled: bool = False) -> Development:
    """Two clouds of points, one for each class; pooled: replicates share rows, and some rows belong to no replicate."""
    generator = np.random.Generator(np.random.PCG64(0))
    size = TRAINING + VALIDATION
    number = 200 if pooled else REPLICATES * size
    labels = (np.arange(number) % 2).astype(np.uint8)
    rows = np.arange(number, dtype=np.int32)
    parts = [generator.permutation(rows)[:size] for _ in range(REPLICATES)] if pooled else rows.reshape(REPLICATES, -1)
    parts = np.stack(list(parts)).astype(np.int32)
    return Development(
        inputs=(generator.normal(0, 1, (number, FEATURES)) + labels[:, None]).astype(np.float32),
        labels=labels,
        identifiers=rows if pooled else np.tile(np.arange(size, dtype=np.int32), REPLICATES),
        training=parts[:, :TRAINING],
        validation=parts[:, TRAINING:],
        features=tuple(f"feature_{number}" for number in range(FEATURES)),
        scale=1.0,
    )


def make_run(*regularizers: RegularizerPlan, hidden: tuple[int, ...] = (6, 5), epochs: int = 3) -> RunPlan:
    settings = {"activation": "relu", "batch_size": 10, "epochs": epochs}
    return lanes.make_plan(*regularizers, hidden=hidden, replicates=tuple(range(REPLICATES)), **settings)


def make_plan(kind: str, *runs: RunPlan, levels: tuple[float, ...] = ()) -> kinds.ExperimentPlan:
    named = {run.variant: run for run in runs}
    return kinds.ExperimentPlan(kind, kind, "made", named, rows=None, levels=levels, shared_rows=False)


@pytest.mark.parametrize("pooled", [False, True])
def test_rows_that_are_judged_have_not_been_trained_on(pooled: bool) -> None:
    development = make_development(pooled=pooled)
    rows = kinds.take_rows(development, make_plan("decay", make_run()))
    for replicate in range(REPLICATES):
        known = set(rows.identifiers[rows.training[replicate]])
        judged = rows.identifiers[rows.validation[replicate]]
        assert known.isdisjoint(judged)
        assert len(set(judged)) == len(judged)
        assert set(development.validation[replicate]) <= set(rows.validation[replicate])
    assert rows.validation.shape[1] == (200 - TRAINING if pooled else VALIDATION)


def test_fewer_rows_and_replicates_are_the_first() -> None:
    development, run = make_development(), replace(make_run(), replicates=(0, 1))
    rows = kinds.take_rows(development, replace(make_plan("decay", run), rows=7))
    np.testing.assert_array_equal(rows.training, development.training[:2, :7])


def test_a_thinned_network_is_that_of_the_lanes_with_one_mask_for_all_rows() -> None:
    development, run = make_development(), make_run(DROPOUT)
    weights = kinds.train_run(run, development).weights
    thinned = [*kinds.predict_thinned(run, weights, development, generator=np.random.default_rng(5), number=2)]
    generator, inputs = np.random.default_rng(5), tf.constant(development.inputs[development.validation])
    network = Network(run.network, build_regularizers(run, "float32"))
    tensors = {name: tf.constant(value) for name, value in weights.items()}
    for logits in thinned:
        noise = {
            f"dropout_{layer}": tf.constant(generator.random((REPLICATES, 1, units)) >= 0.5)
            for layer, units in enumerate(run.network.hidden, start=1)
        }
        np.testing.assert_allclose(logits, network.forward(tensors, inputs, noise)[0], rtol=1e-4, atol=1e-6)
    assert np.abs(thinned[0] - thinned[1]).max() > 0.001


@pytest.mark.parametrize(("hidden", "equal"), [((6,), True), ((6, 5), False)])
def test_all_units_of_one_hidden_layer_are_the_geometric_mean_of_thinned_networks(hidden: tuple, equal: bool) -> None:
    """Of all 2^6 of them, each as often as another. With two layers they are not."""
    development, run = make_development(), make_run(replace(DROPOUT, layers=(1, 2)[: len(hidden)]), hidden=hidden)
    weights = kinds.train_run(run, development).weights
    weights = {name: 3 * value for name, value in weights.items()}  # so that the networks differ
    all_units = kinds.predict_run(run, weights, development, development.validation)
    generator = np.random.default_rng(1)
    arithmetic, geometric = kinds.average_thinned(run, weights, development, generator=generator, number=8000)
    apart = np.abs(geometric - all_units).max()
    assert apart < 0.02 if equal else apart > 0.02
    assert np.abs(arithmetic - all_units).max() > 0.03


def test_all_units_and_both_means_are_scored() -> None:
    development, run = make_development(), make_run(DROPOUT)
    cases = kinds.compare_thinned(make_plan("thinned", run, levels=(4,)), development)
    assert [case.name for case in cases] == ["all_units", "arithmetic", "geometric"]
    losses = kinds.score_run("log_loss", run, kinds.train_run(run, development), development)
    np.testing.assert_allclose(cases[0].values["log_loss"], losses, rtol=1e-5)


def test_networks_are_stopped_in_time_where_those_of_the_study_are() -> None:
    development, run = make_development(), replace(make_run(epochs=30), stopped=True)
    stopped, end = kinds.train_run(run, development), kinds.train_run(replace(run, stopped=False), development)
    losses = end.history.pivot_table(index="lane", columns="epoch", values="val_loss").to_numpy()
    np.testing.assert_allclose(kinds.score_run("log_loss", run, stopped, development), losses.min(axis=1), rtol=1e-4)
    assert (losses.min(axis=1) < losses[:, -1]).any()


def make_table(number: int, seed: int) -> np.ndarray:
    """FVC, age and FEV1 of clean rows [row, column]."""
    generator = np.random.default_rng(seed)
    vital, age = generator.normal(3.3, 0.9, number), generator.normal(62, 9, number)
    return np.stack([vital, age, 0.7 * vital - 0.01 * age + generator.normal(0.9, 0.2, number)], axis=1)


def test_lines_are_those_of_least_squares_and_of_the_median() -> None:
    table = make_table(200, 1)
    spoiled = kinds.spoil(table, 0.1, np.array([60.0, 80.0]), np.random.default_rng(2))
    assert (spoiled[:, 2] > kinds.MOST_LITRES).sum() == 20
    tables, design = np.stack([table, spoiled]), np.c_[table[:, :2], np.ones(200)]
    for rows in tables:
        squared, absolute = (kinds.fit_line(loss, rows).predict(rows[:, :2]) for loss in kinds.REGRESSION_LOSSES)
        expected = np.linalg.lstsq(design, rows[:, 2], rcond=None)[0]
        np.testing.assert_allclose(squared, design @ expected, rtol=1e-9)
        median = QuantReg(rows[:, 2], design).fit(q=0.5).params
        losses = [np.abs(line - rows[:, 2]).mean() for line in (absolute, design @ median)]
        assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def make_patients() -> Development:
    """The made rows as patients: FVC, age, FEV1 (some in another unit), tumour size and an id."""
    development, table = make_development(), make_table(REPLICATES * (TRAINING + VALIDATION), 3)
    table[::15, 2] = 70.0
    tumour, number = 11 + np.arange(len(table)) % 4, np.arange(len(table))
    inputs = np.c_[table, tumour, number].astype(np.float32)
    return replace(development, inputs=inputs, features=("PRE4", "AGE", "PRE5", "PRE14", "id"))


def test_outliers_move_the_squared_loss_on_clean_rows() -> None:
    cases = kinds.regress(make_plan("outliers", make_run(), levels=(0.0, 0.2)), make_patients())
    errors = {(case.name, case.level): np.mean(case.values["clean_error"]) for case in cases}
    for loss in kinds.REGRESSION_LOSSES:
        assert errors[loss, 0.0] < 0.4, "litres: the made rows have an error of 0.2"
    assert errors["mean_squared_error", 0.2] > 10
    assert errors["mean_absolute_error", 0.2] < 1


def test_values_in_another_unit_are_mended_and_no_other() -> None:
    development = make_patients()
    mended = kinds.mend(development)
    changed = mended != development.inputs
    assert changed[:, 2].sum() == (development.inputs[:, 2] > kinds.MOST_LITRES).sum() > 0
    assert not changed[:, [0, 1, 3, 4]].any()
    assert 0.5 < mended[:, 2].min() < mended[:, 2].max() < 6


def test_patients_count_once_whatever_replicates_they_are_in() -> None:
    development, rows = make_patients(), TRAINING + VALIDATION
    largest, smallest = kinds.label_tumours(development)
    labels, tumour = development.labels[:rows], development.inputs[:rows, 3]
    assert (largest.name, smallest.name) == ("largest_tumours", "smallest_tumours")
    assert largest.values["label"] == labels[tumour == 14].tolist()
    assert smallest.values["label"] == labels[tumour == 11].tolist()
    values = np.array(kinds.train_on_all(make_run(epochs=1), development).values["accuracy"]) * rows
    np.testing.assert_allclose(values, values.round(), atol=1e-4)


def test_the_first_variant_is_trained_on_all_patients_and_the_last_is_repaired() -> None:
    first, last = (replace(make_run(epochs=epochs), variant=str(epochs)) for epochs in (1, 2))
    development = make_patients()
    *repaired, everyone, _, _ = kinds.follow_patients(make_plan("patients", first, last), development)
    assert [case.name for case in repaired] == ["as_it_is", "without_id", "mended"]
    as_it_is, *others = (case.values["log_loss"] for case in repaired)
    losses = kinds.score_run("log_loss", last, kinds.train_run(last, development), development)
    np.testing.assert_allclose(as_it_is, losses, rtol=1e-5)
    assert as_it_is not in others and others[0] != others[1]
    assert everyone == kinds.train_on_all(first, development)


def test_a_strong_proximal_penalty_drops_every_column_and_l2_none() -> None:
    runs = [
        replace(make_run(RegularizerPlan(name, strengths, (1, 2, 3)), epochs=30), variant=name)
        for name, strengths in (("l1_proximal", (5.0, 1e-6)), ("l2", (0.001,)))
    ]
    cases = kinds.add_useless_columns(make_plan("useless_columns", *runs), make_development())
    cases += kinds.add_useless_columns(make_plan("useless_columns", runs[1], levels=(5.0, 1e-6)), make_development())
    assert [case.level for case in cases] == [5.0, 1e-6, 0.001, 5.0, 1e-6]
    for columns in ("real", "useless"):
        assert [np.mean(case.values[f"{columns}_columns_zero"]) for case in cases] == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("pooled", [False, True])
def test_copies_are_shuffled_each_by_itself_among_the_rows_of_a_replicate(pooled: bool) -> None:
    development = make_development(pooled=pooled)
    wider = kinds.shuffle_copies(development, np.random.default_rng(0))
    real, copies = np.split(wider.inputs, 2, axis=1)
    np.testing.assert_array_equal(real, development.inputs)
    assert len(wider.features) == wider.inputs.shape[1] == 2 * development.inputs.shape[1]
    rows = np.arange(len(real)) if pooled else np.concatenate([development.training[0], development.validation[0]])
    np.testing.assert_array_equal(np.sort(copies[rows], axis=0), np.sort(real[rows], axis=0))
    order = [np.argsort(column).tolist() for column in copies[rows].T]
    assert order[0] != order[1]
    assert np.abs(np.corrcoef(copies[rows].T, development.labels[rows])[-1, :-1]).max() < 0.3


def test_l2_is_decoupled_decay_under_plain_descent_and_not_under_adam() -> None:
    run = make_run(RegularizerPlan("l2", (0.01,), (1, 2, 3)), epochs=5)
    cases = kinds.compare_decays(make_plan("decay", run, levels=(0.1,)), make_development())
    distance = {case.name: case.values["distance"] for case in cases}
    assert max(distance["sgd"]) < 1e-12
    assert min(distance["adam"]) > 1e-4


def test_replicates_that_share_rows_say_so_in_the_evidence() -> None:
    plan = make_plan("decay", make_run(RegularizerPlan("l2", (0.01,), (1, 2, 3)), epochs=1), levels=(0.1,))
    assert experiment.run(plan, make_development()).test_train_ratio == 0
    shared = experiment.run(replace(plan, shared_rows=True), make_development())
    assert shared.test_train_ratio == VALIDATION / TRAINING


def test_random_numbers_depend_on_seed_and_experiment_alone() -> None:
    plan = make_plan("decay", make_run())
    assert kinds.generator_of(plan).random() == kinds.generator_of(plan).random()
    assert kinds.generator_of(plan).random() != kinds.generator_of(replace(plan, name="outliers")).random()


def test_what_one_half_chooses_is_compared_with_the_choice_of_the_other() -> None:
    watched = np.array([[3.0, 1.0, 2.0, 2.5]]), np.array([[0.1, 0.9, 0.5, 0.4]])
    other = np.array([[3.0, 2.0, 1.0, 4.0]]), np.array([[0.2, 0.3, 0.8, 0.1]])
    assert kinds.measure_flattery(watched, other) == pytest.approx([0.9 - 0.5])
    assert kinds.measure_flattery(other, watched) == pytest.approx([0.8 - 0.3])


def test_halves_are_disjoint_and_hold_as_many_of_each_class() -> None:
    development = make_development()
    first, second = kinds.split_halves(development)
    for rows, *halves in zip(development.validation, first, second, strict=True):
        assert set(halves[0]).isdisjoint(halves[1])
        assert set(halves[0]) | set(halves[1]) <= set(rows)
        counts = [np.bincount(development.labels[half], minlength=2) for half in halves]
        assert np.abs(counts[0] - counts[1]).max() <= 1
