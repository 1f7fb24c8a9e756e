"""Measures of a trained model's codes beyond its likelihood: the evaluations of LI §3.2–3.3 and LV §4.

Reconstruction by BLEU, from swapped words, smoothness, the codes' entropy, and probing classifiers where the corpus has labels.
N: sentences; d: numbers of a code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from scipy.special import digamma, gammaln
from torch import Tensor

from trainers import probes
from trainers.contract import LATENT_SENTENCES
from trainers.corpus import Corpus, Sentence, Vocabulary
from trainers.errors import BadInput
from trainers.evaluation import BATCH, subset
from trainers.generation import GenerationOptions, encode, reconstruct
from trainers.models import Batch, SenVAE
from trainers.neighbours import FIRST_LETTER
from trainers.options import option
from trainers.training import Report

FEWEST = 10
"""Smallest number of sentences of which any figure says something."""
LABELLED = "0,100,500,1000,2000,10000"
"""Numbers of labelled sentences in LI's table 8."""


@dataclass(frozen=True)
class LatentOptions:
    sentences: int = option(
        LATENT_SENTENCES, "number of validation sentences, drawn once with a fixed seed (0: all)", low=0
    )
    swaps: int = option(4, "largest number of swaps of two tokens in noisy reconstruction", low=0)
    pairs: int = option(100_000, "number of sentence pairs that smoothness is measured on", low=1)
    nearest: int = option(3, "number k of the neighbour whose distance tells the codes' entropy", low=1)
    labelled: str = option(
        "0,100,500,1000", "numbers of labelled training sentences of each probe, divided by commas; 0: clustering"
    )
    seed: int = option(0, "seed of codes, swaps, pairs and probes", low=0)

    @property
    def examples(self) -> list[int]:
        """`labelled` as numbers."""
        parts = [part.strip() for part in self.labelled.split(",")]
        if not all(part.isdecimal() and len(part) <= 9 for part in parts):
            raise BadInput(f"labelled = {self.labelled!r} is not allowed: it must be whole numbers divided by commas.")
        return [int(part) for part in parts]


def bleu(made: Sequence[Sequence[str]], sources: Sequence[Sequence[str]], order: int) -> float:
    """Corpus BLEU of n-grams up to `order`, 0–100, not smoothed; words are taken as they are."""
    scorer = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    return float(scorer.corpus_score([" ".join(w) for w in made], [[" ".join(w) for w in sources]]).score)


def swapped(sentence: Sentence, swaps: int, generator: np.random.Generator) -> Sentence:
    """The sentence after so many swaps of two words at different random places; the end token stays."""
    noisy, words = sentence.copy(), len(sentence) - 1
    for _ in range(swaps if words > 1 else 0):
        one, two = generator.choice(words, 2, replace=False)
        noisy[[one, two]] = noisy[[two, one]]
    return noisy


@torch.no_grad()
def noisy_distortion(model: SenVAE, sentences: Sequence[Sentence], swaps: int, seed: int) -> float:
    """−log P(x|z), z a sample of the posterior of x with so many word swaps; mean over sentences, nats (LI table 6)."""
    device = next(model.parameters()).device
    swapping, noise, total = np.random.default_rng(seed), torch.Generator(device).manual_seed(seed), 0.0
    noisy = [swapped(sentence, swaps, swapping) for sentence in sentences]
    for start in range(0, len(sentences), BATCH):
        posterior = model.posterior(Batch.of(noisy[start : start + BATCH], device))
        z = posterior.codes(posterior.noise(1, noise), model.spread)[0]
        clean = Batch.of(sentences[start : start + BATCH], device)
        total += float(model.decoder(clean, model.initial_state(z)).double().sum())
    return total / len(sentences)


def smoothness(codes: NDArray[np.float64], sentences: Sequence[Sentence], pairs: int, seed: int) -> float:
    """Pearson correlation, over random pairs of different sentences, of the distance of their codes [N, d] and their word edit
    distance (LI table 5); NaN where all codes are one."""
    generator = np.random.default_rng(seed)
    one = generator.integers(len(sentences), size=pairs)
    two = (one + generator.integers(1, len(sentences), size=pairs)) % len(sentences)
    texts = ["".join(chr(FIRST_LETTER + int(word)) for word in sentence[:-1]) for sentence in sentences]
    edits = np.array([Levenshtein.distance(texts[i], texts[j]) for i, j in zip(one, two, strict=True)])
    distances = np.linalg.norm(codes[one] - codes[two], axis=1)
    if not (edits.std() and distances.std()):
        return math.nan
    return float(np.corrcoef(distances, edits)[0, 1])


