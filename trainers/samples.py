"""Sentences of a saved run: samples, reconstructions, homotopies, and how near its samples are to the training text."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers import generation, homotopy, neighbours, saliency
from trainers.corpus import SPECIALS, Sentence
from trainers.errors import BadInput
from trainers.gallery import hidden
from trainers.generation import GenerationOptions
from trainers.latent_space import LatentOptions, measure
from trainers.models import SenVAE
from trainers.options import Value, build
from trainers.runs import Run, corpus_of, open_run
from trainers.training import Report


def _options(values: Mapping[str, Value], *names: str) -> GenerationOptions:
    """Generation options from plain values; only those of the command's own names."""
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no option here: there are {', '.join(names)}.")
    return build(GenerationOptions, values)


def _latent(run: Run, action: str) -> SenVAE:
    if not isinstance(run.model, SenVAE):
        raise BadInput(
            f"{action} needs a latent code, and {run.spec.technique} has none: name a run of another technique."
        )
    return run.model


def read_sentence(run: Run, text: str) -> tuple[Sentence, list[str]]:
    """A sentence as the run's token indices, and what there is to say about it.

    Raises:
        BadInput: if it has no word.
    """
    words, notes, longest = run.vocabulary.split(text), [], int(run.corpus["longest"])
    if not words:
        raise BadInput("the sentence is empty: give at least one word.")
    unknown = [word for word in words if word not in run.vocabulary or word in SPECIALS[:-1]]
    if unknown:
        notes.append(f"not in the vocabulary, read as <unk>: {', '.join(dict.fromkeys(unknown))}")
    if len(words) >= longest:
        notes.append(f"cut to {longest - 1} {run.vocabulary.tokens.noun}, the longest that the model was trained on")
        words = words[: longest - 1]
    return run.vocabulary.encode(words), notes


def _sentences(run: Run, texts: Sequence[str], options: GenerationOptions) -> list[tuple[Sentence, list[str]]]:
    """The texts as `read_sentence` has them, or else `count` validation sentences drawn at random."""
    if texts:
        return [read_sentence(run, text) for text in texts]
    valid = corpus_of(run).splits["valid"]
    chosen = random.Random(options.seed).sample(valid, min(options.count, len(valid)))
    return [(sentence, []) for sentence in chosen]


def sample_run(folder: Path, values: Mapping[str, Value]) -> dict[str, Any]:
    """Sentences that the run's model writes from codes of its prior or posteriors."""
    run = open_run(folder)
    options = _options(values, "count", "source", "decoding", "centre", "length", "seed")
    if options.source == "posterior":
        _latent(run, "sampling from posteriors")
    valid = corpus_of(run).splits["valid"] if options.source == "posterior" else []
    written = generation.sample(run.model, run.vocabulary, options, valid)
    text = run.vocabulary.tokens.text
    sentences: list[dict[str, Any]] = [{"sentence": text(w.words)} for w in written]
    for entry, one in zip(sentences, written, strict=True):
        if one.source is not None:
            entry["source"] = text(one.source)
    return {"sentences": sentences, "distinct": len({entry["sentence"] for entry in sentences})}


def reconstruct_run(folder: Path, texts: Sequence[str], values: Mapping[str, Value]) -> dict[str, Any]:
    """Each text, or else `count` validation sentences drawn at random, written again from its code.

    TER is against the text as the model read it.
    """
    run = open_run(folder)
    model = _latent(run, "reconstruct")
    options = _options(values, "count", "decoding", "centre", "spread", "length", "seed")
    read = _sentences(run, texts, options)
    made = generation.reconstruct(model, run.vocabulary, [sentence for sentence, _ in read], options)
    sentences = []
    for words, (sentence, notes) in zip(made, read, strict=True):
        source, text = run.vocabulary.text(sentence.tolist()), run.vocabulary.tokens.text(words)  # as the model read it
        noun = run.vocabulary.tokens.noun
        cut = [f"what it writes has no end within {options.length} {noun}"] if len(words) == options.length else []
        rate = neighbours.ter(text.split(), source.split())
        sentences.append({"source": source, "sentence": text, "ter": rate, "notes": notes + cut})
    return {"sentences": sentences}


def interpolate_run(folder: Path, ends: Sequence[str], values: Mapping[str, Value]) -> dict[str, Any]:
    """A homotopy in `count` points between two sentences' codes, the ends' own included.

    Without sentences: between two codes of the prior, or of two validation sentences drawn at random (LI tables 7 and 13).
    """
    run = open_run(folder)
    model = _latent(run, "interpolate")
    options = _options(values, "count", "source", "decoding", "centre", "length", "seed", "pairs")
    if options.pairs:
        return _likeness(run, model, ends, options)
    if len(ends) not in (0, 2):
        raise BadInput(f"interpolate has {len(ends)} sentence: give two, or none for codes of the prior.")
    if ends and options.source == "posterior":
        raise BadInput(f"posterior draws the sentences: leave {ends[0]!r} out, or leave posterior out.")
    if options.centre and not ends and options.source == "prior":
        raise BadInput("centre is of a posterior, and these are codes of the prior: give two sentences, or posterior.")

    read = [read_sentence(run, text) for text in ends]
    if not ends and options.source == "posterior":
        drawn = random.Random(options.seed).choices(corpus_of(run).splits["valid"], k=2)
        read = [(sentence, []) for sentence in drawn]
        ends = [run.vocabulary.text(sentence.tolist()) for sentence in drawn]
    pair = (read[0][0], read[1][0]) if read else None
    made = generation.interpolate(model, run.vocabulary, pair, options)
    notes = [f"{end}: {note}" for end, (_, said) in zip(("first", "last"), read, strict=False) for note in said]
    return {
        "ends": list(ends),
        "sentences": [{"sentence": run.vocabulary.tokens.text(words)} for words in made],
        "notes": notes,
    }


