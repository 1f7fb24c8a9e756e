"""The Gaussian process against naive loops, autograd, GPyTorch and BoTorch."""

import math

import numpy as np
import pytest
import torch
from gpytorch.distributions import MultivariateNormal

from tuner.samplers.botorch_mcmc import batched
from tuner.samplers.gp import (
    JITTER,
    LOG_NOISE,
    SD_LOG_NOISE,
    Posterior,
    Processes,
    log_prior,
    matern,
    prior_mode,
    scaled_squares,
)

RANDOM = np.random.default_rng(0)
N, D = 7, 3
X, Y = RANDOM.random((N, D)), RANDOM.standard_normal(N)
THETAS = prior_mode(D) + 0.5 * RANDOM.standard_normal((4, D + 3))


@pytest.fixture
def random() -> np.random.Generator:
    """Numbers that do not depend on the tests before."""
    return np.random.default_rng(1)


def naive_kernel(theta: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    kernel = np.empty((len(x), len(z)))
    for i in range(len(x)):
        for j in range(len(z)):
            distance = math.sqrt(sum(((x[i, d] - z[j, d]) / math.exp(theta[3 + d])) ** 2 for d in range(D)))
            root = math.sqrt(5) * distance
            kernel[i, j] = math.exp(theta[0]) * (1 + root + 5 * distance**2 / 3) * math.exp(-root)
    return kernel


def test_kernel_equals_a_double_loop() -> None:
    for theta in THETAS:
        squares = scaled_squares(X, X[:4], np.exp(theta[3:]))
        np.testing.assert_allclose(math.exp(theta[0]) * matern(squares)[0], naive_kernel(theta, X, X[:4]), rtol=1e-11)


def test_density_is_the_marginal_likelihood_times_the_priors() -> None:
    """The priors' densities of the logarithms, each from SciPy's density of the value times its Jacobian."""
    from scipy import stats

    density, differences = Posterior(X, Y), []
    for theta in THETAS:
        noise = math.exp(theta[1]) + JITTER * math.exp(theta[0])
        cover = naive_kernel(theta, X, X) + noise * np.eye(N)
        likelihood = stats.multivariate_normal(np.full(N, theta[2]), cover).logpdf(Y)
        lengths, amplitude = np.exp(theta[3:]), math.exp(theta[0])
        prior = (
            sum(stats.gamma(3, scale=1 / 6).logpdf(lengths) + theta[3:])
            + stats.gamma(2, scale=1).logpdf(amplitude)
            + theta[0]
            + stats.norm(LOG_NOISE, SD_LOG_NOISE).logpdf(theta[1])
            + stats.norm.logpdf(theta[2])
        )
        differences.append(density(theta)[0] - likelihood - prior)
    assert np.ptp(differences) < 1e-9  # equal up to a constant


def test_gradients_are_autograds() -> None:
    x, y = torch.as_tensor(X), torch.as_tensor(Y)
    for start in THETAS:
        theta = torch.as_tensor(start).requires_grad_()
        scaled = x / theta[3:].exp()
        squares = (scaled[:, None] - scaled).square().sum(-1)
        root = (5 * squares + torch.eye(N)).sqrt() - torch.eye(N)  # a root at 0 has no gradient
        kernel = theta[0].exp() * (1 + root + 5 * squares / 3) * (-root).exp()
        kernel = kernel + torch.eye(N) * (theta[1].exp() + JITTER * theta[0].exp())
        value = MultivariateNormal(theta[2].expand(N), kernel).log_prob(y)
        (by_theta,) = torch.autograd.grad(value, theta)
        prior, by_prior = log_prior(start)
        found, gradient = Posterior(X, Y)(start)
        assert found - prior == pytest.approx(value.item())
        np.testing.assert_allclose(gradient - by_prior, by_theta.numpy(), rtol=1e-6, atol=1e-9)
        numeric = [(log_prior(start + 1e-6 * e)[0] - log_prior(start - 1e-6 * e)[0]) / 2e-6 for e in np.eye(D + 3)]
        np.testing.assert_allclose(by_prior, numeric, rtol=1e-6, atol=1e-8)


def test_what_has_no_meaning_has_no_density() -> None:
    density = Posterior(X, Y)
    for odd in (np.full(D + 3, 800.0), np.full(D + 3, np.nan), np.full(D + 3, -800.0)):
        assert density(odd)[0] == -math.inf
        assert not density(odd)[1].any()


def test_repeated_points_without_noise_are_no_trouble() -> None:
    repeated, values = np.repeat(X[:2], 5, 0), np.repeat(Y[:2], 5)
    theta = prior_mode(D)
    theta[1] = -29.0
    assert math.isfinite(Posterior(repeated, values)(theta)[0])
    assert np.isfinite(Processes.fit(theta[None], repeated, values).predict(X)[0]).all()


def test_predictions_are_botorchs(random: np.random.Generator) -> None:
    z = random.random((5, D))
    with torch.no_grad():
        reference = batched(THETAS, X, Y).posterior(torch.as_tensor(z))
    mean, variance = Processes.fit(THETAS, X, Y).predict(z)
    np.testing.assert_allclose(mean[:, :, 0], reference.mean[:, :, 0].numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(variance, reference.variance[:, :, 0].numpy(), rtol=1e-4, atol=1e-7)


def test_a_points_gradients_agree_with_finite_differences_for_every_sample_and_fantasy(
    random: np.random.Generator,
) -> None:
    several = np.random.default_rng(3).standard_normal((len(THETAS), N, 2))
    processes, z = Processes.fit(THETAS, X, several), random.random(D)
    mean, variance, by_mean, by_variance = processes.predict_with_gradient(z)
    whole_mean, whole_variance = processes.predict(z[None])
    np.testing.assert_allclose(mean, whole_mean[:, 0])
    np.testing.assert_allclose(variance, whole_variance[:, 0])
    for d in range(D):
        step = 1e-6 * np.eye(D)[d]
        up, down = processes.predict((z + step)[None]), processes.predict((z - step)[None])
        np.testing.assert_allclose(by_mean[:, :, d], (up[0] - down[0])[:, 0] / 2e-6, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(by_variance[:, d], (up[1] - down[1])[:, 0] / 2e-6, rtol=1e-4, atol=1e-7)


def test_draws_of_pending_points_have_the_predictive_moments(random: np.random.Generator) -> None:
    processes, z = Processes.fit(THETAS, X, Y), random.random((2, D))
    drawn = processes.draw(z, 40_000, np.random.default_rng(1))
    mean, variance = processes.predict(z)
    np.testing.assert_allclose(drawn.mean(2), mean[:, :, 0], atol=0.03)
    np.testing.assert_allclose(drawn.var(2), variance + processes.noise[:, None], rtol=0.03)
