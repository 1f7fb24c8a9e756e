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


def judged(objective: str, metrics: Mapping[str, Any]) -> list[Any]:
    """A trial's value of each of a study's objectives, by its metrics. A figure that the model lacks is not a number."""
    lowered, *raised = objective.split(",")
    return [math.nan if metrics[lowered] is None else float(metrics[lowered]), *(metrics[key] for key in raised)]


def shortfall(min_rate: float, rate: float | None) -> float:
    """Nats that a rate falls short of the least one; none is 0."""
    return max(min_rate - (rate or 0.0), 0.0)


def limits(min_rate: float, metrics: Mapping[str, Any]) -> dict[str, float]:
    """What a trial of these metrics must keep at 0 or below, by name: Optuna's constraints. None without a least rate."""
    return {"rate": min_rate - (metrics["rate"] or 0.0)} if min_rate else {}


def rank(objective: str, min_rate: float, metrics: Mapping[str, Any]) -> tuple[float, float]:
    """What orders trials of these metrics, the best first: by what they fall short of the least rate, and then by their value."""
    return shortfall(min_rate, metrics["rate"]), judged(objective, metrics)[0]
