"""Stages of a training: a technique alone, or after the one by which its encoder is pretrained (LI §2.3–2.4).

Each stage runs to convergence, up to max_epochs, and the next begins from its best epoch: the encoder is kept, the generator
starts anew. LI's encoder has word embeddings of its own; where it reads the decoder's (`own_embeddings = false`), they stay.
"""

from trainers import objectives
from trainers.errors import BadInput
from trainers.models import SentenceModel, SenVAE
from trainers.objectives.objective import Objective
from trainers.options import NO_PRETRAINING


def stages(objective: Objective, pretrain: str) -> tuple[Objective, ...]:
    """The objectives in their order; the last is the technique's own.

    Args:
        pretrain: the option; a technique that is a pretrained one by itself says so in its class.

    Raises:
        BadInput: if there is no encoder to pretrain.
    """
    first = objective.pretrain if pretrain == NO_PRETRAINING else pretrain
    if first == NO_PRETRAINING:
        return (objective,)
    if not objective.latent:
        raise BadInput(
            f"pretrain = {first!r} is not allowed for a technique without a latent code, which has no encoder: leave it out."
        )
    return objectives.create(first, {}), objective


def begin(model: SentenceModel) -> None:
    """Starts all but the encoder anew."""
    assert isinstance(model, SenVAE)
    model.renew_generator()
