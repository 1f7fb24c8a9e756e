"""The models of PA: SenVAE and the RNNLM. They return what was measured per sentence; the objective makes the loss.

B: sentences; T: longest sentence's tokens; S: samples; V: vocabulary; L: decoder layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from trainers.corpus import BOS, EOS, PAD, SPECIALS, Sentence
from trainers.latent.distributions import Conditional, Mixture, divergence
from trainers.latent.posteriors import POSTERIORS
from trainers.latent.priors import PRIORS
from trainers.options import ModelOptions

CHUNK_LOGITS = 4_000_000
"""logits held at once where no gradient needs them: 16 MB in 32 bits"""
PAD_INDEX, BOS_INDEX, EOS_INDEX = SPECIALS.index(PAD), SPECIALS.index(BOS), SPECIALS.index(EOS)


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
    rate: Tensor  # [B] KL(q(z|x) ‖ p(z)), or its one-sample estimate where it has no closed form; 0 without a latent
    rate_per_dimension: Tensor | None  # [B, d_z]; None where the rate has no closed form; [B, 0] without a latent
    z: Tensor  # [B, d_z] the posterior sample
    prior: Mixture | None  # p(z); None without a latent


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

    def forward(self, batch: Batch, h_0: Tensor, inputs: Tensor | None = None) -> Tensor:
        """−log P(x|h_0) of each sentence [B]; logits are computed only where there is a target.

        inputs: the words read [B, T], where they are not those of the batch (word dropout).
        """
        real = batch.tokens != PAD_INDEX
        states, targets = self.states(batch.inputs if inputs is None else inputs, h_0)[real], batch.tokens[real]
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

    def step(self, words: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One word on: words [B], state [L, B, d_h] → logits [B, V] of the next word and the new state."""
        out, state = self.gru(self.embedding(words)[:, None], state)
        return self.output(self.to_embedding(out))[:, 0], state

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

    def forward(self, batch: Batch, inputs: Tensor | None = None) -> Output:
        """One posterior sample's figures; `inputs` as in the decoder."""
        raise NotImplementedError

    def initial_state(self, z: Tensor) -> Tensor:
        """h_0 [L, B, d_h] from z [B, d_z]."""
        raise NotImplementedError


class RNNLM(SentenceModel):
    """The baseline: the decoder with a learned h_0 (PA eq. 13)."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__(vocabulary, options)
        self.h_0 = nn.Parameter(torch.zeros(options.decoder_layers, 1, options.d_h))

    def forward(self, batch: Batch, inputs: Tensor | None = None) -> Output:
        nothing = self.h_0.new_zeros(len(batch.tokens), 0)
        nll = self.decoder(batch, self.initial_state(nothing), inputs)
        return Output(nll, torch.zeros_like(nll), nothing, nothing, None)

    def initial_state(self, z: Tensor) -> Tensor:
        return self.h_0.expand(-1, len(z), -1)


class SenVAE(SentenceModel):
    """The sentence VAE: h_0 = tanh(affine(z)); a bidirectional GRU encodes x (PA eq. 14–15)."""

    def __init__(self, vocabulary: int, options: ModelOptions, lengths: tuple[float, float]) -> None:
        """lengths: mean and standard deviation of the training sentences' tokens, for the VampPrior."""
        super().__init__(vocabulary, options)
        self.to_h_0 = nn.Linear(options.d_z, options.decoder_layers * options.d_h)
        self.encoder = nn.GRU(options.d_e, options.d_h, options.encoder_layers, batch_first=True, bidirectional=True)
        self.to_posterior = POSTERIORS[options.posterior](2 * options.d_h, options)
        self.prior = PRIORS[options.prior](options, lengths)

    def generator_modules(self) -> list[nn.Module]:
        return [self.decoder, self.to_h_0]

    def _features(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's last forward and backward states of embeddings [B, T, d_e]: [B, 2·d_h]."""
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, h_n = self.encoder(packed)  # [layers·2, B, d_h]
        return torch.cat([h_n[-2], h_n[-1]], dim=-1)

    def features(self, batch: Batch) -> Tensor:
        """What the posterior is made from: [B, 2·d_h]."""
        embedded = self.decoder.embedding(batch.tokens)
        return self._features(embedded.detach() if self.options.detached else embedded, batch.lengths)

    def posterior(self, batch: Batch) -> Conditional:
        """q(z|x) of each sentence."""
        return self.to_posterior(self.features(batch))  # type: ignore[no-any-return]

    def prior_distribution(self) -> Mixture:
        """p(z)."""
        return self.prior(lambda pseudo, lengths: self.to_posterior(self._features(pseudo, lengths)))  # type: ignore[no-any-return]

    def initial_state(self, z: Tensor) -> Tensor:
        h_0 = self.to_h_0(z)
        if self.options.initial_tanh:
            h_0 = torch.tanh(h_0)
        layers, d_h = self.options.decoder_layers, self.options.d_h
        return h_0.view(len(z), layers, d_h).transpose(0, 1)  # type: ignore[no-any-return]

    def forward(self, batch: Batch, inputs: Tensor | None = None) -> Output:
        posterior, prior = self.posterior(batch), self.prior_distribution()
        z, log_q = posterior.transform(posterior.noise(1))
        rate, per_dimension = divergence(posterior, prior, z, log_q)
        return Output(self.decoder(batch, self.initial_state(z[0]), inputs), rate, per_dimension, z[0], prior)
