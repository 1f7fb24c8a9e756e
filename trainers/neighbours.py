"""The nearest training sentence of each sample by translation edit rate (Snover et al. 2006; PA figures 4 and 6).

TER is word edits, a move of a run of words counting one, divided by the neighbour's length: 0 is a copy; PA call it novelty.
sacrebleu computes it, at milliseconds a pair, so only likely neighbours are asked about. For every training sentence two bounds
on the edits are had at once: the Levenshtein distance is never less than TER's edits, and max(n, m) − |common words|, with
multiplicity, never more.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.ter import TER

CANDIDATES = 40
"""Number of training sentences that TER itself is computed for; the best of so many by the mean of the two bounds."""
FIRST_LETTER = 0x10000
"""Code point of the first word as a letter; from here on every code point is one."""


@dataclass(frozen=True)
class Neighbour:
    sentence: list[str]
    ter: float


def ter(words: Sequence[str], reference: Sequence[str]) -> float:
    """Translation edit rate of `words` against `reference`: edits / length of the reference; above 1 if longer."""
    return float(_TER.sentence_score(" ".join(words), [" ".join(reference)]).score) / 100


_TER = TER(case_sensitive=True)


class Neighbours:
    """An index of training sentences. Building it takes a second for 42,000; a query as long, mostly in TER's moves."""

    def __init__(self, training: Sequence[Sequence[str]]) -> None:
        self.training = list(dict.fromkeys(tuple(s) for s in training))
        self.lengths = np.array([len(s) for s in self.training])
        self.words: dict[str, int] = {}
        places: dict[str, tuple[list[int], list[int]]] = {}
        for row, sentence in enumerate(self.training):
            for word, count in Counter(sentence).items():
                self.words.setdefault(word, len(self.words))
                rows, counts = places.setdefault(word, ([], []))
                rows.append(row)
                counts.append(count)
        self.places = {word: (np.array(rows), np.array(counts)) for word, (rows, counts) in places.items()}
        self.letters = [self._letters(s) for s in self.training]

    def _letters(self, sentence: Sequence[str]) -> str:
        """The sentence with a letter for each word; all unknown words share one."""
        unknown = len(self.words)
        return "".join(chr(FIRST_LETTER + self.words.get(word, unknown)) for word in sentence)

    def fewest_edits(self, sentence: Sequence[str]) -> NDArray[np.int64]:
        """The lower bound max(n, m) − |common words| for each training sentence."""
        common = np.zeros(len(self.training), dtype=np.int64)
        for word, count in Counter(sentence).items():
            if word in self.places:
                rows, counts = self.places[word]
                common[rows] += np.minimum(counts, count)
        longer: NDArray[np.int64] = np.maximum(self.lengths, len(sentence))
        return longer - common

    def most_edits(self, sentence: Sequence[str]) -> NDArray[np.int64]:
        """The upper bound, Levenshtein's distance, for each training sentence."""
        distances = process.cdist([self._letters(sentence)], self.letters, scorer=Levenshtein.distance, dtype=np.int64)
        return np.asarray(distances[0])

    def nearest(self, sentence: Sequence[str]) -> Neighbour:
        """The training sentence of least TER among the candidates."""
        least = self.fewest_edits(sentence) / self.lengths
        likely = np.argsort(least + self.most_edits(sentence) / self.lengths, kind="stable")[:CANDIDATES]
        best = Neighbour([], np.inf)
        for candidate in likely:
            if least[candidate] < best.ter:
                reference = self.training[candidate]
                rate = ter(sentence, reference)
                if rate < best.ter:
                    best = Neighbour(list(reference), rate)
        return best
