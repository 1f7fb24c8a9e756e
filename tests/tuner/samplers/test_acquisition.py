"""Expected improvement against arbitrary precision, Monte Carlo and BoTorch; and the search for its maximum."""

import math

import numpy as np
import pytest
import torch
from botorch.acquisition import LogExpectedImprovement
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.samplers.acquisition import MARGIN, LogEHVI, LogEI, LogHolds, Product, front, highest, log_h
from tuner.samplers.botorch_mcmc import batched
from tuner.samplers.cube import Cube
from tuner.samplers.gp import Processes, prior_mode

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.random((6, 2)), RANDOM.standard_normal(6)
THETAS = prior_mode(2) + 0.4 * RANDOM.standard_normal((5, 5))


@pytest.fixture
def random() -> np.random.Generator:
    """Numbers that do not depend on the tests before."""
    return np.random.default_rng(6)


def acquisition(thetas: np.ndarray = THETAS) -> LogEI:
    return LogEI(Processes.fit(thetas, X, Y), np.full((len(thetas), 1), Y.min()))


def exact_log_h(u: float) -> float:
    """By quadrature of ∫ (u − t)φ(t) dt from −∞ to u, the exponent's maximum taken out."""
    t = np.linspace(0, 60 / max(1.0, -u), 200_001)  # distance below u
    log_terms = np.log(np.maximum(t, 1e-300)) - 0.5 * (u - t) ** 2 - 0.5 * math.log(2 * math.pi)
    top = log_terms.max()
    return top + math.log(np.trapezoid(np.exp(log_terms - top), t))


@pytest.mark.parametrize("u", [-1e4, -1001.0, -999.0, -50.0, -5.0, -1.001, -0.999, 0.0, 1.0, 7.0])
def test_log_h_is_exact_from_far_below_to_above(u: float) -> None:
    value, slope = log_h(np.array([u]))
    assert value[0] == pytest.approx(exact_log_h(u), rel=1e-6, abs=1e-6)
    step = 1e-5 * max(1.0, abs(u))
    up, down = log_h(np.array([u + step]))[0][0], log_h(np.array([u - step]))[0][0]
    assert slope[0] == pytest.approx((up - down) / (2 * step), rel=1e-5)


def test_log_h_is_large_for_large_u_and_never_nan() -> None:
    value, slope = log_h(np.array([50.0, 1e6, -1e9]))
    assert value[:2] == pytest.approx(np.log([50.0, 1e6]))
    assert slope[:2] == pytest.approx([1 / 50, 1e-6])
    assert np.isfinite(value).all()


def test_averaged_expected_improvement_agrees_with_monte_carlo(random: np.random.Generator) -> None:
    z, found = random.random((4, 2)), acquisition()
    improvements = []
    for mean, variance in zip(*found.processes.predict(z), strict=True):
        drawn = mean + np.sqrt(variance)[:, None] * np.random.default_rng(2).standard_normal((4, 400_000))
        improvements.append(np.maximum(Y.min() - drawn, 0).mean(1))
    np.testing.assert_allclose(np.exp(found(z)), np.mean(improvements, 0), rtol=0.03)


def test_it_is_botorchs_log_expected_improvement_on_the_batched_model(random: np.random.Generator) -> None:
    z = random.random((9, 2))
    reference = LogExpectedImprovement(batched(THETAS, X, Y), best_f=torch.tensor(Y.min()), maximize=False)
    with torch.no_grad():
        expected = reference(torch.as_tensor(z)[:, None])  # [m]
    np.testing.assert_allclose(acquisition()(z), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_gradient_agrees_with_finite_differences(random: np.random.Generator) -> None:
    found = acquisition()
    for z in (random.random(2), X[np.argmax(Y)] + 1e-3):  # the second where nothing is to be won
        value, gradient = found.with_gradient(z)
        assert value == pytest.approx(found(z[None])[0])
        numeric = [(found((z + 1e-6 * e)[None])[0] - found((z - 1e-6 * e)[None])[0]) / 2e-6 for e in np.eye(2)]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_a_constraint_holds_as_often_as_nine_in_ten_draws_of_evaluations_do(random: np.random.Generator) -> None:
    z, found = random.random((4, 2)), LogHolds(Processes.fit(THETAS, X, Y), 0.3)
    shares = []
    for s, (mean, variance) in enumerate(zip(*found.processes.predict(z), strict=True)):
        drawn = mean + np.sqrt(variance)[:, None] * np.random.default_rng(s).standard_normal((4, 100_000))
        shares.append((drawn + MARGIN * math.exp(THETAS[s, 1] / 2) <= 0.3).mean(1))
    np.testing.assert_allclose(np.exp(found(z)), np.mean(shares, 0), atol=0.005)


def test_a_products_gradient_agrees_with_finite_differences(random: np.random.Generator) -> None:
    found = Product(
        [acquisition(), LogHolds(Processes.fit(THETAS, X, Y), 0.3), LogHolds(Processes.fit(THETAS, X, -Y), -0.9)]
    )
    for z in random.random((5, 2)):
        value, gradient = found.with_gradient(z)
        assert value == pytest.approx(found(z[None])[0], rel=1e-9)
        shift = 1e-6 * np.eye(2)
        slopes = (found(z + shift) - found(z - shift)) / 2e-6
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)


