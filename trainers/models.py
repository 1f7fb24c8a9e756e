"""The models of PA: SenVAE and the RNNLM. They return what was measured per sentence; the objective makes the loss.

B: sentences; T: longest sentence's tokens; S: samples; V: vocabulary; L: decoder layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from trainers.corpus import BOS, PAD, SPECIALS, Sentence
from trainers.latent.posteriors import DiagonalGaussian, draw
from trainers.latent.priors import StandardNormal
from trainers.options import ModelOptions

CHUNK_LOGITS = 4_000_000
"""logits held at once where no gradient needs them: 16 MB in 32 bits"""
PAD_INDEX, BOS_INDEX = SPECIALS.index(PAD), SPECIALS.index(BOS)


@dataclass(frozen=True)
class Batch:
    """Sentences with their end token, padded on the right."""

    tokens: Tensor  # [B, T]
    lengths: Tensor  # [B], on the CPU

    @classmethod
    def of(cls, sentences: Sequence[Sentence], device: torch.device) -> "Batch":
        lengths = np.array([len(s) for s in sentences])
        tokens = np.full((len(sentences), int(lengths.max())), PAD_INDEX, dtype=np.int64)
        for row, sentence in zip(tokens, sentences, strict=True):
            row[: len(sentence)] = sentence
        return cls(torch.from_numpy(tokens).to(device), torch.from_numpy(lengths))

    @property
    def inputs(self) -> Tensor:
        """What the decoder reads: the start token, then each token but the last. [B, T]"""
        return F.pad(self.tokens[:, :-1], (1, 0), value=BOS_INDEX)

    def repeat(self, samples: int) -> "Batch":
        """The batch `samples` times over, sample-major: [S·B, T]."""
        return Batch(self.tokens.repeat(samples, 1), self.lengths.repeat(samples))


@dataclass(frozen=True)
class Output:
    """What a model measured on a batch, in nats per sentence."""

    distortion: Tensor  # [B] −log P(x|z), one sample of z; −log P(x) without a latent
    rate: Tensor  # [B] KL(q(z|x) ‖ p(z)); 0 without a latent
    rate_per_dimension: Tensor  # [B, d_z]; [B, 0] without a latent


class Decoder(nn.Module):
    """The generator P(x|h_0): embedding → GRU → affine → softmax (PA eq. 13)."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, options.d_e)
        nn.init.normal_(self.embedding.weight, std=options.d_e**-0.5)  # tied, so that logits start near unit scale
        self.gru = nn.GRU(options.d_e, options.d_h, options.decoder_layers, batch_first=True)
        self.to_embedding = (
            nn.Linear(options.d_h, options.d_e) if options.tied and options.d_h != options.d_e else nn.Identity()
        )
        self.output = nn.Linear(options.d_e if options.tied else options.d_h, vocabulary)
        if options.tied:
            self.output.weight = self.embedding.weight
        self.tied = options.tied
        self.dropout = options.dropout

    def _shared_dropout(self, states: Tensor) -> Tensor:
        """Dropout with one mask for all time steps of a sentence (Gal & Ghahramani 2016): [B, T, H]."""
        if not self.training or self.dropout == 0:
            return states
        mask = states.new_empty(states.shape[0], 1, states.shape[2]).bernoulli_(1 - self.dropout)
        return states * (mask / (1 - self.dropout))

    def states(self, inputs: Tensor, h_0: Tensor) -> Tensor:
        """inputs [B, T], h_0 [L, B, d_h] → what the output layer reads [B, T, ·]."""
        embedded = self._shared_dropout(self.embedding(inputs))
        states, _ = self.gru(embedded, h_0.contiguous())
        return self.to_embedding(self._shared_dropout(states))  # type: ignore[no-any-return]

    def forward(self, batch: Batch, h_0: Tensor) -> Tensor:
        """−log P(x|h_0) of each sentence [B]; logits are computed only where there is a target."""
        real = batch.tokens != PAD_INDEX
        states, targets = self.states(batch.inputs, h_0)[real], batch.tokens[real]
        # A training step's graph keeps all logits anyway; elsewhere a chunk that fits the cache is faster and bounds memory.
        size = len(states) if torch.is_grad_enabled() else max(CHUNK_LOGITS // self.output.out_features, 1)
        token_nll = torch.cat(
            [
                F.cross_entropy(self.output(part), target, reduction="none")
                for part, target in zip(states.split(size), targets.split(size), strict=True)
            ]
        )
        row = real.nonzero()[:, 0]
        return token_nll.new_zeros(len(batch.tokens)).index_add(0, row, token_nll)

    def correct(self, batch: Batch, h_0: Tensor) -> tuple[int, int]:
        """Next words guessed right given the true prefix, and all words."""
        real = batch.tokens != PAD_INDEX
        guesses = self.output(self.states(batch.inputs, h_0)[real]).argmax(-1)
        return int((guesses == batch.tokens[real]).sum()), int(real.sum())


def gal_penalty(matrices: Sequence[Tensor], biases: Sequence[Tensor], dropout: float, sentences: int) -> Tensor:
    """(1−ρ)/(2N)·Σ‖W‖² + 1/(2N)·Σ‖b‖², N training sentences (Gal & Ghahramani 2015; PA table 5)."""
    squares = torch.stack([w.square().sum() for w in matrices]).sum() * (1 - dropout)
    return (squares + torch.stack([b.square().sum() for b in biases]).sum()) / (2 * sentences)


class SentenceModel(nn.Module):
    """What SenVAE and RNNLM share: the decoder, and the weights that Gal's decay covers."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__()
        self.options = options
        self.decoder = Decoder(vocabulary, options)

    def generator_modules(self) -> list[nn.Module]:
        return [self.decoder]

    def weight_decay(self, sentences: int) -> Tensor:
        """Gal's penalty on the generator, embeddings left out (a tied output matrix is an embedding)."""
        matrices: list[Tensor] = []
        biases: list[Tensor] = []
        for module in self.generator_modules():
            for parameter in module.parameters():
                if parameter is self.decoder.embedding.weight:
                    continue
                (matrices if parameter.dim() == 2 else biases).append(parameter)
        return gal_penalty(matrices, biases, self.options.dropout, sentences)

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError

    def posterior(self, batch: Batch) -> Normal | None:
        """q(z|x) over [B, d_z]; None for a model without a latent."""
        raise NotImplementedError

    def prior_distribution(self) -> Normal | None:
        """p(z) over [d_z]; None for a model without a latent."""
        raise NotImplementedError

    def initial_state(self, z: Tensor) -> Tensor:
        """h_0 [L, B, d_h] from z [B, d_z]."""
        raise NotImplementedError


class RNNLM(SentenceModel):
    """The baseline: the decoder with a learned h_0 (PA eq. 13)."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__(vocabulary, options)
        self.h_0 = nn.Parameter(torch.zeros(options.decoder_layers, 1, options.d_h))

    def forward(self, batch: Batch) -> Output:
        count = len(batch.tokens)
        nll = self.decoder(batch, self.initial_state(self.h_0.new_zeros(count, 0)))
        return Output(nll, nll.new_zeros(count), nll.new_zeros(count, 0))

    def posterior(self, batch: Batch) -> None:
        del batch

    def prior_distribution(self) -> None:
        return None

    def initial_state(self, z: Tensor) -> Tensor:
        return self.h_0.expand(-1, len(z), -1)


class SenVAE(SentenceModel):
    """The sentence VAE: h_0 = tanh(affine(z)); a bidirectional GRU encodes x (PA eq. 14–15)."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__(vocabulary, options)
        self.to_h_0 = nn.Linear(options.d_z, options.decoder_layers * options.d_h)
        self.encoder = nn.GRU(options.d_e, options.d_h, options.encoder_layers, batch_first=True, bidirectional=True)
        self.to_posterior = DiagonalGaussian(2 * options.d_h, options.d_z)
        self.prior = StandardNormal(options.d_z)

    def generator_modules(self) -> list[nn.Module]:
        return [self.decoder, self.to_h_0]

    def posterior(self, batch: Batch) -> Normal:
        embedded = self.decoder.embedding(batch.tokens)
        if self.options.detached:
            embedded = embedded.detach()
        packed = pack_padded_sequence(embedded, batch.lengths, batch_first=True, enforce_sorted=False)
        _, h_n = self.encoder(packed)  # [layers·2, B, d_h]; the last layer's forward and backward final states
        return self.to_posterior(torch.cat([h_n[-2], h_n[-1]], dim=-1))  # type: ignore[no-any-return]

    def prior_distribution(self) -> Normal:
        return self.prior()  # type: ignore[no-any-return]

    def initial_state(self, z: Tensor) -> Tensor:
        h_0 = self.to_h_0(z)
        if self.options.initial_tanh:
            h_0 = torch.tanh(h_0)
        layers, d_h = self.options.decoder_layers, self.options.d_h
        return h_0.view(len(z), layers, d_h).transpose(0, 1)  # type: ignore[no-any-return]

    def forward(self, batch: Batch) -> Output:
        posterior = self.posterior(batch)
        z = draw(posterior, 1)[0]
        rate = kl_divergence(posterior, self.prior_distribution())
        return Output(self.decoder(batch, self.initial_state(z)), rate.sum(-1), rate)
