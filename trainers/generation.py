"""Sentences from a trained model: samples, reconstructions and homotopies (PA figures 1, 4 and 5)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.corpus import Sentence, Vocabulary
from trainers.errors import BadInput
from trainers.models import BOS_INDEX, EOS_INDEX, PAD_INDEX, UNK_INDEX, Batch, SentenceModel, SenVAE
from trainers.options import option

ROWS = 256
"""Number of sentences decoded at once."""


@dataclass(frozen=True)
class GenerationOptions:
    """Options of the sentences that a model writes. Equal options and seeds give equal sentences."""

    count: int = option(10, "number of sentences to make", low=1, high=1_000_000)
    source: str = option(
        "prior",
        "source of codes: the prior, or the posteriors of validation sentences drawn at random",
        choices=("prior", "posterior"),
    )
    decoding: str = option(
        "greedy",
        "choice of tokens: the likeliest each time, or one drawn from the softmax",
        choices=("greedy", "ancestral"),
    )
    centre: bool = option(
        False,
        "a posterior's centre (a Gaussian's mean) as the code in place of a sample; the paper's figures use samples",
    )
    spread: float = option(
        1.0, "factor on a posterior's standard deviation where its samples are the codes (LV's perturbed: 10)", low=0
    )
    length: int = option(100, "largest number of tokens of a sentence", low=1)
    draws: int = option(200, "number of draws from which a word's dropout probability is estimated", low=1)
    known: bool = option(False, "no unknown token is written")
    pairs: int = option(
        0, "pairs of random validation sentences whose homotopies are measured, not written (0: one is written)", low=0
    )
    by: str = option(
        "word",
        "dropout probabilities of each word, or means over words of one part of speech, rank in the training text, or place in "
        "the sentence",
        choices=("word", "tag", "frequency", "position"),
    )
    seed: int = option(0, "seed of codes and tokens", low=0)

    def __post_init__(self) -> None:
        if self.centre and self.spread != 1.0:
            raise BadInput(
                f"spread = {self.spread:g} is not allowed with centre, which takes no sample: leave one of them out."
            )


@torch.no_grad()
def decode(model: SentenceModel, z: Tensor, options: GenerationOptions, generator: torch.Generator) -> list[list[int]]:
    """One sentence for each code z [n, d_z]: its words' indices, without the end token."""
    model.eval()
    written: list[list[int]] = []
    barred = [
        PAD_INDEX,
        BOS_INDEX,
        *[UNK_INDEX] * options.known,
    ]  # the first two are no words, so never targets in training
    for codes in z.split(ROWS):
        state = model.initial_state(codes)
        word = torch.full((len(codes),), BOS_INDEX, device=z.device)
        sentences: list[list[int]] = [[] for _ in codes]
        open_rows = set(range(len(codes)))
        for _ in range(options.length):
            logits, state = model.decoder.step(word, state)
            logits[:, barred] = -torch.inf
            if options.decoding == "greedy":
                word = logits.argmax(-1)
            else:
                word = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
            for row, index in enumerate(word.tolist()):
                if index == EOS_INDEX:
                    open_rows.discard(row)
                elif row in open_rows:
                    sentences[row].append(index)
            if not open_rows:
                break
        written += sentences
    return written


@torch.no_grad()
def encode(
    model: SenVAE, sentences: Sequence[Sentence], options: GenerationOptions, generator: torch.Generator
) -> Tensor:
    """A code for each sentence [n, d_z]: a sample of its posterior, its standard deviation times `spread`, or its centre."""
    device = next(model.parameters()).device
    codes = []
    for start in range(0, len(sentences), ROWS):
        posterior = model.posterior(Batch.of(sentences[start : start + ROWS], device))
        noise = posterior.noise(1, generator)
        codes.append(posterior.codes(noise, 0 if options.centre else options.spread * model.spread)[0])
    return torch.cat(codes)


@dataclass(frozen=True)
class Written:
    """A sentence that a model wrote, and the one whose code it was written from, if there was one."""

    words: list[str]
    source: list[str] | None = None


def sample(
    model: SentenceModel, vocabulary: Vocabulary, options: GenerationOptions, valid: Sequence[Sentence] = ()
) -> list[Written]:
    """`count` sentences from codes of the prior, or of the posteriors of `valid` sentences drawn at random.

    A model without a latent has one start for all sentences.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(options.seed)
    sources: list[list[str] | None] = [None] * options.count
    if not isinstance(model, SenVAE):
        z = torch.zeros(options.count, 0, device=device)
    elif options.source == "prior":
        z = model.prior_distribution().sample(options.count, generator)
    else:
        chosen = random.Random(options.seed).choices(valid, k=options.count)
        z = encode(model, chosen, options, generator)
        sources = [vocabulary.decode(sentence.tolist()) for sentence in chosen]
    made = decode(model, z, options, generator)
    return [Written(vocabulary.decode(ids), source) for ids, source in zip(made, sources, strict=True)]


@torch.no_grad()
def interpolate_each(
    model: SenVAE, vocabulary: Vocabulary, ends: Sequence[tuple[Sentence, Sentence]], options: GenerationOptions
) -> list[list[list[str]]]:
    """A homotopy of `count` points for each pair of sentences."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(options.seed)
    first, last = (encode(model, [pair[side] for pair in ends], options, generator) for side in (0, 1))
    share = torch.linspace(0, 1, options.count, device=first.device)[:, None]
    z = model.between(first[:, None], last[:, None], share)  # [pairs, count, d_z]
    written = [vocabulary.decode(ids) for ids in decode(model, z.flatten(0, 1), options, generator)]
    return [written[start : start + options.count] for start in range(0, len(written), options.count)]


def reconstruct(
    model: SenVAE, vocabulary: Vocabulary, sentences: Sequence[Sentence], options: GenerationOptions
) -> list[list[str]]:
    """Each sentence written again from its code."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(options.seed)
    z = encode(model, sentences, options, generator)
    return [vocabulary.decode(ids) for ids in decode(model, z, options, generator)]


@torch.no_grad()
def interpolate(
    model: SenVAE, vocabulary: Vocabulary, ends: tuple[Sentence, Sentence] | None, options: GenerationOptions
) -> list[list[str]]:
    """A homotopy: sentences from `count` points on the line between two sentences' codes, or two codes of the prior where there
    are no sentences; the ends' own included."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(options.seed)
    if ends is None:
        first, last = model.prior_distribution().sample(2, generator)
    else:
        first, last = encode(model, ends, options, generator)
    share = torch.linspace(0, 1, options.count, device=first.device)[:, None]
    return [vocabulary.decode(ids) for ids in decode(model, model.between(first, last, share), options, generator)]
