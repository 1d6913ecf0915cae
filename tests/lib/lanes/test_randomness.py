"""The random numbers of a run: their distributions, their independence, and that they repeat.

Seeds are fixed, so nothing here can fail by chance; thresholds are those that a right generator passes with all but one
seed in some ten thousand.
"""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.lib.lanes.plan import Start
from stages.lib.lanes.randomness import (
    Noise,
    NoiseSource,
    batch_orders,
    draw_glorot,
    generators,
    mark_kept,
    normal_quantiles,
)

KINDS = [
    Noise("cutout", "uniform", (7,)),
    Noise("gaussian_noise", "normal", (5,)),
    Noise("mixup_partner", "permutation", ()),
    Noise("mixup_share", "beta", (), np.array([0.2, 0.2, 0.2])),
    Noise("dropout_1", "kept", (7,), np.array([0.2, 0.2, 0.2])),
]
STARTS = [Start(0), Start(1), Start(1, member=2)]


def draw_kept(
    rate: float = 0.5, *, seed: int = 3, replicate: int = 0, member: int = 0, name: str = "dropout_1"
) -> np.ndarray:
    """[step, unit]: 2000 steps of a batch of one row with 50 units."""
    source = NoiseSource([Noise(name, "kept", (50,), np.array([rate]))], seed=seed, starts=[Start(replicate, member)])
    return source.draw(2000, 1)[name][:, 0, 0]


def test_share_that_is_not_kept_is_the_rate_to_five_decimals():
    """Every draw of 16 bits once: what is counted is the probability itself."""
    rates = np.array([0.0, 1e-5, 0.1, 1 / 3, 0.5, 0.99999])
    kept = mark_kept(np.arange(65536, dtype=np.uint16).reshape(1, 1, -1), rates)
    np.testing.assert_allclose(1 - kept.mean(axis=-1).ravel(), rates, atol=1e-5)


def test_a_larger_rate_drops_what_a_smaller_one_drops():
    """Two replicates at three strengths; each replicate's draws are those it has alone."""
    noise = Noise("dropout_1", "kept", (50,), np.repeat([0.2, 0.5, 0.6], 2))
    kept = NoiseSource([noise], seed=3, starts=STARTS[:2]).draw(2000, 1)["dropout_1"][:, :, 0]
    for lane, rate in enumerate(noise.strengths):
        np.testing.assert_array_equal(kept[:, lane], draw_kept(rate, replicate=lane % 2))
    assert (kept[:, :2] >= kept[:, 2:4]).all() and (kept[:, 2:4] >= kept[:, 4:]).all()


def test_distributions():
    """Kolmogorov and Smirnov, against the distribution that is meant."""
    noises = [*KINDS[:2], *(Noise(f"share_{alpha}", "beta", (), np.array([alpha])) for alpha in (0.2, 1.0, 2.0))]
    draws = NoiseSource(noises, seed=3, starts=STARTS[:1]).draw(50, 100)
    assert stats.kstest(draws["cutout"].ravel(), "uniform").pvalue > 1e-4
    assert stats.kstest(draws["gaussian_noise"].ravel(), "norm").pvalue > 1e-4
    for alpha in (0.2, 1.0, 2.0):
        assert stats.kstest(draws[f"share_{alpha}"].ravel(), stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_normal_quantiles():
    """Mean 0 exactly, deviation 1 to five decimals, and as many values under any number as the distribution says."""
    values = normal_quantiles().astype(float)
    assert values.mean() == 0
    assert values.std() == pytest.approx(1, abs=2e-5)
    assert stats.kstest(values, "norm").statistic < 1 / 65536


def test_partners_are_a_permutation_of_the_batch():
    partners = NoiseSource(KINDS[2:3], seed=3, starts=STARTS[:1]).draw(200, 6)["mixup_partner"][:, 0]
    np.testing.assert_array_equal(np.sort(partners, axis=1), np.tile(np.arange(6), (200, 1)))
    assert len(np.unique(partners, axis=0)) > 100


@pytest.mark.parametrize(
    "other",
    [{}, {"replicate": 1}, {"member": 1}, {"seed": 4}, {"name": "dropout_2"}],
    ids=["step", "replicate", "member", "seed", "stream"],
)
def test_steps_and_streams_are_independent(other):
    """No correlation at any lag of up to three steps: |r| under 5 / sqrt(draws)."""
    first, second = draw_kept(), draw_kept(**other)
    for lag in range(0 if other else 1, 4):
        length = len(first) - lag
        assert abs(np.corrcoef(first[:length].ravel(), second[lag:].ravel())[0, 1]) < 5 / np.sqrt(50 * length)


def test_units_are_independent():
    draws = draw_kept()
    between_units = np.corrcoef(draws, rowvar=False) - np.eye(50)
    assert np.abs(between_units).max() < 5 / np.sqrt(len(draws))


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_how_many_steps_are_drawn_at_once_does_not_matter(cuts):
    """Odd sizes included: a generator that keeps half of a 64-bit draw must carry it over."""
    whole = NoiseSource(KINDS, seed=3, starts=STARTS).draw(sum(cuts), 3)
    source = NoiseSource(KINDS, seed=3, starts=STARTS)
    parts = [source.draw(num_steps, 3) for num_steps in cuts]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values, err_msg=name)


