"""METHODS' formulas written again, plainly: what each technique's loss is for what a model measured on a batch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measured:
    """In nats: S samples of each of B sentences."""

    d: np.ndarray  # [S, B] distortions
    r: np.ndarray  # [B] rates
    per_dimension: np.ndarray | None  # [B, d_z]
    log_q: np.ndarray  # [S, B]
    log_p: np.ndarray  # [S, B]
    mmd: float  # of the codes and as many draws from the prior
    penalty: float = 0.0

    @property
    def elbo(self) -> float:
        return float(-self.d.mean() - self.r.mean())


Formula = Callable[[Measured, Mapping[str, Any], Mapping[str, float]], float]
"""Function of what was measured, the hyperparameters and the objective's state."""

FORMULAS: dict[str, Formula] = {
    "rnnlm": lambda m, h, state: m.d.mean(),
    "vanilla": lambda m, h, state: -m.elbo,
    "annealing": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean(),
    "word-dropout": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean(),
    "annealed-word-dropout": lambda m, h, state: -m.elbo,
    "beta": lambda m, h, state: m.d.mean() + h["beta"] * m.r.mean(),
    "fb": lambda m, h, state: m.d.mean() + max(h["r"], m.r.mean()),
    "sfb": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean(),
    "mdr": lambda m, h, state: -m.elbo + state["u"] * (h["r"] - m.r.mean()),
    # METHODS: (1 − β + λ − 1)·MMD
    "infovae": lambda m, h, state: (
        m.d.mean() + h["beta"] * m.r.mean() + (1 - h["beta"] + h["lam"] - 1) * h["mmd_scale"] * m.mmd
    ),
    "lagvae": lambda m, h, state: (
        h["alpha"] * m.d.mean() + state["u"] * (-m.elbo - h["e"]) + state["v"] * (m.mmd - h["m"])
    ),
    "multi-sample": lambda m, h, state: sum(d.mean() for d in m.d) / len(m.d) + state["beta"] * m.r.mean(),
    "multi-sample-avg": lambda m, h, state: (
        m.d.mean() + state["beta"] * m.r.mean() / (h["samples"] if h["kl"] == "once" else 1)
    ),
    "ae": lambda m, h, state: m.d.mean(),
    "cyclic": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean(),
    "fb-dim": lambda m, h, state: m.d.mean() + state["beta"] * thresholded(m, h["r"]),
    "iwae": lambda m, h, state: (
        -sum(
            math.log(sum(math.exp(m.log_p[k, b] - m.log_q[k, b] - m.d[k, b]) for k in range(len(m.d))) / len(m.d))
            for b in range(len(m.r))
        )
        / len(m.r)
    ),
    "aggressive": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean(),
    "mim": lambda m, h, state: (m.d - (m.log_q + m.log_p) / 2).mean(),
    "adversarial-word-dropout": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean() + h["lam"] * m.penalty,
    "pretrained-fb": lambda m, h, state: m.d.mean() + state["beta"] * thresholded(m, h["r"]),
    "bn": lambda m, h, state: -m.elbo,
    "geco": lambda m, h, state: m.r.mean() + state["lambda"] * (m.d.mean() - h["kappa"]),
    "delta": lambda m, h, state: -m.elbo,
    "vmf": lambda m, h, state: -m.elbo,
    "coupled": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean() + m.penalty,
    "semi-amortised": lambda m, h, state: m.d.mean() + state["beta"] * m.r.mean(),
    "dvae": lambda m, h, state: (
        ((m.d.mean() + m.penalty) / 2 if state["paths"] == 2 else m.d.mean())
        + state["beta"] * counted(m, h["kl_dropout"] * (state["beta"] < 1), int(state["step"]))
    ),
}


def counted(m: Measured, dropout: float, step: int) -> float:
    """Mean rate over the dimensions that the step's draw keeps."""
    assert m.per_dimension is not None
    draws = np.random.default_rng(step).random(m.per_dimension.shape[1])
    return sum(
        sum(rate for rate, draw in zip(row, draws, strict=True) if draw >= dropout) for row in m.per_dimension
    ) / len(m.per_dimension)


def thresholded(m: Measured, r: float) -> float:
    """Σ_d max(r/d_z, R_d), sentence by sentence."""
    assert m.per_dimension is not None
    total = sum(max(r / len(row), rate) for row in m.per_dimension for rate in row)
    return total / len(m.per_dimension)


def mmd_squared(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, eq. 3, as a double loop; kernel exp(−‖x − y‖²/d)."""

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return math.exp(-float(((x - y) ** 2).sum()) / len(x))

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(k(x, y) for x in a for y in b) / (n * m)
