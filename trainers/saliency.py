"""Kinds of words that an adversary hides: mean probabilities by part of speech, frequency or place (MI figure 4a)."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trainers.corpus import Corpus, Vocabulary
from trainers.errors import BadInput
from trainers.vocabulary import UNK

PARTS = {
    "AJ": "adjective", "AT": "determiner", "AV": "adverb", "CJ": "conjunction", "CR": "numeral", "DP": "determiner",
    "DT": "determiner", "EX": "pronoun", "IN": "preposition", "IT": "interjection", "NN": "noun", "NP": "proper noun",
    "OR": "numeral", "PN": "pronoun", "PO": "particle", "PR": "preposition", "PU": "punctuation", "TO": "particle",
    "VM": "auxiliary", "VB": "auxiliary", "VD": "auxiliary", "VH": "auxiliary", "VV": "verb", "XX": "particle",
}  # fmt: skip
"""Parts of speech by the first two letters of a tag of the BNC (CLAWS C5)."""
BOUNDS = (10, 100, 1000, 10_000)
"""Upper ends of the groups of words by frequency's rank, and by place in a sentence."""

Group = Callable[[Sequence[str]], list[str]]
"""Function that returns the group of each word of a sentence."""


def part_of_speech() -> Group:
    """Groups by HanTa's English tagger, whose model its package ships.

    Raises:
        BadInput: if it is not installed.
    """
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError as error:
        raise BadInput(
            "by = 'tag' needs a tagger: pip install 'text-vae-tuner[tagger]', or take by=frequency or by=position."
        ) from error
    tagger = HanoverTagger("morphmodel_en.pgz")

    def group(words: Sequence[str]) -> list[str]:
        tags = [tag for _, _, tag in tagger.tag_sent(list(words), taglevel=1)]
        return [UNK if word == UNK else PARTS.get(tag[:2], "other") for word, tag in zip(words, tags, strict=True)]

    return group


REST = f"from {BOUNDS[-1] + 1}"
BANDS = tuple(f"{least + 1}–{most}" for least, most in itertools.pairwise((0, *BOUNDS)))
PLACES = ("first", *(f"{tenth}–{tenth + 10} %" for tenth in range(0, 100, 10)))


def _banded(number: int) -> str:
    """The band that holds a number from 1 on, e.g. `11–100`."""
    found = (band for band, most in zip(BANDS, BOUNDS, strict=True) if number <= most)
    return next(found, REST)


def frequency(corpus: Corpus, vocabulary: Vocabulary) -> Group:
    """Groups by a word's rank in the training text."""
    counts = Counter(int(index) for sentence in corpus.splits["train"] for index in sentence[:-1])
    ranks = {vocabulary.words[index]: rank for rank, (index, _) in enumerate(counts.most_common(), 1)}
    return lambda words: [UNK if word == UNK else _banded(ranks.get(word, len(ranks) + 1)) for word in words]


def position() -> Group:
    """Groups by a word's place: the first, then by tenths of the sentence."""
    return lambda words: [
        PLACES[0] if place == 0 else PLACES[1 + place * 10 // len(words)] for place in range(len(words))
    ]


ORDERED = (*PLACES, *BANDS, REST, UNK)
"""Groups that have an order of their own."""


def grouped(sentences: Iterable[Sequence[Mapping[str, Any]]], group: Group) -> list[dict[str, Any]]:
    """Words and their mean probability of each group, in the groups' own order, or the likeliest first where they have none.

    Args:
        sentences: their words, each with its `word` and `probability`.
    """
    totals: dict[str, list[float]] = {}
    for sentence in sentences:
        for name, entry in zip(group([entry["word"] for entry in sentence]), sentence, strict=True):
            totals.setdefault(name, []).append(entry["probability"])
    found = [{"group": name, "words": len(each), "probability": sum(each) / len(each)} for name, each in totals.items()]
    if all(name in ORDERED for name in totals):
        return sorted(found, key=lambda entry: ORDERED.index(entry["group"]))
    return sorted(found, key=lambda entry: (-entry["probability"], entry["group"]))
