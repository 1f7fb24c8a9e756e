"""Interpolated Kneser–Ney n-gram models of a corpus, the line that a trained model should beat: what counting words is
worth.

Chen & Goodman 1998, section 3, with three discounts an order ("modified"). Of a k-gram h·w, with h' = h without its first word:

    P_k(w|h) = (a(hw) − D_k(a(hw))) / a(h•)  +  (Σ_v D_k(a(hv)) / a(h•)) · P_{k−1}(w|h'),      P_0 = 1/V

a(hw) is how often h·w stands in the training text if k is the model's order n or h begins with the start token, else the number
of different words before it; a(h•) = Σ_w a(hw). A history that was never seen leaves all to P_{k−1}. A sentence has one start
token, so that its first words have shorter histories (as in Heafield et al. 2013). With n_i the number of k-grams with a = i:

    Y = n_1 / (n_1 + 2 n_2),    D_k(i) = i − (i+1)·Y·n_{i+1}/n_i for i = 1, 2, 3,    D_k(i) = D_k(3) for i > 3

Where one of n_1 … n_4 is 0 or a D_k(i) is not within [0, i], as on tiny texts, the discounts of that k are ½, 1 and 1½.
Predicted are the vocabulary's words but <pad> and <bos>, so V is two less than its size and Σ_w P(w|h) = 1 exactly.

Ours, because no package has this: KenLM's wheels query models but estimate none, and what estimates some from Python (NLTK,
arpabo, kaldingram) has one discount an order. Needs no torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.corpus import BOS, SPECIALS, Corpus, Sentence, Sentences, lengths_of
from trainers.doubts import FEW, HELD_OUT

ORDERS = (1, 2, 3, 4)
TRAINING_TOKENS = 4_000_000
"""Largest number of training tokens that are counted; of a longer text, evenly spaced sentences, so that a study is
made in seconds.
"""
FALLBACK = (0.0, 0.5, 1.0, 1.5)
"""Discounts of a = 0, 1, 2 and more, where the text is too small to estimate them; KenLM's."""
START = SPECIALS.index(BOS)
COPIED_SHARE = 0.5
"""Share of held-out sentences that stand in the training text, from which on the split is a copy of it."""
UNPREDICTED = 2
"""Number of tokens that are never predicted: <pad> and <bos>."""

Whole = NDArray[np.int64]
Real = NDArray[np.float64]


def discounts(counts: Whole) -> Real:
    """D(0) = 0, D(1), D(2) and D(3 and more) of k-grams with these counts: [4]."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    if not n[1:5].all():
        return np.array(FALLBACK)
    y = n[1] / (n[1] + 2 * n[2])
    found = np.array([0.0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))])
    return found if ((found >= 0) & (found <= range(4))).all() else np.array(FALLBACK)


class _Level:
    """The k-grams of one length with their counts a, and what a history's words have in all.

    Args:
        keys: [m], ascending; each is its history's index times the vocabulary's size plus its last word.
        counts: [m] a, at least 1.
        size: of the vocabulary.
        histories: how many there are.
    """

    def __init__(self, keys: Whole, counts: Whole, size: int, histories: int) -> None:
        taken = discounts(counts)[np.minimum(counts, 3)]
        history = keys // size
        self.kept = np.append(counts - taken, 0.0)  # [m + 1]; the last, which −1 finds, is of what was never seen
        self.total = np.append(np.bincount(history, counts, histories), 0.0)  # [histories + 1] a(h•)
        self.freed = np.append(np.bincount(history, taken, histories), 0.0)  # [histories + 1] Σ_v D(a(hv))

    def interpolate(self, lower: Real, found: Whole, history: Whole) -> Real:
        """P_k of tokens whose P_{k−1} is `lower`.

        Args:
            lower: [T].
            found: [T], each token's k-gram by its place in the keys, −1: never seen.
            history: [T], the same of its history.
        """
        total = self.total[history]
        mixed = (self.kept[found] + self.freed[history] * lower) / np.maximum(total, 1.0)
        return np.where(total > 0, mixed, lower)


@dataclass(frozen=True)
class _Text:
    """Sentences in a row, each with a start token first."""

    tokens: Whole  # [T] word indices
    place: Whole  # [T] within the sentence, 0 for the start token

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> "_Text":
        lengths = np.array([len(s) + 1 for s in sentences])
        ends = lengths.cumsum()
        place = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        tokens = np.full(ends[-1], START, dtype=np.int64)
        tokens[place > 0] = np.concatenate(list(sentences))
        return cls(tokens, place)

    def histories(self, grams: Whole) -> Whole:
        """Numbers of the grams one token earlier, which are the tokens' histories: [T]; −1 before the first."""
        return np.concatenate([np.array([-1]), grams[:-1]])


