"""The hooks of a technique. The training loop calls them and knows no technique by name."""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.models import Batch, Output, SentenceModel
from trainers.options import ModelOptions


class Objective(nn.Module):
    """A technique. Whatever changes while it trains is a buffer or a parameter, so that a checkpoint saves it."""

    latent: ClassVar[bool] = True
    """False: the technique trains the RNNLM, which has no latent."""

    random_batches: ClassVar[bool] = False
    """True: a batch is a random sample of the text, for a loss that compares distributions over sentences; otherwise its
    sentences are of near-equal length, which saves half of the work"""

    hyperparameters: Any
    """the technique's own dataclass; its module names the type"""

    def __init__(self, hyperparameters: Any) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        """The reason why the technique makes no sense with a model of these options, if there is one."""
        del options
        return None

    @property
    def target_rate(self) -> float | None:
        """The rate r that the technique holds, in nats per sentence, if it holds one."""
        return None

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        """What the model measures on a training batch; a technique may show the decoder other words."""
        output: Output = model(batch)
        return output

    def loss(self, output: Output) -> Tensor:
        """The scalar to minimise on this batch."""
        raise NotImplementedError

    def optimizers(self) -> list[Optimizer]:
        """The optimisers of the objective's own parameters; the model's optimiser never sees those."""
        return []

    def after_step(self, output: Output) -> None:
        """Moves the schedule on, once after every optimiser step."""

    @property
    def settled(self) -> bool:
        """Whether a schedule, if there is one, has ended; until then no epoch counts as one without improvement."""
        return True

    def criterion(self, distortion: float, rate: float) -> float:
        """What the best epoch has least of on the validation set: D + R, or D + max(r, R) where a rate r is held.

        Below its target a lower rate is no merit: judged by the −ELBO, a high target's best epoch would be an early one, whose
        rate is not there yet.
        """
        return distortion + (rate if self.target_rate is None else max(self.target_rate, rate))

    def state(self) -> dict[str, float]:
        """What of the objective changes, e.g. its KL weight, for the record of each epoch."""
        return {}

    def warning(self, steps: int) -> str | None:
        """A sentence if the schedule cannot do its work in `steps` optimiser steps."""
        del steps
        return None
