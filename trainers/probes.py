"""Classifiers on latent codes (LI §3.3, table 8): what of a sentence's label a code tells, with and without labelled examples.

N: codes; d: their dimensions; K: classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import logsumexp

Codes = NDArray[np.float64]
Classes = NDArray[np.int64]

RIDGE = 1e-6
"""Amount added to each variance of the mixture, as a share of the codes' mean variance, so that none becomes singular."""
PENALTY = 1e-2
"""Penalty of the linear probe's squared weights, beside the mean loss: with few labels the classes can be told apart in
many ways.
"""
TOLERANCE = 1e-3
"""Gain in mean log-likelihood below which the mixture's fit ends."""
ROUNDS = 200
STARTS = 5


@dataclass(frozen=True)
class GaussianMixture:
    """K Gaussians with full covariances."""

    weights: Codes  # [K]
    means: Codes  # [K, d]
    roots: Codes  # [K, d, d] lower Cholesky factors of the covariances

    def log_joint(self, codes: Codes) -> Codes:
        """Log joint densities log π_k + log N(z; μ_k, Σ_k): [N, K]."""
        columns = []
        for weight, mean, root in zip(self.weights, self.means, self.roots, strict=True):
            white = solve_triangular(root, (codes - mean).T, lower=True)
            log_det = np.log(np.diag(root)).sum()
            constant = np.log(weight) - log_det - 0.5 * len(mean) * np.log(2 * np.pi)
            columns.append(constant - 0.5 * (white**2).sum(0))
        return np.stack(columns, axis=1)

    @classmethod
    def of(cls, codes: Codes, shares: Codes) -> "GaussianMixture":
        """The likeliest mixture where each code belongs to the components by `shares` [N, K]."""
        sizes = shares.sum(0) + 10 * np.finfo(np.float64).eps
        means = shares.T @ codes / sizes[:, None]
        ridge = RIDGE * codes.var(0).mean() + np.finfo(np.float64).tiny
        roots = []
        for k, mean in enumerate(means):
            apart = codes - mean
            covariance = (shares[:, k, None] * apart).T @ apart / sizes[k]
            roots.append(np.linalg.cholesky(covariance + ridge * np.eye(codes.shape[1])))
        return cls(sizes / sizes.sum(), means, np.stack(roots))


def _squares(codes: Codes, places: Codes) -> Codes:
    """Squared distance of each code [N, d] to each place [K, d]: [N, K]."""
    distances: Codes = ((codes[:, None] - places) ** 2).sum(-1)
    return distances


def _k_means(codes: Codes, count: int, generator: np.random.Generator) -> Classes:
    """The clusters of least squared distance of several fits, each from places far apart (k-means++)."""
    least, best = np.inf, np.zeros(len(codes), dtype=np.int64)
    for _ in range(STARTS):
        places = codes[generator.integers(len(codes), size=1)]
        while len(places) < count:
            nearest = _squares(codes, places).min(1)
            share = nearest / nearest.sum() if nearest.any() else None
            places = np.concatenate([places, codes[generator.choice(len(codes), size=1, p=share)]])
        for _ in range(ROUNDS):
            found = _squares(codes, places).argmin(1)
            moved = [codes[found == k].mean(0) if (found == k).any() else places[k] for k in range(count)]
            if np.allclose(moved, places):
                break
            places = np.stack(moved)
        spread = _squares(codes, places).min(1).sum()
        if spread < least:
            least, best = spread, found
    return best


def fit_mixture(codes: Codes, count: int, seed: int) -> tuple[GaussianMixture, list[float]]:
    """Expectation maximisation from k-means; the mixture and the mean log-likelihood after each round, which never falls."""
    shares = np.eye(count)[_k_means(codes, count, np.random.default_rng(seed))]
    mixture, curve = GaussianMixture.of(codes, shares), [-np.inf]
    for _ in range(ROUNDS):
        joint = mixture.log_joint(codes)
        total = logsumexp(joint, axis=1)
        curve.append(float(total.mean()))
        if curve[-1] - curve[-2] < TOLERANCE:
            break
        mixture = GaussianMixture.of(codes, np.exp(joint - total[:, None]))
    return mixture, curve[1:]


def clustering_accuracy(clusters: Classes, classes: Classes, count: int) -> float:
    """The share told right when each cluster stands for one class, in the best way."""
    agree = np.zeros((count, count))
    np.add.at(agree, (clusters, classes), 1)
    rows, columns = linear_sum_assignment(-agree)
    return float(agree[rows, columns].sum() / len(classes))


def fit_linear(codes: Codes, classes: Classes, count: int) -> tuple[Codes, Codes]:
    """Weights [d, K] and biases [K] of a softmax classifier: least mean cross-entropy + PENALTY·‖W‖²."""
    n, d = codes.shape
    truth = np.eye(count)[classes]

    def loss(flat: Codes) -> tuple[float, Codes]:
        weights, biases = flat[: d * count].reshape(d, count), flat[d * count :]
        logits = codes @ weights + biases
        total = logsumexp(logits, axis=1, keepdims=True)
        value = float((total[:, 0] - (logits * truth).sum(1)).mean() + PENALTY * (weights**2).sum())
        slope = (np.exp(logits - total) - truth) / n
        return value, np.concatenate([(codes.T @ slope + 2 * PENALTY * weights).ravel(), slope.sum(0)])

    found = minimize(loss, np.zeros((d + 1) * count), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return found.x[: d * count].reshape(d, count), found.x[d * count :]


def probe(
    train: Codes,
    train_labels: Sequence[str],
    valid: Codes,
    valid_labels: Sequence[str],
    labelled: Sequence[int],
    seed: int,
) -> dict[int, float]:
    """Accuracy on the validation codes by the labelled training examples used: 0 is the mixture's best match of clusters and
    classes, n > 0 a linear classifier on n examples drawn at random. Codes are scaled to the training codes' unit variance."""
    names = sorted({*train_labels, *valid_labels})
    index = {name: number for number, name in enumerate(names)}
    classes, truth = (np.array([index[label] for label in labels]) for labels in (train_labels, valid_labels))
    centre, scale = train.mean(0), train.std(0) + np.finfo(np.float64).tiny
    train, valid = (train - centre) / scale, (valid - centre) / scale
    generator, found = np.random.default_rng(seed), {}
    order = generator.permutation(len(train))
    for count in labelled:
        if count == 0:
            clusters = fit_mixture(train, len(names), seed)[0].log_joint(valid).argmax(1)
            found[0] = clustering_accuracy(clusters, truth, len(names))
        else:
            chosen = order[:count]
            weights, biases = fit_linear(train[chosen], classes[chosen], len(names))
            found[count] = float(((valid @ weights + biases).argmax(1) == truth).mean())
    return found
