"""METHODS' formulas written again, plainly: what each technique's loss is for a batch's distortions, rates and codes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Formula = Callable[[np.ndarray, np.ndarray, Mapping[str, Any], Mapping[str, float], float], float]
"""of distortions [B], rates [B], hyperparameters, state, and the MMD² of the codes and as many draws from the prior"""

FORMULAS: dict[str, Formula] = {
    "rnnlm": lambda d, r, h, state, mmd: d.mean(),
    "vanilla": lambda d, r, h, state, mmd: d.mean() + r.mean(),
    "annealing": lambda d, r, h, state, mmd: d.mean() + state["beta"] * r.mean(),
    "word-dropout": lambda d, r, h, state, mmd: d.mean() + r.mean(),
    "annealed-word-dropout": lambda d, r, h, state, mmd: d.mean() + r.mean(),
    "beta": lambda d, r, h, state, mmd: d.mean() + h["beta"] * r.mean(),
    "fb": lambda d, r, h, state, mmd: d.mean() + max(h["r"], r.mean()),
    "sfb": lambda d, r, h, state, mmd: d.mean() + state["beta"] * r.mean(),
    "mdr": lambda d, r, h, state, mmd: d.mean() + r.mean() + state["u"] * (h["r"] - r.mean()),
    # METHODS: (1 − β + λ − 1)·MMD
    "infovae": lambda d, r, h, state, mmd: (
        d.mean() + h["beta"] * r.mean() + (1 - h["beta"] + h["lam"] - 1) * h["mmd_scale"] * mmd
    ),
    "lagvae": lambda d, r, h, state, mmd: (
        h["alpha"] * d.mean() + state["u"] * ((d + r).mean() - h["e"]) + state["v"] * (mmd - h["m"])
    ),
}


def mmd_squared(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, eq. 3, as a double loop; kernel exp(−‖x − y‖²/d)."""

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return math.exp(-float(((x - y) ** 2).sum()) / len(x))

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_a + within_b - 2 * sum(k(x, y) for x in a for y in b) / (n * m)
