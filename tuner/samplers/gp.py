"""A Gaussian process with an ARD Matérn 5/2 kernel: posterior density of its hyperparameters, and predictions.

| name | shape | meaning |
|---|---|---|
| x | [n, d] | observed points in the unit cube |
| y | [n] | observed values, standardised, to be minimised |
| θ | [d + 3] | log a, log σ², μ, log ℓ_1 … log ℓ_d |
| a, σ² | | the kernel's amplitude (variance) and the observations' noise (variance) |
| μ | | the constant mean |
| ℓ | [d] | one length-scale per coordinate |
| S, m | | samples of θ; points |

k(x, x') = a (1 + √5 ρ + 5ρ²/3) exp(−√5 ρ), ρ² = Σ_d (x_d − x'_d)²/ℓ_d² (Rasmussen & Williams 2006, eq. 4.17).

The priors, on unit-cube inputs and standardised values: ℓ ~ Gamma(3, 6), a ~ Gamma(2, 1), σ² ~ log-normal(log 1e-2, 3),
μ ~ N(0, 1), all as densities of the logarithms, with their Jacobian.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize

Array = NDArray[np.float64]

SHAPE_L, RATE_L = 3.0, 6.0
SHAPE_A, RATE_A = 2.0, 1.0
LOG_NOISE, SD_LOG_NOISE = math.log(1e-2), 3.0
"""Mean and standard deviation of the logarithm of the noise's variance. They allow for no noise and for as much noise
as signal: a narrower prior about 1e-4 takes a lucky value for the truth.
"""
JITTER = 1e-8
"""Amount added to the noise, relative to the amplitude; the kernel matrix of repeated points is singular without it."""
LOG_LIMIT = 30.0
"""Logarithm beyond whose range e^±30 a hyperparameter has no meaning and its exponential may overflow."""


def prior_mode(d: int) -> Array:
    """The hyperparameters θ at which the prior's density of the logarithms is highest: [d + 3]."""
    return np.array([math.log(SHAPE_A / RATE_A), LOG_NOISE, 0.0, *[math.log(SHAPE_L / RATE_L)] * d])


def scaled_squares(x: Array, z: Array, lengths: Array) -> Array:
    """Squared distances ρ² between x [n, d] and z [m, d]: [n, m], by |a|² + |b|² − 2ab, whose rounding is far below the
    jitter.
    """
    a, b = x / lengths, z / lengths
    squares: Array = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2.0 * (a @ b.T)
    return np.maximum(squares, 0.0)


def matern(squares: Array) -> tuple[Array, Array]:
    """The kernel's shape k/a and −2 ∂(k/a)/∂ρ² at ρ²."""
    fives = 5.0 * squares
    root = np.sqrt(fives)
    decay = np.exp(-root)
    root += 1.0
    root *= decay
    fives *= decay
    fives /= 3.0
    fives += root
    root *= 5.0 / 3.0
    return fives, root


