"""The models: the sentence VAE and the language model. They return what was measured per sentence; the objective makes the loss.

PA's SenVAE and RNNLM are the default options; the LSTM-VAEs of LI, KR and MI and LV's sVAE are other options of the same two.
B: sentences; T: longest sentence's tokens; S: samples; A: codes of a sentence; L: layers of the decoder's state.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainers import encoder
from trainers.decoder import BOS_INDEX, EOS_INDEX, PAD_INDEX, UNK_INDEX, Batch, Decoder, State
from trainers.latent.distributions import Conditional, Mixture, divergence
from trainers.latent.flows import MADE
from trainers.latent.posteriors import POSTERIORS, MakePosterior
from trainers.latent.priors import PRIORS, MakePrior
from trainers.options import ModelOptions
from trainers.recurrent import Packing

__all__ = [
    "BOS_INDEX", "EOS_INDEX", "PAD_INDEX", "RNNLM", "UNK_INDEX", "Batch", "Output", "SenVAE", "SentenceModel",
]  # fmt: skip

EMBEDDING_RANGE = 0.1
"""Range of the embeddings, which start from U(−0.1, 0.1) where `uniform` is set (LI appendix A, KR §5.1)."""


@dataclass(frozen=True)
class Output:
    """Figures that a model measured on a batch, in nats per sentence."""

    distortions: Tensor  # [S, B] −log P(x|z) of each posterior sample; S = 1 without a latent
    rate: Tensor  # [B] KL(q(z|x) ‖ p(z)), or its estimate from the samples where it has no closed form; 0 without a latent
    rate_per_dimension: Tensor | None  # [B, d_z]; None where the rate has no closed form; [B, 0] without a latent
    codes: Tensor  # [S, B, d_z] the posterior samples
    log_q: Tensor  # [S, B] log q(z|x) of each; 0 without a latent
    prior: Mixture | None  # p(z); None without a latent
    penalty: Tensor | float = 0.0  # [B] what the objective's own network costs, if it has one

    @property
    def distortion(self) -> Tensor:
        """D of each sentence [B], the mean over the samples."""
        return self.distortions.mean(0)

    @property
    def z(self) -> Tensor:
        """One code of each sentence [B, d_z]."""
        return self.codes[0]

    @property
    def log_p(self) -> Tensor:
        """The log density log p(z) of each sample [S, B]."""
        return torch.zeros_like(self.log_q) if self.prior is None else self.prior.log_prob(self.codes)


def gal_penalty(matrices: Sequence[Tensor], biases: Sequence[Tensor], dropout: float, sentences: int) -> Tensor:
    """(1−ρ)/(2N)·Σ‖W‖² + 1/(2N)·Σ‖b‖², N training sentences (Gal & Ghahramani 2015; PA table 5)."""
    of_matrices, of_biases = (torch.cat([p.flatten() for p in part]).square().sum() for part in (matrices, biases))
    return (of_matrices * (1 - dropout) + of_biases) / (2 * sentences)


class SentenceModel(nn.Module):
    """Base of SenVAE and RNNLM: the decoder, and the weights that Gal's decay covers."""

    spread: float = 1.0
    """Factor on the noise of the codes that are decoded; 0 with a technique that decodes the posteriors' centres."""

    def __init__(self, vocabulary: int, d_code: int, options: ModelOptions) -> None:
        super().__init__()
        self.options = options
        self.decoder = Decoder(vocabulary, d_code, options)

    def generator_modules(self) -> list[nn.Module]:
        return [self.decoder]

    def encoder_modules(self) -> list[nn.Module]:
        return []

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that make q(z|x) and nothing else."""
        return [parameter for module in self.encoder_modules() for parameter in module.parameters()]

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

    def start_uniformly(self, *others: nn.Module) -> None:
        """Draws all weights, of other modules too, from U(−a, a) and embeddings from U(−0.1, 0.1), where the option says so.

        A flow's gates stay open.
        """
        if not self.options.uniform:
            return
        modules = [*self.generator_modules(), *self.encoder_modules(), *others]
        for parameter in (p for module in modules for p in module.parameters()):
            nn.init.uniform_(parameter, -self.options.uniform, self.options.uniform)
        for embedding in (m for module in modules for m in module.modules() if isinstance(m, nn.Embedding)):
            nn.init.uniform_(embedding.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)
        for made in (m for module in modules for m in module.modules() if isinstance(m, MADE)):
            made.open_gate()

    def forward(
        self,
        batch: Batch,
        inputs: Tensor | None = None,
        *,
        masked: Tensor | None = None,
        samples: int = 1,
    ) -> Output:
        """Figures of `samples` posterior samples a sentence; `inputs` and `masked` as in the decoder."""
        raise NotImplementedError

    def initial_state(self, z: Tensor) -> State:
        """The decoder's state before the first word, from codes z [B, A·d_z]."""
        raise NotImplementedError


