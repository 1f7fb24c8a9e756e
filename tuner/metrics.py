"""The figures of a complete trial: what each is called, its unit, which end of it is better, what it means, what made it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Goal = Literal["min", "max"]


@dataclass(frozen=True)
class Metric:
    label: str
    unit: str
    goal: Goal
    meaning: str
    estimated: bool = False
    """by the NLL's estimator or of as many sentences: those of different ones are not to be ranked together"""


FIGURES: dict[str, Metric] = {
    "nll": Metric("NLL", "nats per sentence", "min", "−log P(x), nats per sentence", estimated=True),
    "nll_se": Metric("NLL se", "nats per sentence", "min", "its standard error over sentences", estimated=True),
    "nll_tempered": Metric(
        "NLL tempered",
        "nats per sentence",
        "min",
        "the tempered estimate, where both were made: less biased at high rates",
        estimated=True,
    ),
    "ppl_tempered": Metric("PPL tempered", "", "min", "perplexity per token by the tempered estimate", estimated=True),
    "ppl": Metric("PPL", "", "min", "perplexity per token, end token included", estimated=True),
    "ppl_no_end": Metric(
        "PPL without ends",
        "",
        "min",
        "perplexity per word: the same likelihood, end tokens not counted",
        estimated=True,
    ),
    "ppl_elbo": Metric("PPL by ELBO", "", "min", "exp(Σ −ELBO / Σ tokens), above ppl but for the samples' noise"),
    "melbo": Metric(
        "MELBO",
        "nats per sentence",
        "min",
        "D + ln of the sentences evaluated: bounds the NLL with their posteriors as the prior; grows with their number",
        estimated=True,
    ),
    "ppl_melbo": Metric("PPL by MELBO", "", "min", "exp(Σ MELBO / Σ tokens)", estimated=True),
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
        "value",
        "nats per sentence",
        "min",
        "what the study minimises: the NLL and what the rate falls short",
        estimated=True,
    ),
    "seconds": Metric("time", "s", "min", "seconds that all of a trial's attempts took"),
}
"""whatever a trial can be plotted or compared by"""


def text_of(specification: Mapping[str, Any]) -> str:
    """What a study's figures are of, in few words: its corpus, and how many words it knows, as all others are read as <unk>; and
    that its batches were no random samples, which costs every technique more than the techniques differ by."""
    corpus = specification["corpus"]
    text = f"{Path(corpus['name']).name}, {corpus['vocabulary']:,} words"
    return text if specification["batching"] == "random" else f"{text}, batches by {specification['batching']}"


def sentences_of(metrics: Mapping[str, Any], text: str) -> str:
    """Which sentences an NLL is of, in few words; text: as by `text_of`."""
    facts = metrics["estimator"]
    sentences = f"{facts['of']:,} {facts['split']} sentences of {text}"
    return sentences if facts["sentences"] == facts["of"] else f"{facts['sentences']:,} of {sentences}"


def estimator_of(metrics: Mapping[str, Any], text: str) -> str:
    """What made an NLL, in few words; text: as by `text_of`."""
    facts, sentences = metrics["estimator"], sentences_of(metrics, text)
    if facts.get("inputs") == "none":
        sentences += ", no word read"
    if "temper" in facts:
        return f"tempered, {sentences}"
    if facts["proposal"] == "exact":
        return f"exact, {sentences}"
    return f"S = {facts['samples']} from {facts['proposal']}, {sentences}"


def mixed(made: Mapping[str, Collection[str]]) -> str | None:
    """Says that what is shown together is by different estimators, or of different texts, if it is.

    Args:
        made: the estimators (or texts) of each study or series, by its name.
    """
    kinds = dict.fromkeys(kind for each in made.values() for kind in each)
    if len(kinds) < 2:
        return None
    whose = [f"{kind}: {', '.join(name for name, each in made.items() if kind in each)}" for kind in kinds]
    together = "these figures are by different estimators, or of different texts, and are not to be ranked together"
    return f"{together} ({'; '.join(whose)})"
