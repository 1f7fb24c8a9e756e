"""A Gaussian process with an ARD Matérn 5/2 kernel: posterior density of its hyperparameters, and predictions.

| name | shape | meaning |
|---|---|---|
| x | [n, d] | observed points in the unit cube |
| y | [n] | observed values, standardised, to be minimised |
| θ | [d + 3] | log a, log σ², μ, log ℓ_1 … log ℓ_d |
| a, σ² | | the kernel's amplitude (variance) and the observations' noise (variance) |
| μ | | the constant mean |
| ℓ | [d] | one length-scale per coordinate |
| S, m | | samples of θ; candidates |

k(x, x') = a (1 + √5 ρ + 5ρ²/3) exp(−√5 ρ), ρ² = Σ_d (x_d − x'_d)²/ℓ_d² (Rasmussen & Williams 2006, eq. 4.17).

The priors, on unit-cube inputs and standardised values: ℓ ~ Gamma(3, 6), a ~ Gamma(2, 1), σ² ~ log-normal(log 1e-4, 2),
μ ~ N(0, 1), all as densities of the logarithms, with their Jacobian.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Array = NDArray[np.float64]

SHAPE_L, RATE_L = 3.0, 6.0
SHAPE_A, RATE_A = 2.0, 1.0
LOG_NOISE, SD_LOG_NOISE = math.log(1e-4), 2.0
JITTER = 1e-8
"""added to the noise, relative to the amplitude; the kernel matrix of repeated points is singular without"""
LOG_LIMIT = 30.0
"""beyond e^±30 a hyperparameter has no meaning and its exponential may overflow"""


def prior_mode(d: int) -> Array:
    """θ where the prior's density of the logarithms is highest: [d + 3]."""
    return np.array([math.log(SHAPE_A / RATE_A), LOG_NOISE, 0.0, *[math.log(SHAPE_L / RATE_L)] * d])


def squared_differences(x: Array, z: Array) -> Array:
    """(x_id − z_jd)² of x [n, d], z [m, d]: [d, n, m]."""
    difference = x.T[:, :, None] - z.T[:, None, :]
    return difference * difference


def matern(squares: Array) -> tuple[Array, Array]:
    """k/a and −2 ∂(k/a)/∂ρ² at ρ²."""
    root = np.sqrt(5.0 * squares)
    decay = np.exp(-root)
    slope = (5.0 / 3.0) * (1.0 + root) * decay
    return decay + root * decay + (5.0 / 3.0) * squares * decay, slope


class Posterior:
    """log p(θ | x, y) up to a constant, with its gradient; what HMC walks on."""

    def __init__(self, x: Array, y: Array) -> None:
        self.n, self.d = x.shape
        self.y = y
        self.squares = squared_differences(x, x).reshape(self.d, -1)  # [d, n²]
        # LAPACK's inverse fills a triangle: the other half of a sum over the symmetric matrix counts by a 2.
        self.triangle = (2.0 * np.tri(self.n) - np.eye(self.n)).ravel()
        self.diagonal = np.arange(self.n) * (self.n + 1)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """log density and gradient [d + 3]; −∞ and zeros where θ has no meaning."""
        nothing = -math.inf, np.zeros_like(theta)
        if not np.all(np.abs(theta) < LOG_LIMIT):
            return nothing
        amplitude, noise, mean = math.exp(theta[0]), math.exp(theta[1]), float(theta[2])
        inverse_squared = np.exp(-2.0 * theta[3:])
        shape, slope = matern(inverse_squared @ self.squares)  # [n²]
        kernel = amplitude * shape
        kernel[self.diagonal] += noise + JITTER * amplitude
        factor, failed = lapack.dpotrf(kernel.reshape(self.n, self.n), lower=1, clean=0)
        if failed:
            return nothing
        residual = self.y - mean
        alpha, _ = lapack.dpotrs(factor, residual, lower=1)
        log_det = np.log(factor.diagonal()).sum()
        inverse, _ = lapack.dpotri(factor, lower=1)  # lower triangle
        value = -0.5 * float(residual @ alpha) - float(log_det) - 0.5 * self.n * math.log(2 * math.pi)
        # ∂ log N/∂θ_j = ½ Σ_ik (α α' − K⁻¹)_ik (∂K/∂θ_j)_ik
        weight = (np.outer(alpha, alpha) - inverse).ravel() * self.triangle
        gradient = np.empty_like(theta)
        gradient[0] = 0.5 * amplitude * (weight @ shape + JITTER * weight[self.diagonal].sum())
        gradient[1] = 0.5 * noise * weight[self.diagonal].sum()
        gradient[2] = alpha.sum()
        gradient[3:] = 0.5 * amplitude * inverse_squared * (self.squares @ (weight * slope))
        prior, by_theta = log_prior(theta)
        return value + prior, gradient + by_theta


