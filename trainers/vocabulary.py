"""The vocabulary, and sentences as its indices."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from trainers.tokens import Tokens, Words

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIALS = (PAD, BOS, EOS, UNK)

Sentence = NDArray[np.int32]
"""Indices of tokens [n], the end token last, no start token."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by index: the four special ones, then the training text's from most to least frequent."""

    words: tuple[str, ...]
    tokens: Tokens = field(default_factory=Words)
    """Division of texts into tokens."""

    @classmethod
    def of(cls, counts: Mapping[str, int], min_count: int, tokens: Tokens) -> "Vocabulary":
        """The vocabulary of the training text's tokens by their number, without the rare ones, with those that `tokens`
        knows besides.
        """
        kept = {word for word, count in counts.items() if count >= min_count} | set(tokens.known)
        listed = sorted(kept - set(SPECIALS), key=lambda word: (-counts.get(word, 0), word))
        return cls((*SPECIALS, *listed), tokens)

    @cached_property
    def index(self) -> dict[str, int]:
        """Each token's place; of what stands for none, <unk>'s is to be taken."""
        found = {word: place for place, word in enumerate(self.words)}
        return found | dict.fromkeys((PAD, BOS, EOS), found[UNK])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def encode(self, words: Sequence[str]) -> Sentence:
        """A sentence of these tokens."""
        index, unk = self.index, SPECIALS.index(UNK)
        return np.array([*(index.get(word, unk) for word in words), SPECIALS.index(EOS)], dtype=np.int32)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tokens up to the end token."""
        words = []
        for i in ids:
            if self.words[i] == EOS:
                break
            words.append(self.words[i])
        return words

    def text(self, ids: Iterable[int]) -> str:
        """The text up to the end token."""
        return self.tokens.text(self.decode(ids))

    def split(self, text: str) -> list[str]:
        """A text's tokens."""
        return self.tokens.split([" ".join(text.split())])[0]


@dataclass(frozen=True, eq=False)
class Sentences(Sequence[Sentence]):
    """A split's sentences, one behind the other; the arrays may lie in files."""

    tokens: NDArray[np.int32]  # [T]
    ends: NDArray[np.int64]  # [N] the place behind each sentence's last token
    characters: NDArray[np.int32]  # [N] of each sentence's text, its end counted as one
    utf8: NDArray[np.int32]  # [N] likewise, its bytes in UTF-8
    classes: NDArray[np.int32] | None = None  # [N] each sentence's label

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sentence, its end token included: [N]."""
        return np.diff(self.ends, prepend=0)

    def chosen(self, places: Sequence[int]) -> "Sentences":
        """The sentences at these places, in that order."""
        at = np.asarray(places)
        tokens = np.concatenate([self[place] for place in places])
        classes = None if self.classes is None else self.classes[at]
        return Sentences(tokens, self.lengths[at].cumsum(), self.characters[at], self.utf8[at], classes)

    def bits(self, nll: float) -> tuple[float, float]:
        """Bits by character and by byte of all these texts whose mean −log P is `nll` nats."""
        total = nll * len(self) / math.log(2)
        return total / int(self.characters.sum(dtype=np.int64)), total / int(self.utf8.sum(dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, place: int) -> Sentence: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sentence]: ...
    def __getitem__(self, place: int | slice) -> Sentence | list[Sentence]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        end = int(self.ends[place])  # an IndexError beyond the last
        return self.tokens[end - int(self.lengths[place]) : end]

    def __iter__(self) -> Iterator[Sentence]:
        start = 0
        for end in self.ends.tolist():
            yield self.tokens[start:end]
            start = end


def lengths_of(sentences: Sequence[Sentence]) -> NDArray[np.int64]:
    """Tokens of each sentence: [N]."""
    return sentences.lengths if isinstance(sentences, Sentences) else np.array([len(s) for s in sentences])


def batches(
    sentences: Sequence[Sentence], size: int, seed: int | None, by_length: bool = True
) -> Iterator[NDArray[np.int64]]:
    """Indices of each batch's sentences, every sentence exactly once.

    By length, sentences are ordered by length, ties at random, and cut into consecutive batches, which come in random order.
    Without a seed both orders are fixed by length and position. Not by length, a batch is a random sample of all sentences.
    """
    lengths = lengths_of(sentences)
    generator = np.random.default_rng(seed)
    ties = np.arange(len(sentences)) if seed is None else generator.permutation(len(sentences))
    order = np.lexsort((ties, lengths)) if by_length else ties
    starts = np.arange(0, len(sentences), size)
    if seed is not None:
        generator.shuffle(starts)
    for start in starts:
        yield order[start : start + size]
