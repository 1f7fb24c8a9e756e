"""Vanilla VAE: D + R, the negative ELBO (PA eq. 4)."""

from dataclasses import dataclass

from trainers.objectives.objective import Objective


@dataclass(frozen=True)
class Hyperparameters:
    """No hyperparameter."""


class Technique(Objective):
    """The loss is every technique's that has no other."""
