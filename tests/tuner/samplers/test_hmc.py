"""HMC's moments against closed forms and against a grid over the Gaussian process's own posterior."""

import math

import numpy as np
import pytest

from tuner.samplers.gp import Posterior, prior_mode
from tuner.samplers.hmc import DIVERGENT, TARGET_ACCEPTANCE, Density, r_hat, sample


def normal(mean: np.ndarray, sd: np.ndarray) -> Density:
    def density(x: np.ndarray) -> tuple[float, np.ndarray]:
        off = (x - mean) / sd
        return -0.5 * float(off @ off), -off / sd

    return density


def test_moments_of_a_normal_with_very_different_scales() -> None:
    mean, sd = np.array([1.0, -2.0, 0.0]), np.array([0.1, 1.0, 5.0])
    chain = sample(normal(mean, sd), mean + sd, 4000, 20, 200, np.random.default_rng(0))
    np.testing.assert_allclose(chain.samples.mean(0), mean, atol=0.1 * sd.max() * 0.5)
    np.testing.assert_allclose((chain.samples.mean(0) - mean) / sd, 0, atol=0.1)
    np.testing.assert_allclose(chain.samples.std(0), sd, rtol=0.1)
    assert chain.divergences == 0
    assert 0.6 < chain.acceptance <= 1
    spread = 1 / np.sqrt(chain.end.mass)
    assert spread[0] < spread[1] < spread[2]  # the mass learnt the scales


def test_two_hyperparameters_have_the_moments_of_a_fine_grid() -> None:
    """Length-scale and noise of a process in one dimension, the other two held: a long chain against quadrature."""
    x = np.linspace(0, 1, 8)[:, None]
    y = np.sin(6 * x[:, 0]) + 0.1 * np.random.default_rng(0).standard_normal(8)
    whole, held = Posterior(x, (y - y.mean()) / y.std()), prior_mode(1)

    def density(free: np.ndarray) -> tuple[float, np.ndarray]:
        theta = held.copy()
        theta[[1, 3]] = free
        value, gradient = whole(theta)
        return value, gradient[[1, 3]]

    noise, length = np.linspace(-18, 2, 161), np.linspace(-3, 1.5, 121)
    log_p = np.array([[density(np.array([a, b]))[0] for b in length] for a in noise])
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = np.array([(p.sum(1) * noise).sum(), (p.sum(0) * length).sum()])
    sd = np.sqrt([(p.sum(1) * (noise - mean[0]) ** 2).sum(), (p.sum(0) * (length - mean[1]) ** 2).sum()])
    chain = sample(density, held[[1, 3]], 3000, 20, 200, np.random.default_rng(1))
    np.testing.assert_allclose((chain.samples.mean(0) - mean) / sd, 0, atol=0.15)
    np.testing.assert_allclose(chain.samples.std(0), sd, rtol=0.15)


def test_the_papers_burn_in_reaches_the_acceptance_aimed_at() -> None:
    draw = np.random.default_rng(0)
    x = draw.random((20, 2))
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * draw.standard_normal(20)
    density = Posterior(x, (y - y.mean()) / y.std())
    chains = [sample(density, prior_mode(2), 10, 20, 100, np.random.default_rng(k)) for k in range(12)]
    assert np.mean([chain.acceptance for chain in chains]) == pytest.approx(TARGET_ACCEPTANCE, abs=0.08)


def test_a_seed_gives_one_chain_and_a_warm_one_goes_on() -> None:
    density = normal(np.zeros(2), np.array([0.2, 3.0]))
    one, two = (sample(density, np.zeros(2), 5, 10, 30, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.samples, two.samples)
    warm = sample(density, one.end, 500, 10, 20, np.random.default_rng(4))
    np.testing.assert_array_equal(warm.end.mass, one.end.mass)
    np.testing.assert_allclose(warm.samples.std(0), [0.2, 3.0], rtol=0.3)


def test_short_chains_that_go_on_from_each_other_have_a_long_chains_moments() -> None:
    """As the sampler's do, from a first one of another posterior: that of fewer observations."""
    draw = np.random.default_rng(0)
    x = draw.random((24, 2))
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * draw.standard_normal(24)
    fewer, density = (Posterior(x[:n], (y[:n] - y[:n].mean()) / y[:n].std()) for n in (12, 24))
    long = sample(density, prior_mode(2), 3000, 20, 200, np.random.default_rng(1)).samples
    last, found = sample(fewer, prior_mode(2), 10, 20, 100, np.random.default_rng(2)).end, []
    for link in range(150):
        chain = sample(density, last, 10, 20, 20, np.random.default_rng(link))
        found.append(chain.samples)
        last = chain.end
    mean, sd = long.mean(0), long.std(0)
    np.testing.assert_allclose((np.mean(found, (0, 1)) - mean) / sd, 0, atol=0.15)
    np.testing.assert_allclose(np.std(found, (0, 1)), sd, rtol=0.15)


def test_thinning_keeps_every_so_many_th() -> None:
    density = normal(np.zeros(1), np.ones(1))
    every = sample(density, np.zeros(1), 30, 5, 10, np.random.default_rng(0))
    third = sample(density, np.zeros(1), 10, 5, 10, np.random.default_rng(0), thin=3)
    np.testing.assert_array_equal(every.samples[2::3], third.samples)


def test_a_cliff_is_counted_as_divergence_and_never_entered() -> None:
    def cliff(x: np.ndarray) -> tuple[float, np.ndarray]:
        if x[0] > 1:
            return -10 * DIVERGENT, np.zeros(1)
        return -0.5 * float(x @ x), -x

    chain = sample(cliff, np.zeros(1), 300, 10, 50, np.random.default_rng(0))
    assert chain.divergences > 0
    assert chain.samples.max() <= 1
    with pytest.raises(ValueError, match="no density"):
        sample(lambda x: (-math.inf, x), np.zeros(1), 1, 1, 1, np.random.default_rng(0))


def test_r_hat_is_one_for_chains_that_agree_and_large_for_those_that_do_not() -> None:
    draws = np.random.default_rng(0).standard_normal((4, 500, 2))
    assert r_hat(draws).max() < 1.02
    draws[0] += 3
    assert r_hat(draws).min() > 1.2
    assert np.isnan(r_hat(draws[:, :3])).all()