def nearest_neighbour_entropy(codes: NDArray[np.float64], k: int, dimensions: int | None = None) -> float:
    """Differential entropy in nats of what the codes [N, d] are drawn from, by the distance r_i of each to its k-th neighbour:
    ψ(N) − ψ(k) + log V_d + (d/N) Σ log r_i, V_d the unit ball's volume (Kozachenko & Leonenko; Kraskov et al. 2004, eq. 20).
    dimensions: of the surface that the codes lie on, in place of d.

    −∞ where codes coincide. In many dimensions it is far too high or low unless N is huge: compare models, not with N(0, I)'s.
    """
    count, d = len(codes), dimensions or codes.shape[1]
    points = torch.from_numpy(codes)
    radii = torch.cat([torch.cdist(part, points).topk(k + 1, largest=False).values[:, k] for part in points.split(512)])
    volume = 0.5 * d * math.log(math.pi) - float(gammaln(d / 2 + 1))
    return float(digamma(count) - digamma(k) + volume + d * radii.log().mean().item())


def _codes(model: SenVAE, sentences: Sequence[Sentence], centre: bool, seed: int) -> NDArray[np.float64]:
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    found: Tensor = encode(model, sentences, GenerationOptions(centre=centre), generator)
    return np.asarray(found.double().cpu())


def figures(
    model: SenVAE, vocabulary: Vocabulary, corpus: Corpus, split: str, seed: int, report: Report
) -> dict[str, Any]:
    """A split's figures by their names in `figures.Metrics`, probes where the corpus has labels; none of too few sentences."""
    if len(corpus.splits[split]) < FEWEST:
        return {}
    options = LatentOptions(sentences=min(LATENT_SENTENCES, len(corpus.splits[split])), labelled=LABELLED, seed=seed)
    found = measure(model, vocabulary, corpus, options, report, split)
    probed = {f"probe_{count}": accuracy for count, accuracy in (found["probes"] or {}).items()}
    noisy = {f"noisy_{swaps}": found["noisy"][str(swaps)] for swaps in range(1, options.swaps + 1)}
    smooth = found["smoothness"] if math.isfinite(found["smoothness"]) else None
    return {"bleu": found["bleu"], "bleu_1": found["bleu_1"], "smoothness": smooth, **noisy, **probed}


def measure(
    model: SenVAE, vocabulary: Vocabulary, corpus: Corpus, options: LatentOptions, report: Report, split: str = "valid"
) -> dict[str, Any]:
    """All figures of the module on a split's sentences: codes are posterior samples for BLEU (as in LI's code), noisy
    reconstruction and the entropy, and the posteriors' centres for smoothness and probes."""
    model.eval()
    parts = ["bleu", *(f"{k} swaps" for k in range(options.swaps + 1)), "smoothness", "entropy", "probes"]

    def done(part: str) -> None:
        report("progress", {"phase": "latent", "done": parts.index(part) + 1, "of": len(parts)})

    valid = subset(corpus.splits[split], options.sentences)
    if len(valid) <= options.nearest:
        raise BadInput(f"sentences = {len(valid)} is too few: the entropy needs more than nearest = {options.nearest}.")
    longest = max(len(s) for s in corpus.splits["train"])
    greedy = GenerationOptions(length=longest, seed=options.seed)
    made = [vocabulary.tokens.text(tokens).split() for tokens in reconstruct(model, vocabulary, valid, greedy)]
    sources = [vocabulary.text(sentence.tolist()).split() for sentence in valid]
    found: dict[str, Any] = {"sentences": len(valid), "bleu": bleu(made, sources, 4), "bleu_1": bleu(made, sources, 1)}
    done("bleu")
    found["noisy"] = {}
    for k in range(options.swaps + 1):
        found["noisy"][str(k)] = noisy_distortion(model, valid, k, options.seed)
        done(f"{k} swaps")
    centres = _codes(model, valid, True, options.seed)
    found["smoothness"] = smoothness(centres, valid, options.pairs, options.seed)
    done("smoothness")
    d = model.posterior(Batch.of(valid[:1], next(model.parameters()).device)).dimensions
    found["entropy"] = nearest_neighbour_entropy(_codes(model, valid, False, options.seed), options.nearest, d)
    is_flat = d == centres.shape[1]
    found["normal_entropy"] = 0.5 * d * math.log(2 * math.pi * math.e) if is_flat else None
    done("entropy")
    found["probes"] = None
    if corpus.labels is not None:
        train = corpus.splits["train"]
        accuracies = probes.probe(
            _codes(model, train, True, options.seed),
            corpus.labels["train"],
            _codes(model, corpus.splits[split], True, options.seed),
            corpus.labels[split],
            [count for count in options.examples if count <= len(train)],
            options.seed,
        )
        found["probes"] = {str(count): accuracy for count, accuracy in accuracies.items()}
        shares = np.unique(corpus.labels[split], return_counts=True)[1] / len(corpus.labels[split])
        found["largest_class"] = float(shares.max())
    done("probes")
    return found
