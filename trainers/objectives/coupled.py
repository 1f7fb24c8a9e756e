"""Coupled-VAE: D + βR + λ_r D_c + λ_m ‖h(z) − h_c(z_c)‖² (Wu et al. 2020).

A deterministic autoencoder is trained beside the VAE. It shares the encoder, which its loss D_c keeps informative, and has a code
z_c = affine(f) and a generator of its own. The VAE's initial decoder state h(z) is drawn to the autoencoder's, h_c(z_c), which
gets no gradient of that. What is evaluated is the VAE alone: the autoencoder is gone after training.

The authors' code couples the map of z that starts and feeds their decoder, by the Euclidean distance or by an inverse
multiquadratic kernel of it, and shares word embeddings; here it is the squared distance of h_0, and embeddings are the
autoencoder's own. β grows over the first epochs, as theirs does over 40,000 steps.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from trainers import encoder
from trainers.models import Batch, Generator, Output, SentenceModel, SenVAE
from trainers.objectives.annealing import Annealed
from trainers.options import ModelOptions, option


class Autoencoder(nn.Module):
    """The deterministic twin: a code of the encoder's features, and a generator."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__()
        self.code = nn.Linear(encoder.width(options), options.d_z)
        self.generator = Generator(vocabulary, options)
        self.generator.start_uniformly(self.code)


@dataclass(frozen=True)
class Hyperparameters:
    lam_rec: float = option(1.0, "λ_r, the weight of the autoencoder's distortion", low=0)
    lam_match: float = option(0.1, "λ_m, the price of a decoder state apart from the autoencoder's", low=0)
    twin_rate: float = option(1e-3, "step size of the autoencoder's Adam", above=0)
    anneal_epochs: int = option(10, "number of epochs over which β grows from 0 to 1", low=0)


class Technique(Annealed):
    hyperparameters: Hyperparameters

    def __init__(self, hyperparameters: Hyperparameters) -> None:
        super().__init__(hyperparameters)
        self.twin: Autoencoder | None = None

    def refusal(self, options: ModelOptions) -> str | None:
        if options.conditioning == "every-step":
            return (
                "conditioning = 'every-step' is not allowed for coupled, which matches the decoders' initial states: set "
                "conditioning=both or initial."
            )
        return None

    def grow(self, model: SentenceModel) -> None:
        self.twin = Autoencoder(model.decoder.embedding.num_embeddings, model.options)

    def optimizers(self) -> list[Optimizer]:
        return [] if self.twin is None else [Adam(self.twin.parameters(), lr=self.hyperparameters.twin_rate)]

    def measure(self, model: SentenceModel, batch: Batch) -> Output:
        assert isinstance(model, SenVAE)
        assert self.twin is not None
        features = model.features(batch)
        output = model.of_features(batch, features)
        own, twin = self.hyperparameters, self.twin.generator
        state = twin.initial_state(self.twin.code(features))
        apart = model.initial_state(output.z).h - state.h.detach()
        penalty = own.lam_rec * twin.decoder(batch, state) + own.lam_match * apart.square().sum((0, 2))
        return replace(output, penalty=penalty)

    def loss(self, output: Output) -> Tensor:
        penalty = torch.as_tensor(output.penalty).mean()
        return (output.distortion + self.weight * output.rate).mean() + penalty
