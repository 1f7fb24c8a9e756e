"""The hooks of a technique. The training loop calls them and knows no technique by name."""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.models import Output


class Objective(nn.Module):
    """A technique. Whatever changes while it trains is a buffer or a parameter, so that a checkpoint saves it."""

    latent: ClassVar[bool] = True
    """False: the technique trains the RNNLM, which has no latent."""

    hyperparameters: Any
    """the technique's own dataclass; its module names the type"""

    def __init__(self, hyperparameters: Any) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters

    def loss(self, output: Output) -> Tensor:
        """The scalar to minimise on this batch."""
        raise NotImplementedError

    def optimizers(self) -> list[Optimizer]:
        """The optimisers of the objective's own parameters; the model's optimiser never sees those."""
        return []

    def after_step(self, output: Output) -> None:
        """Moves the schedule on, once after every optimiser step."""

    def state(self) -> dict[str, float]:
        """What of the objective changes, e.g. its KL weight, for the record of each epoch."""
        return {}

    def warning(self, steps: int) -> str | None:
        """A sentence if the schedule cannot do its work in `steps` optimiser steps."""
        del steps
        return None
