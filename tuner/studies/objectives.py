"""Objectives of a study, and the values of a trial's figures by them."""

import math
from typing import Any, Literal

from tuner.metrics import Metrics, figure

OBJECTIVES: dict[str, list[Literal["minimize", "maximize"]]] = {
    "nll": ["minimize"],
    "nll,rate": ["minimize", "maximize"],
    "melbo": ["minimize"],
}
"""Objectives with Optuna's directions. MELBO judges models whose prior is their posteriors' mixture (mim)."""


def judged(objective: str, metrics: Metrics) -> list[Any]:
    """A trial's value of each of a study's objectives, by its metrics. A figure that the model lacks is not a number."""
    lowered, *raised = objective.split(",")
    value = figure(metrics, lowered)
    return [math.nan if value is None else float(value), *(figure(metrics, key) for key in raised)]


def outcome(objective: str, metrics: Metrics) -> dict[str, Any]:
    """Columns of a complete trial of these metrics: its value is its NLL (or MELBO), however low its rate."""
    values = judged(objective, metrics)
    return {"value": values[0], "values": values, "metrics": metrics}


def shortfall(min_rate: float, rate: float | None) -> float:
    """Nats by which a rate falls short of the least one; 0 if it does not."""
    return max(min_rate - (rate or 0.0), 0.0)


def limits(min_rate: float, metrics: Metrics) -> dict[str, float]:
    """Optuna's constraints of a trial of these metrics, by name, each to be kept at 0 or below; empty without a least
    rate.
    """
    return {"rate": min_rate - (metrics["rate"] or 0.0)} if min_rate else {}


def rank(objective: str, min_rate: float, metrics: Metrics) -> tuple[float, float]:
    """Key that orders trials of these metrics, the best first: by what they fall short of the least rate, then by their
    value.
    """
    return shortfall(min_rate, metrics["rate"]), judged(objective, metrics)[0]