def _likeness(run: Run, model: SenVAE, ends: Sequence[str], options: GenerationOptions) -> dict[str, Any]:
    """Likeness to both ends at each point of many homotopies between validation sentences."""
    if ends:
        raise BadInput(f"pairs = {options.pairs} draws the sentences: leave {ends[0]!r} out, or leave pairs out.")
    if options.count < 2:
        raise BadInput(f"count = {options.count} is too few with pairs: a line has two ends.")
    drawing, valid = random.Random(options.seed), corpus_of(run).splits["valid"]
    chosen = [(drawing.choice(valid), drawing.choice(valid)) for _ in range(options.pairs)]
    lines = generation.interpolate_each(model, run.vocabulary, chosen, options)
    text = run.vocabulary.tokens.text
    written = [[text(words).split() for words in line] for line in lines]
    sources = [tuple(run.vocabulary.text(end.tolist()).split() for end in pair) for pair in chosen]
    points = homotopy.likeness(written, [(first, last) for first, last in sources])
    return {"pairs": options.pairs, "points": points}


def dropped_run(folder: Path, texts: Sequence[str], values: Mapping[str, Value]) -> dict[str, Any]:
    """Each text's words, or those of `count` validation sentences drawn at random, with the probability that the technique's
    adversary hides each from the decoder (MI table 2); or the mean probability of each kind of words (MI figure 4a)."""
    run = open_run(folder)
    options = _options(values, "count", "draws", "seed", "by")
    read = _sentences(run, texts, options)
    shares = hidden(run.model, run.objective, run.vocabulary, [s for s, _ in read], options.draws, options.seed)
    if shares is None:
        raise BadInput(
            f"dropped shows which words an adversary hides, and {run.spec.technique} has none: name a run of "
            "adversarial-word-dropout."
        )
    sentences = [{"words": words, "notes": notes} for words, (_, notes) in zip(shares, read, strict=True)]
    if options.by == "word":
        return {"sentences": sentences, "draws": options.draws}
    groups = saliency.grouped(shares, _kinds(run, options.by))
    words = sum(entry["words"] for entry in groups)
    mean = sum(entry["words"] * entry["probability"] for entry in groups) / words
    return {"by": options.by, "groups": groups, "words": words, "mean": mean, "draws": options.draws}


def _kinds(run: Run, by: str) -> saliency.Group:
    """The function that groups words by this property."""
    if by == "tag":
        if run.vocabulary.tokens.noun != "words":
            raise BadInput(
                f"by = 'tag' is not allowed for a run of {run.vocabulary.tokens.noun}: words have parts of speech."
            )
        return saliency.part_of_speech()
    return saliency.position() if by == "position" else saliency.frequency(corpus_of(run), run.vocabulary)


def neighbours_run(folder: Path, values: Mapping[str, Value], report: Report) -> dict[str, Any]:
    """Samples, each with its nearest training sentence by TER, and their mean TER: the model's novelty.

    Without a latent code the words are drawn, as PA's figure 6 has it.
    """
    run = open_run(folder)
    corpus = corpus_of(run)
    if not isinstance(run.model, SenVAE):  # whose likeliest words are one sentence
        values = {**values, "decoding": "ancestral"}
    found = sample_run(folder, values)
    index = neighbours.Neighbours([corpus.vocabulary.text(s.tolist()).split() for s in corpus.splits["train"]])
    for done, entry in enumerate(found["sentences"], 1):
        nearest = index.nearest(entry["sentence"].split())
        entry |= {"neighbour": " ".join(nearest.sentence), "ter": nearest.ter}
        report("progress", {"phase": "neighbours", "done": done, "of": len(found["sentences"])})
    return {**found, "novelty": sum(entry["ter"] for entry in found["sentences"]) / len(found["sentences"])}


def latent_run(folder: Path, values: Mapping[str, Value], report: Report) -> dict[str, Any]:
    """`measure` of a saved run.

    Raises:
        BadInput: if the run's technique has no latent, or an option is unknown or breaks its rule.
    """
    run = open_run(folder)
    model = _latent(run, "latent")
    known = LatentOptions.__dataclass_fields__
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no option here: there are {', '.join(known)}.")
    options = build(LatentOptions, values)
    return measure(model, run.vocabulary, corpus_of(run), options, report)