@settings(max_examples=30)
@given(chosen=st.lists(st.sampled_from(STARTS), min_size=1, max_size=6))
def test_which_starts_are_drawn_beside_does_not_matter(chosen):
    """A block of lanes lists a start for each of its points."""
    noises = [*KINDS[:3], *(noise._replace(strengths=np.full(len(chosen), 0.2)) for noise in KINDS[3:])]
    together = NoiseSource(noises, seed=3, starts=chosen).draw(3, 4)
    for position, start in enumerate(chosen):
        noises = [*KINDS[:3], *(noise._replace(strengths=np.array([0.2])) for noise in KINDS[3:])]
        alone = NoiseSource(noises, seed=3, starts=[start]).draw(3, 4)
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name][:, position], values[:, 0], err_msg=name)


def test_beta_draws_go_by_lane():
    """Two replicates at three alphas; at alpha 0 the share is 1, and nothing is mixed."""
    alphas = np.repeat([0.0, 0.2, 1.0], 2)
    together = NoiseSource([Noise("share", "beta", (), alphas)], seed=3, starts=STARTS[:2]).draw(5, 4)["share"]
    assert together.shape == (5, 6, 4)
    assert (together[:, :2] == 1).all()
    for lane in (2, 3, 4, 5):
        alone = NoiseSource([Noise("share", "beta", (), alphas[[lane]])], seed=3, starts=[Start(lane % 2)]).draw(5, 4)
        np.testing.assert_array_equal(together[:, lane], alone["share"][:, 0])


@pytest.mark.parametrize("starts", [STARTS, [STARTS[1], STARTS[1], STARTS[0]]])
def test_bytes_per_step(starts):
    source = NoiseSource(KINDS, seed=3, starts=starts)
    assert source.bytes_per_step(6) == sum(values.nbytes for values in source.draw(1, 6).values())


def test_the_first_member_has_the_numbers_of_a_run_without_members():
    (first, second), key = generators(3, [Start(5), Start(5, 1)], "order"), zlib.crc32(b"order")
    expected = np.random.Generator(np.random.SFC64([3, 5, key])).random(9)
    assert (first.random(9) == expected).all() and not np.isin(second.random(9), expected).any()


def test_batch_orders():
    """Every epoch holds a replicate's own rows once each, in an order that no other replicate or epoch has."""
    training = np.stack([np.arange(0, 30), np.arange(30, 60)])
    orders = batch_orders(3, [Start(4), Start(1)], training)
    epochs = [next(orders) for _ in range(5)]
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order, axis=1), training)
        assert not np.array_equal(order[0], order[1] - 30)
    assert len({order.tobytes() for order in epochs}) == 5
    alone = batch_orders(3, [Start(1)], training[1:])
    for order in epochs:
        np.testing.assert_array_equal(next(alone)[0], order[1])


def test_glorot_limits_and_variance():
    """Uniform in +-sqrt(6 / (in + out)) = 0.2: the variance is 0.04 / 3."""
    [generator] = generators(3, [Start(0)], "weights")
    kernel = draw_glorot(generator, 100, 50)
    assert kernel.shape == (100, 50)
    assert stats.kstest(kernel.ravel(), stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-4
    assert np.abs(kernel).max() <= 0.2
