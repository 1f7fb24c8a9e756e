"""What a study optimises, and what a trial's figures are worth by it."""

import math
from collections.abc import Mapping
from typing import Any, Literal

OBJECTIVES: dict[str, list[Literal["minimize", "maximize"]]] = {
    "nll": ["minimize"],
    "nll,rate": ["minimize", "maximize"],
    "melbo": ["minimize"],
}
"""Objectives with Optuna's directions. MELBO judges models whose prior is their posteriors' mixture (mim)."""


def judged(objective: str, min_rate: float, metrics: Mapping[str, Any]) -> list[Any]:
    """A trial's value of each of a study's objectives, by its metrics.

    What the rate falls short of the least one is added to the first. A figure that the model lacks is not a number.
    """
    lowered, *raised = objective.split(",")
    least = math.nan if metrics[lowered] is None else float(metrics[lowered])
    return [least + shortfall(min_rate, metrics["rate"]), *(metrics[key] for key in raised)]


def shortfall(min_rate: float, rate: float | None) -> float:
    """Nats that a rate falls short of the least one; none is 0."""
    return max(min_rate - (rate or 0.0), 0.0)