class RNNLM(SentenceModel):
    """The baseline: the decoder with a learned h_0 (PA eq. 13), and no code at any step."""

    def __init__(self, vocabulary: int, options: ModelOptions) -> None:
        super().__init__(vocabulary, 0, options)
        self.h_0 = nn.Parameter(torch.zeros(self.decoder.cell.state_layers, 1, options.d_h))
        self.start_uniformly()

    def forward(
        self,
        batch: Batch,
        inputs: Tensor | None = None,
        *,
        masked: Tensor | None = None,
        samples: int = 1,
    ) -> Output:
        del samples
        nothing = self.h_0.new_zeros(len(batch.tokens), 0)
        nll = self.decoder(batch, self.initial_state(nothing), inputs, masked)[None]
        return Output(nll, torch.zeros_like(nll[0]), nothing, nothing[None], torch.zeros_like(nll), None)

    def initial_state(self, z: Tensor) -> State:
        return State.start(self.h_0.expand(-1, len(z), -1), None)


class Generator(SentenceModel):
    """P(x|z): a decoder that starts from a code; h_0 = tanh(affine(z)) (PA eq. 14)."""

    def __init__(self, vocabulary: int, options: ModelOptions, codes: int = 1) -> None:
        """Makes the networks; codes: A."""
        self.at_every_step = options.conditioning in ("every-step", "both")
        super().__init__(vocabulary, options.d_z if self.at_every_step else 0, options)
        self.codes = codes
        units = self.decoder.cell.state_layers * options.d_h
        self.to_h_0 = nn.Linear(options.d_z, units) if options.conditioning != "every-step" else None
        self.to_output = nn.Linear(options.d_z, self.decoder.output.in_features, bias=False) if options.skip else None

    def generator_modules(self) -> list[nn.Module]:
        return [module for module in (self.decoder, self.to_h_0, self.to_output) if module is not None]

    def initial_state(self, z: Tensor) -> State:
        if self.codes > 1:
            z = z.unflatten(-1, (self.codes, -1)).transpose(0, 1).flatten(0, 1)
        layers, d_h = self.decoder.cell.state_layers, self.options.d_h
        if self.to_h_0 is None:
            h_0 = z.new_zeros(len(z), layers * d_h)
        else:
            h_0 = torch.tanh(self.to_h_0(z)) if self.options.initial_tanh else self.to_h_0(z)
        by_layer = h_0.view(len(z), layers, d_h).transpose(0, 1)
        state = State.start(by_layer, z if self.at_every_step else None, self.codes)
        return state if self.to_output is None else replace(state, direct=self.to_output(z))


