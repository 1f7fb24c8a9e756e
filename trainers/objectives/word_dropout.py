"""Word dropout: D + βR with each word that the decoder reads replaced by <unk> with a fixed probability (Bowman et al. 2016).

The start token stays: it is no word. Evaluation drops nothing. β is 1, or grows to it over the first epochs as in MI §5.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.models import UNK_INDEX, Batch, Output, SentenceModel
from trainers.objectives.annealing import Annealed
from trainers.options import ModelOptions, option


def drop_words(inputs: Tensor, rate: float) -> Tensor:
    """Inputs [B, T] with each word after the start token <unk> with probability `rate`."""
    dropped = torch.rand(inputs.shape, device=inputs.device) < rate
    dropped[:, 0] = False
    return inputs.masked_fill(dropped, UNK_INDEX)


def refusal_of_no_words(technique: str, options: ModelOptions) -> str | None:
    """The reason against a decoder that reads no words, of which none could be dropped; None if `options` ask for none."""
    if not options.inputless:
        return None
    return f"inputless = true is not allowed for {technique}, whose decoder would have no word to drop: set inputless=false."


@dataclass(frozen=True)
class Hyperparameters:
    rate: float = option(0.4, "probability that a word read by the decoder is <unk>", low=0, high=1)
    anneal_epochs: int = option(0, "number of epochs over which β grows from 0 to 1; 0: β is 1 at once", low=0)


class Technique(Annealed):
    newer = ("beta",)
    hyperparameters: Hyperparameters

    def refusal(self, options: ModelOptions) -> str | None:
        return refusal_of_no_words("word-dropout", options)

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        output: Output = model(batch, drop_words(batch.inputs, self.hyperparameters.rate))
        return output
