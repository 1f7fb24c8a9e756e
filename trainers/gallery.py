"""Sentences that a model writes when its training has ended, for those who compare runs."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from trainers import generation, neighbours
from trainers.corpus import Corpus, Sentence, Vocabulary
from trainers.generation import GenerationOptions
from trainers.models import Batch, SentenceModel, SenVAE
from trainers.objectives.objective import Objective

SEARCHED = 50_000
HOMOTOPY = 8
RECONSTRUCTIONS = 5


def gallery(
    model: SentenceModel, objective: Objective, vocabulary: Vocabulary, corpus: Corpus, count: int, seed: int
) -> dict[str, Any]:
    """Sentences of a model, for those who compare runs: `count` samples of the prior with their nearest training
    sentences, a homotopy between two codes of the prior, a few validation sentences written again, and the words of
    these that an adversary hides, if there is one. Without a latent code, samples alone.

    Each sample's neighbour is looked for among the first `SEARCHED` training sentences.
    """
    latent = isinstance(model, SenVAE)
    options = GenerationOptions(count=count, decoding="greedy" if latent else "ancestral", seed=seed)
    index = neighbours.Neighbours([vocabulary.text(s.tolist()).split() for s in corpus.splits["train"][:SEARCHED]])
    text_of = vocabulary.tokens.text
    samples = []
    for written in generation.sample(model, vocabulary, options):
        text = text_of(written.words)
        nearest = index.nearest(text.split())
        samples.append({"text": text, "neighbour": " ".join(nearest.sentence), "ter": nearest.ter})
    if not isinstance(model, SenVAE):
        return {"samples": samples, "homotopy": [], "reconstructions": [], "dropped": []}
    line = generation.interpolate(model, vocabulary, None, replace(options, count=HOMOTOPY))
    homotopy = [{"weight": n / (HOMOTOPY - 1), "text": text_of(words)} for n, words in enumerate(line)]
    valid = corpus.splits["valid"]
    chosen = random.Random(seed).sample(valid, min(RECONSTRUCTIONS, len(valid)))
    sources = [vocabulary.text(sentence.tolist()) for sentence in chosen]
    made = map(text_of, generation.reconstruct(model, vocabulary, chosen, options))
    reconstructions = [
        {"source": source, "text": text, "ter": neighbours.ter(text.split(), source.split())}
        for source, text in zip(sources, made, strict=True)
    ]
    dropped = hidden(model, objective, vocabulary, chosen, options.draws, seed) or []
    return {"samples": samples, "homotopy": homotopy, "reconstructions": reconstructions, "dropped": dropped}


@torch.no_grad()
def hidden(
    model: SentenceModel,
    objective: Objective,
    vocabulary: Vocabulary,
    sentences: Sequence[Sentence],
    draws: int,
    seed: int,
) -> list[list[dict[str, Any]]] | None:
    """Each sentence's words with the probability that the technique's adversary hides them; none if it has no adversary."""
    device = next(model.parameters()).device
    generator, found = torch.Generator(device).manual_seed(seed), []
    for sentence in sentences:
        shares = objective.drop_probabilities(Batch.of([sentence], device), draws, generator)
        if shares is None:
            return None
        words = vocabulary.decode(sentence.tolist())
        found.append([{"word": word, "probability": p} for word, p in zip(words, shares[0].tolist(), strict=False)])
    return found