class SenVAE(Generator):
    """The sentence VAE: h_0 = tanh(affine(z)); a bidirectional GRU encodes x (PA eq. 14–15).

    With A > 1 codes a sentence's latent is (z¹ … z^A), all from the one posterior q(z|x) and each with the prior p(z); the
    decoder averages their states (KR eq. 7). Posterior, prior, rate and log-densities are those of the A codes together.
    """

    def __init__(
        self,
        vocabulary: int,
        options: ModelOptions,
        lengths: tuple[float, float],
        codes: int = 1,
        posterior: MakePosterior | None = None,
        prior: MakePrior | None = None,
    ) -> None:
        """The model for so many words.

        Args:
            lengths: mean and standard deviation of the training sentences' tokens, for the VampPrior.
            codes: A.
            posterior: makes q(z|x) in place of the options' own; prior: p(z) likewise.
        """
        super().__init__(vocabulary, options, codes)
        self.made_of = (vocabulary, options, lengths, codes, posterior, prior)
        self.encoder = encoder.make(options)
        make = POSTERIORS[options.posterior] if posterior is None else posterior
        self.to_posterior = make(encoder.width(options), options)
        self.prior = (PRIORS[options.prior] if prior is None else prior)(options, lengths)
        self.encoder_embedding = None
        if options.own_embeddings:
            self.encoder_embedding = copy.deepcopy(self.decoder.embedding)
        self.start_uniformly()

    def encoder_modules(self) -> list[nn.Module]:
        own = [] if self.encoder_embedding is None else [self.encoder_embedding]
        return [self.encoder, self.to_posterior, *own]

    def renew_generator(self) -> None:
        """Starts the generator anew, all but the word embeddings where the encoder reads them too."""
        fresh = type(self)(*self.made_of)
        new = dict(fresh.named_parameters())
        own = {id(parameter) for parameter in self.encoder_parameters()}
        read = self.decoder.embedding.weight if self.encoder_embedding is None else None
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if id(parameter) not in own and parameter is not read:
                    parameter.copy_(new[name])

    def _features(self, embedded: Tensor, packing: Packing) -> Tensor:
        """The encoder's states, pooled, of embeddings [N, d_e] in packed order: [B, d_h or 2·d_h]."""
        states = encoder.states(self.encoder, embedded, packing, self.decoder.precision)
        return encoder.POOLINGS[self.options.pooling](states, packing, self.options.encoder_units)

    def features(self, batch: Batch) -> Tensor:
        """Features from which the posterior is made: [B, d_h or 2·d_h]."""
        packing = batch.packing
        tokens = packing.pack(batch.tokens)
        if self.training and self.options.encoder_unk:
            hidden = torch.rand(tokens.shape, device=tokens.device) < self.options.encoder_unk
            tokens = tokens.masked_fill(hidden & (tokens != EOS_INDEX), UNK_INDEX)
        if self.options.reversed:
            tokens = tokens.index_select(0, packing.mirrored)
        if self.encoder_embedding is not None:
            embedded = self.encoder_embedding(tokens)
        else:
            embedded = self.decoder.embedding(tokens)
            embedded = embedded.detach() if self.options.detached else embedded
        found: Tensor = self.to_posterior.settled(self._features(embedded, packing), SentenceCost(self, batch))
        return found

    def posterior_of(self, features: Tensor) -> Conditional:
        """The posterior q(z|x) from features [B, ·]."""
        posterior: Conditional = self.to_posterior(features)
        return posterior if self.codes == 1 else posterior.repeated(self.codes)

    def posterior(self, batch: Batch) -> Conditional:
        """The posterior q(z|x) of each sentence."""
        return self.posterior_of(self.features(batch))

    def prior_distribution(self) -> Mixture:
        """The prior p(z)."""

        def encode(pseudo: Tensor, lengths: Tensor) -> Conditional:
            packing = Packing.of(lengths, pseudo.device)
            found: Conditional = self.to_posterior(self._features(packing.pack(pseudo), packing))
            return found

        prior: Mixture = self.prior(encode)
        return prior if self.codes == 1 else replace(prior, copies=self.codes)

    def decoded(self, posterior: Conditional, noise: Tensor, z: Tensor) -> Tensor:
        """The codes to decode where the posterior makes z of the noise: z itself, or the centres; all [S, B, A·d_z]."""
        return z if self.spread else posterior.codes(noise, 0.0)

    def between(self, first: Tensor, last: Tensor, share: Tensor) -> Tensor:
        """Codes on the line from `first` to `last`, or where it meets the surface that the prior's codes lie on."""
        return self.prior_distribution().components.nearest(first + share * (last - first))

    def forward(
        self,
        batch: Batch,
        inputs: Tensor | None = None,
        *,
        masked: Tensor | None = None,
        samples: int = 1,
    ) -> Output:
        return self.of_features(batch, self.features(batch), inputs, masked, samples)

    def of_features(
        self,
        batch: Batch,
        features: Tensor,
        inputs: Tensor | None = None,
        masked: Tensor | None = None,
        samples: int = 1,
    ) -> Output:
        """As `forward`, where the sentences' features [B, ·] are known."""
        posterior, prior = self.posterior_of(features), self.prior_distribution()
        z, log_q = posterior.transform(posterior.noise(samples) * self.spread)
        rate, per_dimension = divergence(posterior, prior, z, log_q)
        inputs = None if inputs is None else inputs.repeat(samples, 1)
        masked = None if masked is None else masked.repeat(samples, 1)
        nll = self.decoder(batch.repeat(samples), self.initial_state(z.flatten(0, 1)), inputs, masked)
        return Output(nll.view(samples, -1), rate, per_dimension, z, log_q, prior)


@dataclass(frozen=True)
class SentenceCost:
    """The cost of codes of a batch's sentences at any posterior, by a decoder without dropout."""

    model: SenVAE
    batch: Batch

    @property
    def weights(self) -> list[nn.Parameter]:
        """The generator's."""
        return [parameter for module in self.model.generator_modules() for parameter in module.parameters()]

    def __call__(self, posterior: Conditional, noise: Tensor) -> tuple[Tensor, Tensor]:
        """D and R of each sentence, both [B], at the codes that noise [S, B, d] makes of a posterior."""
        model, was = self.model, self.model.decoder.training
        z, log_q = posterior.transform(noise)
        model.decoder.eval()
        try:
            nll: Tensor = model.decoder(self.batch.repeat(len(z)), model.initial_state(z.flatten(0, 1)))
        finally:
            model.decoder.train(was)
        return nll.view(len(z), -1).mean(0), divergence(posterior, model.prior_distribution(), z, log_q)[0]
