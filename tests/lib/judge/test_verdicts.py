"""Intervals that hold together, levels handed on and verdicts, against loops and hand-worked cases; on noise."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import stdtrit

from stages.lib.judge import designs
from stages.lib.judge.designs import CrossedEffects, Estimate
from stages.lib.judge.verdicts import (
    CHUNK,
    Together,
    detectable_difference,
    draw_statistics,
    find_interval,
    flip_seeds,
    judge_together,
    share_levels,
    smallest_margin,
    vary_errors,
    verdict,
)
from tests.lib.judge.test_designs import draw_design, slack


@pytest.mark.parametrize(
    ("difference", "own_half", "together", "word"),
    [
        (0.030, 0.010, 0.020, "better"),
        (-0.030, 0.010, 0.020, "worse"),
        (0.012, 0.010, 0.011, "better"),  # the margin asks nothing of a clear difference but not to be inside it
        (0.030, 0.010, 0.031, "inconclusive"),  # its own interval excludes 0, but one of several was bound to
        (0.001, 0.030, 0.050, "inconclusive"),
        (0.001, 0.008, 0.020, "equivalent"),
        (0.004, 0.003, 0.003, "equivalent"),  # surely there, and surely too small to matter
        (0.004, 0.007, 0.010, "inconclusive"),
    ],
)
def test_a_verdict_and_its_interval(difference, own_half, together, word):
    estimate = Estimate(difference, ((own_half / -stdtrit(9, 0.05), 9),))  # half of the interval at 0.9
    assert verdict(estimate, together, margin=0.01, sign=1) == word
    mirrored = {"better": "worse", "worse": "better"}.get(word, word)
    assert verdict(estimate, together, margin=0.01, sign=-1) == mirrored
    low, high = find_interval(estimate, together, word, alpha=0.05)
    holds_zero, inside = low <= 0 <= high, low > -0.01 and high < 0.01
    assert (holds_zero, inside) == (word in ("inconclusive", "equivalent"), word == "equivalent")


def test_a_verdict_at_its_bounds():
    exact = Estimate(0.25, ((1e-12, 4),))  # both ends of its intervals are all but 0.25
    assert verdict(exact, 0.0, margin=0.2, sign=1) == "better"
    assert verdict(exact, 0.0, margin=0.0, sign=1) == "better"
    assert verdict(exact, 0.0, margin=0.25, sign=1) == "better", "an interval that ends on the margin is not inside"
    assert verdict(exact, 0.0, margin=0.26, sign=1) == "equivalent"
    assert verdict(exact, 0.25, margin=0.2, sign=1) == "inconclusive"


@pytest.mark.parametrize("value", [0.0, 0.005, 0.25, -0.25])
def test_evidence_without_any_spread_decides_nothing(value):
    """As of two arms that answer the same in all of few rows, or of one that is right where the other never is."""
    same = Estimate(value, ((0.0, 2),), np.zeros(12))
    word = verdict(same, 0.0, margin=0.01, sign=1)
    assert (word, find_interval(same, 0.0, word, alpha=0.05)) == ("inconclusive", (min(value, 0.0), max(value, 0.0)))
    assert not judge_together({"arm": same}, seed=3).is_decided(0.05)


def make_sure(*values: float, error: float = 1.0):
    """Independent estimates with a normal distribution; one question."""
    rows = error * np.linalg.qr(np.random.default_rng(33).normal(size=(200, len(values))))[0].T
    pairs = enumerate(zip(values, rows, strict=True))
    return judge_together({str(n): Estimate(value, ((error, 1e9),), row) for n, (value, row) in pairs}, seed=4)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([[0.0], [0.0], [0.0]], [0.025, 0.015, 0.01]),  # nothing is decided: each keeps its own
        ([[9.0], [0.0], [0.0]], [0.025, 0.04, 0.01]),  # the first hands on, and is judged at what it had
        ([[9.0], [9.0], [0.0]], [0.025, 0.04, 0.05]),
        ([[0.0], [0.0], [9.0]], [0.035, 0.015, 0.01]),  # after the last comes the first
        ([[2.2], [0.0], [9.0]], [0.035, 0.05, 0.01]),  # 2.2 is found at 0.035, not at 0.025
        ([[9.0], [9.0, 0.0], [0.0]], [0.025, 0.04, 0.01]),  # one that is open keeps a question from handing on
        ([[], [0.0], [0.0]], [0.025, 0.04, 0.01]),  # where nothing is asked, nothing is spent
        ([[9.0], [9.0], [9.0]], [0.025, 0.04, 0.05]),
    ],
)
def test_levels_are_handed_on(values, levels):
    questions = [make_sure(*each) if each else judge_together({}, seed=4) for each in values]
    assert share_levels(questions, [0.5, 0.3, 0.2]) == pytest.approx(levels)


@pytest.mark.parametrize("effects", [[0, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0], [4, 4, 0, 0, 0, 4], [1, 3, 2, 3, 0, 4]])
def test_no_more_than_one_study_in_twenty_has_a_false_finding(effects):
    """Three questions of one, four and one comparisons, of which some have a true effect."""
    rng, num_studies = np.random.default_rng(12), 400
    kept = [make_sure(*[0.0] * size).largest for size in (1, 4, 1)]
    found = 0
    for _ in range(num_studies):
        values = effects + rng.normal(size=6)
        members = [values[:1], values[1:5], values[5:]]
        asked = [
            Together({str(n): Estimate(v, ((1.0, 1e9),), np.ones(1)) for n, v in enumerate(each)}, draws)
            for each, draws in zip(members, kept, strict=True)
        ]
        levels = share_levels(asked, [0.5, 0.3, 0.2])
        truth = [effects[:1], effects[1:5], effects[5:]]
        found += any(
            true == 0 and abs(value) > question.half_width("0", level)
            for question, level, trues, each in zip(asked, levels, truth, members, strict=True)
            for true, value in zip(trues, each, strict=True)
        )
    assert found / num_studies <= 0.05 + slack(0.05, num_studies)


def make_family(rng, *, num_arms=6, shared=1.0, size=(12, 300), shift=0.0):
    """Estimated differences of arms from a shared baseline, from scores [seed, row]."""
    baseline = shared * rng.normal(size=size)
    design = CrossedEffects()
    return {f"arm_{n}": design.estimate(shift * (n == 0) + rng.normal(size=size) - baseline) for n in range(num_arms)}


def test_one_comparison_is_judged_alone():
    for shift in (0.02, 0.05):
        together = judge_together(make_family(np.random.default_rng(30), num_arms=1, shared=0.0, shift=shift), seed=1)
        own = together.members["arm_0"]
        assert together.p_value("arm_0") == own.p_value
        assert (
            own.half_width(0.05) <= together.half_width("arm_0", 0.05) == pytest.approx(own.half_width(0.05), rel=0.05)
        )


def test_arms_that_answer_the_same_count_once():
    family = make_family(np.random.default_rng(31), num_arms=1, shift=0.05)
    alone = judge_together(family, seed=2).p_value("arm_0")
    many = judge_together({f"arm_{n}": family["arm_0"] for n in range(20)}, seed=2)
    assert many.p_value("arm_7") == pytest.approx(alone, abs=0.01)


def test_independent_arms_have_the_interval_of_sidak():
    sidak = [stats.norm.isf((1 - 0.95 ** (1 / 8)) / 2), stats.norm.isf(1 - 0.95 ** (1 / 8))]
    two_sided = make_sure(*[0.0] * 8)
    one_sided = judge_together(two_sided.members, seed=3, one_sided=True)
    assert [each.half_width("3", 0.05) for each in (two_sided, one_sided)] == pytest.approx(sidak, abs=0.03)


@pytest.mark.parametrize("seeds", [True, False])
def test_intervals_that_hold_together_agree_with_loops_over_draws(seeds):
    rng = np.random.default_rng(39)
    design = draw_design(rng)
    crossed = make_family(rng, num_arms=4, shift=0.03)
    family = crossed if seeds else {n: design.estimate(rng.normal(0.1, 1, size=(50, 12))) for n in "abcd"}
    names, num_draws = sorted(family), CHUNK + 500
    draws = np.concatenate(list(draw_statistics([family[name] for name in names], seed=8, num_draws=num_draws)))
    assert draws.shape == (num_draws, 4)
    together = judge_together(family, seed=8, num_draws=num_draws)
    largest = sorted(max(map(abs, draw)) for draw in draws)
    critical = np.quantile(largest, 0.9)
    for name, member in family.items():
        statistic = abs(member.value) / member.standard_error
        drawn = (1 + sum(each >= statistic for each in largest)) / (1 + num_draws)
        own, bonferroni = member.p_value, min(1, 4 * member.p_value)
        assert together.p_value(name) == min(max(own, drawn), bonferroni)
        own, bonferroni = member.half_width(0.1), member.half_width(0.1 / 4)
        expected = min(max(critical * member.standard_error, own), bonferroni)
        assert together.half_width(name, 0.1) == pytest.approx(expected)


def test_signs_of_seeds_have_the_mean_and_the_variance_of_the_seeds_that_they_turn():
    seeds = np.array([[0.3, -0.1, -0.4, 0.2], [0.0, 0.5, -0.5, 0.0]])

    class AllSigns:
        def choice(self, values, size):
            return np.array(np.meshgrid(*[values] * size[1])).reshape(size[1], -1).T

    mean, variance = flip_seeds(seeds, 16, AllSigns())
    signs = AllSigns().choice([-1.0, 1.0], (16, 4))
    turned = signs[:, None] * seeds * np.sqrt(4 / 3)  # [draw, member, seed]; deviations are from a mean of their own
    np.testing.assert_allclose(mean, turned.mean(axis=2))
    np.testing.assert_allclose(variance, turned.var(axis=2, ddof=1) / 4)
    assert mean.var(axis=0) == pytest.approx((seeds**2).sum(axis=1) / 3 / 4)


def test_the_order_of_arms_does_not_matter_and_the_seed_does():
    family = make_family(np.random.default_rng(34), shift=0.05)
    first, turned = (judge_together(each, seed=5).largest for each in (family, dict(reversed(family.items()))))
    np.testing.assert_array_equal(first, turned)
    assert not np.array_equal(first, judge_together(family, seed=6).largest)


@pytest.mark.parametrize("one_sided", [False, True])
def test_few_seeds_are_judged_by_bonferroni(one_sided):
    family = make_family(np.random.default_rng(35), size=(5, 300), shift=0.1)
    together, level = judge_together(family, seed=6, one_sided=one_sided), 0.1 if one_sided else 0.05
    for key, member in family.items():
        assert together.p_value(key) == min(1, 6 * member.p_value)
        assert together.half_width(key, 0.05) == member.half_width(level / 6)
    enough = judge_together(make_family(np.random.default_rng(35), size=(20, 300)), seed=6)
    assert enough.half_width("arm_1", 0.05) < enough.members["arm_1"].half_width(0.05 / 6)


@pytest.mark.parametrize("shared", [True, False])
def test_errors_vary_by_the_degrees_of_freedom_of_their_parts(shared, monkeypatch):
    monkeypatch.setattr(designs, "METHOD", designs.Method(shared_errors=shared))
    parts = np.array([[[3.0, 4.0], [0.0, 9.0]], [[0.0, 4.0], [2.0, 9.0]], [[3.0, 4.0], [2.0, 9.0]]])
    first, second, both = vary_errors(parts, 200_000, np.random.default_rng(38)).T
    for found, error, df in ((first, 3, 4), (second, 2, 9)):
        quantiles = np.sqrt(stats.chi2(df).ppf([0.1, 0.5, 0.9]) / df) * error
        np.testing.assert_allclose(np.quantile(found, [0.1, 0.5, 0.9]), quantiles, rtol=0.01)
    assert (both**2).mean() == pytest.approx(3**2 + 2**2, rel=0.01)
    assert (abs(np.corrcoef(both, first)[0, 1]) < 0.01) != shared, "each member errs by itself, or all alike"


def test_an_empty_family_and_arms_without_any_difference():
    same = judge_together({"same": CrossedEffects().estimate(np.zeros((10, 4)))}, seed=7)
    assert (same.p_value("same"), same.half_width("same", 0.05), same.is_decided(0.05)) == (1.0, 0.0, False)
    assert judge_together({}, seed=7).is_decided(0.05)


def test_what_a_study_can_see_in_closed_form():
    estimate = Estimate(0.0, ((0.01, 20),))
    t = stats.t(20).ppf
    assert detectable_difference(estimate, 0.028) == pytest.approx(0.01 * (2.8 + t(0.8)))
    assert smallest_margin(estimate) == pytest.approx(0.01 * (t(0.95) + t(0.9)))


@pytest.mark.parametrize(("num_seeds", "row_sd"), [(10, 0.0), (10, 2.0), (20, 1.0)])
def test_signs_of_seeds_hold_the_family_wise_error(num_seeds, row_sd):
    rng, found = np.random.default_rng(11), []
    design = CrossedEffects()
    for _ in range(150):
        baseline = rng.normal(0, 0.1, (num_seeds, 1)) + rng.normal(0, row_sd, 60)
        family = {}
        for arm in map(str, range(12)):
            score = rng.normal(0, 0.1, (num_seeds, 1)) + rng.normal(0, row_sd, 60) + rng.normal(0, 0.1, (num_seeds, 60))
            family[arm] = design.estimate(score - baseline)
        together = judge_together(family, seed=1, num_draws=999)
        found.append(min(map(together.p_value, family)) < 0.05)
    assert np.mean(found) <= 0.05 + slack(0.05, len(found))
