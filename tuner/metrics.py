"""The figures of a complete trial: what each is called, its unit, which end of it is better, what it means."""

from dataclasses import dataclass
from typing import Literal

Goal = Literal["min", "max"]


@dataclass(frozen=True)
class Metric:
    label: str
    unit: str
    goal: Goal
    meaning: str


FIGURES: dict[str, Metric] = {
    "nll": Metric("NLL", "nats per sentence", "min", "−log P(x), nats per sentence"),
    "nll_se": Metric("NLL se", "nats per sentence", "min", "its standard error over sentences"),
    "nll_tempered": Metric(
        "NLL tempered",
        "nats per sentence",
        "min",
        "the tempered estimate, where both were made: less biased at high rates",
    ),
    "ppl_tempered": Metric("PPL tempered", "", "min", "perplexity per token by the tempered estimate"),
    "ppl": Metric("PPL", "", "min", "perplexity per token, end token included"),
    "ppl_no_end": Metric(
        "PPL without ends", "", "min", "perplexity per word: the same likelihood, end tokens not counted"
    ),
    "ppl_elbo": Metric("PPL by ELBO", "", "min", "exp(Σ −ELBO / Σ tokens), above ppl but for the samples' noise"),
    "melbo": Metric(
        "MELBO",
        "nats per sentence",
        "min",
        "D + ln of the sentences evaluated: bounds the NLL with their posteriors as the prior; grows with their number",
    ),
    "ppl_melbo": Metric("PPL by MELBO", "", "min", "exp(Σ MELBO / Σ tokens)"),
    "rate": Metric("R", "nats per sentence", "max", "R = KL(q(z|x) ‖ p(z)), nats per sentence"),
    "rate_error": Metric("R − r", "nats per sentence", "min", "R − r, reached minus wanted rate, nats"),
    "distortion": Metric("D", "nats per sentence", "min", "D = −E_q log P(x|z), nats per sentence"),
    "neg_elbo": Metric("−ELBO", "nats per sentence", "min", "D + R"),
    "paper_elbo": Metric(
        "ELBO of the paper",
        "nats per sentence",
        "min",
        "D + R/L, Kruengkrai's own figure for L codes a sentence: no bound, for comparison with that paper alone",
    ),
    "active_units": Metric("AU", "dimensions", "max", "latent dimensions that vary with x"),
    "mi": Metric(
        "MI", "nats", "max", "mutual information of x and z under q, nats; at most ln of the sentences evaluated"
    ),
    "mi_he": Metric(
        "MI by He",
        "nats",
        "max",
        "the same by He et al. 2019's estimator, from batches of 32; about ln 32 = 3.47 at most",
    ),
    "mi_lower": Metric("H − D", "nats", "max", "H − D, a lower bound on the mutual information; R is an upper one"),
    "acc_gap": Metric("accuracy gap", "points", "max", "next-word accuracy, posterior minus prior sample, points"),
}
"""of an evaluation"""
METRICS = tuple(FIGURES)
AXES: dict[str, Metric] = {
    **FIGURES,
    "value": Metric(
        "value", "nats per sentence", "min", "what the study minimises: the NLL and what the rate falls short"
    ),
    "seconds": Metric("time", "s", "min", "seconds that all of a trial's attempts took"),
}
"""whatever a trial can be plotted or compared by"""