class Posterior:
    """Density log p(θ | x, y) up to a constant, with its gradient; HMC walks on it.

    Symmetric matrices are held as their n(n + 1)/2 different entries, in LAPACK's rectangular full packed order, for which it has
    factorisation and inverse at the speed of whole blocks (Gustavson et al. 2010).
    """

    def __init__(self, x: Array, y: Array) -> None:
        self.n, self.d = x.shape
        self.y = y
        places, _ = lapack.dtrttf(np.arange(self.n**2, dtype=np.float64).reshape(self.n, self.n), uplo="L")
        self.rows, self.columns = np.divmod(places.astype(np.intp), self.n)
        self.diagonal = np.flatnonzero(self.rows == self.columns)
        difference = x.T[:, self.rows] - x.T[:, self.columns]
        self.squares = np.ascontiguousarray(difference * difference)  # [d, n(n + 1)/2]

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """The log density and its gradient [d + 3]; −∞ and zeros where θ has no meaning."""
        if not np.abs(theta).max() < LOG_LIMIT:  # a NaN is not below either
            return -math.inf, np.zeros_like(theta)
        values = np.exp(theta)
        amplitude, noise, mean, lengths = float(values[0]), float(values[1]), float(theta[2]), values[3:]
        inverse_squared = 1.0 / (lengths * lengths)
        shape, slope = matern(inverse_squared @ self.squares)
        kernel = amplitude * shape
        kernel[self.diagonal] += noise + JITTER * amplitude
        factor, failed = lapack.dpftrf(self.n, kernel, uplo="L", overwrite_a=1)
        if failed:
            return -math.inf, np.zeros_like(theta)
        residual = self.y - mean
        alpha = lapack.dpftrs(self.n, factor, residual[:, None], uplo="L")[0][:, 0]
        log_det = float(np.log(factor[self.diagonal]).sum())
        inverse, _ = lapack.dpftri(self.n, factor, uplo="L", overwrite_a=1)
        value = -0.5 * float(residual @ alpha) - log_det - 0.5 * self.n * math.log(2 * math.pi)
        # ∂ log N/∂θ_j = ½ Σ_ik (α α' − K⁻¹)_ik (∂K/∂θ_j)_ik: an entry off the diagonal stands for two.
        weight = alpha[self.rows]
        weight *= alpha[self.columns]
        weight -= inverse
        weight[self.diagonal] *= 0.5
        trace = float(weight[self.diagonal].sum())
        gradient = np.empty_like(theta)
        gradient[0] = amplitude * (float(weight @ shape) + JITTER * trace)
        gradient[1] = noise * trace
        gradient[2] = alpha.sum()
        weight *= slope
        gradient[3:] = amplitude * inverse_squared * (self.squares @ weight)
        prior, by_theta = log_prior(theta)
        gradient += by_theta
        return value + prior, gradient


def log_prior(theta: Array) -> tuple[float, Array]:
    """The prior log p(θ) up to a constant, and its gradient [d + 3]. Gamma(k, r) of x has the log density k·log x − r·x
    of log x.
    """
    rated, amplitude = RATE_L * np.exp(theta[3:]), math.exp(theta[0])
    off = (float(theta[1]) - LOG_NOISE) / SD_LOG_NOISE
    value = (
        SHAPE_L * float(theta[3:].sum())
        - float(rated.sum())
        + SHAPE_A * theta[0]
        - RATE_A * amplitude
        - 0.5 * off**2
        - 0.5 * theta[2] ** 2
    )
    gradient = np.empty_like(theta)
    gradient[0] = SHAPE_A - RATE_A * amplitude
    gradient[1] = -off / SD_LOG_NOISE
    gradient[2] = -theta[2]
    gradient[3:] = SHAPE_L - rated
    return float(value), gradient