class NGrams:
    """Models of the orders 1 to 4 of these sentences.

    Args:
        sentences: of training, word indices with the end token last.
        size: of the vocabulary with its special tokens.
    """

    def __init__(self, sentences: Sequence[Sentence], size: int) -> None:
        self.size = size
        text = _Text.of(sentences)
        self._keys: list[Whole] = []
        self._top: list[_Level] = []
        self._lower: list[_Level] = []
        grams = text.tokens  # each token's (k−1)-gram by its index
        histories, previous = 1, None
        for k in ORDERS:
            there = text.place >= max(k - 1, 1)  # where a k-gram of one sentence ends, in a word that is predicted
            key = (text.histories(grams) * size if k > 1 else 0) + text.tokens
            keys, first, which, counts = np.unique(
                key[there], return_index=True, return_inverse=True, return_counts=True
            )
            self._keys.append(np.append(keys, np.iinfo(np.int64).max))  # so that every search ends at a key
            self._top.append(_Level(keys, counts, size, histories))
            if previous is not None:
                # How many k-grams end with each (k−1)-gram; those that begin a sentence have nothing before them.
                before, known, whole = previous
                different = np.bincount(before[there][first], minlength=len(known))
                adjusted = np.where(different > 0, different, whole)
                self._lower.append(_Level(known, adjusted, size, len(self._top[k - 2].total) - 1))
            ends = np.full(len(text.tokens), -1)
            ends[there] = which
            previous = (ends, keys, counts)
            grams = text.tokens if k == 1 else ends
            histories = size if k == 1 else len(keys)

    def probabilities(self, sentences: Sequence[Sentence]) -> tuple[Real, Whole]:
        """P(w|h) of each token under each order: [4, tokens]; and the sentence that each token is of: [tokens]."""
        text = _Text.of(sentences)
        predicted = text.place > 0
        p = np.full(len(text.tokens), 1.0 / (self.size - UNPREDICTED))
        found_orders = []
        grams = text.tokens
        for k in ORDERS:
            history = text.histories(grams) if k > 1 else np.zeros_like(text.tokens)
            there = predicted & (text.place >= k - 1)
            keys = self._keys[k - 1]
            key = np.where(there & (history >= 0), history * self.size + text.tokens, -1)
            at = np.searchsorted(keys, key)
            found = np.where(keys[at] == key, at, -1)
            history = np.where(there, history, -1)
            found_orders.append(self._top[k - 1].interpolate(p, found, history)[predicted])
            if k < ORDERS[-1]:
                p = self._lower[k - 1].interpolate(p, found, history)
            grams = text.tokens if k == 1 else found
        return np.stack(found_orders), np.cumsum(text.place == 0)[predicted] - 1

    def nll(self, sentences: Sequence[Sentence]) -> Real:
        """−log P(x) in nats of each sentence under each order: [4, n]."""
        p, of = self.probabilities(sentences)
        return np.stack([np.bincount(of, -np.log(each), len(sentences)) for each in p])


def of(corpus: Corpus) -> tuple[NGrams, int]:
    """The models of a corpus's training text, and how many of its sentences they have counted (`TRAINING_TOKENS`)."""
    sentences: Sequence[Sentence] = corpus.splits["train"]
    share = TRAINING_TOKENS / int(lengths_of(sentences).sum())
    if share < 1:
        kept = max(int(share * len(sentences)), 1)
        sentences = [sentences[i] for i in (np.arange(kept) * len(sentences) // kept).tolist()]
    return NGrams(sentences, len(corpus.vocabulary)), len(sentences)


def _figures(models: NGrams, sentences: Sequence[Sentence], of: int) -> list[dict[str, Any]]:
    """Figures of each order: mean −log P(x) in nats and exp(Σ −log P(x) / Σ tokens), end tokens included, of so many
    sentences; in bits by character where their texts are known.
    """
    tokens = int(lengths_of(sentences).sum())

    def bits(nll: float) -> dict[str, float]:
        return {"bits_per_char": sentences.bits(nll)[0]} if isinstance(sentences, Sentences) else {}

    return [
        {
            "nll": float(nll.mean()),
            "ppl": math.exp(nll.sum() / tokens),
            **bits(float(nll.mean())),
            "sentences": len(sentences),
            "of": of,
        }
        for nll in models.nll(sentences)
    ]


def lines(corpus: Corpus, judged: Mapping[str, Sequence[Sentence]] | None = None) -> dict[str, Any]:
    """Each order's figures, and which order is best on the validation sentences.

    Args:
        judged: the validation and the test sentences that the figures are of; all unless given.
    """
    models, counted = of(corpus)
    judged = judged or corpus.splits
    figures = {
        split: _figures(models, each, len(corpus.splits[split])) for split, each in judged.items() if split in HELD_OUT
    }
    best = min(ORDERS, key=lambda order: figures["valid"][order - 1]["nll"])
    return {
        "best": best,
        "counted": counted,
        "train": len(corpus.splits["train"]),
        "orders": {str(order): {split: each[order - 1] for split, each in figures.items()} for order in ORDERS},
    }


def reference(corpus: Corpus, judged: Mapping[str, Sequence[Sentence]]) -> dict[str, Any]:
    """The best order's figures alone: what a study keeps beside its trials'."""
    found = lines(corpus, judged)
    kept = {key: found[key] for key in ("counted", "train")}
    return {"order": found["best"], **kept, **found["orders"][str(found["best"])]}


def repeated(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Counts and shares of validation and test sentences that stand word for word in the training text, as the models
    read them.
    """
    seen = {s.tobytes() for s in corpus.splits["train"]}
    counts = {split: sum(s.tobytes() in seen for s in corpus.splits[split]) for split in HELD_OUT}
    return {split: {"count": count, "share": count / len(corpus.splits[split])} for split, count in counts.items()}


def copied(corpus: Corpus, found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Warnings of held-out texts that are mostly copies of training sentences, whose figures tell of memory.

    Args:
        found: what `repeated` counted.
    """
    return [
        f"{each['count']:,} of {len(corpus.splits[split]):,} {HELD_OUT[split]} sentences stand in the training text too, so "
        "figures on them tell what is remembered, not what is learnt: give other sentences, or let the split be taken out of "
        "the training text by leaving its file out."
        for split, each in found.items()
        if len(corpus.splits[split]) >= FEW and each["share"] >= COPIED_SHARE
    ]
