"""The figures of a trained model, and those of an epoch: what each means, in nats per sentence."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from trainers.tempered import Estimate

Facts = dict[str, Any]

LATENT_FIGURES = (
    "ppl_elbo", "melbo", "ppl_melbo", "rate", "distortion", "neg_elbo", "active_units", "mi", "mi_he", "acc_gap",
)  # fmt: skip


@dataclass(frozen=True)
class Metrics:
    """Figures per sentence in nats, METHODS' conventions: sums over sentences, tokens with the end token."""

    nll: float
    """Importance-sampled −log P(x) (PA eq. 12); exact without a latent."""
    nll_se: float | None
    """Standard error of the NLL over sentences; None of a single one."""
    ppl: float
    """Perplexity exp(Σ NLL / Σ tokens)."""
    ppl_no_end: float
    """Perplexity exp(Σ NLL / Σ words): the likelihood is that of `ppl`, but end tokens are not counted (PA table 1,
    Dyer et al. 2016).
    """
    ppl_elbo: float
    """Bound exp(Σ −ELBO / Σ tokens), above the perplexity but for the samples' noise."""
    melbo: float
    """Bound D + ln N, N the evaluated sentences, of the NLL of this decoder when codes come from the mixture of these
    sentences' posteriors, not from p(z) (LV eq. 16). Such a prior has seen the sentences: the floor is ln N, not the
    source's entropy. The bound grows with N: compare figures of equal sentences.
    """
    ppl_melbo: float
    """Bound exp(Σ MELBO / Σ tokens)."""
    rate: float
    """Rate R = KL(q(z|x) ‖ p(z)); the mean over the samples of log q(z|x) − log p(z) where it has no closed form."""
    distortion: float
    """Distortion D = −E_q log P(x|z)."""
    neg_elbo: float
    """Negative ELBO, D + R."""
    active_units: int
    """Number of dimensions with Var_x(E_q[z_d|x]) > 0.01; a flow's means are estimated, their noise subtracted."""
    mi: float
    """Mutual information I(x; z) under q by Hoffman & Johnson 2016: R − KL(q(z) ‖ p(z)), on one set of samples
    E[log q(z|x) − log q(z)]; at most ln of the number of evaluated sentences.
    """
    mi_he: float
    """Mutual information by He et al. 2019: q(z) from batches of 32, so about ln 32 = 3.47 at most; the posterior's
    entropy in closed form, which leaves a noise of about √(d_z/2N).
    """
    acc_gap: float
    """Points of next-word accuracy, posterior sample minus prior sample (PA §6)."""
    collapsed: bool
    """True if z tells hardly anything of x: R < 0.2; or MI < 0.2, where sentences pay a rate for nothing. Active units
    do not decide: means that vary by less than 0.1 tell much where the posteriors are narrower still, as with mim.
    """
    estimator: Facts
    """Facts of the NLL's estimator: proposal, samples S, sentences, seed, split; inputs = none where the decoder reads
    no words; of one from q the nats by which it fell from a quarter of its samples to all (`fall`), and whether that is
    small (`resolved`); of a tempered one λ (`temper`), draws and sentences by level (`levels`), the estimate's own standard error
    (`error`), the bound of its bias (`bias`) and whether that is small (`resolved`); with certify > 0 its `certificate`
    on the model's own sentences.
    """
    target_rate: float | None = None
    """Target rate r, where the technique holds a rate."""
    rate_error: float | None = None
    """Difference R − r."""
    mi_lower: float | None = None
    """Lower bound H − D ≤ I(x; z) (Alemi et al. 2018), where the source's entropy H is known; R is the upper bound."""
    nll_tempered: float | None = None
    """Tempered estimate of the NLL beside the one from q, with nll=both; its estimator is `estimator["tempered"]`."""
    ppl_tempered: float | None = None
    """Perplexity exp(Σ NLL / Σ tokens) by the tempered estimate."""
    bits_per_char: float | None = None
    """Bits per character, Σ NLL / Σ characters, each sentence's end counted as one: compares texts whatever their
    tokens are.
    """
    bits_per_byte: float | None = None
    """Bits per byte (UTF-8), Σ NLL / Σ bytes, each sentence's end counted as one."""
    paper_elbo: float | None = None
    """Sum D + R/L where a sentence has L codes: KR's own −ELBO, which counts one code's rate and so bounds nothing."""
    ppl_paper_elbo: float | None = None
    """Perplexity exp(Σ (D + R/L) / Σ tokens)."""
    rate_once: float | None = None
    """Rate R/L of one code, which is KR's KL."""
    nll_once: float | None = None
    """Estimate −log of the posterior samples' mean weight when log p(z) − log q(z|x) is the mean over the L codes, not
    their sum: importance sampling's counterpart of `paper_elbo`. It estimates no likelihood; only samples from q (nll =
    q or both) have it.
    """
    parameters: int = 0
    """Number of parameters that training fits."""
    bleu: float | None = None
    """BLEU of greedy reconstructions, orders 1 to 4, 0–100; this and the rest with the option `codes`
    (`latent_space.figures`).
    """
    bleu_1: float | None = None
    """BLEU of single words."""
    smoothness: float | None = None
    """Smoothness: Pearson correlation of code distance and word edit distance."""
    noisy_1: float | None = None
    """Distortion D of a sentence from its code after one swap of two words (LI table 6); `noisy_2` and on after more
    swaps.
    """
    noisy_2: float | None = None
    noisy_3: float | None = None
    noisy_4: float | None = None
    probe_0: float | None = None
    """Accuracy of a Gaussian mixture's clusters on the labels; `probe_100` and on: of a linear classifier on so many
    labelled examples.
    """
    probe_100: float | None = None
    probe_500: float | None = None
    probe_1000: float | None = None
    probe_2000: float | None = None
    probe_10000: float | None = None
    each: tuple[float, ...] = ()
    """Every sentence's −log P(x), in the order of the sentences evaluated, whatever batches they were in."""
    tempered: Estimate | None = None
    """Tempered estimate by sentence, where it was made."""

    @property
    def latent(self) -> bool:
        return bool(self.estimator["proposal"] != "exact")

    def plain(self) -> dict[str, object]:
        """The figures as JSON values; what has no meaning without a latent is None there. Without those by sentence."""
        figures = asdict(replace(self, each=(), tempered=None))
        del figures["each"], figures["tempered"]
        return figures | ({} if self.latent else dict.fromkeys(LATENT_FIGURES))


@dataclass(frozen=True)
class EpochFigures:
    """Figures that each epoch reports of the validation set, one posterior sample a sentence."""

    distortion: float
    rate: float
    active_units: int
    log_q: float = 0.0
    """Mean of log q(z|x) over the sentences."""
    log_p: float = 0.0
    """Mean of log p(z) over the samples of `log_q`."""