def test_the_search_finds_the_maximum_of_a_fine_grid() -> None:
    cube = Cube({"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)})
    found = acquisition()
    point = highest(found, cube, np.random.default_rng(0).random((200, 2)), X)
    side = np.linspace(0, 1, 301)
    assert found(point[None])[0] >= found(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)).max() - 1e-6


def test_the_search_finds_the_best_of_a_discrete_space_and_never_a_point_taken(random: np.random.Generator) -> None:
    cube = Cube({"a": IntDistribution(0, 6), "b": CategoricalDistribution(("x", "y", "z"))})
    everything = np.array([cube.encode({"a": a, "b": b}) for a in range(7) for b in "xyz"])
    taken, values = everything[::3], random.standard_normal(7)
    thetas = prior_mode(cube.d)[None]
    found = LogEI(Processes.fit(thetas, taken, values), np.array([[values.min()]]))
    point = highest(found, cube, everything[:4], taken)
    left = np.array([p for i, p in enumerate(everything) if i % 3])
    assert found(point[None])[0] == pytest.approx(found(left).max())
    assert highest(found, cube, everything, everything) in everything  # used up: repeats, rather than fails


Y_2 = RANDOM.standard_normal((6, 2))
REFERENCE = Y_2.max(0) + 0.2


def hypervolume(points: np.ndarray) -> float:
    """The area below the reference that the points dominate, strip by strip."""
    area, right = 0.0, front(points[(points < REFERENCE).all(1)])
    for i, (first, second) in enumerate(right):
        end = right[i + 1, 0] if i + 1 < len(right) else REFERENCE[0]
        area += (end - first) * (REFERENCE[1] - second)
    return area


def two() -> LogEHVI:
    one, other = Processes.fit(THETAS, X, Y_2[:, 0]), Processes.fit(THETAS[::-1], X, Y_2[:, 1])
    return LogEHVI(one, other, [front(Y_2)] * 5, REFERENCE)


def test_the_front_is_what_nothing_dominates() -> None:
    points = np.array([[0.0, 3], [1, 1], [2, 2], [3, 0], [0, 4], [1, 1]])
    np.testing.assert_array_equal(front(points), [[0, 3], [1, 1], [3, 0]])
    assert front(points[:0]).shape == (0, 2)


def test_expected_hypervolume_improvement_agrees_with_monte_carlo() -> None:
    z, found, draw = np.random.default_rng(5).random((5, 2)), two(), np.random.default_rng(1)
    base, total = hypervolume(Y_2), np.zeros(5)
    predicted = (*found.one.predict(z), *found.other.predict(z))
    for mean_1, variance_1, mean_2, variance_2 in zip(*predicted, strict=True):
        for m in range(5):
            first = mean_1[m, 0] + math.sqrt(variance_1[m]) * draw.standard_normal(4000)
            second = mean_2[m, 0] + math.sqrt(variance_2[m]) * draw.standard_normal(4000)
            gains = [hypervolume(np.vstack([Y_2, point])) - base for point in zip(first, second, strict=True)]
            total[m] += np.mean(gains) / 5
    assert (total > 0.01).sum() >= 2
    np.testing.assert_allclose(np.exp(found(z)), total, rtol=0.05, atol=2e-3)


def test_hypervolumes_gradient_agrees_with_finite_differences(random: np.random.Generator) -> None:
    found = two()
    for z in random.random((3, 2)):
        value, gradient = found.with_gradient(z)
        assert value == pytest.approx(found(z[None])[0])
        numeric = [(found((z + 1e-6 * e)[None])[0] - found((z - 1e-6 * e)[None])[0]) / 2e-6 for e in np.eye(2)]
        np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-4)


def test_without_a_front_below_the_reference_everything_counts(random: np.random.Generator) -> None:
    one, other = Processes.fit(THETAS[:1], X, Y_2[:, 0]), Processes.fit(THETAS[1:2], X, Y_2[:, 1])
    found = LogEHVI(one, other, [front(Y_2)], np.full(2, -50.0))
    assert np.isfinite(found(random.random((4, 2)))).all()
