"""Probing classifiers: the mixture's densities and fit, the linear classifier's optimum, accuracies on planted classes."""

import itertools

import numpy as np
import pytest
import torch

from trainers.probes import GaussianMixture, clustering_accuracy, fit_linear, fit_mixture, probe

RANDOM = np.random.default_rng(0)


def planted(count: int, spread: float, classes: int = 3, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Codes around a centre of each class."""
    centres = np.random.default_rng(1).normal(size=(classes, d)) * 3
    labels = RANDOM.integers(classes, size=count)
    return centres[labels] + spread * RANDOM.normal(size=(count, d)), labels


def test_the_mixtures_densities_are_those_of_its_gaussians() -> None:
    codes = RANDOM.normal(size=(20, 3))
    mixture = GaussianMixture.of(RANDOM.normal(size=(30, 3)), RANDOM.dirichlet([1, 1], size=30))
    for k in range(2):
        gaussian = torch.distributions.MultivariateNormal(
            torch.from_numpy(mixture.means[k]), scale_tril=torch.from_numpy(mixture.roots[k])
        )
        expected = gaussian.log_prob(torch.from_numpy(codes)).numpy() + np.log(mixture.weights[k])
        np.testing.assert_allclose(mixture.log_joint(codes)[:, k], expected)


def test_a_components_moments_are_weighted_means_and_covariances() -> None:
    codes, shares = RANDOM.normal(size=(50, 2)), RANDOM.dirichlet([1, 2], size=50)
    mixture = GaussianMixture.of(codes, shares)
    for k in range(2):
        np.testing.assert_allclose(mixture.means[k], np.average(codes, axis=0, weights=shares[:, k]))
        covariance = np.cov(codes.T, aweights=shares[:, k], ddof=0)
        np.testing.assert_allclose(mixture.roots[k] @ mixture.roots[k].T, covariance, atol=1e-5)
    np.testing.assert_allclose(mixture.weights, shares.mean(0))


def test_the_fit_never_gets_worse_and_finds_planted_clusters() -> None:
    codes, labels = planted(600, 0.5)
    mixture, curve = fit_mixture(codes, 3, seed=0)
    assert len(curve) > 1
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(curve))
    assert clustering_accuracy(mixture.log_joint(codes).argmax(1), labels, 3) > 0.97


def test_clusters_are_matched_with_classes_in_the_best_way() -> None:
    clusters, classes = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 1, 1, 1])
    assert clustering_accuracy(clusters, classes, 3) == pytest.approx(5 / 6)


def test_equal_codes_do_not_break_the_mixture() -> None:
    mixture, _ = fit_mixture(np.zeros((20, 3)), 2, seed=0)
    assert np.isfinite(mixture.log_joint(np.zeros((1, 3)))).any()


def test_the_linear_probe_is_at_its_optimum() -> None:
    codes, labels = planted(80, 3.0)
    found = fit_linear(codes, labels, 3)
    weights, biases = (torch.tensor(part, requires_grad=True) for part in found)
    logits = torch.from_numpy(codes) @ weights + biases
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)) + 1e-2 * weights.square().sum()
    loss.backward()
    assert weights.grad is not None
    assert biases.grad is not None
    assert max(weights.grad.abs().max(), biases.grad.abs().max()) < 1e-3


def test_more_labels_tell_more_and_codes_without_information_tell_the_share() -> None:
    codes, labels = planted(1200, 1.5, d=20)
    names = [f"class {label}" for label in labels]
    found = probe(codes[:900], names[:900], codes[900:], names[900:], [0, 10, 900], seed=0)
    assert found[900] > 0.95
    assert found[900] >= found[10] > 0.4
    blind = probe(
        RANDOM.normal(size=(900, 20)), names[:900], RANDOM.normal(size=(300, 20)), names[900:], [0, 900], seed=0
    )
    assert all(accuracy == pytest.approx(1 / 3, abs=0.12) for accuracy in blind.values())
