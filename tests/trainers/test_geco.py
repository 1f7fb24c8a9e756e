"""GECO: the multiplier, its moving average and the best epoch."""

import math
from dataclasses import replace

import pytest
import torch
from test_objectives import output

from trainers import objectives
from trainers.figures import EpochFigures


def test_lambda_moves_by_the_moving_average_of_the_constraint() -> None:
    objective, measured = objectives.create("geco", {"kappa": 4.0, "alpha": 0.75, "nu": 0.5}), output(1.0)
    logs, average = 0.0, None
    for shift in (-0.6, 3.0, -9.0, -6.0):
        moved = replace(measured, distortions=measured.distortions + shift)
        short = moved.distortion.mean().item() - 4.0
        average = short if average is None else 0.75 * average + 0.25 * short
        logs += 0.5 * min(max(average, -1.0), 1.0)
        objective.after_step(moved)
        assert objective.state()["lambda"] == pytest.approx(math.exp(logs))


def test_lambda_stays_positive_and_finite_where_no_model_keeps_the_constraint() -> None:
    for kappa in (1e-3, 1e6):
        objective = objectives.create("geco", {"kappa": kappa, "nu": 1.0})
        for _ in range(100):
            objective.after_step(output(1.0))
        assert 0 < objective.state()["lambda"] < math.inf
        assert torch.isfinite(objective.loss(output(1.0)))


def test_the_best_epoch_has_the_least_rate_within_the_constraint() -> None:
    objective = objectives.create("geco", {"kappa": 10.0})
    figures = ((14.0, 0.1), (11.0, 1.0), (10.0, 5.0), (4.0, 4.0))
    far, near, kept, best = (objective.criterion(EpochFigures(d, r, 0)) for d, r in figures)
    assert best < kept < near < far
