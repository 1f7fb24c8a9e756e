"""METHODS' formulas written again, plainly: what each technique's loss is for a batch's distortions and rates."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Formula = Callable[[np.ndarray, np.ndarray, Mapping[str, Any], Mapping[str, float]], float]

FORMULAS: dict[str, Formula] = {
    "rnnlm": lambda d, r, h, state: d.mean(),
    "vanilla": lambda d, r, h, state: d.mean() + r.mean(),
    "annealing": lambda d, r, h, state: d.mean() + state["beta"] * r.mean(),
    "beta": lambda d, r, h, state: d.mean() + h["beta"] * r.mean(),
    "fb": lambda d, r, h, state: d.mean() + max(h["r"], r.mean()),
    "sfb": lambda d, r, h, state: d.mean() + state["beta"] * r.mean(),
    "mdr": lambda d, r, h, state: d.mean() + r.mean() + state["u"] * (h["r"] - r.mean()),
}