def mode(density: Posterior, start: Array) -> Array:
    """A mode of the hyperparameters' posterior near `start`, which is returned if nothing near has a higher density."""

    def negated(theta: Array) -> tuple[float, Array]:
        value, gradient = density(theta)
        return (-value, -gradient) if math.isfinite(value) else (1e25, np.zeros_like(theta))

    end = minimize(negated, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return end.x if density(end.x)[0] >= density(start)[0] else start


@dataclass(frozen=True)
class Processes:
    """Processes for S different θ given one set of points, ready to predict. F: values of y at them, several with
    fantasies.
    """

    x: Array  # [n, d]
    amplitude: Array  # [S]
    noise: Array  # [S]
    mean: Array  # [S]
    lengths: Array  # [S, d]
    half: Array  # [S, n, n] inverse of the lower Cholesky factor of K + σ²I
    alpha: Array  # [S, n, F] (K + σ²I)⁻¹ (y − μ)

    @classmethod
    def fit(cls, thetas: Array, x: Array, y: Array) -> "Processes":
        """Processes for each θ of `thetas` [S, d + 3], conditioned on y [n] or [S, n, F] at x [n, d]."""
        amplitude, noise, mean, lengths = (
            np.exp(thetas[:, 0]),
            np.exp(thetas[:, 1]),
            thetas[:, 2],
            np.exp(thetas[:, 3:]),
        )
        half = np.empty((len(thetas), len(x), len(x)))
        for s in range(len(thetas)):
            kernel = amplitude[s] * matern(scaled_squares(x, x, lengths[s]))[0]
            kernel[np.diag_indices(len(x))] = amplitude[s] * (1.0 + JITTER) + noise[s]
            factor, failed = lapack.dpotrf(kernel, lower=1, clean=1)
            if failed:
                raise np.linalg.LinAlgError("the kernel matrix is not positive definite")
            half[s] = lapack.dtrtri(factor, lower=1)[0]
        residual = y.reshape(-1, len(x), y.shape[-1] if y.ndim == 3 else 1) - mean[:, None, None]
        return cls(x, amplitude, noise, mean, lengths, half, half.transpose(0, 2, 1) @ (half @ residual))

    def predict(self, z: Array) -> tuple[Array, Array]:
        """Means [S, m, F] and variances [S, m] of the noise-free functions at z [m, d]."""
        means = np.empty((len(self.mean), len(z), self.alpha.shape[2]))
        variances = np.empty((len(self.mean), len(z)))
        for s, amplitude in enumerate(self.amplitude):  # one at a time stays in the processor's cache
            cross = amplitude * matern(scaled_squares(self.x, z, self.lengths[s]))[0]  # [n, m]
            means[s] = self.mean[s] + cross.T @ self.alpha[s]
            solved = self.half[s] @ cross
            solved *= solved
            variances[s] = np.maximum(amplitude - solved.sum(0), 1e-12 * amplitude)
        return means, variances

    def predict_with_gradient(self, z: Array) -> tuple[Array, Array, Array, Array]:
        """Predictions at one point z [d]: means [S, F], variances [S], and their gradients [S, F, d] and [S, d]."""
        difference = z - self.x  # [n, d]
        inverse_squared = self.lengths**-2.0
        shape, slope = matern(inverse_squared @ (difference * difference).T)  # [S, n]
        cross = self.amplitude[:, None] * shape
        by_square = -self.amplitude[:, None] * slope  # ∂k/∂z_d = by_square (z − x)_d/ℓ_d²
        solved = self.half @ cross[:, :, None]  # [S, n, 1]
        variance = self.amplitude - (solved * solved).sum((1, 2))
        weight = (self.half.transpose(0, 2, 1) @ solved)[:, :, 0]
        mean = self.mean[:, None] + (cross[:, None] @ self.alpha)[:, 0]
        by_mean = (self.alpha * by_square[:, :, None]).transpose(0, 2, 1) @ difference * inverse_squared[:, None]
        by_variance = -2.0 * ((weight * by_square) @ difference) * inverse_squared
        return mean, np.maximum(variance, 1e-12 * self.amplitude), by_mean, by_variance

    def draw(self, z: Array, count: int, generator: np.random.Generator) -> Array:
        """`count` joint draws of noisy observations at z [m, d] from each process: [S, m, count]."""
        drawn = np.empty((len(self.mean), len(z), count))
        for s, amplitude in enumerate(self.amplitude):
            cross = amplitude * matern(scaled_squares(self.x, z, self.lengths[s]))[0]
            solved = self.half[s] @ cross
            own = amplitude * matern(scaled_squares(z, z, self.lengths[s]))[0] - solved.T @ solved
            own[np.diag_indices(len(z))] += self.noise[s] + (JITTER + 1e-10) * amplitude
            noise = np.linalg.cholesky(own) @ generator.standard_normal((len(z), count))
            drawn[s] = self.mean[s] + cross.T @ self.alpha[s, :, :1] + noise
        return drawn