def log_prior(theta: Array) -> tuple[float, Array]:
    """log p(θ) up to a constant, and its gradient [d + 3]. Gamma(k, r) of x has the log density k·log x − r·x of log x."""
    lengths, amplitude = np.exp(theta[3:]), math.exp(theta[0])
    off = (theta[1] - LOG_NOISE) / SD_LOG_NOISE
    value = (
        float((SHAPE_L * theta[3:] - RATE_L * lengths).sum())
        + SHAPE_A * theta[0]
        - RATE_A * amplitude
        - 0.5 * off**2
        - 0.5 * theta[2] ** 2
    )
    gradient = np.empty_like(theta)
    gradient[0] = SHAPE_A - RATE_A * amplitude
    gradient[1] = -off / SD_LOG_NOISE
    gradient[2] = -theta[2]
    gradient[3:] = SHAPE_L - RATE_L * lengths
    return float(value), gradient


@dataclass(frozen=True)
class Process:
    """The process of one θ given its data, ready to predict. F: several values of y for the same points (fantasies)."""

    x: Array  # [n, d]
    amplitude: float
    noise: float
    mean: float
    lengths: Array  # [d]
    factor: Array  # [n, n] lower Cholesky factor of K + σ²I
    alpha: Array  # [n, F] (K + σ²I)⁻¹ (y − μ)

    @classmethod
    def fit(cls, theta: Array, x: Array, y: Array) -> "Process":
        """Conditions on y [n] or [n, F] at x [n, d]."""
        amplitude, noise, mean, lengths = math.exp(theta[0]), math.exp(theta[1]), float(theta[2]), np.exp(theta[3:])
        kernel = amplitude * matern(np.tensordot(lengths**-2.0, squared_differences(x, x), 1))[0]
        kernel[np.diag_indices(len(x))] += noise + JITTER * amplitude
        factor, failed = lapack.dpotrf(kernel, lower=1, clean=1)
        if failed:
            raise np.linalg.LinAlgError("the kernel matrix is not positive definite")
        alpha, _ = lapack.dpotrs(factor, (y - mean).reshape(len(x), -1), lower=1)
        return cls(x, amplitude, noise, mean, lengths, factor, alpha)

    def predict(self, z: Array) -> tuple[Array, Array]:
        """Mean [m, F] and variance [m] of the noise-free function at z [m, d]."""
        cross = (
            self.amplitude * matern(np.tensordot(self.lengths**-2.0, squared_differences(self.x, z), 1))[0]
        )  # [n, m]
        half, _ = lapack.dtrtrs(self.factor, cross, lower=1)
        variance = self.amplitude - (half * half).sum(0)
        return self.mean + cross.T @ self.alpha, np.maximum(variance, 1e-12 * self.amplitude)

    def predict_with_gradient(self, z: Array) -> tuple[Array, float, Array, Array]:
        """At one point z [d]: mean [F], variance, and their gradients [F, d] and [d]."""
        difference = (z - self.x) / self.lengths**2  # [n, d] = ½ ∂ρ²/∂z
        squares = ((z - self.x) * difference).sum(1)
        shape, slope = matern(squares)
        cross = self.amplitude * shape  # [n]
        by_z = -self.amplitude * slope[:, None] * difference  # [n, d] = ∂k/∂z
        solved, _ = lapack.dpotrs(self.factor, cross, lower=1)
        variance = max(self.amplitude - float(cross @ solved), 1e-12 * self.amplitude)
        return self.mean + cross @ self.alpha, variance, self.alpha.T @ by_z, -2.0 * solved @ by_z

    def draw(self, z: Array, count: int, generator: np.random.Generator) -> Array:
        """`count` joint draws of noisy observations at z [m, d]: [m, count]."""
        cross = self.amplitude * matern(np.tensordot(self.lengths**-2.0, squared_differences(self.x, z), 1))[0]
        half, _ = lapack.dtrtrs(self.factor, cross, lower=1)
        own = self.amplitude * matern(np.tensordot(self.lengths**-2.0, squared_differences(z, z), 1))[0] - half.T @ half
        own[np.diag_indices(len(z))] += self.noise + JITTER * self.amplitude
        root = np.linalg.cholesky(own + 1e-10 * self.amplitude * np.eye(len(z)))
        drawn: Array = self.mean + cross.T @ self.alpha[:, :1] + root @ generator.standard_normal((len(z), count))
        return drawn
